"""Why a value is not an array of numbers, and how to make it one: one table for all functions."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import numbers
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np

from tensorferry import errors

_TEXT = (
    "is text, and tensors carry numbers. Turn it into numbers first (int, float, "
    "array.astype, numpy.unique(return_inverse=True))"
)
_STRINGS = f"{_TEXT}, or keep it in TensorFlow: tf.convert_to_tensor, tf.strings.to_number, tf.data"

#: NumPy's kinds of dtypes, by their letter.
_LETTERS: dict[str, str] = {
    "U": _STRINGS,
    "S": _STRINGS,
    "T": _STRINGS,
    "M": "holds dates, which no tensor does. Count seconds, "
    'array.astype("datetime64[s]").astype("int64"), or number the dates, '
    "numpy.unique(return_inverse=True)",
    "m": "holds time spans, which no tensor does. Count seconds: "
    'array.astype("timedelta64[s]").astype("int64")',
    "O": "holds Python objects, which have no common dtype. Pass dtype=, with which each is "
    "checked, or array.astype(...)",
    "f": 'is of extended precision, which no tensor has. Round it: array.astype("float64")',
    "c": 'is of extended precision, which no tensor has. Round it: array.astype("complex128")',
    "V": "holds bytes without a dtype. Give them one: array.view(dtype)",
}

#: Sparse and ragged tensors of TensorFlow: several arrays that represent one.
_COMPOSITES: dict[str, str] = {
    "SparseTensor": "is sparse. Make it dense: tf.sparse.to_dense(x)",
    "SparseTensorValue": "is sparse. Make it dense: "
    "tf.sparse.to_dense(tf.SparseTensor.from_value(x))",
    "IndexedSlices": "is sparse. Make it dense: tf.convert_to_tensor(x)",
    "IndexedSlicesValue": "is sparse. Make it dense: "
    "tf.convert_to_tensor(tf.IndexedSlices(x.values, x.indices))",
    "RaggedTensor": "has rows of different lengths. Pad them: x.to_tensor()",
    "RaggedTensorValue": "has rows of different lengths. Pad them: "
    "tf.ragged.constant(x.to_list()).to_tensor()",
}
_DATASET = "is a dataset, not an array. Iterate over it, or use its methods"

#: Other classes by module and name, where importing them would import a library.
_CLASSES: dict[tuple[str, str], str] = {
    ("tensorferry", "Dataset"): _DATASET,
    ("tensorflow", "DatasetV2"): _DATASET,
    ("keras", "KerasTensor"): "has no values: it stands for a tensor in a model. Use it there",
    (
        "builtins",
        "NoneType",
    ): "is not a number. Leave it out, or choose a value for it (numpy.nan, 0)",
    ("tensorferry", "Arrays"): 'is several arrays by name. Choose one: x["name"]',
    ("pandas", "NAType"): "is a missing value. Fill it first (fillna), or leave it out",
    ("pandas", "NaTType"): "is a missing date. Fill it first (fillna), or leave it out",
}

#: Python's own classes.
_TYPES: list[tuple[Any, str]] = [
    (str | bytes, _STRINGS),
    (
        decimal.Decimal | fractions.Fraction,
        "is a number without a dtype. Make it one of Python's: float(x), or int(x)",
    ),
    (datetime.datetime, "is a date, which no tensor holds. Make it a number: x.timestamp()"),
    (datetime.date, "is a date, which no tensor holds. Make it a number: x.toordinal()"),
    (
        datetime.timedelta,
        "is a time span, which no tensor holds. Make it a number: x.total_seconds()",
    ),
    (
        numbers.Number,
        "is a number of a class of its own. Make it one of Python's: int(x), float(x) or "
        "complex(x)",
    ),
    (
        Mapping,
        "is a mapping, and tensors carry numbers. Pass one of its values, or list(x.values()); "
        "save and datasets take a dict of arrays",
    ),
    (Set, "is a set, which has no order. Pass sorted(x)"),
    (
        Iterator,
        "can be read once and does not tell its length. Pass list(x), or use "
        "Dataset.from_generator",
    ),
    (collections.abc.Iterable, "is neither an array nor a list. Pass list(x)"),
    (type | Callable, "is a class or a function, not its result. Call it"),
]


def error(value: Any, index: Sequence[int] = ()) -> errors.Error:
    """The error for a value, found at ``index`` in a list, that cannot become a tensor."""
    kind, what = _described(value)
    where = f" at {list(index)}" if index else ""
    return errors.make("unsupported_dtype", f"{kind}{where} {what}.")


def _described(value: Any) -> tuple[str, str]:
    """The name of a value, and why it is not an array of numbers."""
    name = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    composite = _composite(value)
    if composite is not None:
        return _a(name), composite
    for base in type(value).__mro__:
        known = _CLASSES.get((base.__module__.partition(".")[0], base.__name__))
        if known is not None:
            return ("None" if value is None else _a(name)), known
    if type(value).__module__.partition(".")[0] == "torch":
        return _torchs(value, name)
    if type(value).__module__.partition(".")[0] in ("tensorflow", "keras"):
        return _tensorflows(value, name)
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, np.dtype):
        return _numpys(dtype, name)
    for kinds, what in _TYPES:
        if isinstance(value, kinds):
            shown = repr(value)
            return (shown if len(shown) <= 40 and not isinstance(value, type) else _a(name)), what
    return _a(name), (
        "is not an array of numbers. Pass an array, a number or a nested list of numbers; objects "
        "can be numbered: numpy.unique(return_inverse=True)"
    )


def _a(name: str) -> str:
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"


def _numpys(dtype: np.dtype[Any], name: str) -> tuple[str, str]:
    kind = (
        f"an array of dtype {dtype}"
        if name.endswith("ndarray") or "." not in name
        else f"{_a(name)} of dtype {dtype}"
    )
    if dtype.names:
        first = dtype.names[0]
        return (
            kind,
            f"has fields. Take one, array[{first!r}]; or pass a dict of them, "
            f"{{{first!r}: array[{first!r}], ...}}, to save and datasets",
        )
    if dtype.kind == "V" and dtype.type is not np.void:  # of ml_dtypes
        wide = "int8" if dtype.name.startswith(("int", "uint")) else "float32"
        return (
            kind,
            f'is of a dtype that tensorferry does not check. Widen it: array.astype("{wide}")',
        )
    return kind, _LETTERS.get(
        dtype.kind, "has a dtype that tensors do not have. Convert it with array.astype first"
    )


def _torchs(value: Any, name: str) -> tuple[str, str]:
    layout = str(getattr(value, "layout", "torch.strided"))
    if layout != "torch.strided":
        return f"{_a(name)} of layout {layout}", "is sparse. Make it dense: x.to_dense()"
    dtype = str(getattr(value, "dtype", ""))
    if getattr(value, "is_quantized", False):
        return f"{_a(name)} of dtype {dtype}", "is quantized. Make it numbers: x.dequantize()"
    wide = (
        "torch.complex64"
        if "complex" in dtype
        else "torch.float32"
        if "float" in dtype
        else "torch.int64"
    )
    return (
        f"{_a(name)} of dtype {dtype}",
        f"is of a dtype that tensorferry does not check. Widen it: x.to({wide})",
    )


def _tensorflows(value: Any, name: str) -> tuple[str, str]:
    dtype = getattr(getattr(value, "dtype", None), "name", "")
    kind = f"a tensor of dtype {dtype}" if dtype else _a(name)
    if dtype == "string":
        return kind, _STRINGS
    if dtype in ("variant", "resource"):
        return kind, "is a TensorFlow handle, without numbers. Use it inside TensorFlow"
    wide = "int8" if "int" in dtype else "float32"
    if dtype:
        return (
            kind,
            f"is of a dtype that tensorferry does not check. Widen it: tf.cast(x, tf.{wide})",
        )
    return kind, "is not an array of numbers. Make it a tensor first: tf.convert_to_tensor(x)"


def is_composite(value: Any) -> bool:
    """Whether a value is sparse or ragged: several arrays that represent one."""
    return _composite(value) is not None


def _composite(value: Any) -> str | None:
    """The words for a sparse or ragged value; None for any other."""
    for base in type(value).__mro__:
        root, _, rest = base.__module__.partition(".")
        if root == "tensorflow" and base.__name__ in _COMPOSITES:
            return _COMPOSITES[base.__name__]
        if root == "scipy" and rest.startswith("sparse"):
            return "is sparse. Make it dense: x.toarray()"
    return None


def is_tensorflows(value: Any, tensors: bool) -> bool:
    """Whether TensorFlow has to convert a value in a list: a symbolic tensor; with ``tensors``, any
    value that it converts.
    """
    tf = sys.modules.get("tensorflow")
    if tf is None:
        return False
    if (tensors or not tf.executing_eagerly()) and (
        hasattr(value, "__tf_tensor__") or tf.is_tensor(value)
    ):
        return not is_composite(value)
    return bool(tf.is_symbolic_tensor(value))


def is_list_like(value: Any) -> bool:
    """Whether a value is a sequence that is read as a list."""
    return (
        not isinstance(value, str | bytes | Mapping | type)
        and hasattr(value, "__len__")
        and hasattr(value, "__getitem__")
    )


def exact_float(value: Any) -> float | None:
    """The float64 equal to a long double; None for any other value."""
    if isinstance(value, np.longdouble):
        number = float(value)
        return number if number == value or number != number else None
    return None


def at(error: BaseException, index: Sequence[int]) -> BaseException:
    """The error with ``index`` in its message; an error of another library gets a note."""
    if isinstance(error, errors.Error):
        return errors.make(error.code, f"at {list(index)}: {error}")
    error.add_note(f"at {list(index)} of a list")
    return error
