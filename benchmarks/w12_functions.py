"""W12: a Python function of about 1 ms for each element: with threads if it releases the GIL, with
processes if it holds it; and one of about 0.1 us, for which neither can help.

The rates are those of the steady state of all, after the workers have started and the queues are
full. The time to the first element has rows of its own.
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
CHEAP_COUNT = 40_000
"""Elements of a pass of the cheap function."""

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


def cheap(x: Any) -> Any:
    """Returns its argument."""
    return x


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


def _plan(function: Callable[[Any], np.int64], count: int = COUNT, **options: Any) -> Dataset:
    numbers = Dataset.range(2 * count).with_format("numpy")
    return numbers.map(function, output_signature=SPEC, **options)


def _ours(function: Callable[[Any], np.int64], **options: Any) -> Iterator[Any]:
    return iter(_plan(function, **options))


def _executor(function: Callable[[Any], np.int64]) -> Iterator[Any]:
    with ThreadPoolExecutor(WORKERS) as pool:
        yield from pool.map(function, range(2 * COUNT))


def run(*, quick: bool) -> list[Row]:
    """Rows for the function that releases the GIL, and for the one that holds it."""
    repetitions = 5 if quick else 9
    return [
        *_threads(repetitions),
        *_processes(repetitions),
        *_cheap(repetitions),
        *_starts(repetitions),
    ]


def _threads(repetitions: int) -> list[Row]:
    ways = {
        THREADS: lambda: _ours(releasing, num_parallel_calls=WORKERS),
        ONE: lambda: _ours(releasing),
        EXECUTOR: lambda: _executor(releasing),
    }
    return _rows("a function that releases the GIL", releasing, ways, {ONE: 1.8}, repetitions)


def _processes(repetitions: int) -> list[Row]:
    ways = {
        PROCESSES: lambda: _ours(holding, num_parallel_calls=WORKERS, workers="processes"),
        ONE: lambda: _ours(holding),
        LOADER: lambda: _loader(holding),
        GRAIN: lambda: _grain(holding),
    }
    return _rows("a function that holds the GIL", holding, ways, {ONE: 1.7}, repetitions)


def _cheap(repetitions: int) -> list[Row]:
    rows = []
    for name, options in (
        (THREADS, {}),
        (PROCESSES, {"workers": "processes"}),
    ):
        ways = {
            name: lambda options=options: _ours(
                cheap, count=CHEAP_COUNT, num_parallel_calls=WORKERS, **options
            ),
            ONE: lambda: _ours(cheap, count=CHEAP_COUNT),
        }
        rows += _rows("a cheap function", cheap, ways, {}, repetitions, CHEAP_COUNT)
    return rows


def _starts(repetitions: int) -> list[Row]:
    """Rows of the time to the first element of a later iteration, and of a new plan."""
    options = {"num_parallel_calls": WORKERS, "workers": "processes"}
    plan = _plan(holding, **options)
    next(iter(plan))
    again, new = "first element of a later pass", "first element of a new plan"
    ways = {
        again: lambda: iter(plan),
        new: lambda: _ours(holding, **options),
        LOADER: lambda: _loader(holding),
        GRAIN: lambda: _grain(holding),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, begin in ways.items():
            start = time.perf_counter()
            elements = begin()
            next(elements)
            found[name].append(time.perf_counter() - start)
            del elements
    return [
        _row(f"{PROCESSES}, {ours}", ours, peer, found, "s", None)
        for ours in (again, new)
        for peer in (LOADER, GRAIN)
    ]


def _rows(
    what: str,
    function: Callable[[Any], np.int64],
    ways: dict[str, Callable[[], Iterator[Any]]],
    least: dict[str, float],
    repetitions: int,
    count: int = COUNT,
) -> list[Row]:
    """Rows of the first way against the others. Workers start before the time is taken."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    expected = [int(function(i)) for i in range(count)]
    for _ in range(repetitions):
        for name, begin in ways.items():
            elements = begin()
            # As many as run ahead when the time begins: the rate is that of the steady state.
            values = [int(next(elements)) for _ in range(count // 4)]
            start = time.perf_counter()
            values += [int(value) for value in islice(elements, count - len(values))]
            found[name].append((count - count // 4) / (time.perf_counter() - start))
            if values != expected:
                raise AssertionError(f"{name}: wrong values")
            del elements
    ours, *peers = ways
    return [
        _row(f"{what}, {ours}", ours, peer, found, "rows/s", least.get(peer, 1.0)) for peer in peers
    ]


def _row(
    what: str,
    ours: str,
    peer: str,
    found: dict[str, list[float]],
    unit: str,
    target: float | None,
) -> Row:
    return Row(
        workload="W12",
        what=what,
        ours=median(found[ours]),
        peer_name=peer,
        peer=median(found[peer]),
        unit=unit,
        target=target,
        samples={name: found[name] for name in (ours, peer)},
    )
