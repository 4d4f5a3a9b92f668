"""Strings in elements: their places in a structure, and the objects that they are handed out as."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

#: The name of the dtype in specifications, as in TensorFlow.
STRING = "string"


class _Text:
    """A string's place in a structure: one component, a row of its bytes."""

    def __repr__(self) -> str:
        return "TEXT"

    def __reduce__(self) -> str:
        return "TEXT"


TEXT = _Text()


class Strings(NamedTuple):
    """Strings as their bytes: string ``i`` is ``values[row_splits[i]:row_splits[i + 1]]``.

    Datasets take it in the place of an array of strings. A feature of byte strings in TFRecord
    files is one, whose bytes stay in the files.

    >>> import numpy as np, tensorferry as tfy
    >>> strings = tfy.Strings(np.frombuffer(b"onetwo", np.uint8), [0, 3, 6])
    >>> list(tfy.Dataset.from_tensor_slices(strings).as_numpy_iterator())
    [b'one', b'two']
    """

    #: The bytes of all strings, uint8.
    values: Any
    #: Whole numbers that rise from 0 to ``len(values)``, one more than there are strings.
    row_splits: Any


Strings.__module__ = "tensorferry"


class StringRows(NamedTuple):
    """Several strings in each row: rows of bytes, and rows of splits. In files only."""

    values: Any
    row_splits: Any


class Texts(NamedTuple):
    """The place of several strings, as in a batch: two components, all bytes and row splits. Those
    of strings in two dimensions have two too.
    """

    values: Any
    row_splits: Any


def maker(format: str) -> Callable[[Any], Any]:
    """A function that makes of ``bytes``, or of a list of them, what elements hold: in the format
    "tensorflow" a tensor, in the others ``bytes`` or an array of them.
    """
    return _tensor if format == "tensorflow" else _plain


def _tensor(value: Any) -> Any:
    import tensorflow as tf

    return tf.constant(value, tf.string)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value
    rows = isinstance(value[0], list) if value else False
    array = np.empty((len(value), len(value[0])) if rows else len(value), object)
    array[...] = value
    return array


def shape(row_splits: tuple[int | None, ...] | None) -> tuple[int | None, ...]:
    """The shape of strings, of the shape of their row splits."""
    *outer, splits = row_splits or (None,)
    return (*outer, None if splits is None else splits - 1)
