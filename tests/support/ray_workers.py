"""Worker processes of Ray that end themselves, each at a point that the test names, and those that
run.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any


def kill_once(marker: Path) -> None:
    """Kills this process as ``kill -9`` does, unless a process was killed for this file before."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


class KilledAt:
    """A function of rows or batches, of which one kills the process that computes it. Once.

    Args:
        marker: a file that does not exist. It exists after the kill.
        component: that to look in; None for elements that are one array.
        value: which ends the process.
    """

    def __init__(self, marker: Path, component: str | None, value: int) -> None:
        self.marker, self.component, self.value = marker, component, value

    def __call__(self, element: Any) -> Any:
        looked = element if self.component is None else element[self.component]
        if (looked == self.value).any():
            kill_once(self.marker)
        return element


class WaitingAt:
    """A function of batches that waits at one of them until a file exists, or for two minutes."""

    def __init__(self, marker: Path | str, component: str, value: int) -> None:
        self.marker, self.component, self.value = Path(marker), component, value

    def __call__(self, batch: Any) -> Any:
        if (batch[self.component] == self.value).any():
            end = time.monotonic() + 120
            while not self.marker.exists() and time.monotonic() < end:
                time.sleep(0.01)
        return batch


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
