"""Hosts in network namespaces of this machine, on one switch, whose links can be cut. Linux only,
and as root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.support.ranks import without_job
from tests.support.storage import nginx
from tests.support.storage.store import request

#: The address of the switch, where the server of files is, and those of the hosts.
NETWORK = "10.213.77"
PORT = 8000


class Hosts:
    """A switch and hosts; `start` runs a process on one of them. All share the file system."""

    def __init__(self, count: int, folder: Path):
        self.name = f"tf-{uuid.uuid4().hex[:6]}"
        self.folder, self.count = folder, count
        self.processes: list[subprocess.Popen[Any]] = []
        self.namespaces = [self._namespace(at) for at in range(count + 1)]
        self.sweeper = subprocess.Popen(
            [sys.executable, "-c", SWEEPER, *self.namespaces],
            stdin=subprocess.PIPE,
            env=without_job(),
            start_new_session=True,
        )
        try:
            self._build(count)
        except BaseException:
            self.close()
            raise

    def _namespace(self, at: int) -> str:
        return f"{self.name}-{at}"

    def _build(self, count: int) -> None:
        switch = self.namespaces[0]
        for namespace in self.namespaces:
            ip("netns", "add", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
        ip("-n", switch, "link", "add", "switch", "type", "bridge")
        ip("-n", switch, "addr", "add", f"{NETWORK}.1/24", "dev", "switch")
        ip("-n", switch, "link", "set", "switch", "up")
        for at in range(1, count + 1):
            host, port = self.namespaces[at], f"port{at}"
            pair = ["link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host]
            ip("-n", switch, *pair)
            ip("-n", switch, "link", "set", port, "master", "switch", "up")
            ip("-n", host, "addr", "add", f"{NETWORK}.{at + 1}/24", "dev", "eth0")
            ip("-n", host, "link", "set", "eth0", "up")

    def serve(self) -> str:
        """Serves the files of `folder`, and returns the URL."""
        data = self.folder / "nginx"
        data.mkdir()
        text = nginx.CONFIGURATION.format(data=data, port=PORT).replace("127.0.0.1", f"{NETWORK}.1")
        (data / "nginx.conf").write_text(text.replace(f"{data}/www", str(self.folder / "www")))
        command = ["-p", str(data), "-c", str(data / "nginx.conf"), "-e", "stderr"]
        self._start(0, [str(nginx.executable()), *command])
        url = f"http://{NETWORK}.1:{PORT}"
        ask = "import sys; from tests.support.hosts import wait_for; wait_for(sys.argv[1])"
        asked = self.start(1, ask, [url])
        assert asked.wait(60) == 0
        return url

    def start(
        self,
        host: int,
        code: str,
        arguments: Sequence[object] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Any:
        """A Python process on a host, counted from 1, with pipes."""
        return self._start(host, [sys.executable, "-c", code, *map(str, arguments)], environment)

    def _start(
        self, at: int, command: list[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        there = ["ip", "netns", "exec", self.namespaces[at], *command]
        variables = {**without_job(), **(environment or {})}
        process = subprocess.Popen(there, stdin=pipe, stdout=pipe, env=variables)
        self.processes.append(process)
        return process

    def cut(self, host: int) -> None:
        """Packets to and from a host are lost from now on."""
        ip("-n", self.namespaces[0], "link", "set", f"port{host}", "down")

    def mend(self, host: int) -> None:
        ip("-n", self.namespaces[0], "link", "set", f"port{host}", "up")

    def close(self) -> None:
        sweep(self.namespaces)
        self.sweeper.communicate()
        for process in self.processes:
            process.kill()
            process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)


def ip(*arguments: str) -> None:
    ran = _run(*arguments)
    assert ran.returncode == 0, f"ip {' '.join(arguments)}: {ran.stderr}"


def sweep(namespaces: Sequence[str]) -> None:
    """Ends all processes in namespaces, also those that others started, and removes them."""
    for namespace in namespaces:
        while found := _run("netns", "pids", namespace).stdout.split():
            for process in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(process), signal.SIGKILL)
            time.sleep(0.01)
        _run("netns", "del", namespace)


# Sweeps when its input ends: also if the process of the tests is killed.
SWEEPER = "import sys; from tests.support.hosts import sweep; sys.stdin.read(); sweep(sys.argv[1:])"


def wait_for(url: str) -> None:
    """Returns when the server answers."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            request(url, "GET", "/refused/")
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(url)


def absent() -> str | None:
    """Why this machine can have no such hosts."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces are of Linux, and need root"
    if shutil.which("ip") is None:
        return "ip is not installed: apt install iproute2"
    if nginx.executable() is None:
        return nginx.Program.absent
    name = f"tf-{uuid.uuid4().hex[:6]}"
    made = _run("netns", "add", name)
    if made.returncode == 0:
        _run("netns", "del", name)
        return None
    return f"this machine makes no network namespaces: {made.stderr.strip()}"
