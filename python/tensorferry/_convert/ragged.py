"""Rows of different lengths, as other libraries hold them, for ``_internal.from_ragged``."""

from __future__ import annotations

import importlib
import sys
from typing import Any, TypeAlias

import numpy as np

from tensorferry import _arguments, _internal, errors
from tensorferry._convert import reading, tables, text
from tensorferry._files import opened
from tensorferry._nest.ragged import Ragged
from tensorferry._nest.text import StringRows

#: An array that ``_internal`` can read, and whether nothing can change it.
_Source: TypeAlias = tuple[Any, bool]
#: Values, how the numbers say where rows lie, and the numbers.
Part: TypeAlias = tuple[_Source, str, list[_Source]]

_STAGE = "from_ragged"


def is_ragged(value: Any) -> bool:
    """Whether a value holds rows whose lengths may differ, other than a list."""
    return (
        isinstance(value, Ragged)
        or _is_tensorflow(value)
        or _is_nested_torch(value)
        or _arrow(value) is not None
    )


def parts(value: Any, what: str = _STAGE) -> list[Part]:
    """The rows of a ragged value, of a list of rows, or of Arrow's lists of one length."""
    if isinstance(value, Ragged):
        return [of_values(value.values, "splits", [value.row_splits], what)]
    if _is_tensorflow(value):
        return [_of_tensorflow(value, what)]
    if _is_nested_torch(value):
        return [_of_torch(value, what)]
    arrow = _arrow(value, fixed=True)
    if arrow is not None:
        return _of_arrow(arrow, what)
    return [_of_list(value, what)]


def of_values(values: Any, how: str, rows: list[Any], what: str = _STAGE) -> Part:
    """Rows of an array of values. ``rows`` are the numbers that say where they lie."""
    flat = reading.source(opened.opened(values), what)
    return flat, how, [reading.source(opened.opened(numbers), what) for numbers in rows]


def _is_tensorflow(value: Any) -> bool:
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(value, tensorflow.RaggedTensor)


def _of_tensorflow(value: Any, what: str) -> Part:
    if value.ragged_rank != 1:
        raise errors.make(
            "argument",
            f"{what}: a RaggedTensor of ragged rank {value.ragged_rank} has rows of rows. Merge "
            "them first: x.merge_dims(1, 2).",
        )
    return of_values(value.values, "splits", [value.row_splits], what)


def holds_strings(value: Any) -> bool:
    """Whether the rows of a ragged value hold strings."""
    if _is_tensorflow(value):
        return bool(value.ragged_rank == 1 and value.dtype.name == "string")
    lists = _arrow(value)
    return lists is not None and text.is_arrow(lists.type.value_type)


def strings(value: Any, what: str) -> StringRows:
    """The rows of a ragged value that holds strings."""
    if _is_tensorflow(value):
        return string_rows(*text.whole(value.values, what), value.row_splits.numpy())
    lists = _arrow(value)
    _refuse_nulls(lists, what)
    compute = importlib.import_module("pyarrow.compute")
    counts = np.asarray(compute.list_value_length(lists), np.int64)
    flat = compute.list_flatten(lists)
    splits = np.concatenate([np.zeros(1, np.int64), counts]).cumsum()
    return string_rows(*text.whole(flat, what), splits)


def string_rows(bytes_: Any, splits: Any, row_splits: Any) -> StringRows:
    """Rows of strings, of their bytes, of where each string begins, and of where each row does."""
    starts, counts = row_splits[:-1], np.diff(row_splits)
    ends = np.concatenate([np.zeros(1, np.int64), counts + 1]).cumsum()
    # The splits of a row are those of its strings, and begin at 0.
    within = np.arange(ends[-1]) - np.repeat(ends[:-1], counts + 1)
    own = splits[within + np.repeat(starts, counts + 1)]
    own -= np.repeat(splits[starts], counts + 1)
    return StringRows(Ragged(bytes_, splits[row_splits]), Ragged(own, ends))


def _rows_of_strings(value: str, what: str) -> errors.Error:
    return errors.make(
        "argument",
        f"{what}: the rows of {value} hold several strings each. Read them with from_generator and "
        'output_signature=TensorSpec((None,), "string"), or join the strings of each row.',
    )


def _is_nested_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor) and value.is_nested


def _of_torch(value: Any, what: str) -> Part:
    torch = sys.modules["torch"]
    if value.layout is not torch.jagged:
        rows = [row.detach() for row in value.unbind()]
        return _of_list(rows, what)
    if value.dim() > 2 and value._ragged_idx != 1:
        raise errors.make(
            "argument",
            f"{what}: a nested tensor whose dimension {value._ragged_idx} is ragged; it has to be "
            "dimension 1. Transpose it, and make it contiguous.",
        )
    offsets, lengths = value.offsets(), value.lengths()
    values = value.values().detach()
    if lengths is None:
        return of_values(values, "part", [offsets], what)
    return of_values(values, "starts", [offsets[:-1].contiguous(), lengths], what)


def _arrow(value: Any, fixed: bool = False) -> Any:
    """The Arrow array of lists that a value is, or has; None for any other. With ``fixed``, the
    lists may be of one length, which are arrays elsewhere.
    """
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if pandas is not None and isinstance(value, pandas.Series):
        if not isinstance(value.dtype, getattr(pandas, "ArrowDtype", ())):
            return None
        value = value.array.__arrow_array__()
    elif polars is not None and isinstance(value, polars.Series):
        if value.dtype != polars.List and not (fixed and value.dtype == polars.Array):
            return None
        value = value.to_arrow()
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is None or not isinstance(value, pyarrow.Array | pyarrow.ChunkedArray):
        return None
    is_fixed = fixed and pyarrow.types.is_fixed_size_list(value.type)
    return value if is_fixed or _is_list(value.type) else None


def _is_list(kind: Any) -> bool:
    types = sys.modules["pyarrow"].types
    return any(
        getattr(types, f"is_{name}", lambda _: False)(kind)
        for name in ("list", "large_list", "list_view", "large_list_view")
    )


def _of_arrow(array: Any, what: str) -> list[Part]:
    pyarrow = sys.modules["pyarrow"]
    _refuse_nulls(array, what)
    chunks = array.chunks if isinstance(array, pyarrow.ChunkedArray) else [array]
    chunks = [chunk for chunk in chunks if len(chunk)] or [pyarrow.array([], array.type)]
    return [_of_chunk(chunk, what) for chunk in chunks]


def _refuse_nulls(array: Any, what: str) -> None:
    if array.null_count:
        raise errors.make(
            "null_values",
            f"{what}: the {array.type} has {array.null_count} nulls, and a row is not null. Fill "
            "them (pyarrow.compute.fill_null), or drop those rows.",
        )


def _of_chunk(chunk: Any, what: str) -> Part:
    if sys.modules["pyarrow"].types.is_fixed_size_list(chunk.type):
        rows = tables.column(chunk, what)
        lengths = np.full(len(chunk), chunk.type.list_size)
        return of_values(rows.reshape(-1, *rows.shape[2:]), "lengths", [lengths], what)
    kind = chunk.type.value_type
    if _is_list(kind):
        raise errors.make(
            "argument",
            f"{what}: a {chunk.type} has rows of rows. Flatten one level first "
            "(pyarrow.compute.list_flatten).",
        )
    place = f"{what}: the values of the {chunk.type}"
    if hasattr(chunk, "sizes"):
        values = tables.column(chunk.values, place)
        rows = [chunk.offsets, chunk.sizes]
        return of_values(values, "starts", [_plain(numbers) for numbers in rows], what)
    offsets = _plain(chunk.offsets)
    first, last = int(offsets[0]), int(offsets[-1])
    values = chunk.values
    if values.null_count:
        values, offsets = values.slice(first, last - first), offsets - first
    return of_values(tables.column(values, place), "part", [offsets], what)


def _plain(numbers: Any) -> Any:
    return numbers.to_numpy(zero_copy_only=False)


def _of_list(rows: Any, what: str) -> Part:
    """A list, or an array of objects, of rows: packed once."""
    if isinstance(rows, np.ndarray) and rows.dtype.kind != "O":
        raise errors.make(
            "argument",
            f"{what}: an array of shape {rows.shape} has rows of one length. Pass row_splits= or "
            "row_lengths= with its values, or use from_tensor_slices.",
        )
    try:
        rows = list(rows)
    except TypeError:
        raise errors.make(
            "wrong_type",
            f"{what}: a {type(rows).__name__} has no rows. Pass a list of arrays; or values with "
            "row_splits= or row_lengths=.",
        ) from None
    arrays = [_row(row, at, what) for at, row in enumerate(rows)]
    if all(isinstance(row, list | tuple) for row in rows):
        arrays = _as_one_list(arrays, what)
    lengths = np.array([len(array) for array in arrays], np.int64)
    values = _joined(arrays, what)
    return (values, True), "lengths", [(lengths, True)]


def _row(row: Any, at: int, what: str) -> Any:
    if isinstance(row, list) and text.is_text(row):
        raise _rows_of_strings("a list of lists of strings", what)
    array = _internal.tensor(reading.source(row, f"{what}: row {at}")[0]).numpy()
    if array.ndim == 0:
        raise errors.make("argument", f"{what}: row {at} is a number, not a list or an array")
    return array


def _as_one_list(arrays: list[Any], what: str) -> list[Any]:
    """Rows that were lists, with a float in the place of each number if there is a float."""
    floats = {array.dtype for array in arrays if array.size and array.dtype.kind == "f"}
    if len(floats) != 1 or all(array.dtype.kind == "f" for array in arrays if array.size):
        return arrays
    (name,) = (dtype.name for dtype in floats)
    made = []
    for at, array in enumerate(arrays):
        with _arguments.named(f"{what}: row {at}"):
            made.append(_internal.tensor(array, name).numpy() if array.dtype.kind == "i" else array)
    return made


def _joined(arrays: list[Any], what: str) -> Any:
    """The values of all rows, of one dtype."""
    if not arrays:
        return np.empty(0, np.float32)
    # A row without values, [], has no dtype of its own.
    filled = [array for array in arrays if array.size] or arrays[:1]
    dtypes = {array.dtype for array in filled}
    if len(dtypes) > 1 and not _are_numbers_of_python(dtypes):
        names = ", ".join(sorted(str(dtype) for dtype in dtypes))
        raise errors.make(
            "dtype_mismatch",
            f"{what}: rows of the dtypes {names} have no common one. Convert them: "
            "[row.astype(dtype) for row in rows].",
        )
    common = np.result_type(*dtypes)
    inner = filled[0].shape[1:]
    for at, array in enumerate(arrays):
        if array.size and array.shape[1:] != inner:
            raise errors.make(
                "unequal_shapes",
                f"{what}: rows differ in more than their length: row {at} is of shape "
                f"{array.shape}, where the first is of shape {filled[0].shape}",
            )
    return np.concatenate([array.reshape(-1, *inner) for array in filled]).astype(
        common, copy=False
    )


def _are_numbers_of_python(dtypes: set[Any]) -> bool:
    """Whether the dtypes are those of lists of Python's whole numbers, narrow and wide."""
    return dtypes == {np.dtype(np.int32), np.dtype(np.int64)}
