"""The worker processes of a Ray cluster that this process started."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def _parents() -> dict[int, int]:
    """The parent of each process."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name, in brackets, may hold anything.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            parents[int(entry.name)] = int(fields[1])
    return parents


def running(task: str) -> list[int]:
    """The descendants of this process that run a task whose name holds ``task``."""
    parents, found = _parents(), []
    for process in parents:
        above = parents.get(process, 0)
        while above > 1 and above != os.getpid():
            above = parents.get(above, 0)
        if above == os.getpid():
            try:
                title = Path(f"/proc/{process}/cmdline").read_bytes()
            except OSError:
                continue
            if title.startswith(b"ray::") and task.encode() in title:
                found.append(process)
    return found


def kill_one(task: str, seconds: float = 60) -> int:
    """Kills a worker that runs a task, once there is one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for process in running(task):
            os.kill(process, signal.SIGKILL)
            return process
        time.sleep(0.01)
    raise AssertionError(f"no worker ran {task}")
