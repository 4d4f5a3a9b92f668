"""Python's numbers, and lists of them, as arrays: of the dtype that TensorFlow gives them, and never of another value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tensorferry import _internal, errors

#: The kinds of NumPy dtypes that are numbers; ml_dtypes' are of kind V.
_KINDS = "biufcV"
_INT64 = np.iinfo(np.int64)


def as_tensor(value: Any, stage: str) -> Any:
    """What ``tf.convert_to_tensor`` makes of it: int32 if all integers fit, else int64; float32; complex128. The first number says which
    of these it is, and it is an error if another is of no such kind."""
    first = _first(value)
    if isinstance(value, list) and hasattr(first, "dtype") and not isinstance(first, np.generic):
        return check(stacked(value, f"{stage}: a list"), stage)
    array = exact(value, stage)
    if first is None:
        return array.astype(np.float32)
    if isinstance(value, np.generic):
        return array
    if isinstance(first, bool | np.bool_):
        return array if array.dtype.kind == "b" else _mixed(value, stage)
    if isinstance(first, complex | np.complexfloating):
        return array.astype(np.complex128)
    if array.dtype.kind in "iu":
        if array.size and int(array.max()) > _INT64.max:
            _too_large(value, stage)
        return array.astype(np.int32 if _internal.can_convert(array, np.int32) else np.int64)
    if array.dtype.kind != "f":
        return _mixed(value, stage)
    dtype = first.dtype if isinstance(first, np.float64 | np.float16) else np.dtype(np.float32)
    if not _internal.can_convert(array, dtype):
        raise errors.make(
            "values_do_not_fit",
            f"{stage}: {value!r:.80} holds numbers beyond {dtype}. Give them a dtype: numpy.array(value, numpy.float64).",
        )
    return array.astype(dtype, copy=False)


def exact(value: Any, stage: str) -> Any:
    """The array that NumPy makes of it, of a dtype that holds every number."""
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise errors.make("argument", f"{stage}: {value!r:.80} is no array of numbers: {error}") from None
    if array.dtype.kind == "O" and array.size and all(isinstance(number, int) for number in array.flat):
        return _too_large(value, stage)
    if array.dtype == np.float64 and isinstance(_first(value), int | np.integer):
        return _floats(array, value, stage)
    return check(array, stage)


def _floats(array: Any, value: Any, stage: str) -> Any:
    """An array of floats, unless NumPy made them of integers that no integer dtype holds together: int64's and uint64's."""
    integers = [int(number) for number in _leaves(value) if isinstance(number, int | np.integer)]
    if len(integers) == array.size and min(integers) >= 0:
        return np.array(value, np.uint64)
    return _too_large(value, stage) if max(integers) > _INT64.max else array


def stacked(values: list[Any], what: str) -> Any:
    """A list that holds arrays or numbers with a dtype as one array of that dtype: as in TensorFlow, it has to be the same for all. Any
    other list is returned as it is."""
    dtypes = _dtypes_in(values)
    if not dtypes:
        return values
    if len(dtypes) > 1:
        raise errors.make(
            "wrong_type",
            f"{what} is stacked into one tensor, but its parts are of {', '.join(sorted(dtypes))}. Cast them to one dtype.",
        )
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise errors.make("unequal_shapes", f"{what} cannot be stacked into one tensor: {error}") from None
    (dtype,) = dtypes
    return array if array.dtype.name == dtype else _internal.tensor(array, dtype)  # numbers without a dtype beside it


def _dtypes_in(value: Any) -> set[str]:
    """The dtypes that the leaves of a list bring along."""
    if isinstance(value, list | tuple):
        return {name for part in value for name in _dtypes_in(part)}
    dtype = getattr(value, "dtype", None)
    return set() if dtype is None else {str(getattr(dtype, "name", dtype)).removeprefix("torch.")}


def check(array: Any, stage: str) -> Any:
    """The array; refused if it holds something else than numbers."""
    dtype = array.dtype
    if dtype.kind not in _KINDS or dtype.names:
        raise no_numbers(stage, dtype)
    return array


def no_numbers(stage: str, dtype: Any) -> errors.Error:
    """The error of an array that holds something else than numbers."""
    return errors.make(
        "unsupported_dtype",
        f"{stage}: an array of dtype {getattr(dtype, 'name', dtype)}: tensorferry's datasets carry numbers. Turn strings and "
        "objects into numbers first (numpy.unique(return_inverse=True)), or keep them in tf.data.",
    )


def _first(value: Any) -> Any:
    """The first number or array in a list of lists; None if there is nothing."""
    while isinstance(value, list | tuple | range):
        if not value:
            return None
        value = value[0]
    return value


def _leaves(value: Any) -> Iterator[Any]:
    if not isinstance(value, list | tuple | range):
        yield value
        return
    for part in value:
        yield from _leaves(part)


def _mixed(value: Any, stage: str) -> Any:
    raise errors.make("argument", f"{stage}: {value!r:.80} mixes kinds of numbers. Give them a dtype: numpy.array(value, dtype).")


def _too_large(value: Any, stage: str) -> Any:
    raise errors.make(
        "argument", f"{stage}: {value!r:.80} holds integers beyond int64. Give them a dtype: numpy.array(value, numpy.uint64)."
    )
