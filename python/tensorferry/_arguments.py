"""Arguments as tf.data takes them: Python's, NumPy's and TensorFlow's numbers alike."""

from __future__ import annotations

import hashlib
import operator
import sys
from typing import Any

import numpy as np

from tensorferry import _foreign, _internal, _python_numbers, errors

#: tf.data.AUTOTUNE: "choose for me".
AUTOTUNE = -1


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


def wholes(value: Any, stage: str, name: str) -> list[int]:
    """Whole numbers: a sequence of them, or one."""
    return [whole(number, stage, name) for number in _several(value)]


def lengths(value: Any, least: int, stage: str, name: str) -> list[int | None]:
    """Lengths of dimensions: a sequence of them, or one; None, as -1, in it stands for what an element has."""
    if value is None:
        raise errors.make("wrong_type", f"{stage}: {name} has to be a length for each dimension, not None")
    return [None if length is None or length == -1 else at_least(length, least, stage, name) for length in _several(value)]


def _several(value: Any) -> list[Any]:
    try:
        return list(value)
    except TypeError:
        return [value]


def seed(value: Any, stage: str) -> int | None:
    """The 64 bits of a seed; None where one is to be drawn. A seed from 0 to 2^64 - 1 is taken as it is; any other is hashed, all of
    it (BLAKE2b of its two's complement, little-endian, in as many bytes as it needs), so that none stands for another."""
    if value is None:
        return None
    number = whole(value, stage, "seed")
    if 0 <= number < 2**64:
        return number
    digits = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return int.from_bytes(hashlib.blake2b(digits, digest_size=8, person=b"tensorferry seed").digest(), "little")


def count(value: Any, stage: str, name: str = "count") -> int | None:
    """A number of elements; None, as for tf.data any negative number, stands for all of them."""
    if value is None:
        return None
    number = whole(value, stage, name)
    return None if number < 0 else number


def source(value: Any, stage: str, exact: bool = False) -> tuple[Any, bool]:
    """An array of numbers that ``_internal`` can read, and whether nothing can change it. Python's numbers get the dtype that TensorFlow
    gives them, or, where they are to be ``exact`` because their dtype is known, one that holds them all."""
    if isinstance(value, _internal.Array):
        return value, True
    if isinstance(value, np.ndarray | _internal.Tensor):
        return _python_numbers.check(value, stage), isinstance(value, _internal.Tensor)
    if isinstance(value, bool | int | float | complex | list | tuple | range | np.generic):
        value = _foreign.rows(value)
        return (_python_numbers.exact if exact else _python_numbers.as_tensor)(value, stage), True
    foreign = _foreign.source(value)
    if foreign is not None:
        return foreign
    dtype = getattr(value, "dtype", None)
    if getattr(dtype, "name", dtype) in ("string", "variant", "resource"):
        raise _python_numbers.no_numbers(stage, dtype)
    if not any(hasattr(value, protocol) for protocol in ("__array__", "__array_interface__", "__dlpack__")):
        array = np.asarray(value)
        # Made of a sequence just now, or over a buffer that others may write.
        return _python_numbers.check(array, stage), array.base is None
    return value, is_immutable(value)


def is_immutable(value: Any) -> bool:
    """Whether a framework promises that its tensor never changes."""
    tensorflow, jax = sys.modules.get("tensorflow"), sys.modules.get("jax")
    return bool(
        (tensorflow is not None and isinstance(value, tensorflow.Tensor)) or (jax is not None and isinstance(value, jax.Array))
    )
