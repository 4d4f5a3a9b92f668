"""``features=``: the arrays to open, and what their rows have to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from tensorferry import errors
from tensorferry._convert import text
from tensorferry._nest import specs
from tensorferry._nest.structures import LEAF
from tensorferry._nest.text import STRING
from tensorferry._typing import TensorSpecLike

#: Names of arrays, each with the specification of its rows if given: a ``TensorSpec``, or a feature
#: of ``tf.io``.
Features: TypeAlias = Mapping[str, TensorSpecLike | Any | None] | Iterable[str]
#: A component as ``_internal`` knows it, the row of a record without the feature, whether the
#: feature has to be what TensorFlow parses as that dtype, and whether it is a feature list. Strings
#: have the dtype "string", and lists of ``bytes`` as rows.
Asked: TypeAlias = tuple[specs.Part, Any, bool, bool]
#: The same as ``_internal`` takes it, with which part of strings it is, and the feature's name.
Engine: TypeAlias = tuple[specs.Part, Any, bool, bool, tuple[bool, int | None] | None, str | None]

#: The end of the name of the array that says where strings begin.
SPLITS = "\0row_splits"


def parse(features: Features | None) -> list[tuple[str, Asked | None]]:
    """Names, and specifications as ``_internal`` takes them."""
    if features is None:
        return []
    if isinstance(features, str | bytes) or not isinstance(features, Iterable):
        raise errors.make(
            "wrong_type",
            "open: features= is a list of names or a dict of names and specifications, not "
            f"{features!r:.80}",
        )
    given: list[tuple[str, Any]] = (
        list(features.items())
        if isinstance(features, Mapping)
        else [(name, None) for name in features]
    )
    names: list[object] = [name for name, _ in given]
    odd = next((name for name in names if not isinstance(name, str)), None)
    if odd is not None:
        raise errors.make("wrong_type", f"open: features=: names are strings, not {odd!r:.80}")
    return [(name, None if spec is None else _asked(name, spec)) for name, spec in given]


def _asked(name: str, spec: Any) -> Asked:
    what = f"open: feature {name!r}"
    kind = type(spec).__name__
    make = _FEATURES.get(kind)
    if make is not None and not isinstance(spec, specs.TensorSpec) and hasattr(spec, "dtype"):
        return make(name, spec, what)
    if specs.is_of_strings(spec):
        return _strings(_dims(spec.shape), what), None, True, False
    structure, parts = specs.parse(spec, what)
    if structure is not LEAF:
        raise errors.make("wrong_type", f"{what}: {spec!r:.80} is not a tensor")
    return parts[0], None, False, False


def engine(features: list[tuple[str, Asked | None]]) -> list[tuple[str, Engine | None]]:
    """Names and specifications as ``_internal`` takes them: strings are their bytes and, where a
    row has several, an array that says where each begins.
    """
    made: list[tuple[str, Engine | None]] = []
    for name, asked in features:
        if asked is None:
            made.append((name, None))
        elif asked[0][0] == STRING:
            made += _engine_strings(name, asked)
        else:
            made.append((name, (*asked, None, None)))
    return made


def _engine_strings(name: str, asked: Asked) -> list[tuple[str, Engine | None]]:
    (_, dims), default, exact, is_list = asked
    joined = splits = None
    if default is not None:
        joined, splits = text.joined(default)
    count = dims[0] if dims else 1
    part: specs.Part = ("uint8", [None])
    made: list[tuple[str, Engine | None]] = [
        (name, (part, joined, exact, is_list, (False, count), None))
    ]
    if dims:
        part = ("int64", [None if count is None else count + 1])
        made.append((name + SPLITS, (part, splits, exact, is_list, (True, count), name)))
    return made


def strings(features: list[tuple[str, Asked | None]]) -> dict[str, tuple[int | None, ...]]:
    """The shape of the strings in a row, by name."""
    return {name: tuple(asked[0][1]) for name, asked in features if asked and asked[0][0] == STRING}


def _strings(dims: tuple[int | None, ...] | None, what: str) -> specs.Part:
    if dims is None or len(dims) > 1:
        raise errors.make(
            "argument",
            f"{what}: strings of shape {dims}: a row is one string, or strings in one dimension",
        )
    return STRING, list(dims)


def _dims(shape: Any) -> tuple[int | None, ...] | None:
    return specs.TensorSpec(shape).shape


def _fixed(name: str, spec: Any, what: str) -> Asked:
    """``tf.io.FixedLenFeature``: a tensor of numbers or strings."""
    shape = _shape(spec.shape, what)
    if specs.is_string(spec.dtype):
        default = _default_strings(spec.default_value, shape, what)
        return _strings(tuple(shape), what), default, True, False
    part = specs.parse(specs.TensorSpec(shape, spec.dtype), what)[1][0]
    return part, _default(spec.default_value, shape, what), True, False


def _sequence(name: str, spec: Any, what: str) -> Asked:
    """``tf.io.FixedLenSequenceFeature``: any number of tensors of one shape, in a feature list of a
    ``SequenceExample`` or, with ``allow_missing``, a feature of an ``Example``.
    """
    part, empty, exact, _ = _rows(_shape(spec.shape, what), spec.dtype, what)
    return part, empty if spec.allow_missing else None, exact, True


def _variable(name: str, spec: Any, what: str) -> Asked:
    """``tf.io.VarLenFeature``: any number of values."""
    return _rows([], spec.dtype, what)


def _ragged(name: str, spec: Any, what: str) -> Asked:
    """``tf.io.RaggedFeature`` without partitions: any number of values."""
    if tuple(spec.partitions):
        raise errors.make(
            "argument",
            f"{what}: a RaggedFeature with partitions has rows of rows. Read its values and "
            "partitions as features of their own.",
        )
    if spec.value_key not in (None, name):
        raise errors.make(
            "argument",
            f"{what}: a RaggedFeature with value_key={spec.value_key!r}: features keep their name. "
            "Use the key as the name.",
        )
    return _rows([], spec.dtype, what)


def _sparse(name: str, spec: Any, what: str) -> Asked:
    raise errors.make(
        "argument",
        f"{what}: a {type(spec).__name__} joins several features. Read each as a VarLenFeature.",
    )


_FEATURES = {
    "FixedLenFeature": _fixed,
    "FixedLenSequenceFeature": _sequence,
    "VarLenFeature": _variable,
    "RaggedFeature": _ragged,
    "SparseFeature": _sparse,
}


def _rows(inner: list[int], dtype: Any, what: str) -> Asked:
    """Any number of items, none in a record without the feature."""
    if specs.is_string(dtype):
        return _strings((None, *inner), what), [], True, False
    part = specs.parse(specs.TensorSpec([None, *inner], dtype), what)[1][0]
    return part, np.zeros(0, np.dtype(part[0])), True, False


def _shape(shape: Any, what: str) -> list[int]:
    dims = specs.TensorSpec(shape).shape
    if dims is None or None in dims:
        raise errors.make(
            "argument",
            f"{what}: the shape of a FixedLenFeature is known, and {shape} is not. For rows of "
            "different lengths, use a VarLenFeature.",
        )
    return [dim for dim in dims if dim is not None]


def _default_strings(value: Any, shape: list[int], what: str) -> list[bytes] | None:
    if value is None:
        return None
    place = f"{what}: default_value"
    given = np.asarray(value, object).reshape(-1).tolist()
    if len(given) != np.prod(shape, dtype=np.int64):
        raise errors.make("argument", f"{place} has {len(given)} values, and the shape is {shape}")
    return [text.row(item, place) for item in given]


def _default(value: Any, shape: list[int], what: str) -> Any:
    """The default as an array of that shape, whose values ``_internal`` checks."""
    if value is None:
        return None
    array = np.asarray(value)
    if array.size != np.prod(shape, dtype=np.int64):
        raise errors.make(
            "argument",
            f"{what}: default_value has {array.size} values, and the shape is {shape}",
        )
    return array.reshape(shape)
