"""NumPy arrays to TensorFlow, PyTorch and JAX tensors: checked, without copies where that is sound,
fast.

>>> import numpy as np, tensorferry
>>> tensorferry.tensor(np.array([1, 2, 3]), "int32")
tensorferry.Tensor([1, 2, 3], shape=(3,), dtype=int32)
"""

from __future__ import annotations

import atexit

from tensorferry import errors
from tensorferry._files.opened import Arrays, open, open_raw, save
from tensorferry._internal import (
    Array,
    Tensor,
    can_convert,
    convert_into,
    convert_to_tensor,
    empty,
    interpreter_exits,
    open_npy,
    save_npy,
    smallest_dtype,
    tensor,
    value_range,
)
from tensorferry._memory import aligned_memory
from tensorferry._nest.specs import DatasetSpec, TensorSpec
from tensorferry.dataset import Dataset
from tensorferry.dataset._base import Options
from tensorferry.errors import Error

__all__ = [
    "Array",
    "Arrays",
    "Dataset",
    "DatasetSpec",
    "Error",
    "Options",
    "Tensor",
    "TensorSpec",
    "aligned_memory",
    "can_convert",
    "convert_into",
    "convert_to_tensor",
    "empty",
    "errors",
    "open",
    "open_npy",
    "open_raw",
    "save",
    "save_npy",
    "smallest_dtype",
    "tensor",
    "value_range",
]

__version__ = "0.1.0"

# A tensor may be dropped by a framework's thread after the interpreter is gone; from now on such
# drops leave Python alone.
atexit.register(interpreter_exits)
