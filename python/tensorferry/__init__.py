"""Fast, checked conversion of NumPy arrays to TensorFlow, PyTorch and JAX tensors, without copies
where sharing memory is sound.

>>> import numpy as np, tensorferry
>>> tensorferry.tensor(np.array([1, 2, 3]), "int32")
tensorferry.Tensor([1, 2, 3], shape=(3,), dtype=int32)
"""

from tensorferry import _lifetime, checkpoint, errors
from tensorferry._files.opened import Arrays, open, open_raw
from tensorferry._files.save import save
from tensorferry._internal import (
    Array,
    Tensor,
    can_convert,
    convert_into,
    convert_to_tensor,
    empty,
    open_npy,
    save_npy,
    smallest_dtype,
    tensor,
    value_range,
)
from tensorferry._memory import aligned_memory
from tensorferry._nest.ragged import Ragged
from tensorferry._nest.specs import DatasetSpec, TensorSpec
from tensorferry._nest.text import Strings
from tensorferry._ranks import Rank, current_rank
from tensorferry._version import __version__ as __version__
from tensorferry.dataset import Dataset, balanced_weights
from tensorferry.dataset._options import Options
from tensorferry.errors import Error

__all__ = [
    "Array",
    "Arrays",
    "Dataset",
    "DatasetSpec",
    "Error",
    "Options",
    "Ragged",
    "Rank",
    "Strings",
    "Tensor",
    "TensorSpec",
    "aligned_memory",
    "balanced_weights",
    "can_convert",
    "checkpoint",
    "convert_into",
    "convert_to_tensor",
    "current_rank",
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

_lifetime.register()
