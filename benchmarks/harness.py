"""Timing side by side.

Rationale: a machine's speed drifts (clock, neighbours, memory layout), so two calls timed one after
the other are not comparable; taken in turns (A B A B ...) the drift meets both alike. What is
reported is the median of the repetitions.

Limitations: the loop around a call is `timeit`'s and is part of every figure, ours and the peers'
alike (about 10 ns).
"""

import time
import timeit
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

Statement = str | Callable[[], object]
"""What is timed. A string is compiled into the loop, so that no function call of ours is added to
what it does.
"""

MINIMUM_REPETITIONS = 5
SECONDS_PER_REPETITION = 0.01
"""Long enough that the clock's own cost and resolution do not matter."""


def interleave(
    statements: Mapping[str, Statement],
    namespace: Mapping[str, Any] | None = None,
    *,
    repetitions: int = 9,
    inner: int | None = None,
    rest: float = 0.0,
) -> dict[str, list[float]]:
    """Seconds per execution of each statement, one figure for each repetition, taken in turns.

    `inner` is how often a statement runs within one repetition; without it, as often as takes about
    10 ms. `rest` is how many seconds to wait before each, for threads that the one before left
    running (OpenMP's spin for a while, a loader's wind down).
    """
    if repetitions < MINIMUM_REPETITIONS:
        raise ValueError(
            f"{repetitions} repetitions: a median needs at least {MINIMUM_REPETITIONS}"
        )
    timers = {
        name: timeit.Timer(statement, globals=dict(namespace or {}))
        for name, statement in statements.items()
    }
    # Every statement is run before any is timed: first touches of memory, caches and lazy imports
    # are not its speed.
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
    """How many executions fill a repetition. Early calls say little, being cold, so the number
    grows until time passes.
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
    """Nanoseconds of every single call, sorted; blocks of calls are taken in turns.

    The clock is read before and after each call, which adds the same to every figure (see
    `clock_cost`).
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
    """Nanoseconds that `latencies` adds to every call: the median distance of two reads of the
    clock.
    """
    clock = time.perf_counter_ns
    return float(median(-clock() + clock() for _ in range(reads)))


def percentile(values: list[int], percent: float) -> float:
    """The smallest of the sorted values that `percent` of them do not exceed."""
    rank = -(-len(values) * percent // 100)
    return float(values[max(0, int(rank) - 1)])
