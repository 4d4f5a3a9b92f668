"""Loaders side by side: rows or batches per second.

Rationale: a plain loop that keeps nothing times a pass from its first batch to its last. It
includes all work of a loader for a pass: its iterator, its threads, and a new order if rows are
shuffled.

Limitations: a much slower loader is timed on part of a pass, of `Pass.count` rows.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from harness import interleave
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from rows import Row

REST = 0.01
"""Seconds between two passes."""


@dataclass(frozen=True)
class Pass:
    """One pass over a loader's batches."""

    run: Callable[[], object]
    count: int
    """The number of rows (or batches) of a pass."""


def over(batches: Callable[[], Iterable[object]], count: int) -> Pass:
    """The pass of an iterable loader; `batches` makes a new iterable for each pass."""

    def run() -> None:
        for _ in batches():
            pass

    return Pass(run, count)


def rates(passes: Mapping[str, Pass], *, repetitions: int) -> dict[str, list[float]]:
    """Rows (or batches) per second of each loader, one figure per repetition, taken in turns."""
    samples = interleave(
        {name: each.run for name, each in passes.items()},
        repetitions=repetitions,
        inner=1,
        rest=REST,
    )
    return {
        name: [passes[name].count / taken for taken in times] for name, times in samples.items()
    }


def beside(
    found: Mapping[str, list[float]],
    ours: str,
    peers: Mapping[str, float | None],
    *,
    workload: str,
    what: str,
    unit: str = "rows/s",
    target_least: float | None = None,
    bound: str = "",
) -> list[Row]:
    """A row against each peer. `peers` holds the required ratio; rows without one get
    `target_least`.
    """
    return [
        Row(
            workload=workload,
            what=what,
            ours=median(found[ours]),
            peer_name=peer,
            peer=median(found[peer]),
            unit=unit,
            target=target,
            target_least=target_least if target is None else None,
            bound=bound,
            samples={"ours": found[ours], "peer": found[peer]},
        )
        for peer, target in peers.items()
    ]


WIDTH = 100
"""Elements of a row: with int32 it is 400 bytes."""
AT_ONCE = 1_000_000
"""Rows per write."""


def numbered_rows(count: int) -> NDArray[np.int32]:
    """Numbered rows: row i is 100 i, 100 i + 1, ..."""
    return np.arange(count * WIDTH, dtype=np.int32).reshape(count, WIDTH)


def write_rows(path: Path, count: int) -> None:
    """Write `numbered_rows(count)` as `.npy`, which leaves the file in the page cache."""
    file = open_memmap(path, mode="w+", dtype=np.int32, shape=(count, WIDTH))
    part = numbered_rows(min(AT_ONCE, count))
    for start in range(0, count, AT_ONCE):
        file[start : start + AT_ONCE] = part[: count - start]
        part += AT_ONCE * WIDTH
    del file


def require_rows(
    batches: Iterable[object],
    count: int,
    *,
    shuffled: bool,
    of: int | None = None,
    look_at_every: int = 1,
) -> NDArray[np.int64]:
    """Check that each of `numbered_rows(count)` comes once and is intact. Return their order.

    With `of`, they are `count` distinct rows of `numbered_rows(of)`. The first element of each row
    is checked, and all elements of every `look_at_every`-th batch.
    """
    columns = np.arange(WIDTH, dtype=np.int32)
    numbers = []
    for at, batch in enumerate(batches):
        array = np.asarray(batch)
        if at % look_at_every == 0 and not np.array_equal(array, array[:, :1] + columns):
            raise AssertionError(f"batch {at} holds rows that are not in the source")
        numbers.append(array[:, 0] // WIDTH)
    order = np.concatenate(numbers).astype(np.int64)
    times = np.bincount(order, minlength=of or count)
    if len(order) != count or len(times) > (of or count) or np.any(times > 1):
        raise AssertionError("a row is missing or repeated")
    if np.array_equal(order, np.arange(count)) == shuffled:
        raise AssertionError(f"expected the rows {'shuffled' if shuffled else 'in order'}")
    return order
