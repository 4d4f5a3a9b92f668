"""Strings, as NumPy, TensorFlow, pandas, polars and Arrow hold them, as rows of bytes."""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np

from tensorferry import errors
from tensorferry._nest.text import Strings

#: Bytes, how the numbers say where rows lie, and the numbers, as in :mod:`ragged`.
Part: TypeAlias = tuple[tuple[Any, bool], str, list[tuple[Any, bool]]]

#: NumPy's kinds of dtypes of strings.
_KINDS = "SUT"
#: Strings to encode at a time.
_ROWS = 1 << 16


def is_arrow(kind: Any) -> bool:
    """Whether an Arrow type is that of strings."""
    types = sys.modules["pyarrow"].types
    return _is_string(kind.value_type if types.is_dictionary(kind) else kind)


def is_text(value: Any) -> bool:
    """Whether a value is a string, or an array, list or column of strings."""
    if isinstance(value, str | bytes | Strings):
        return True
    if isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray):
        return value.dtype.kind in _KINDS or _starts(value)
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], str | bytes)
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and isinstance(value, tensorflow.Tensor):
        return bool(value.dtype == tensorflow.string)
    return _arrow(value) is not None or _column(value) is not None


def _starts(array: Any) -> bool:
    """Whether the first object of an array is a string."""
    return array.dtype.kind == "O" and array.size > 0 and isinstance(array.flat[0], str | bytes)


def shape(value: Any) -> tuple[int | None, ...]:
    """The shape of strings, with None for every length."""
    if isinstance(value, list | Strings):
        return (None,)
    return (None,) * (1 if _arrow(value) is not None else _array(value).ndim)


def parts(value: Any, what: str) -> list[Part]:
    """The rows of bytes of strings in one dimension, for ``_internal.from_ragged``."""
    arrow = _arrow(value)
    if arrow is not None:
        return _of_arrow(arrow, what)
    bytes_, splits = whole(value, what)
    return [((bytes_, True), "splits", [(splits, True)])]


def _one_dimension(splits: Any, what: str) -> None:
    if splits.ndim > 1:
        shape = (len(splits), splits.shape[1] - 1)
        raise errors.make(
            "argument",
            f"{what}: strings of shape {shape}: rows hold one string each. Pass the columns: a "
            "dict of them.",
        )


def whole(value: Any, what: str) -> tuple[Any, Any]:
    """As :func:`rows`, of strings in one dimension."""
    bytes_, splits = rows(value, what)
    _one_dimension(splits, what)
    return bytes_, splits


def rows(value: Any, what: str) -> tuple[Any, Any]:
    """The bytes of strings in memory, and their row splits. Strings in two dimensions have as many
    rows of splits.
    """
    if isinstance(value, Strings):
        return _of_splits(value, what)
    arrow = _arrow(value)
    if arrow is not None:
        return _in_memory(_of_arrow(arrow, what))
    array = _array(value)
    if array.ndim == 0:
        raise errors.make(
            "argument", f"{what}: one string, where an array or a list of strings is due"
        )
    if array.ndim == 2:
        bytes_, splits = rows(array.reshape(-1), what)
        width = array.shape[1]
        starts = np.arange(len(array))[:, None] * width
        return bytes_, splits[starts + np.arange(width + 1)]
    if array.ndim > 2:
        raise errors.make(
            "argument",
            f"{what}: strings of shape {array.shape}: an element holds one string, or strings in "
            "one or two dimensions",
        )
    if array.dtype.kind in "SU":
        return _of_array(array, what)
    return joined([row(item, f"{what}: row {at}") for at, item in enumerate(array.tolist())])


def row(value: Any, what: str) -> bytes:
    """The bytes of one string; of text, in UTF-8."""
    if type(value) is bytes:
        return value
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise errors.make("argument", f"{what}: {error}") from None
    if not isinstance(value, list | tuple) and is_text(value):
        array = _array(value)
        if array.ndim == 0:
            return row(array.item(), what)
        raise errors.make(
            "element_mismatch", f"{what}: strings of shape {array.shape}, where one string is due"
        )
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
        raise errors.make(
            "null_values",
            f"{what} is {value}, and a string is not null. Fill it, or drop that row.",
        )
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    raise errors.make(
        "wrong_type", f"{what} is of type {kind}, where a string is due: str or bytes. Convert it."
    )


def _array(value: Any) -> Any:
    """Strings as an array of NumPy."""
    column = _column(value)
    if column is not None:
        return column
    if isinstance(value, str | bytes):
        scalar = np.empty((), object)
        scalar[()] = value
        return scalar
    if isinstance(value, list | tuple):
        array = np.empty(len(value), object)
        array[:] = value
        return array
    if isinstance(value, np.ndarray):
        return value
    value = value.numpy()  # a tensor of TensorFlow
    return value if isinstance(value, np.ndarray) else _array(value)


def _of_array(array: Any, what: str) -> tuple[Any, Any]:
    """The strings of an array of fixed width, without the zeros that fill it."""
    values, lengths = [], []
    for start in range(0, len(array), _ROWS):
        part = array[start : start + _ROWS]
        if part.dtype.kind == "U":
            try:
                part = np.char.encode(part, "utf-8")
            except UnicodeEncodeError as error:
                raise errors.make("argument", f"{what}: {error}") from None
        lengths.append(np.char.str_len(part).astype(np.int64))
        width = part.dtype.itemsize
        if width:
            block = np.ascontiguousarray(part).view(np.uint8).reshape(-1, width)
            values.append(block[np.arange(width) < lengths[-1][:, None]])
    return _whole(values, np.concatenate([np.zeros(1, np.int64), *lengths]).cumsum())


def _of_splits(strings: Strings, what: str) -> tuple[Any, Any]:
    """The bytes and row splits of strings, read into memory and checked."""
    values, splits = (np.asarray(part[:] if hasattr(part, "paths") else part) for part in strings)
    if values.dtype != np.uint8 or values.ndim != 1:
        raise errors.make(
            "argument",
            f"{what}: the values of Strings are bytes: uint8 in one dimension, not {values.dtype} "
            f"of shape {values.shape}",
        )
    falls = splits.ndim != 1 or splits.dtype.kind not in "iu" or not splits.size
    if falls or splits[0] != 0 or splits[-1] != len(values) or (np.diff(splits) < 0).any():
        raise errors.make(
            "argument",
            f"{what}: the row_splits of Strings have to rise from 0 to the number of bytes, "
            f"{len(values)}",
        )
    return values, splits.astype(np.int64)


def joined(strings: list[bytes]) -> tuple[Any, Any]:
    """The bytes of strings, one after the other, and their row splits."""
    lengths = np.fromiter(map(len, strings), np.int64, len(strings))
    return _whole(
        [np.frombuffer(b"".join(strings), np.uint8)] if strings else [],
        np.concatenate([np.zeros(1, np.int64), lengths]).cumsum(),
    )


def _whole(values: list[Any], splits: Any) -> tuple[Any, Any]:
    return (np.concatenate(values) if values else np.empty(0, np.uint8)), splits


def _column(value: Any) -> Any:
    """The strings of a column of pandas or polars as an array of objects; None for any other value.
    Columns that Arrow holds are :func:`_arrow`'s.
    """
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if pandas is not None and isinstance(value, pandas.Series | pandas.Index):
        if isinstance(value.dtype, pandas.CategoricalDtype):
            known = value.dtype.categories
            return np.asarray(value, object) if _column(known) is not None else None
        if isinstance(value.dtype, pandas.StringDtype):
            return np.asarray(value, object)
        array = value.to_numpy() if isinstance(value.dtype, np.dtype) else None
        return array if array is not None and _starts(array) else None
    if polars is not None and isinstance(value, polars.Series):
        if value.dtype in (polars.Categorical, polars.Enum):
            value = value.cast(polars.String)
        if value.dtype in (polars.String, polars.Binary):
            return np.array([*value.to_list(), None], object)[:-1]
    return None


def _arrow(value: Any) -> Any:
    """The Arrow array of strings that a value is, or has; None for any other."""
    pandas, pyarrow = sys.modules.get("pandas"), sys.modules.get("pyarrow")
    if pyarrow is None:
        return None
    if pandas is not None and isinstance(value, pandas.Series | pandas.Index):
        if not isinstance(value.dtype, getattr(pandas, "ArrowDtype", ())):
            return None
        value = value.array.__arrow_array__()
    if not isinstance(value, pyarrow.Array | pyarrow.ChunkedArray):
        return None
    return value if is_arrow(value.type) else None


def _is_string(kind: Any) -> bool:
    types = sys.modules["pyarrow"].types
    return any(
        getattr(types, f"is_{name}", lambda _: False)(kind)
        for name in (
            "string",
            "binary",
            "large_string",
            "large_binary",
            "string_view",
            "binary_view",
            "fixed_size_binary",
        )
    )


def _of_arrow(array: Any, what: str) -> list[Part]:
    """The rows of an Arrow array, in its own memory where it holds them one after the other."""
    pyarrow = sys.modules["pyarrow"]
    _refuse_nulls(array, what)
    chunks = array.chunks if isinstance(array, pyarrow.ChunkedArray) else [array]
    made = [_of_chunk(chunk, what) for chunk in chunks if len(chunk)]
    empty = ((np.empty(0, np.uint8), True), "splits", [(np.zeros(1, np.int64), True)])
    return made or [empty]


def _in_memory(parts: list[Part]) -> tuple[Any, Any]:
    """The bytes of parts, one after the other, and the row splits of all."""
    values, lengths = [], [np.zeros(1, np.int64)]
    for (flat, _), _, [(splits, _)] in parts:
        values.append(flat[splits[0] : splits[-1]])
        lengths.append(np.diff(splits).astype(np.int64))
    return np.concatenate(values), np.concatenate(lengths).cumsum()


def _refuse_nulls(array: Any, what: str) -> None:
    if array.null_count:
        raise errors.make(
            "null_values",
            f"{what}: the {array.type} has {array.null_count} nulls, and a string is not null. "
            "Fill them (pyarrow.compute.fill_null), or drop those rows.",
        )


def _of_chunk(chunk: Any, what: str) -> Part:
    pyarrow = sys.modules["pyarrow"]
    types = pyarrow.types
    if types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_decode()
        _refuse_nulls(chunk, what)  # the dictionary may hold some
    kind = chunk.type
    wide = types.is_large_string(kind) or types.is_large_binary(kind)
    if not wide and not types.is_string(kind) and not types.is_binary(kind):
        chunk, wide = chunk.cast(pyarrow.large_binary()), True
    _, offsets, values = chunk.buffers()
    dtype: Any = np.int64 if wide else np.int32
    splits = np.frombuffer(offsets, dtype)[chunk.offset : chunk.offset + len(chunk) + 1]
    flat = np.empty(0, np.uint8) if values is None else np.frombuffer(values, np.uint8)
    return (flat, True), "part", [(splits, True)]
