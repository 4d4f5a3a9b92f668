"""Ranks of a run that save their states now and then, so that they may be killed at any step."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tensorferry as tfy
from tensorferry import checkpoint


def part(
    rows: tfy.Dataset, world: int, rank: int, size: int, drop_remainder: bool = False
) -> tfy.Dataset:
    """The batches of a rank."""
    batches = rows.for_rank(rank, world).batch(size, drop_remainder=drop_remainder)
    return batches.with_format("numpy")


def begun(dataset: tfy.Dataset, state: dict[str, Any] | None, epoch: int) -> Any:
    """An iterator that continues after a state; without one, it begins the epoch."""
    if state is None:
        dataset.set_epoch(epoch)
    iterator = iter(dataset)
    if state is not None:
        iterator.load_state_dict(state)
    return iterator


class SavingRank:
    """Trains on the rows of an iterator. A file holds its state, with the rows that it had trained
    on by then.
    """

    def __init__(self, iterator: Any, file: Path) -> None:
        self.iterator, self.file = iterator, file
        self.trained: list[int] = []
        self.save()

    def save(self) -> None:
        """Replaces the file."""
        saved = {"state": self.iterator.state_dict(), "trained": self.trained}
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(saved))
        os.replace(new, self.file)

    def steps(self, every: int) -> Iterator[int]:
        """Yields the number of each step before it is made. What follows the last save is lost if
        the rank is killed there, or if the loop over the steps is left.
        """
        for step, batch in enumerate(self.iterator):
            yield step
            self.trained += batch.tolist()
            if step % every == 0:
                self.save()
        self.save()


def merged(files: Iterable[Path]) -> tuple[dict[str, Any], list[int]]:
    """The state of a run, of the files of its ranks, and the rows that it was trained on."""
    saved = [json.loads(file.read_text()) for file in files]
    trained = itertools.chain.from_iterable(rank["trained"] for rank in saved)
    return checkpoint.merge(rank["state"] for rank in saved), list(trained)
