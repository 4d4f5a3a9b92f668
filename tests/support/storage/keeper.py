"""Runs a server until its last user ends: `keeper.py USERS DATA REMAINS COMMAND...`.

Each user holds a shared lock on the file USERS. The kernel releases it however a user ends, so the
exclusive lock is granted when there is none left. Then the server is killed, and its folder DATA
and the files REMAINS, joined by colons, are removed. If the keeper itself is killed, the server is
killed with it.

It is a program of its own, with the standard library only: it outlives the test process that
starts it while others use the server.
"""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Kills this process when the thread that started it ends. Linux; elsewhere it does nothing."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call
            os._exit(1)


def main(users: str, data: str, remains: str, *command: str) -> None:
    if os.fork() > 0:
        os._exit(0)  # the process that started it need not wait for it
    keeper = os.getpid()
    with open(users) as lock, open(os.path.join(data, "log"), "ab") as output:
        server = subprocess.Popen(
            command,
            cwd=data,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that it can be killed with its children
            preexec_fn=lambda: die_with_parent(keeper),
        )
        sys.stdout.write(f"{keeper} {server.pid}\n")
        sys.stdout.flush()
        for stream in (1, 2):  # the reader of both waits for their end
            os.dup2(output.fileno(), stream)
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Held until this process ends, so that no user finds a server that is being killed.
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        shutil.rmtree(data, ignore_errors=True)
        for path in filter(None, remains.split(os.pathsep)):
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
