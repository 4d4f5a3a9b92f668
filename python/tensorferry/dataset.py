"""``tensorferry.Dataset``: arrays as batches, in any order, converted on the way, resumable. tf.data's names and results."""

from __future__ import annotations

from typing import Any

from tensorferry import _arguments, _internal, _structure
from tensorferry._dataset_base import recorded
from tensorferry._dataset_stages import Stages

__all__ = ["Dataset"]


class Dataset(Stages):
    """A sequence of elements: tensors, or tuples, dicts and namedtuples of them.

    A dataset is a plan: immutable, and nothing is read until it is iterated. Each iteration is the next epoch. Elements are tensors of
    TensorFlow unless :meth:`with_format` says otherwise.

    >>> import numpy as np, tensorferry as tfy
    >>> dataset = tfy.Dataset.from_tensor_slices({"x": np.arange(4.0), "y": np.arange(4)}).batch(3).with_format("numpy")
    >>> for batch in dataset:
    ...     print(batch["y"])
    [0 1 2]
    [3]
    """

    __slots__ = ()

    @staticmethod
    @recorded
    def from_tensor_slices(tensors: Any, name: str | None = None) -> Dataset:
        """The rows of arrays: element ``i`` is row ``i`` of each. Nothing is copied.

        Args:
            tensors: an array, or a tuple, dict or namedtuple of arrays with the same number of rows. A list is stacked into one array.
                Arrays are NumPy's (memory-mapped ones too), tensors of any framework, whatever has ``__array__`` or ``__dlpack__``.
                What can change (a writable array) is copied batch by batch, so that a batch already handed out never does.

        Raises:
            tensorferry.errors.ValueError: the numbers of rows differ, an array has no rows, or holds no numbers.
            tensorferry.errors.TypeError: a masked array.

        >>> import tensorferry as tfy
        >>> list(tfy.Dataset.from_tensor_slices(([1, 2], [3.0, 4.0])).with_format("numpy"))
        [(np.int32(1), np.float32(3.0)), (np.int32(2), np.float32(4.0))]
        """
        sources = [_arguments.source(leaf, "from_tensor_slices") for leaf in _structure.flatten(tensors)]
        return Dataset._of(_internal.from_tensor_slices(sources), _structure.structure_of(tensors), "tensorflow")
