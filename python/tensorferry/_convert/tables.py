"""Tables and their columns, of pandas, polars and Arrow, read column by column, so that no integer
passes through a float.

A library is looked up among the loaded modules: a library that is not loaded cannot have made the
value.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from tensorferry import _internal, errors
from tensorferry._typing import Casting

#: The kinds of NumPy dtypes that are numbers.
_NUMBERS = "biufc"
#: Reads the numbers of a column; takes the words that name it in messages.
Reader = Callable[[Any, str], Any]


def _classes(module: str, *names: str) -> tuple[type, ...]:
    loaded = sys.modules.get(module)
    found = (getattr(loaded, name, None) for name in names)
    return tuple(kind for kind in found if isinstance(kind, type))


def _is(value: Any, module: str, *names: str) -> bool:
    return module in sys.modules and isinstance(value, _classes(module, *names))


def _is_frame(value: Any) -> bool:
    return (
        _is(value, "pandas", "DataFrame")
        or _is(value, "polars", "DataFrame", "LazyFrame")
        or _is(value, "pyarrow", "Table", "RecordBatch")
    )


def _column_reader(value: Any) -> Reader | None:
    """The reader of a column; None if the value is not a column."""
    if _is(value, "pandas", "Series", "Index") or _is(
        value, "pandas.api.extensions", "ExtensionArray"
    ):
        return _pandas
    if _is(value, "polars", "Series"):
        return _polars
    if _is(value, "pyarrow", "Array", "ChunkedArray"):
        return _arrow
    return None


def is_table(value: Any) -> bool:
    """Whether a value is a table or a column."""
    return _is_frame(value) or _column_reader(value) is not None or _is_exporter(value)


def _is_exporter(value: Any) -> bool:
    """Whether a value exports Arrow data, and pyarrow is loaded."""
    # A Pillow image exports its pixels without their shape; NumPy's interface has the shape.
    image = hasattr(type(value), "__array_interface__")
    exports = not image and (
        hasattr(type(value), "__arrow_c_stream__") or hasattr(type(value), "__arrow_c_array__")
    )
    return exports and bool(_classes("pyarrow", "Table"))


def read(
    value: Any, dtype: str | None = None, casting: Casting = "checked", copy: bool | None = None
) -> Any:
    """The numbers of a table (two dimensions) or a column (one), as an ndarray or a tensor.

    Columns of a table become ``dtype``, each as ``casting`` says. Without ``dtype`` they become
    NumPy's common dtype of the columns, if it holds every value.

    Raises:
        tensorferry.errors.InvalidArgumentError: a null, or a value that is not a number; the
            message names the column.
        tensorferry.errors.ValueOverflowError: a value that the dtype does not hold.
        tensorferry.errors.NotShareableError: ``copy=False``, and the memory is not laid out as a
            tensor's.
    """
    reader = _column_reader(value)
    if reader is None and not _is_frame(value):
        value, reader = _imported(value)
    if reader is not None:
        name = getattr(value, "name", None)
        made = reader(
            value, f"the {type(value).__name__}" if name in (None, "") else f"column {name!r}"
        )
        return made if copy is not False else _shared(made, value)
    return _frame(value, dtype, casting, copy)


def columns(value: Any) -> dict[Any, Any] | None:
    """The columns of a table by name; None for any other value."""
    if not _is_frame(value) and not _is(value, "polars", "LazyFrame"):
        exported = _is_exporter(value) and _has_columns(value) and _column_reader(value) is None
        if not exported or not hasattr(type(value), "__arrow_c_stream__"):
            return None
        value = sys.modules["pyarrow"].table(value)
    return {name: column for name, column, _ in _columns(value)}


def column(array: Any, what: str) -> Any:
    """The numbers of an Arrow array as an ndarray. ``what`` names it in messages."""
    return _arrow(array, what)


def _imported(value: Any) -> tuple[Any, Reader | None]:
    """The Arrow table or column of a value that exports one."""
    pyarrow = sys.modules["pyarrow"]
    if hasattr(type(value), "__arrow_c_stream__"):
        found = pyarrow.chunked_array(value) if not _has_columns(value) else pyarrow.table(value)
    else:
        found = pyarrow.array(value)
    return found, _column_reader(found)


def _has_columns(value: Any) -> bool:
    return any(hasattr(value, name) for name in ("columns", "column_names", "schema"))


def _frame(value: Any, dtype: str | None, casting: Casting, copy: bool | None) -> Any:
    columns = _columns(value)
    whole = _block(value, columns, dtype)
    if whole is not None and (copy is not False or _lies_in(whole, columns)):
        return whole
    if copy is False:
        raise _not_shared(value)
    if not columns:
        raise errors.make(
            "unsupported_dtype",
            f"a {type(value).__name__} without columns has no dtype. Select columns first.",
        )
    arrays = [
        (f"column {name!r}", reader(column, f"column {name!r}")) for name, column, reader in columns
    ]
    for what, array in arrays:
        if array.ndim != 1:
            raise errors.make(
                "unequal_shapes",
                f"{what} holds {array.ndim - 1}-dimensional rows, which do not fit beside other "
                "columns. Pass the columns: a dict of them.",
            )
    given = dtype is not None
    common = (
        _internal.numpy_dtype(dtype)
        if dtype is not None
        else np.result_type(*(array.dtype for _, array in arrays))
    )
    out = _internal.empty((len(arrays[0][1]), len(arrays)), common)
    for at, (what, array) in enumerate(arrays):
        try:
            _internal.convert_into(array, out[:, at], casting=casting)
        except errors.Error as error:
            way = (
                ""
                if given
                else f" {common} is the dtype that the columns share. Give dtype=, or pass the "
                "columns: a dict of them."
            )
            raise errors.make(error.code, f"{what}: {error}{way}") from None
    out.flags.writeable = False
    return _internal.tensor(out)


def _columns(value: Any) -> list[tuple[Any, Any, Reader]]:
    """Names, columns, and their readers."""
    if _is(value, "pandas", "DataFrame"):
        return [(name, value.iloc[:, at], _pandas) for at, name in enumerate(value.columns)]
    if _is(value, "polars", "LazyFrame"):
        raise errors.make(
            "wrong_type", "a LazyFrame holds no numbers yet. Collect it first: frame.collect()."
        )
    if _is(value, "polars", "DataFrame"):
        return [(column.name, column, _polars) for column in value.get_columns()]
    return [(name, value.column(at), _arrow) for at, name in enumerate(value.schema.names)]


def _block(value: Any, columns: list[tuple[Any, Any, Reader]], dtype: str | None) -> Any:
    """The array that pandas keeps for columns of one NumPy dtype; None for any other table."""
    if not columns or not _is(value, "pandas", "DataFrame"):
        return None
    dtypes = {column.dtype for _, column, _ in columns}
    (first,) = dtypes if len(dtypes) == 1 else (None,)
    if not isinstance(first, np.dtype) or first.kind not in _NUMBERS:
        return None
    # A conversion goes column by column, so that an error names the column.
    return value.to_numpy() if dtype in (None, first.name) else None


def _lies_in(array: Any, columns: list[tuple[Any, Any, Reader]]) -> bool:
    return all(
        np.shares_memory(array, column.to_numpy()) for _, column, _ in columns if len(column)
    )


def _shared(array: Any, value: Any) -> Any:
    """The array, if it shares the column's memory: its library returns the same memory again."""
    again = _column_reader(value)
    if array.size and (again is None or not np.shares_memory(array, again(value, ""))):
        raise _not_shared(value)
    return array


def _not_shared(value: Any) -> errors.Error:
    return errors.make(
        "not_shareable",
        f"cannot share without a copy: the numbers of this {type(value).__name__} do not lie in "
        "memory as a tensor has them. Allow a copy with copy=None.",
    )


def _pandas(column: Any, what: str) -> Any:
    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        values = column.to_numpy()
        return _objects(values, what) if dtype.kind == "O" else _numbers(values, what, dtype)
    pandas = sys.modules["pandas"]
    values = getattr(column, "array", column)
    if isinstance(dtype, pandas.ArrowDtype):
        return _arrow(values.__arrow_array__(), what)
    if isinstance(dtype, pandas.SparseDtype):
        return _numbers(np.asarray(values), what, dtype)
    nulls = np.asarray(values.isna())
    if nulls.any():
        raise _null(what, dtype, int(nulls.sum()), int(np.flatnonzero(nulls)[0]), "fillna")
    inner = getattr(dtype, "numpy_dtype", None)
    if isinstance(inner, np.dtype) and inner.kind in _NUMBERS:
        return values.to_numpy(dtype=inner)
    values = np.asarray(values)
    return _objects(values, what) if values.dtype.kind == "O" else _numbers(values, what, dtype)


def _polars(series: Any, what: str) -> Any:
    polars = sys.modules["polars"]
    dtype = series.dtype
    if series.null_count():
        first = int(series.is_null().arg_true()[0])
        raise _null(what, dtype, series.null_count(), first, "fill_null")
    if isinstance(dtype, polars.Array):
        flat = series.reshape((-1,)) if len(series) else series.explode()
        return _polars(flat, f"an element of {what}").reshape(len(series), *dtype.shape)
    number = dtype.is_integer() or dtype.is_float() or dtype == polars.Boolean
    values = series.to_numpy() if number and not str(dtype).endswith("128") else None
    if values is None or values.dtype.kind not in _NUMBERS:
        raise _no_numbers(what, dtype)
    return values


def _arrow(array: Any, what: str) -> Any:
    pyarrow = sys.modules["pyarrow"]
    kind = array.type
    if isinstance(kind, pyarrow.BaseExtensionType):
        return _arrow_extension(array, what)
    if pyarrow.types.is_run_end_encoded(kind):
        return _arrow(pyarrow.compute.run_end_decode(array), what)
    if array.null_count:
        nulls = (
            array.is_null().to_numpy(zero_copy_only=False)
            if isinstance(array, pyarrow.Array)
            else array.is_null().to_numpy()
        )
        raise _null(
            what, kind, array.null_count, int(np.flatnonzero(nulls)[0]), "pyarrow.compute.fill_null"
        )
    if pyarrow.types.is_dictionary(kind):
        chunks = array.chunks if isinstance(array, pyarrow.ChunkedArray) else [array]
        decoded = [chunk.dictionary_decode() for chunk in chunks]
        return _arrow(pyarrow.chunked_array(decoded, kind.value_type), what)
    if pyarrow.types.is_fixed_size_list(kind):
        chunks = array.chunks if isinstance(array, pyarrow.ChunkedArray) else [array]
        flat = pyarrow.chunked_array([chunk.flatten() for chunk in chunks], kind.value_type)
        inner = _arrow(flat, f"an element of {what}")
        return inner.reshape(len(array), kind.list_size, *inner.shape[1:])
    number = (
        pyarrow.types.is_integer(kind)
        or pyarrow.types.is_floating(kind)
        or pyarrow.types.is_boolean(kind)
    )
    if not number:
        raise _no_numbers(what, kind)
    return (
        array.to_numpy(zero_copy_only=False)
        if isinstance(array, pyarrow.Array)
        else array.to_numpy()
    )


def _arrow_extension(array: Any, what: str) -> Any:
    """A type built upon another, such as tensors of a fixed shape and bools of one byte."""
    pyarrow = sys.modules["pyarrow"]
    kind, chunks = array.type, array.chunks if isinstance(array, pyarrow.ChunkedArray) else [array]
    stored = _arrow(
        pyarrow.chunked_array([chunk.storage for chunk in chunks], kind.storage_type), what
    )
    if isinstance(kind, pyarrow.FixedShapeTensorType):
        order = kind.permutation
        shaped = stored.reshape(len(array), *kind.shape)
        return shaped if order is None else shaped.transpose(0, *(at + 1 for at in order))
    return stored != 0 if kind.extension_name == "arrow.bool8" else stored


def _numbers(values: Any, what: str, dtype: Any) -> Any:
    if values.dtype.kind in _NUMBERS or values.dtype.name == "bfloat16":
        return values
    raise _no_numbers(what, dtype)


def _objects(values: Any, what: str) -> Any:
    """Python numbers in a column of objects, each exactly."""
    numbers = values.tolist()
    for at, number in enumerate(numbers):
        if number is None or type(number).__name__ in ("NAType", "NaTType"):
            raise _null(what, "object", 1, at, "fillna")
        if not isinstance(number, bool | int | float | complex | np.number | np.bool_):
            raise _no_numbers(what, f"object (row {at}: a {type(number).__name__})")
    if not numbers:
        return np.empty(0)
    made = _exact(numbers)
    if made is None:
        raise errors.make(
            "values_do_not_fit",
            f"{what}: no dtype holds all of its numbers exactly. Choose one: column.astype(dtype).",
        )
    return made


def _exact(numbers: list[Any]) -> Any:
    """The array of numbers, of the widest dtype of their kind; None if it does not hold all."""
    integers = all(isinstance(number, bool | int | np.integer | np.bool_) for number in numbers)
    if integers and not all(isinstance(number, bool | np.bool_) for number in numbers):
        low, high = min(map(int, numbers)), max(map(int, numbers))
        if low >= -(2**63) and high < 2**63:
            return np.array([int(number) for number in numbers], np.int64)
        return (
            np.array([int(number) for number in numbers], np.uint64)
            if low >= 0 and high < 2**64
            else None
        )
    try:
        array = np.array(numbers)
    except (ValueError, OverflowError):
        return None
    whole = (number for number in numbers if isinstance(number, int | np.integer))
    exact = array.dtype.kind in _NUMBERS and all(
        int(array[at].real) == int(number) for at, number in _numbered(numbers)
    )
    return array if exact or not any(True for _ in whole) else None


def _numbered(numbers: list[Any]) -> list[tuple[int, Any]]:
    return [
        (at, number) for at, number in enumerate(numbers) if isinstance(number, int | np.integer)
    ]


def _null(what: str, dtype: Any, count: int, first: int, way: str) -> errors.Error:
    nulls = "a null" if count == 1 else f"{count} nulls"
    return errors.make(
        "null_values",
        f"{what} ({dtype}) has {nulls} (first: row {first}), and a tensor has none. Fill them "
        f"({way}), or drop those rows.",
    )


def _no_numbers(what: str, dtype: Any) -> errors.Error:
    return errors.make(
        "unsupported_dtype",
        f"{what} is of dtype {dtype}, which holds no numbers that tensors have. Cast or encode it "
        "first, or leave it out.",
    )
