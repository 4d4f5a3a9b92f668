"""W10: token rows (mean 200) packed into windows of 2,048, 16 in a batch: tokens, segments and
positions, in order, shuffled by row, and where rows fit best.
"""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from rows import Row
from streams import beside, over, rates
from tensorferry import Dataset

MEMORY = 2 << 30
COUNT, QUICK_COUNT = 200_000, 50_000
LENGTH = 2048
SIZE = 16
MEAN = 200
PREFETCH = 4
ARRAYS = 3
"""tokens, segment_ids, positions"""

MEMCPY = "memcpy of as many bytes, into reused memory"
LOOP = "NumPy: a loop over the rows of a window"
LEAST = 0.5


def run(*, quick: bool) -> list[Row]:
    """Bytes of batches per second, against memcpy and a loop in NumPy."""
    count = QUICK_COUNT if quick else COUNT
    random = np.random.default_rng(0)
    lengths = random.gamma(2.0, MEAN / 2, count).astype(np.int64) + 1
    splits = np.concatenate([[0], np.cumsum(lengths)])
    values = random.integers(1, 50_000, splits[-1], dtype=np.int32)
    values.flags.writeable = False
    rows = Dataset.from_ragged(values, splits)
    plans = {
        "in order": rows.pack(LENGTH),
        "rows shuffled": rows.shuffle(seed=7).pack(LENGTH),
        "best fit": rows.pack(LENGTH, strategy="best_fit"),
    }
    found = []
    for name, plan in plans.items():
        found += _rows(values, splits, name, plan, repetitions=5 if quick else 7)
    return found


def _rows(
    values: NDArray, splits: NDArray, name: str, plan: Dataset, repetitions: int
) -> list[Row]:
    size = ARRAYS * values.nbytes
    ours = plan.batch(SIZE).prefetch(PREFETCH).with_format("numpy")
    passes = {
        "ours": over(lambda: ours, size),
        MEMCPY: over(lambda: _memcpy(values), size),
        LOOP: over(lambda: _loop(values, splits), size),
    }
    found = rates(passes, repetitions=repetitions)
    _check(ours, values, splits, name == "in order")
    what = f"{len(splits) - 1:,} rows of {MEAN} int32 on average, windows of {LENGTH:,}, {name}"
    peers = {MEMCPY: LEAST, LOOP: 1.0}
    return beside(found, "ours", peers, workload="W10", what=what, unit="B/s")


def _memcpy(values: NDArray) -> Iterator[None]:
    out = np.empty((ARRAYS, SIZE * LENGTH), np.int32)
    for at in range(0, len(values), SIZE * LENGTH):
        part = values[at : at + SIZE * LENGTH]
        for array in out:
            array[: len(part)] = part
        yield


def _loop(values: NDArray, splits: NDArray) -> Iterator[tuple[NDArray, ...]]:
    """Windows of one row of tokens after the other. A loop over the cuts of each window."""
    for first in range(0, len(values), SIZE * LENGTH):
        flat = values[first : first + SIZE * LENGTH]
        tokens = np.zeros((SIZE, LENGTH), np.int32)
        tokens.reshape(-1)[: len(flat)] = flat
        segments, positions = np.zeros_like(tokens), np.zeros_like(tokens)
        for window in range(-(-len(flat) // LENGTH)):
            start = first + window * LENGTH
            end = min(start + LENGTH, len(values))
            low, high = np.searchsorted(splits, [start, end], "right")
            cuts = [start, *splits[low:high].tolist(), end]
            for number, (a, b) in enumerate(itertools.pairwise(cuts), 1):
                segments[window, a - start : b - start] = number
                positions[window, a - start : b - start] = np.arange(b - a)
        yield tokens, segments, positions


def _check(batches: Dataset, values: NDArray, splits: NDArray, in_order: bool) -> None:
    if in_order:
        for ours, other in zip(batches, _loop(values, splits), strict=True):
            for key, array in zip(("tokens", "segment_ids", "positions"), other, strict=True):
                if not np.array_equal(ours[key], array[: len(ours[key])]):
                    raise AssertionError(f"{key} differ")
        return
    total = sum(int(batch["tokens"].sum(dtype=np.int64)) for batch in batches)
    if total != int(values.sum(dtype=np.int64)):
        raise AssertionError("tokens are missing")
