"""One process of each server, shared by the test processes that use the same folder.

The first user starts it through `keeper.py`, which ends it after the last, however that one ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

KEEPER = Path(__file__).with_name("keeper.py")
DEADLINE = 60.0  # seconds until a server has to answer
ATTEMPTS = 3  # a port may be taken between the look at it and the start


class Program:
    """How a server is started."""

    name: str
    ports = 1
    absent: str
    """What to do where it is not installed."""

    def installed(self) -> bool:
        raise NotImplementedError

    def command(self, data: Path, ports: list[int]) -> list[str]:
        """The command, run in `data`, whose files it may write before."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """What the command needs besides the environment of the tests."""
        return {}

    def remains(self, ports: list[int]) -> list[str]:
        """Files that it leaves outside of `data` when it is killed."""
        return []

    def answers(self, ports: list[int]) -> bool:
        """Whether it serves requests. An OSError counts as no."""
        raise NotImplementedError


@dataclass
class Running:
    """A server in use. It lives until each user has called `close` or has ended."""

    data: Path
    ports: list[int]
    pid: int
    lock: IO[str]

    def close(self) -> None:
        self.lock.close()


def use(program: Program, folder: Path) -> Running:
    """The server of this folder, started if no process uses it yet."""
    folder.mkdir(parents=True, exist_ok=True)
    users = _locked(folder / f"{program.name}.users", fcntl.LOCK_SH)
    state = folder / f"{program.name}.json"
    try:
        with _locked(folder / f"{program.name}.starting", fcntl.LOCK_EX):
            found = _found(state)
            if found is None:
                found = _started(program, users.name)
                state.write_text(json.dumps(found))
    except BaseException:
        users.close()
        raise
    return Running(Path(found["data"]), found["ports"], found["pid"], users)


def free_ports(count: int) -> list[int]:
    """Free ports of the loopback device, below those that the system gives to connections."""
    ports: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(ports) < count:
            port = random.SystemRandom().randrange(15000, 32000)
            tried = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                tried.bind(("127.0.0.1", port))
                ports.append(port)
    return ports


def _locked(path: Path, kind: int) -> IO[str]:
    """A file that is locked until it is closed. A shared lock of the users waits for a keeper that
    is ending their server.
    """
    file = path.open("a")
    fcntl.flock(file, kind)
    return file


def _found(state: Path) -> dict[str, Any] | None:
    """The server that another user started, unless it has ended."""
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads(state.read_text())
        os.kill(found["pid"], 0)
        if Path(found["data"]).is_dir():
            return found
    return None


def _started(program: Program, users: str) -> dict[str, Any]:
    for attempt in range(ATTEMPTS):
        data = Path(tempfile.mkdtemp(prefix=f"tensorferry-{program.name}-"))
        ports = free_ports(program.ports)
        keeper, pid = _keeper(program, users, data, ports)
        failure = _failure(program, ports, pid)
        if failure is None:
            return {"data": str(data), "ports": ports, "pid": pid}
        said = (data / "log").read_text(errors="replace")[-8000:]
        os.kill(keeper, signal.SIGKILL)
        shutil.rmtree(data, ignore_errors=True)
        if attempt + 1 == ATTEMPTS or "exited" not in failure:
            raise RuntimeError(f"{program.name} {failure}. Its log:\n{said}")
    raise AssertionError("unreachable")


def _keeper(program: Program, users: str, data: Path, ports: list[int]) -> tuple[int, int]:
    """The process ids of the keeper and of its server."""
    remains = os.pathsep.join(program.remains(ports))
    done = subprocess.run(
        [sys.executable, KEEPER, users, data, remains, *program.command(data, ports)],
        stdin=subprocess.DEVNULL,
        capture_output=True,  # until the keeper closes its output
        text=True,
        check=False,
        start_new_session=True,  # Ctrl-C is for the tests
        env=os.environ | program.environment() | {"TMPDIR": str(data)},
    )
    if not done.stdout:
        shutil.rmtree(data, ignore_errors=True)
        raise RuntimeError(f"{program.name} was not started: {done.stderr}")
    keeper, pid = map(int, done.stdout.split())
    return keeper, pid


def _failure(program: Program, ports: list[int], pid: int) -> str | None:
    """Why it does not answer, or None once it does."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if program.answers(ports):
                return None
        if _ended(pid):
            return "exited before it answered"
        time.sleep(0.05)
    return f"did not answer within {DEADLINE:.0f} s"


def _ended(pid: int) -> bool:
    """Also true for a process whose exit status the keeper has not read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
