"""A file that is not in memory, and what the device it is on gives at most.

Rationale: a pass over a cold file warms it. So the file is forgotten before every single pass, ours
and the peers' alike, and a pass ends when its time is over: by page faults alone, one over all of
the file would take hours. What the device gives is asked of fio, for the same file and as long, in
turns with everybody else.

Limitations: the host of a virtual machine has a cache of its own, which nobody here can drop.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from streams import write_rows

DROP_CACHES = Path("/proc/sys/vm/drop_caches")
HUGE_PAGES = Path("/proc/sys/vm/nr_overcommit_hugepages")
ENOUGH = 32
"""Huge pages: 64 MiB, more than fio reads into."""
WARM_UP = 0.1
"""Seconds of each pass before any is timed: what is imported and allocated once."""

COUNT, QUICK_COUNT = 8_000_000, 500_000
"""Rows of the file, of 400 bytes."""
SECONDS, QUICK_SECONDS = 1.0, 0.5
"""How long a pass may take."""

Timed = Callable[[float], float]
"""A pass that ends after so many seconds, and says how many rows or bytes a second it read."""


@contextmanager
def cold_file(*, quick: bool) -> Iterator[tuple[Path, int, float]]:
    """A file of rows, how many they are, and how long a pass over it may take."""
    count, seconds = (QUICK_COUNT, QUICK_SECONDS) if quick else (COUNT, SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        write_rows(path, count)
        yield path, count, seconds


def forgetting() -> str:
    """How files are forgotten here, in words."""
    return (
        f"{DROP_CACHES} before each pass"
        if os.access(DROP_CACHES, os.W_OK)
        else "posix_fadvise(DONTNEED) before each pass"
    )


def forget(path: Path) -> None:
    """Drop what the page cache has of a file. (Pages that somebody has mapped stay.)"""
    if os.access(DROP_CACHES, os.W_OK):
        DROP_CACHES.write_text("1")
        return
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def rates(
    passes: Mapping[str, Timed], path: Path, *, seconds: float, repetitions: int
) -> dict[str, list[float]]:
    """What each pass reads a second, one figure for each repetition, taken in turns."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)  # what has still to be written is not dropped
    os.close(descriptor)
    for run in passes.values():
        run(WARM_UP)
    samples: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(repetitions):
        for name, run in passes.items():
            forget(path)
            samples[name].append(run(seconds))
    return samples


def rows_a_second(batches: Callable[[], Iterable[object]]) -> Timed:
    """The pass of a loader, from before it begins; `batches` makes what is iterated anew for
    each."""

    def run(seconds: float) -> float:
        start = time.perf_counter()
        rows, passed = 0, 0.0
        for batch in batches():
            rows += len(batch)
            passed = time.perf_counter() - start
            if passed >= seconds:
                break
        return rows / passed

    return run


def bytes_a_second(batches: Callable[[], Iterable[object]], row: int) -> Timed:
    """The same in bytes, of rows of so many."""
    rows = rows_a_second(batches)
    return lambda seconds: row * rows(seconds)


@cache
def no_fio(path: Path) -> str:
    """Why nothing here is beside fio, to be put into a line; empty if it is."""
    if not shutil.which("fio"):
        return ", fio not installed"
    return "" if _reads_a_block(path) else ", fio refused io_uring or O_DIRECT"


def _reads_a_block(path: Path, *options: str) -> bool:
    command = [*_fio(path), "--rw=read", "--bs=1M", "--io_size=1M", *options]
    return subprocess.run(command, capture_output=True).returncode == 0


def _fio(path: Path) -> list[str]:
    return [
        "fio",
        "--name=cold",
        f"--filename={path}",
        "--readonly",
        "--direct=1",
        "--ioengine=io_uring",
        "--group_reporting",
    ]


def fio(path: Path, field: str, *options: str) -> Timed:
    """What fio reads a second: `iops` or `bw_bytes`, by io_uring and past the page cache."""
    command = [*_fio(path), "--time_based", "--output-format=json", *options]

    def run(seconds: float) -> float:
        # It knows whole seconds of running only.
        ran = subprocess.run(
            [*command, f"--runtime={max(1, round(seconds))}"],
            capture_output=True,
            text=True,
            check=True,
        )
        return float(json.loads(ran.stdout)["jobs"][0]["read"][field])

    return run


def huge_pages_can_be_had(path: Path) -> bool:
    """Whether fio may be allowed to read into huge pages."""
    if not os.access(HUGE_PAGES, os.W_OK):
        return False
    with huge_pages():
        return _reads_a_block(path, "--mem=mmaphuge")


@contextmanager
def huge_pages() -> Iterator[None]:
    """Allows a peer to take huge pages: they are taken when it asks for them, and given back when
    it ends."""
    before = HUGE_PAGES.read_text()
    HUGE_PAGES.write_text(str(max(ENOUGH, int(before))))
    try:
        yield
    finally:
        HUGE_PAGES.write_text(before)


def in_huge_pages(run: Timed) -> Timed:
    """A pass that may take huge pages."""

    def run_in_them(seconds: float) -> float:
        with huge_pages():
            return run(seconds)

    return run_in_them
