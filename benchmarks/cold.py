"""A file that is not in memory, and the maximum rate of its device.

Rationale: a pass over a cold file warms it. So the file is dropped from the page cache before every
pass of every candidate, and a pass ends after a fixed time: by page faults alone, the whole file
would take hours. fio measures the device on the same file for as long, in turns with the others.

Limitations: the host of a virtual machine has its own cache, which cannot be dropped from here.
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
"""Seconds of each untimed first pass, for imports and allocations."""

COUNT, QUICK_COUNT = 8_000_000, 500_000
"""The number of rows of the file, of 400 bytes each."""
SECONDS, QUICK_SECONDS = 1.0, 0.5
"""Seconds of a pass."""

Timed = Callable[[float], float]
"""A pass that ends after the given seconds and returns its rate in rows or bytes per second."""


@contextmanager
def cold_file(*, quick: bool) -> Iterator[tuple[Path, int, float]]:
    """A file of rows, their number, and the duration of a pass over it."""
    count, seconds = (QUICK_COUNT, QUICK_SECONDS) if quick else (COUNT, SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        write_rows(path, count)
        yield path, count, seconds


def forgetting() -> str:
    """How files are dropped from the page cache, in words."""
    return (
        f"{DROP_CACHES} before each pass"
        if os.access(DROP_CACHES, os.W_OK)
        else "posix_fadvise(DONTNEED) before each pass"
    )


def forget(path: Path) -> None:
    """Drop the pages of a file from the page cache. (Mapped pages stay.)"""
    if os.access(DROP_CACHES, os.W_OK):
        DROP_CACHES.write_text("1")
        return
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def rates(
    passes: Mapping[str, Timed], path: Path, *, seconds: float, repetitions: int
) -> dict[str, list[float]]:
    """The rate of each pass, one figure per repetition, taken in turns."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)  # dirty pages are not dropped
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
    """The pass of a loader, including its start; `batches` makes a new iterable for each."""

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
    """The same in bytes, for rows of `row` bytes."""
    rows = rows_a_second(batches)
    return lambda seconds: row * rows(seconds)


@cache
def no_fio(path: Path) -> str:
    """The reason for a missing comparison with fio; empty if fio is available."""
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
    """The rate of fio: `iops` or `bw_bytes`, with io_uring and past the page cache."""
    command = [*_fio(path), "--time_based", "--output-format=json", *options]

    def run(seconds: float) -> float:
        # fio accepts whole seconds only.
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
    """Allows a peer to allocate huge pages, which the system takes back at its end."""
    before = HUGE_PAGES.read_text()
    HUGE_PAGES.write_text(str(max(ENOUGH, int(before))))
    try:
        yield
    finally:
        HUGE_PAGES.write_text(before)


def in_huge_pages(run: Timed) -> Timed:
    """A pass that may use huge pages."""

    def run_in_them(seconds: float) -> float:
        with huge_pages():
            return run(seconds)

    return run_in_them
