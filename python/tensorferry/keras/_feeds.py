"""What ``fit`` reads: the batches of a dataset, in passes that begin where a callback says."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator
from typing import Any, Protocol

import keras

from tensorferry._arguments import INFINITE
from tensorferry._internal import DatasetIterator
from tensorferry.dataset import Dataset
from tensorferry.dataset._options import limits


class Feed(Protocol):
    """Batches for ``fit``."""

    @property
    def data(self) -> Any:
        """What ``fit`` takes."""

    @property
    def opened(self) -> int:
        """How many passes were opened since ``begin``."""

    def begin(self, epoch: int, position: int, skipped: int, whole: bool) -> None:
        """Sets where the next pass begins, and every pass until the next call.

        Args:
            epoch: the epoch of the order.
            position: the first batch.
            skipped: the number of steps for which ``fit`` does not train.
            whole: whether ``fit`` stops after the last batch by counting its steps.
        """

    def has_fillers(self, whole: bool) -> bool:
        """Whether the pass has a batch without a meaning for each step that does not train."""


def feed(dataset: Dataset) -> Feed:
    """The batches of a dataset for Keras's backend."""
    if keras.backend.backend() == "tensorflow":
        return _TensorFlowFeed(dataset)
    return _PythonFeed(dataset)


class _TensorFlowFeed:
    """Native ops, without Python in the loop."""

    def __init__(self, dataset: Dataset) -> None:
        from tensorferry._frameworks.tf_passes import Passes

        self._dataset = dataset.with_format("numpy")
        self._finite = dataset._plan.cardinality != INFINITE
        self._passes = Passes(dataset._plan, dataset._structure, limits(dataset._options))
        self.begin(0, 0, 0, True)

    @property
    def data(self) -> Any:
        return self._passes.dataset

    @property
    def opened(self) -> int:
        return self._passes.opened

    def begin(self, epoch: int, position: int, skipped: int, whole: bool) -> None:
        # A pass keeps its length. Batches without a meaning at its end are never read if `fit`
        # counts; at its start they have to be read, one by one.
        state = _begun(self._dataset, epoch, position).state_dict()
        front = position if self.has_fillers(whole) else 0
        self._passes.begin(base64.b64decode(state["data"]), position, front)

    def has_fillers(self, whole: bool) -> bool:
        return self._finite and not whole


class _PythonFeed(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches in the dataset's order, whatever the index that Keras asks for: ``fit`` shuffles the
    indices unless it is told not to. Needs no TensorFlow.
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        # PyTorch warns of NumPy's read-only arrays.
        torch = keras.backend.backend() == "torch"
        self._dataset = dataset.with_format("torch" if torch else "numpy")
        self._length = dataset._plan.cardinality
        self._start = (0, 0, 0)
        self._batches: Iterator[Any] | None = None
        self.opened = 0

    @property
    def data(self) -> Any:
        return self

    @property
    def num_batches(self) -> int | None:
        return None if self._length == INFINITE else self._length

    def begin(self, epoch: int, position: int, skipped: int, whole: bool) -> None:
        self._start = (epoch, position, skipped)
        self._batches = None
        self.opened = 0

    def has_fillers(self, whole: bool) -> bool:
        return True

    def on_epoch_begin(self) -> None:
        """Keras calls this before each pass, and in the middle of an infinite one."""
        if self._length != INFINITE:
            self._batches = None

    def __getitem__(self, index: int) -> Any:
        if self._batches is None:
            self._batches = self._opened_pass()
        return next(self._batches)

    def _opened_pass(self) -> Iterator[Any]:
        self.opened += 1
        epoch, position, skipped = self._start
        batches = _begun(self._dataset, epoch, position)
        if not skipped:
            return map(as_tuple, batches)
        # Any batch will do for the steps that do not train: one of them is computed.
        filler = self._dataset[0]
        return map(as_tuple, itertools.chain(itertools.repeat(filler, skipped), batches))


def _begun(dataset: Dataset, epoch: int, position: int) -> DatasetIterator:
    """A pass over a dataset that begins at ``position``."""
    batches = iter(dataset)
    batches.load_state_dict(batches.state_dict() | {"epoch": epoch, "position": position})
    return batches


def as_tuple(batch: Any) -> Any:
    """A batch as ``PyDataset`` has to return it."""
    return batch if isinstance(batch, tuple | dict) else (batch,)
