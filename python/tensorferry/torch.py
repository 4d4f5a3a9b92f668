"""Conversion to PyTorch tensors, and datasets for its ``DataLoader``. Imported on first use."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from copy import copy
from typing import Any, SupportsIndex

import numpy as np

from tensorferry import _arguments, _internal, errors
from tensorferry._frameworks import installed
from tensorferry._internal import Tensor
from tensorferry._typing import Casting, DTypeLike, TensorLike

try:
    import torch
    import torch.utils.data
    import torch.utils.dlpack
except ModuleNotFoundError as error:
    raise installed.missing(error, "torch", "tensorferry.torch") from None

from tensorferry.dataset import Dataset
from tensorferry.dataset._methods.checks import check

__all__ = ["IterableDataset", "Sampler", "convert_to_tensor", "from_tensor"]


def convert_to_tensor(
    value: TensorLike, dtype: DTypeLike | None = None, *, casting: Casting = "checked"
) -> torch.Tensor:
    """A ``torch.Tensor`` of the values, in memory of its own.

    PyTorch has no read-only tensors, and writing to a shared read-only mapping would crash the
    process. The values are therefore always copied, in the same pass that checks and converts them.
    To write through to the source, use ``torch.from_numpy``.

    Args:
        value: an array, or any value that :func:`tensorferry.tensor` takes.
        dtype: a ``torch.dtype``, ``numpy.dtype``, type or name; None keeps the source's.
        casting: ``"checked"``, ``"saturate"`` or ``"wrap"``.
    """
    return torch.utils.dlpack.from_dlpack(_internal.writable_capsule(value, dtype, casting))


def from_tensor(tensor: Tensor) -> torch.Tensor:
    """A ``torch.Tensor`` of a :class:`tensorferry.Tensor`, in memory of its own."""
    return convert_to_tensor(tensor)


class IterableDataset(torch.utils.data.IterableDataset[Any]):  # type: ignore[misc]
    """A dataset for ``DataLoader`` that is iterated in tensorferry's order: its ``shuffle``,
    ``batch``, ``filter`` and so on. Elements are PyTorch tensors.

    With ``num_workers``, each worker yields its part of the elements. If they are batches, pass
    ``batch_size=None`` to the ``DataLoader``: then it yields the same batches in the same order
    with any number of workers. torchdata's ``StatefulDataLoader`` saves and resumes it exactly.

    For random access by PyTorch's samplers, pass a :class:`tensorferry.Dataset` itself. See
    docs/start/pytorch.md.

    Args:
        dataset: the elements, most often batches.

    >>> import tensorferry as tfy
    >>> from tensorferry.torch import IterableDataset
    >>> from torch.utils.data import DataLoader
    >>> batches = tfy.Dataset.range(5).batch(2)
    >>> [batch.tolist() for batch in DataLoader(IterableDataset(batches), batch_size=None)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset: Dataset = check(dataset, "IterableDataset", "dataset").with_format("torch")
        # In shared memory: persistent workers see what set_epoch sets.
        self._epoch = torch.tensor(-1, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: SupportsIndex) -> None:
        """Sets the epoch of the next pass, in workers too. Call it before each epoch if the
        ``DataLoader`` has workers: they are started anew, and cannot count epochs.
        """
        number = _arguments.at_least(epoch, 0, "set_epoch", "epoch")
        self._epoch.fill_(number)

    def __iter__(self) -> _internal.DatasetIterator:
        worker, epoch = torch.utils.data.get_worker_info(), int(self._epoch)
        if epoch >= 0:
            self.dataset.set_epoch(epoch)
            if worker is None:
                self._epoch.fill_(-1)  # later passes are counted here
        elif worker is not None and worker.id == 0 and self.dataset._plan.depends_on_epoch:
            warnings.warn(
                "tensorferry: workers of a DataLoader that are started anew for each epoch repeat "
                "the same order. Call set_epoch(epoch) of the IterableDataset before each epoch.",
                stacklevel=2,
            )
        if worker is None or worker.num_workers == 1:
            return iter(self.dataset)
        # DataLoader takes from its workers in turn: so the order is that of the dataset.
        return iter(self.dataset.shard(worker.num_workers, worker.id, contiguous=False))

    def __len__(self) -> int:
        return len(self.dataset)


class Sampler(torch.utils.data.Sampler[int]):  # type: ignore[misc]
    """A sampler for ``DataLoader`` that yields the numbers of a dataset: any map-style dataset is
    read in tensorferry's order. It resumes in the middle of an epoch.

    Every process takes its part of one order with :meth:`tensorferry.Dataset.for_rank`, and states
    resume on another number of processes. Each pass is the next epoch, unless :meth:`set_epoch`
    sets it.

    torchdata's ``StatefulDataLoader`` saves and resumes the sampler by itself. With a plain
    ``DataLoader``, save :meth:`state_dict` beside the model. Its workers take indices ahead: tell
    ``state_dict`` the position, the number of rows that the model has seen in this epoch.

    Args:
        order: indices of the dataset that is read; each element is one integer.

    Raises:
        tensorferry.errors.InvalidTypeError: ``order`` is not a dataset, or not one of integers.

    >>> import tensorferry as tfy
    >>> from tensorferry.torch import Sampler
    >>> from torch.utils.data import DataLoader
    >>> words = ["a", "b", "c", "d", "e"]
    >>> sampler = Sampler(tfy.Dataset.range(len(words)).shuffle(seed=7).for_rank())
    >>> [batch for batch in DataLoader(words, batch_size=2, sampler=sampler)]
    [['a', 'c'], ['e', 'd'], ['b']]
    """

    def __init__(self, order: Dataset) -> None:
        self._order: Dataset = check(order, "Sampler", "order").with_format("numpy")
        spec = self._order.element_spec
        if getattr(spec, "shape", None) != () or np.dtype(spec.dtype).kind not in "iu":
            raise errors.make(
                "wrong_type",
                f"Sampler: each element of order has to be one integer, not {spec!r}. For the "
                "order of a dataset of rows, shuffle their numbers: "
                "tensorferry.Dataset.range(len(rows)).shuffle(seed).",
            )
        self._pass: _Pass | None = None
        # The iterator of a state, which the next pass continues.
        self._resumed: _internal.DatasetIterator | None = None

    def __iter__(self) -> _Pass:
        self._pass = _Pass(self)
        return self._pass

    def __len__(self) -> int:
        return len(self._order)

    def set_epoch(self, epoch: SupportsIndex) -> None:
        """Sets the epoch of the next pass. The epoch of a state that was just loaded keeps its
        position: training loops call this also for the epoch that they resume.
        """
        number = _arguments.at_least(epoch, 0, "set_epoch", "epoch")
        if self._resumed is None or self._resumed.state_dict()["epoch"] != number:
            self._resumed = None
            self._order.set_epoch(number)

    def state_dict(self, position: SupportsIndex | None = None) -> dict[str, Any]:
        """The position in the pass that runs, or where the next one begins.

        Args:
            position: how many indices of the epoch are done; None for as many as were taken, which
                is right unless the workers of a ``DataLoader`` take them ahead.
        """
        state = self._state() if self._pass is None else self._pass.state_dict()
        if position is None:
            return state
        done = _arguments.at_least(position, 0, "state_dict", "position")
        return {**state, "position": done}

    def load_state_dict(self, state: Any) -> None:
        """Lets the next pass continue from a state, or from the states of all processes of a run:
        see docs/concepts/states.md.

        Raises:
            tensorferry.errors.InvalidArgumentError: the state is of another order, or damaged.
        """
        self._resumed = self._loaded(state)
        self._pass = None

    def _loaded(self, state: Any) -> _internal.DatasetIterator:
        iterator = iter(self._order)
        iterator.load_state_dict(state)
        return iterator

    def _state(self) -> dict[str, Any]:
        """The state of a pass that begins now."""
        # A pass over the order itself would count as its next epoch.
        begun = iter(copy(self._order)) if self._resumed is None else self._resumed
        return begun.state_dict()

    def _begin(self) -> _internal.DatasetIterator:
        begun = iter(self._order) if self._resumed is None else self._resumed
        self._resumed = None
        return begun


class _Pass(Iterator[int]):
    """The indices of one epoch. It begins at the first index, because loaders also make passes that
    they drop. ``StatefulDataLoader`` saves it and the sampler.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._iterator: _internal.DatasetIterator | None = None

    def __next__(self) -> int:
        if self._iterator is None:
            self._iterator = self._sampler._begin()
        return int(next(self._iterator))

    def state_dict(self) -> dict[str, Any]:
        return self._sampler._state() if self._iterator is None else self._iterator.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self._iterator = self._sampler._loaded(state)
        self._sampler._resumed = None
