"""``train_iterator``: the part of a Ray Train worker, whose position is in Train's checkpoint."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, SupportsIndex

from tensorferry import _arguments, _internal, _ranks, checkpoint, errors
from tensorferry._frameworks import installed
from tensorferry.dataset import Dataset
from tensorferry.dataset._methods.checks import check

_NAME = re.compile(r"[A-Za-z0-9_]+")


def train_iterator(
    dataset: Dataset,
    batch_size: SupportsIndex | None = None,
    *,
    drop_remainder: bool = False,
    name: str = "train",
) -> TrainIterator:
    """The batches of a worker of Ray Train: of ``dataset.for_rank()``, which has the elements of
    this worker alone. It begins where the checkpoint that Train restores was saved.

    What counts is the rows that were consumed. A run that lost a node continues with fewer workers,
    or more, or with another batch size, and each row comes once in the epoch.

    Args:
        dataset: shuffled with a seed, or by a plan that all workers get, and not yet batched.
        batch_size: the elements of a batch of each worker; None for single elements.
        drop_remainder: whether to leave out a last batch of fewer elements.
        name: of the iterator, if there are several: letters, digits and underscores.

    Raises:
        tensorferry.errors.InvalidArgumentError: the checkpoint has no state of this iterator, or
            not that of every worker, or is one of another plan.
        ModuleNotFoundError: Ray Train is not installed: ``pip install 'ray[train]'``.

    >>> import os, tempfile, tensorferry as tfy
    >>> from ray.train import Checkpoint, RunConfig, ScalingConfig, report
    >>> from ray.train.torch import TorchTrainer
    >>> from tensorferry.ray import train_iterator
    >>> def train(config):
    ...     rows = tfy.Dataset.range(12).shuffle(seed=7).with_format("numpy")
    ...     batches = train_iterator(rows, batch_size=3)
    ...     for epoch in range(batches.epoch, 2):
    ...         for batch in batches:
    ...             with tempfile.TemporaryDirectory() as folder:
    ...                 batches.save(folder)  # beside the model's files
    ...                 report({"epoch": epoch}, checkpoint=Checkpoint.from_directory(folder))
    >>> trainer = TorchTrainer(
    ...     train,
    ...     scaling_config=ScalingConfig(num_workers=2),
    ...     run_config=RunConfig(storage_path=tempfile.mkdtemp()),
    ... )
    >>> trainer.fit().metrics
    {'epoch': 1}
    """
    check(dataset, "ray.train_iterator", "dataset")
    if not _NAME.fullmatch(name):
        raise errors.make(
            "argument",
            f"ray.train_iterator: name has letters, digits and underscores, not {name!r}",
        )
    try:
        import ray.train
    except ModuleNotFoundError as error:
        raise installed.missing(error, "ray", "tensorferry.ray.train_iterator") from None

    rank = _ranks.find("ray.train_iterator")
    mine = dataset.for_rank(rank.rank, rank.world)
    if batch_size is not None:
        size = _arguments.positive(batch_size, "ray.train_iterator", "batch_size")
        mine = mine.batch(size, drop_remainder=drop_remainder)
    made = TrainIterator(mine, rank, name)
    restored = ray.train.get_checkpoint() if rank.source == "Ray Train" else None
    if restored is not None:
        with restored.as_directory() as folder:
            made.load(folder)
    return made


class TrainIterator:
    """The batches of one worker, epoch by epoch. Made by :func:`train_iterator`.

    Each ``for`` loop is the rest of an epoch: all of it, or what is left after a checkpoint. A loop
    that is left early is continued by the next one.
    """

    def __init__(self, dataset: Dataset, rank: _ranks.Rank, name: str) -> None:
        self._dataset, self._rank, self._name = dataset, rank, name
        self._iterator: _internal.DatasetIterator | None = None

    @property
    def epoch(self) -> int:
        """The number of the epoch that the next loop is of, from 0."""
        if self._iterator is None:
            epoch, _, _ = self._dataset._plan.progress()
            return epoch
        return int(self._iterator.state_dict()["epoch"])

    def __iter__(self) -> Iterator[Any]:
        current = self._current()
        yield from current
        # The epoch has ended, unless a state was loaded meanwhile.
        if self._iterator is current:
            self._iterator = None

    def state_dict(self) -> dict[str, Any]:
        """The position of this worker: JSON, a few hundred bytes."""
        return self._current().state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from a state of this worker, or from one that
        :func:`tensorferry.checkpoint.merge` made of those of all workers.
        """
        iterator = iter(self._dataset)
        iterator.load_state_dict(state)
        self._iterator = iterator

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the position of this worker to a folder, which every worker reports to Train, as
        ``Checkpoint.from_directory(folder)``: its part of one checkpoint.
        """
        path = Path(folder, self._file(self._rank.rank, self._rank.world))
        path.write_text(json.dumps(self.state_dict()))

    def load(self, folder: str | os.PathLike[str]) -> None:
        """Continues from the positions of all workers of a checkpoint, however many they were.

        Raises:
            tensorferry.errors.InvalidArgumentError: the folder has no state of this iterator, or
                not that of every worker, or is one of another plan.
        """
        found = sorted(Path(folder).glob(self._file("*", "*")))
        if not found:
            raise errors.make(
                "argument",
                f"ray.train_iterator: the checkpoint has no state of {self._name!r}. Each worker "
                "writes its own before it reports: iterator.save(folder).",
            )
        self.load_state_dict(checkpoint.merge(json.loads(path.read_text()) for path in found))

    def _current(self) -> _internal.DatasetIterator:
        if self._iterator is None:
            self._iterator = iter(self._dataset)
        return self._iterator

    def _file(self, rank: object, world: object) -> str:
        return f"tensorferry-{self._name}-{rank}-of-{world}.json"
