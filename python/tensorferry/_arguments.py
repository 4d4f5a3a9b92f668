"""Arguments as tf.data takes them: numbers of Python, NumPy and TensorFlow alike."""

from __future__ import annotations

import contextlib
import hashlib
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from tensorferry import errors

#: tf.data.AUTOTUNE: "choose for me".
AUTOTUNE = -1
#: Cardinalities: no end, and known only from iterating.
INFINITE, UNKNOWN = -1, -2
#: The greatest and the least int64.
GREATEST, LEAST = 2**63 - 1, -(2**63)


def shown(value: Any) -> str:
    """A value in a message. Long integers and long texts are shortened."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"{'-' if value < 0 else ''}2**{value.bit_length() - 1} and more"
    try:
        text = repr(value)
    except Exception:  # `__repr__` may raise anything
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def index(value: Any, stage: str, name: str) -> int:
    """A whole number of any size: a Python or NumPy int, or a tensor of one."""
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except Exception:  # TypeError, and what frameworks raise for tensors without a value
            pass
    raise errors.make("wrong_type", f"{stage}: {name} has to be a whole number, not {shown(value)}")


def whole(value: Any, stage: str, name: str) -> int:
    """A whole number of 64 bits: a Python or NumPy int, or a tensor of one."""
    number = index(value, stage, name)
    if not LEAST <= number <= GREATEST:
        raise errors.make(
            "values_do_not_fit",
            f"{stage}: {name} has to be at least {LEAST} and at most {GREATEST}, "
            f"not {shown(number)}",
        )
    return number


def flag(value: Any, stage: str, name: str) -> bool:
    """True or False, of Python, NumPy or a tensor. Accepts 0, 1 and None, as tf.data does."""
    if (
        value is None
        or isinstance(value, bool | np.bool_)
        or (isinstance(value, int) and value in (0, 1))
    ):
        return bool(value)
    if (
        getattr(getattr(value, "dtype", None), "name", None) == "bool"
        and getattr(value, "shape", None) == ()
    ):
        return bool(value)
    raise errors.make("wrong_type", f"{stage}: {name} has to be True or False, not {shown(value)}")


def number(value: Any, stage: str, name: str) -> float:
    """A real number."""
    try:
        if not isinstance(value, str | bytes):
            return float(value)
    except (
        Exception
    ):  # TypeError, ValueError, and what frameworks raise for tensors without a value
        pass
    raise errors.make("wrong_type", f"{stage}: {name} has to be a number, not {shown(value)}")


def shape(value: Any, stage: str) -> list[int]:
    """A shape whose lengths are all known: a sequence of lengths, or one length."""
    if isinstance(value, str | bytes):
        raise errors.make(
            "wrong_type",
            f"{stage}: shape has to be a length, or a sequence of lengths, not {shown(value)}",
        )
    return [at_least(length, 0, stage, "every length of shape") for length in several(value)]


def check_name(value: Any, stage: str) -> None:
    """Refuses a ``name`` that is not a str: most often a second array, or a second dataset."""
    if value is None or isinstance(value, str):
        return
    if stage in ("from_tensor_slices", "from_tensors"):
        raise errors.make(
            "wrong_type",
            f"{stage}: takes one structure of arrays; the second argument is a name, a str, not "
            f"a {type(value).__name__}. For two arrays side by side pass a tuple: "
            f"{stage}((x, y)).",
        )
    raise errors.make("wrong_type", f"{stage}: name has to be a str, not {shown(value)}")


def positive(value: Any, stage: str, name: str) -> int:
    """A whole number of at least 1."""
    return at_least(value, 1, stage, name)


def at_least(value: Any, least: int, stage: str, name: str) -> int:
    """A whole number of at least ``least``."""
    number = whole(value, stage, name)
    if number < least:
        raise errors.make(
            "argument", f"{stage}: {name} has to be at least {least}, not {shown(number)}"
        )
    return number


def wholes(value: Any, stage: str, name: str) -> list[int]:
    """Whole numbers: a sequence of them, or one."""
    return [whole(number, stage, name) for number in several(value)]


def lengths(value: Any, least: int, stage: str, name: str) -> list[int | None]:
    """Lengths of dimensions: a sequence of them, or one. None and -1 mean an unknown length."""
    if value is None:
        raise errors.make(
            "wrong_type", f"{stage}: {name} has to be a length for each dimension, not None"
        )
    return [
        None if is_unknown(length) else at_least(length, least, stage, name)
        for length in several(value)
    ]


def is_unknown(length: Any) -> bool:
    """Whether a length is unknown before there are elements: None, or -1."""
    return length is None or (isinstance(length, int | np.integer) and length == -1)


def several(value: Any) -> list[Any]:
    """The parts of a sequence; any other value alone."""
    if isinstance(value, str | bytes):
        return [value]
    try:
        return list(value)
    except Exception:  # TypeError, and what frameworks raise for tensors without dimensions
        return [value]


def seed(value: Any, stage: str) -> int | None:
    """The 64 bits of a seed; None to draw one.

    A seed from 0 to 2^64 - 1 stays as it is. Any other is hashed as a whole (BLAKE2b of its
    two's complement, little-endian, in as many bytes as it needs), so that different seeds do not
    collide.
    """
    if value is None:
        return None
    number = index(value, stage, "seed")
    if 0 <= number < 2**64:
        return number
    digits = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return int.from_bytes(
        hashlib.blake2b(digits, digest_size=8, person=b"tensorferry seed").digest(), "little"
    )


def count(value: Any, stage: str, name: str = "count") -> int | None:
    """A number of elements; None, or as in tf.data any negative number, means all of them."""
    if value is None:
        return None
    number = index(value, stage, name)
    return None if number < 0 else min(number, GREATEST)  # no dataset has more


@contextlib.contextmanager
def named(stage: str) -> Iterator[None]:
    """Puts the name of the stage before the message of a tensorferry error."""
    try:
        yield
    except errors.Error as error:
        if str(error).startswith(f"{stage}:"):
            raise
        raise errors.make(error.code, f"{stage}: {error}") from None
