"""An independent model of plans: their elements in each epoch, as Python lists.

It shares no code with the library. The permutations are the programs of docs/guides/shuffle.md,
extracted and run.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.paths import ROOT

PAGE = (ROOT / "docs/guides/shuffle.md").read_text()


def _programs() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for program in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(re.sub(r"^print\(.*$", "", program, flags=re.MULTILINE), names)
    return names


_NAMES = _programs()
mix, random, order, order_in_blocks, split, sample = (
    _NAMES[name] for name in ("mix", "random", "order", "order_in_blocks", "split", "sample")
)


def child(epoch: int, turn: int) -> int:
    """The epoch of repetition ``turn``, or of the dataset that a function makes from element
    ``turn``.
    """
    return turn if epoch == 0 else mix(epoch ^ mix(turn + 1))


@dataclass
class Plan:
    """A stage over others. Elements are numbers, lists of numbers (batches) and pairs."""

    name: str
    inputs: list[Plan] = field(default_factory=list)
    given: tuple[Any, ...] = ()

    def rows(self, epoch: int) -> list[Any]:
        """The elements of one pass."""
        return STAGES[self.name](self, epoch)

    @property
    def indexed(self) -> bool:
        if self.name == "unbatch" and self.inputs[0].name == "shuffle":
            # A partial batch may be anywhere: rows have no index unless it is dropped.
            _, drop = self.inputs[0].inputs[0].given
            if not drop:
                return False
        return self.name not in STREAMED and all(each.indexed for each in self.inputs)


def _source(plan: Plan, epoch: int) -> list[Any]:
    return list(range(*plan.given))


def _shuffle(plan: Plan, epoch: int) -> list[Any]:
    seed, anew = plan.given
    before = plan.inputs[0].rows(epoch)
    get = order(len(before), random(seed, epoch if anew else 0))
    return [before[get(at)] for at in range(len(before))]


def _blocks(plan: Plan, epoch: int) -> list[Any]:
    seed, block, group = plan.given
    before = plan.inputs[0].rows(epoch)
    return [before[at] for at in order_in_blocks(len(before), block, group, seed, epoch)]


def _select(plan: Plan, epoch: int) -> list[Any]:
    before = plan.inputs[0].rows(epoch)
    return [before[at] for at in plan.given[0] if -len(before) <= at < len(before)]


def _sliced(plan: Plan, epoch: int) -> list[Any]:
    return plan.inputs[0].rows(epoch)[slice(*plan.given)]


def _part(plan: Plan, epoch: int) -> list[Any]:
    """Part ``at`` of two, of which the first has about ``share`` tenths."""
    share, seed, at = plan.given
    before = plan.inputs[0].rows(epoch)
    sizes = split_sizes(len(before), share)
    return [before[index] for index in split(len(before), sizes, seed)[at]]


def split_sizes(n: int, share: int) -> list[int]:
    """The numbers of elements of ``split(share / 10)``."""
    first = (2 * n * share + 10) // 20
    return [first, n - first]


def _sample(plan: Plan, epoch: int) -> list[Any]:
    draws, seed, anew = plan.given
    before = plan.inputs[0].rows(epoch)
    chosen = sample(len(before), draws, seed, epoch if anew else 0) if before else []
    return [before[index] for index in chosen]


def _batch(plan: Plan, epoch: int) -> list[Any]:
    size, drop = plan.given
    before = plan.inputs[0].rows(epoch)
    batches = [before[at : at + size] for at in range(0, len(before), size)]
    return [batch for batch in batches if len(batch) == size or not drop]


def _repeat(plan: Plan, epoch: int) -> list[Any]:
    if plan.given[0] == 1:  # one repetition is the input itself, in its own epoch
        return plan.inputs[0].rows(epoch)
    return [row for turn in range(plan.given[0]) for row in plan.inputs[0].rows(child(epoch, turn))]


def _first(plan: Plan, epoch: int) -> list[Any]:
    return plan.inputs[0].rows(epoch)


def _unique(plan: Plan, epoch: int) -> list[Any]:
    return list(dict.fromkeys(plan.inputs[0].rows(epoch)))


STAGES: dict[str, Callable[[Plan, int], list[Any]]] = {
    "range": _source,
    "shuffle": _shuffle,
    "blocks": _blocks,
    "take": lambda plan, epoch: _first(plan, epoch)[: plan.given[0]],
    "skip": lambda plan, epoch: _first(plan, epoch)[plan.given[0] :],
    "shard": lambda plan, epoch: _first(plan, epoch)[plan.given[1] :: plan.given[0]],
    "batch": _batch,
    "unbatch": lambda plan, epoch: [row for batch in _first(plan, epoch) for row in batch],
    "repeat": _repeat,
    "concatenate": lambda plan, epoch: [row for each in plan.inputs for row in each.rows(epoch)],
    "zip": lambda plan, epoch: [
        a - b for a, b in zip(*(each.rows(epoch) for each in plan.inputs), strict=False)
    ],
    "map": lambda plan, epoch: [3 * row + 1 for row in _first(plan, epoch)],
    "filter": lambda plan, epoch: [row for row in _first(plan, epoch) if row % 3 != 1],
    "select": _select,
    "slice": _sliced,
    "split": _part,
    "sample": _sample,
    "filter_batched": lambda plan, epoch: [row for row in _first(plan, epoch) if row % 3 != 1],
    "take_while": lambda plan, epoch: _take_while(_first(plan, epoch)),
    "twice": lambda plan, epoch: [row for row in _first(plan, epoch) for _ in range(2)],
    "unique": _unique,
    "cache": lambda plan, epoch: _first(plan, 0),
    "prefetch": _first,
}
#: Sequential stages.
STREAMED = {"filter", "filter_batched", "take_while", "twice", "unique"}


def _take_while(before: list[Any]) -> list[Any]:
    at = next((at for at, row in enumerate(before) if row % 7 == 6), len(before))
    return before[:at]


def left_over(rows: list[Any], positions: list[int]) -> list[Any]:
    """The remaining rows, given the position of each shard."""
    shards = len(positions)
    return [row for at, row in enumerate(rows) if at // shards >= positions[at % shards]]
