"""``Ragged``: rows of different lengths, as two arrays."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple


class Ragged(NamedTuple):
    """Rows of different lengths: row ``i`` is ``values[row_splits[i]:row_splits[i + 1]]``.

    Datasets take it in the place of an array, and :meth:`Dataset.ragged_batch` returns it in the
    formats other than "tensorflow".

    >>> import numpy as np, tensorferry as tfy
    >>> rows = tfy.Ragged(np.array([1, 2, 3, 4, 5]), np.array([0, 2, 2, 5]))
    >>> [row.tolist() for row in tfy.Dataset.from_ragged(rows).as_numpy_iterator()]
    [[1, 2], [], [3, 4, 5]]
    """

    #: All values, one row after the other.
    values: Any
    #: Whole numbers that rise from 0 to ``len(values)``, one more than there are rows.
    row_splits: Any


Ragged.__module__ = "tensorferry"


def framework(values: Any, row_splits: Any) -> Any:
    """The ragged tensor of the framework that the values belong to.

    PyTorch's nested tensors import Triton, which ends the process beside TensorFlow (both register
    options of LLVM). So PyTorch's users make them: ``nested_tensor_from_jagged(*batch)``.
    """
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and tensorflow.is_tensor(values):
        return tensorflow.RaggedTensor.from_row_splits(values, row_splits, validate=False)
    return Ragged(values, row_splits)
