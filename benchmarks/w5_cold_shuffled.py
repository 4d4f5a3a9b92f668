"""W5: 8,000,000 rows of 400 bytes in an .npy file that is not in memory, in a new random order for
each pass.

The bound is the number of reads per second of the device, so the last peers are fio's reads of 4
KiB, which deliver no rows. A row counts as one read, also the one in ten that spans two blocks of 4
KiB.
"""

import mmap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorferry
from cold import cold_file, fio, forgetting, no_fio, rates, rows_a_second
from numpy.typing import NDArray
from rows import Row
from streams import WIDTH, beside, require_rows
from tensorferry import Dataset

MEMORY = 1 << 30
SIZE = 1024
BLOCK, BUFFER = 1024, 64 * 1024
REPETITIONS = 5
LOOKED_AT = 100
"""Compared batches of the plain shuffle; all of them would take minutes."""

MEMMAP, RANDOM = "np.memmap, rows[order], order drawn before", "the same after madvise(MADV_RANDOM)"
BLOCKS = "np.memmap, slices of the blocks, np.concatenate, rows[permutation]"
ONE_QUEUE = "fio, io_uring, O_DIRECT, reads of 4 KiB at random, 64 under way (reads/s)"
TWO_QUEUES = "fio, the same by two jobs at a time (reads/s)"
LEAST = 0.85


def run(*, quick: bool) -> list[Row]:
    """Rows of the plain shuffle, and of the shuffle in blocks."""
    with cold_file(quick=quick) as found:
        return _rows(*found)


def _rows(path: Path, count: int, seconds: float) -> list[Row]:
    order = np.random.default_rng(0).permutation(count)
    seeds = iter(range(1 << 30))

    def shuffled() -> Dataset:
        return _opened(path).shuffle(seed=next(seeds)).batch(SIZE).with_format("numpy")

    def in_blocks() -> Dataset:
        return (
            _opened(path)
            .shuffle(BUFFER, seed=next(seeds), block=BLOCK)
            .batch(SIZE)
            .with_format("numpy")
        )

    passes = {
        "ours": rows_a_second(shuffled),
        MEMMAP: rows_a_second(_gathered(path, order, advice=None)),
        RANDOM: rows_a_second(_gathered(path, order, advice=mmap.MADV_RANDOM)),
        "ours in blocks": rows_a_second(in_blocks),
        BLOCKS: rows_a_second(_blocks(path)),
    }
    peers = {MEMMAP: None, RANDOM: None}
    if not no_fio(path):
        reads = ("--rw=randread", "--bs=4k", "--iodepth=64", "--randrepeat=0")
        passes[ONE_QUEUE] = fio(path, "iops", *reads)
        passes[TWO_QUEUES] = fio(path, "iops", *reads, "--numjobs=2")
        peers |= {ONE_QUEUE: LEAST, TWO_QUEUES: LEAST}
    found = rates(passes, path, seconds=seconds, repetitions=REPETITIONS)
    require_rows(shuffled().take(LOOKED_AT), LOOKED_AT * SIZE, of=count, shuffled=True)
    require_rows(in_blocks(), count, shuffled=True, look_at_every=16)
    what = f"{count:,} rows, cold ({forgetting()}), batches of {SIZE:,}{no_fio(path)}"
    bound = "the device: every row is a read of its own"
    return [
        *beside(found, "ours", peers, workload="W5", what=f"{what}: shuffled", bound=bound),
        *beside(
            found,
            "ours in blocks",
            {BLOCKS: None},
            workload="W5",
            what=f"{what}: shuffle(buffer_size={BUFFER:,}, block={BLOCK:,})",
        ),
    ]


def _opened(path: Path) -> Dataset:
    return Dataset.from_tensor_slices(tensorferry.open(path, mode="direct"))


def _mapped(path: Path, advice: int | None) -> NDArray[np.int32]:
    """The rows as an array on a new mapping, because mapped pages are not dropped."""
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        start = file.tell()
    if advice is not None:
        mapping.madvise(advice)
    return np.frombuffer(mapping, np.int32, offset=start).reshape(-1, WIDTH)


def _gathered(
    path: Path, order: NDArray[np.int64], *, advice: int | None
) -> Callable[[], Iterator[NDArray[np.int32]]]:
    def batches() -> Iterator[NDArray[np.int32]]:
        rows = _mapped(path, advice)
        return (rows[order[start : start + SIZE]] for start in range(0, len(rows), SIZE))

    return batches


def _blocks(path: Path) -> Callable[[], Iterator[NDArray[np.int32]]]:
    random = np.random.default_rng(0)

    def batches() -> Iterator[NDArray[np.int32]]:
        rows = _mapped(path, None)
        starts = random.permutation(-(-len(rows) // BLOCK)) * BLOCK
        for first in range(0, len(starts), BUFFER // BLOCK):
            group = np.concatenate(
                [rows[start : start + BLOCK] for start in starts[first : first + BUFFER // BLOCK]]
            )
            order = random.permutation(len(group))
            for start in range(0, len(group), SIZE):
                yield group[order[start : start + SIZE]]

    return batches
