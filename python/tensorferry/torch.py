"""Conversion to PyTorch tensors, and datasets for its ``DataLoader``. Imported on first use."""

from __future__ import annotations

import warnings
from typing import Any, SupportsIndex

from tensorferry import _arguments, _internal
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

__all__ = ["IterableDataset", "convert_to_tensor", "from_tensor"]


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
        return iter(self.dataset.shard(worker.num_workers, worker.id))

    def __len__(self) -> int:
        return len(self.dataset)
