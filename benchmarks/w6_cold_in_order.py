"""W6: the same cold file in order: the share of the device's rate that a pass delivers.

A device reads faster into large pages, because it needs fewer addresses. So fio appears twice: with
default pages, and with huge pages (`--mem=mmaphuge`), which the system must allow.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import tensorferry
from cold import (
    bytes_a_second,
    cold_file,
    fio,
    forgetting,
    huge_pages_can_be_had,
    in_huge_pages,
    no_fio,
    rates,
)
from numpy.typing import NDArray
from rows import Row
from streams import WIDTH, beside, require_rows
from tensorferry import Dataset

MEMORY = 1 << 30
SIZE = 1024
ROW = 4 * WIDTH
REPETITIONS = 5

MEMMAP = "np.memmap, np.array(rows[i:j])"
INTO = "readinto(memory that is there), posix_fadvise(SEQUENTIAL)"
FIO = "fio, io_uring, O_DIRECT, reads of 1 MiB in order, 8 under way"
FIO_HUGE = "fio, the same into huge pages (--mem=mmaphuge)"
LEAST = 0.9


def run(*, quick: bool) -> list[Row]:
    """Rows against reads through the page cache, and against fio."""
    with cold_file(quick=quick) as found:
        return _rows(*found)


def _rows(path: Path, count: int, seconds: float) -> list[Row]:
    def in_order(mode: Literal["direct", "read"]) -> Dataset:
        return (
            Dataset.from_tensor_slices(tensorferry.open(path, mode=mode))
            .batch(SIZE)
            .with_format("numpy")
        )

    passes = {
        "ours": bytes_a_second(lambda: in_order("direct"), ROW),
        'mode="read"': bytes_a_second(lambda: in_order("read"), ROW),
        MEMMAP: bytes_a_second(_mapped(path), ROW),
        INTO: bytes_a_second(_into(path), ROW),
    }
    peers: dict[str, float | None] = {MEMMAP: None, INTO: None}
    if not no_fio(path):
        reads = ("--rw=read", "--bs=1M", "--iodepth=8")
        passes[FIO] = fio(path, "bw_bytes", *reads)
        peers[FIO] = LEAST
        if huge_pages_can_be_had(path):
            passes[FIO_HUGE] = in_huge_pages(fio(path, "bw_bytes", *reads, "--mem=mmaphuge"))
            peers[FIO_HUGE] = LEAST
    found = rates(passes, path, seconds=seconds, repetitions=REPETITIONS)
    for mode in ("direct", "read"):
        require_rows(in_order(mode), count, shuffled=False, look_at_every=16)
    what = (
        f"{count:,} rows of {ROW} bytes, cold ({forgetting()}), in order, batches of "
        f"{SIZE:,}{no_fio(path)}"
    )
    bound = (
        "what fio leaves out: copying each byte to its batch, and two threads that take "
        "turns, while fewer reads are under way"
    )
    return [
        *beside(found, "ours", peers, workload="W6", what=what, unit="B/s", bound=bound),
        *beside(
            found,
            'mode="read"',
            {MEMMAP: None, INTO: None},
            workload="W6",
            what=f'{what}, mode="read"',
            unit="B/s",
        ),
    ]


def _mapped(path: Path) -> Callable[[], Iterator[NDArray[np.int32]]]:
    def batches() -> Iterator[NDArray[np.int32]]:
        rows = np.asarray(
            np.load(path, mmap_mode="r")
        )  # mapped again, because mapped pages are not dropped
        return (np.array(rows[start : start + SIZE]) for start in range(0, len(rows), SIZE))

    return batches


def _into(path: Path) -> Callable[[], Iterator[NDArray[np.int32]]]:
    batch = np.empty((SIZE, WIDTH), np.int32)

    def batches() -> Iterator[NDArray[np.int32]]:
        with path.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            while read := file.readinto(batch):
                yield batch[: read // ROW]

    return batches
