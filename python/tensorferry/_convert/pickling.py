"""Pickling of tensors: dtype, shape and elements, which protocol 5 can carry out of band."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from tensorferry import _internal
from tensorferry._internal import Tensor


def reduce(tensor: Tensor, protocol: int) -> tuple[Callable[..., Tensor], tuple[Any, ...]]:
    """The value of ``Tensor.__reduce_ex__``."""
    array = np.ascontiguousarray(tensor.numpy()).reshape(tensor.shape)
    raw = array.reshape(-1).view(np.uint8)
    data = pickle.PickleBuffer(raw.data) if protocol >= 5 else raw.tobytes()
    dtype = tensor.dtype.name if tensor.dtype.isbuiltin == 2 else tensor.dtype.str
    return rebuild, (data, dtype, tensor.shape)


def rebuild(data: Any, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor that :func:`reduce` described."""
    if dtype == "bfloat16":
        import ml_dtypes

        array = np.frombuffer(data, dtype=ml_dtypes.bfloat16)
    else:
        array = np.frombuffer(data, dtype=dtype)
    return _internal.tensor(array.reshape(shape))
