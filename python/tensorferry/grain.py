"""Datasets as data sources of Grain. Grain itself is not imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsIndex

from tensorferry import _arguments, errors
from tensorferry._arguments import INFINITE
from tensorferry.dataset import Dataset
from tensorferry.dataset._methods.checks import check

__all__ = ["Source", "source"]


class Source:
    """A ``grain.RandomAccessDataSource`` over a dataset, which :func:`source` makes. Elements are
    NumPy arrays. It is pickled as the plan of the dataset, for Grain's worker processes, and may be
    read by several threads at once.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset: Dataset = dataset.with_format("numpy")

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: SupportsIndex) -> Any:
        return self._dataset[_arguments.index(index, "a source", "the index")]

    def _getitems(self, indices: Sequence[SupportsIndex]) -> list[Any]:
        """Several elements, gathered together. Grain asks so where it knows the indices of a
        batch.
        """
        return self._dataset.__getitems__(indices)

    def __repr__(self) -> str:
        # States of Grain's DataLoader contain it, and are refused if it differs.
        return f"tensorferry.grain.source({self._dataset!r})"


def source(dataset: Dataset) -> Source:
    """A dataset with random access, for ``grain.MapDataset.source`` and Grain's ``DataLoader``.

    Grain reads element by element, and stacks them. If the dataset is batched already, each element
    is a batch, which one gather makes: ``source(rows.shuffle(seed=7).batch(32))`` is the fast way,
    and Grain's threads and processes read batches.

    The order of a shuffle in the dataset is that of the epoch that ``set_epoch`` set, or else of
    the first, because Grain's iterators ask by index. ``shuffle(seed).repeat(n)`` has an order of
    its own in each repetition; or leave the shuffle to Grain.

    Args:
        dataset: arrays, files, and what follows from these by index arithmetic and maps.

    Raises:
        tensorferry.errors.InvalidTypeError: it is not a dataset.
        tensorferry.errors.InvalidArgumentError: the dataset has no random access, or is infinite.

    >>> import grain
    >>> import tensorferry as tfy
    >>> from tensorferry.grain import source
    >>> batches = tfy.Dataset.range(5).shuffle(seed=7).batch(2)
    >>> for batch in grain.MapDataset.source(source(batches)):
    ...     print(batch)
    [0 2]
    [4 3]
    [1]
    """
    checked: Dataset = check(dataset, "source", "dataset")
    if not checked._plan.is_indexed:
        raise errors.make(
            "argument",
            "source: the dataset has no random access (filter, from_generator and the like), and "
            "Grain reads by index. save() it and load() it, or iterate over it.",
        )
    if checked._plan.cardinality == INFINITE:
        raise errors.make(
            "argument", "source: the dataset is infinite. Take a part of it with take(n)."
        )
    return Source(checked)
