"""Timing side by side.

Rationale: a machine's speed drifts (clock, neighbours, memory layout), so calls timed one after the
other are not comparable. Taken in turns (A B A B ...), the drift affects both alike. The median of
the repetitions is reported.

Limitations: the loop of `timeit` around a call is part of every figure (about 10 ns).
"""

import time
import timeit
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

Statement = str | Callable[[], object]
"""A timed statement. A string is compiled into the loop, without the overhead of a function call.
"""

MINIMUM_REPETITIONS = 5
SECONDS_PER_REPETITION = 0.01
"""Long enough to make the cost and resolution of the clock negligible."""


def interleave(
    statements: Mapping[str, Statement],
    namespace: Mapping[str, Any] | None = None,
    *,
    repetitions: int = 9,
    inner: int | None = None,
    rest: float = 0.0,
) -> dict[str, list[float]]:
    """Seconds per execution of each statement, one figure per repetition, taken in turns.

    `inner` is the number of executions per repetition; by default, as many as take about 10 ms.
    `rest` is a pause in seconds before each, for threads that the previous one left running (OpenMP
    threads spin, loaders wind down).
    """
    if repetitions < MINIMUM_REPETITIONS:
        raise ValueError(
            f"{repetitions} repetitions: a median needs at least {MINIMUM_REPETITIONS}"
        )
    timers = {
        name: timeit.Timer(statement, globals=dict(namespace or {}))
        for name, statement in statements.items()
    }
    # Every statement runs before any is timed, to exclude first touches of memory, cold caches and
    # lazy imports.
    counts = {name: inner or _executions(timer) for name, timer in timers.items()}
    for name, timer in timers.items():
        timer.timeit(counts[name])
    samples: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(repetitions):
        for name, timer in timers.items():
            time.sleep(rest)
            samples[name].append(timer.timeit(counts[name]) / counts[name])
    return samples


def _executions(timer: timeit.Timer) -> int:
    """The number of executions per repetition. Early calls are cold, so it grows until they take
    long enough.
    """
    timer.timeit(2)
    count = 1
    while (taken := min(timer.timeit(count), timer.timeit(count))) < SECONDS_PER_REPETITION / 2:
        count *= 2
    return max(1, round(count * SECONDS_PER_REPETITION / taken))


def medians(samples: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of each statement's repetitions."""
    return {name: median(values) for name, values in samples.items()}


def latencies(
    calls: Mapping[str, Callable[..., object]],
    arguments: tuple[object, ...],
    *,
    blocks: int,
    calls_per_block: int,
) -> dict[str, list[int]]:
    """Nanoseconds of every call, sorted; blocks of calls are taken in turns.

    The clock is read before and after each call, which adds `clock_cost` to every figure.
    """
    clock = time.perf_counter_ns
    taken: dict[str, list[int]] = {name: [] for name in calls}
    for block in range(blocks + 1):
        for name, call in calls.items():
            times = [0] * calls_per_block
            for i in range(calls_per_block):
                start = clock()
                call(*arguments)
                times[i] = clock() - start
            if block > 0:  # the first block is the warm-up
                taken[name] += times
    return {name: sorted(times) for name, times in taken.items()}


def clock_cost(reads: int = 10_000) -> float:
    """Nanoseconds that `latencies` adds to a call: the median between two reads of the clock."""
    clock = time.perf_counter_ns
    return float(median(-clock() + clock() for _ in range(reads)))


def percentile(values: list[int], percent: float) -> float:
    """The smallest of the sorted values that `percent` of them do not exceed."""
    rank = -(-len(values) * percent // 100)
    return float(values[max(0, int(rank) - 1)])
