"""Arguments as tf.data takes them: Python's, NumPy's and TensorFlow's numbers alike."""

from __future__ import annotations

import operator
import sys
from typing import Any

import numpy as np

from tensorferry import _internal, errors

#: tf.data.AUTOTUNE: "choose for me".
AUTOTUNE = -1

#: The kinds of NumPy dtypes that are numbers; ml_dtypes' are of kind V.
_NUMBERS = "biufcV"


def whole(value: Any, stage: str, name: str) -> int:
    """An argument that has to be a whole number: a Python or NumPy int, or a tensor of one."""
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise errors.make("wrong_type", f"{stage}: {name} has to be a whole number, not {value!r}")


def positive(value: Any, stage: str, name: str) -> int:
    """A whole number of at least 1."""
    return at_least(value, 1, stage, name)


def at_least(value: Any, least: int, stage: str, name: str) -> int:
    """A whole number that is not less than another."""
    number = whole(value, stage, name)
    if number < least:
        raise errors.make("argument", f"{stage}: {name} has to be at least {least}, not {number}")
    return number


def seed(value: Any, stage: str) -> int | None:
    """The 64 bits of a seed; None where one is to be drawn."""
    return None if value is None else whole(value, stage, "seed") & (2**64 - 1)


def count(value: Any, stage: str, name: str = "count") -> int | None:
    """A number of elements; None, as for tf.data any negative number, stands for all of them."""
    if value is None:
        return None
    number = whole(value, stage, name)
    return None if number < 0 else number


def source(value: Any, stage: str) -> tuple[Any, bool]:
    """An array of numbers that ``_internal`` can read, and whether nothing can change it."""
    if isinstance(value, np.ndarray | _internal.Tensor):
        return _numbers(value, stage), isinstance(value, _internal.Tensor)
    if isinstance(value, bool | int | float | complex | list | tuple | range | np.generic):
        return as_tensor(value, stage), True
    dtype = getattr(value, "dtype", None)
    if getattr(dtype, "name", dtype) in ("string", "variant", "resource"):
        raise _no_numbers(stage, dtype)
    if not any(hasattr(value, protocol) for protocol in ("__array__", "__array_interface__", "__dlpack__")):
        return _numbers(np.asarray(value), stage), True
    return value, is_immutable(value)


def is_immutable(value: Any) -> bool:
    """Whether a framework promises that its tensor never changes."""
    tensorflow, jax = sys.modules.get("tensorflow"), sys.modules.get("jax")
    return bool(
        (tensorflow is not None and isinstance(value, tensorflow.Tensor)) or (jax is not None and isinstance(value, jax.Array))
    )


def as_tensor(value: Any, stage: str) -> Any:
    """Python's numbers and lists as an array of the dtype that ``tf.convert_to_tensor`` gives them: int32 if they fit, float32."""
    if isinstance(value, np.generic):
        return _numbers(np.asarray(value), stage)
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise errors.make("argument", f"{stage}: {value!r:.80} is no array of numbers: {error}") from None
    _numbers(array, stage)
    if array.dtype == np.float64 and not _holds_arrays(value):
        return array.astype(np.float32)
    if array.dtype == np.int64 and not _holds_arrays(value) and _internal.can_convert(array, "int32"):
        return array.astype(np.int32)
    return array


def _holds_arrays(value: Any) -> bool:
    """Whether a list's leaves bring their own dtype."""
    while isinstance(value, list | tuple):
        if not value:
            return False
        value = value[0]
    return hasattr(value, "dtype") and getattr(value, "ndim", 0) > 0


def _numbers(array: Any, stage: str) -> Any:
    dtype = array.dtype
    if dtype.kind not in _NUMBERS or dtype.names:
        raise _no_numbers(stage, dtype)
    return array


def _no_numbers(stage: str, dtype: Any) -> errors.Error:
    return errors.make(
        "unsupported_dtype",
        f"{stage}: an array of dtype {getattr(dtype, 'name', dtype)}: tensorferry's datasets carry numbers. Turn strings and "
        "objects into numbers first (numpy.unique(return_inverse=True)), or keep them in tf.data.",
    )
