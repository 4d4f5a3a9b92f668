"""W12: a Python function of about 1 ms for each element: with threads if it releases the GIL, with
processes if it holds it.
"""

import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from statistics import median
from typing import Any

import grain
import numpy as np
import torch
from absl import flags
from rows import Row
from tensorferry import Dataset, TensorSpec

MEMORY = 1 << 30
COUNT = 400
"""Elements of a pass."""
WORKERS = 2
BYTES = 1 << 16
LEVEL = 6
STEPS = 12_000
"""Additions of the function that holds the GIL."""

THREADS, PROCESSES = "two threads", "two processes"
ONE = "one call at a time"
EXECUTOR, LOADER, GRAIN = (
    "ThreadPoolExecutor(2).map",
    "torch DataLoader, 2 workers",
    "grain mp_prefetch, 2 workers",
)

_TEXT = np.random.default_rng(0).integers(0, 48, BYTES, dtype=np.uint8).tobytes()
SPEC = TensorSpec((), "int64")


def releasing(x: Any) -> np.int64:
    """Compresses: releases the GIL for nearly all of its time."""
    return np.int64(len(zlib.compress(_TEXT[int(x) :], LEVEL)))


def holding(x: Any) -> np.int64:
    """Adds in Python."""
    total = int(x)
    for step in range(STEPS):
        total += step
    return np.int64(total)


class Mapped(torch.utils.data.Dataset):
    """The results by index, for a `DataLoader`."""

    def __init__(self, function: Callable[[Any], np.int64]) -> None:
        self.function = function

    def __len__(self) -> int:
        return 2 * COUNT

    def __getitem__(self, index: int) -> np.int64:
        return self.function(index)


def _as_is(batch: Any) -> Any:
    return batch


def _loader(function: Callable[[Any], np.int64]) -> Iterator[Any]:
    loader = torch.utils.data.DataLoader(
        Mapped(function),
        batch_size=None,
        num_workers=WORKERS,
        multiprocessing_context="spawn",
        collate_fn=_as_is,
    )
    return iter(loader)


def _grain(function: Callable[[Any], np.int64]) -> Iterator[Any]:
    flags.FLAGS.mark_as_parsed()  # grain reads its options there
    dataset = grain.MapDataset.range(2 * COUNT).map(function).to_iter_dataset()
    return iter(dataset.mp_prefetch(grain.multiprocessing.MultiprocessingOptions(WORKERS)))


def _ours(function: Callable[[Any], np.int64], **options: Any) -> Iterator[Any]:
    numbers = Dataset.range(2 * COUNT).with_format("numpy")
    return iter(numbers.map(function, output_signature=SPEC, **options))


def _executor(function: Callable[[Any], np.int64]) -> Iterator[Any]:
    with ThreadPoolExecutor(WORKERS) as pool:
        yield from pool.map(function, range(2 * COUNT))


def run(*, quick: bool) -> list[Row]:
    """Rows for the function that releases the GIL, and for the one that holds it."""
    repetitions = 5 if quick else 9
    return [*_threads(repetitions), *_processes(repetitions)]


def _threads(repetitions: int) -> list[Row]:
    ways = {
        THREADS: lambda: _ours(releasing, num_parallel_calls=WORKERS),
        ONE: lambda: _ours(releasing),
        EXECUTOR: lambda: _executor(releasing),
    }
    return _rows("a function that releases the GIL", releasing, ways, 1.8, repetitions)


def _processes(repetitions: int) -> list[Row]:
    ways = {
        PROCESSES: lambda: _ours(holding, num_parallel_calls=WORKERS, workers="processes"),
        ONE: lambda: _ours(holding),
        LOADER: lambda: _loader(holding),
        GRAIN: lambda: _grain(holding),
    }
    return _rows("a function that holds the GIL", holding, ways, 1.7, repetitions)


def _rows(
    what: str,
    function: Callable[[Any], np.int64],
    ways: dict[str, Callable[[], Iterator[Any]]],
    least: float,
    repetitions: int,
) -> list[Row]:
    """Rows of the first way against the others. Workers start before the time is taken."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    expected = [int(function(i)) for i in range(COUNT)]
    for _ in range(repetitions):
        for name, begin in ways.items():
            elements = begin()
            # As many as run ahead when the time begins: the rate is that of the steady state.
            values = [int(next(elements)) for _ in range(COUNT // 4)]
            start = time.perf_counter()
            values += [int(value) for value in islice(elements, COUNT - len(values))]
            found[name].append((COUNT - COUNT // 4) / (time.perf_counter() - start))
            if values != expected:
                raise AssertionError(f"{name}: wrong values")
            del elements
    ours, *peers = ways
    return [
        Row(
            workload="W12",
            what=f"{what}, {ours}",
            ours=median(found[ours]),
            peer_name=peer,
            peer=median(found[peer]),
            unit="rows/s",
            target=least if peer == ONE else 1.0,
            samples={name: found[name] for name in (ours, peer)},
        )
        for peer in peers
    ]
