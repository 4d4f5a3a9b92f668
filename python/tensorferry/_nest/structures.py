"""Nested structures: tuples, dicts, namedtuples and attrs classes around leaves, flattened in
tf.data's order.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np

from tensorferry import errors
from tensorferry._convert import text
from tensorferry._nest.ragged import Ragged, framework
from tensorferry._nest.text import TEXT, Texts, maker

_K = TypeVar("_K")
_V_co = TypeVar("_V_co", covariant=True)

#: A structure: a leaf (:data:`LEAF`, ``TEXT`` or :class:`Nested`), None, or a container of them.
Structure: TypeAlias = Any


class _Leaf:
    """A tensor's place in a structure."""

    def __repr__(self) -> str:
        return "LEAF"

    def __reduce__(self) -> str:
        return "LEAF"


LEAF = _Leaf()


class LeafMapping(Mapping[_K, _V_co]):
    """A mapping that is one leaf of a structure, not a container."""

    __slots__ = ()


class Nested:
    """A dataset's place in a structure. Its own elements are of ``structure``."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Nested) and equal(self.structure, other.structure)

    __hash__ = None  # type: ignore[assignment]


def _is_namedtuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _is_attrs(value: Any) -> bool:
    return hasattr(type(value), "__attrs_attrs__")


def _keys(value: Mapping[Any, Any]) -> list[Any]:
    """The keys of a dict in the order of flattening."""
    try:
        return sorted(value)
    except TypeError:
        raise TypeError(
            "a dict in an element needs keys that can be sorted, which is the order of its parts, "
            f"not {list(value)!r}"
        ) from None


def _names(value: Any) -> list[str]:
    return [attribute.name for attribute in type(value).__attrs_attrs__]


#: Tuples that TensorFlow reads as one tensor each.
_SPARSE = frozenset({"SparseTensorValue"})


def is_container(value: Any) -> bool:
    """Whether a value nests others. A list does not: it is stacked into one tensor."""
    if isinstance(value, tuple):
        return not (
            type(value).__name__ in _SPARSE and type(value).__module__.startswith("tensorflow.")
        )
    return (isinstance(value, Mapping) and not isinstance(value, LeafMapping)) or _is_attrs(value)


def parts(value: Any) -> list[Any]:
    """The parts of a container, in the order of flattening."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return [value[key] for key in _keys(value)]
    return [getattr(value, name) for name in _names(value)]


def fields(value: Any) -> list[Any]:
    """The names of the parts of a container, in the order of flattening: keys of a dict, fields of
    a namedtuple or an attrs class. Empty for anything else.
    """
    if isinstance(value, Mapping) and is_container(value):
        return _keys(value)
    if _is_namedtuple(value):
        return list(value._fields)
    return _names(value) if _is_attrs(value) else []


def rebuilt(value: Any, new: list[Any]) -> Any:
    """A container like ``value`` with other parts, given in the order of flattening."""
    if type(value) is tuple:
        return tuple(new)
    if _is_namedtuple(value):
        return type(value)(*new)
    if isinstance(value, tuple):
        return type(value)(new)
    if isinstance(value, Mapping):
        by_key = dict(zip(_keys(value), new, strict=True))
        pairs = [(key, by_key[key]) for key in value]
        return dict(pairs) if type(value) is dict else _like_mapping(value, pairs)
    return type(value)(**dict(zip(_names(value), new, strict=True)))


def _like_mapping(value: Mapping[Any, Any], pairs: list[tuple[Any, Any]]) -> Any:
    factory = getattr(value, "default_factory", _like_mapping)
    make: Any = type(value)
    return make(pairs) if factory is _like_mapping else make(factory, pairs)  # a defaultdict


def flatten(value: Any) -> list[Any]:
    """The leaves, without None."""
    if value is None:
        return []
    if not is_container(value):
        return [value]
    return [leaf for part in parts(value) for leaf in flatten(part)]


def names(structure: Structure) -> list[str]:
    """The name of each leaf in errors: ``"label"``, ``["x"]["y"]``, ``[0]["label"]``, ``.field``;
    for a part of a tuple its number. Empty for a single leaf.
    """
    return [_name(path) for path in _paths(structure, ())] if is_container(structure) else []


def _paths(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if value is None:
        return
    if path and isinstance(value, Texts):
        yield from (path, path)
        return
    if not is_container(value):
        yield path
        return
    if _is_namedtuple(value):
        steps = [f".{field}" for field in value._fields]
    elif isinstance(value, tuple):
        steps = [f"[{at}]" for at in range(len(value))]
    elif isinstance(value, Mapping):
        steps = [f"[{_quoted(key)}]" for key in _keys(value)]
    else:
        steps = [f".{name}" for name in _names(value)]
    for step, part in zip(steps, parts(value), strict=True):
        yield from _paths(part, (*path, step))


def _quoted(key: Any) -> str:
    return json.dumps(key, ensure_ascii=False) if isinstance(key, str) else repr(key)


def _name(path: tuple[str, ...]) -> str:
    return "".join(path) if len(path) > 1 or path[0].startswith(".") else path[0][1:-1]


def map_structure(function: Callable[[Any], Any], value: Any, nothing: Any = None) -> Any:
    """The structure with ``function(leaf)`` in the place of each leaf, called in the order of
    flattening, and ``nothing`` in the place of None.
    """
    if value is None:
        return nothing
    if not is_container(value):
        return function(value)
    return rebuilt(value, [map_structure(function, part, nothing) for part in parts(value)])


def structure_of(value: Any) -> Structure:
    """The structure of a value whose leaves are tensors.

    Raises:
        tensorferry.errors.InvalidTypeError: a container that cannot hold the parts of elements.
    """
    if value is None:
        return None
    if not is_container(value):
        if (
            dataclasses.is_dataclass(value)
            and not isinstance(value, type)
            and not hasattr(value, "__array__")
        ):
            raise _no_container(
                value,
                "TensorFlow does not nest dataclasses either. Pass vars(x), a dict of its fields",
            )
        return LEAF
    inner = [structure_of(part) for part in parts(value)]
    if type(value) in (tuple, dict):
        return rebuilt(value, inner)
    try:
        made = rebuilt(value, inner)
        whole = type(made) is type(value) and (
            not isinstance(value, Mapping)
            or all(a is b for a, b in zip(parts(made), inner, strict=True))
        )
    except Exception:  # the class may raise anything
        whole = False
    if not whole:
        raise _no_container(
            value, "it cannot be rebuilt from other parts. Pass a tuple, a namedtuple or a dict"
        )
    return made


def _no_container(value: Any, way: str) -> errors.Error:
    kind = type(value)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    return errors.make("wrong_type", f"a {name} cannot hold the parts of an element: {way}.")


def pack(
    structure: Structure, flat: Iterator[Any], string: Callable[..., Any] | None = None
) -> Any:
    """The structure with the next value of ``flat`` in the place of each leaf, ``string(bytes)`` in
    the place of a string, and ``string(values, row_splits)`` in that of several.
    """
    if string is None:
        filled = map_structure(lambda leaf: next(flat), structure)
    else:
        filled = map_structure(
            lambda leaf: string(next(flat)) if leaf is TEXT else next(flat), structure
        )
        filled = replaced(filled, Texts, string)
    return replaced(filled, Ragged, framework)


def replaced(value: Any, kind: type, make: Callable[..., Any]) -> Any:
    """The value with ``make(*part)`` in the place of each part of the class ``kind``."""
    if isinstance(value, kind):
        return make(*value)  # type: ignore[misc]
    if value is None or not is_container(value):
        return value
    return rebuilt(value, [replaced(part, kind, make) for part in parts(value)])


def holds_several(structure: Structure) -> bool:
    """Whether a part of an element holds several strings."""
    if isinstance(structure, Texts):
        return True
    return is_container(structure) and any(map(holds_several, parts(structure)))


def texts(structure: Structure) -> list[int]:
    """The numbers of the components that hold one string each."""
    return [at for at, leaf in enumerate(flatten(structure)) if leaf is TEXT]


def has_text(structure: Structure) -> bool:
    """Whether elements of this structure hold strings."""
    if structure is TEXT or isinstance(structure, Texts):
        return True
    if isinstance(structure, Nested):
        return has_text(structure.structure)
    return is_container(structure) and any(map(has_text, parts(structure)))


def _kind(value: Any) -> Any:
    return dict if isinstance(value, Mapping) else type(value)


def equal(a: Structure, b: Structure) -> bool:
    """Whether two structures nest in the same way."""
    if a is None or b is None:
        return a is b
    if not is_container(a) or not is_container(b):
        return is_container(a) == is_container(b) and (
            a == b if isinstance(a, Nested) or isinstance(b, Nested) else (a is TEXT) == (b is TEXT)
        )
    if _kind(a) is not _kind(b) or (isinstance(a, Mapping) and _keys(a) != _keys(b)):
        return False
    ours, theirs = parts(a), parts(b)
    return len(ours) == len(theirs) and all(equal(x, y) for x, y in zip(ours, theirs, strict=True))


def flatten_as(structure: Structure, value: Any, what: str, stacks: bool = False) -> list[Any]:
    """The leaves of a value that has to nest as ``structure`` does.

    Where a tuple is due, lists count as tuples. With ``stacks``, where a tensor is due, tuples
    count as lists.
    """
    flat: list[Any] = []
    _collect(structure, value, what, flat, stacks)
    return flat


def _collect(structure: Structure, value: Any, what: str, flat: list[Any], stacks: bool) -> None:
    if structure is TEXT:
        flat.append(np.frombuffer(text.row(value, what), np.uint8))
        return
    if isinstance(structure, Texts):
        flat.extend(text.rows(value, what))
        return
    if structure is None:
        if value is not None:
            raise TypeError(f"{what} holds a {type(value).__name__} where None is due")
        return
    if not is_container(structure):
        if (
            isinstance(value, Mapping)
            or value is None
            or (isinstance(value, tuple) and is_container(value) and not stacks)
        ):
            raise TypeError(f"{what} holds a {type(value).__name__} where a tensor is due")
        flat.append(value)
        return
    if isinstance(structure, tuple) and isinstance(value, list):
        value = tuple(value)
    same = (
        isinstance(value, tuple)
        if isinstance(structure, tuple)
        else _kind(value) is _kind(structure)
    )
    if (
        not same
        or (isinstance(structure, Mapping) and set(value) != set(structure))
        or len(parts(value)) != len(parts(structure))
    ):
        raise TypeError(
            f"{what} is structured as {describe(structure_of(value))}, not as {describe(structure)}"
        )
    for part, inner in zip(parts(structure), parts(value), strict=True):
        _collect(part, inner, what, flat, stacks)


def describe(structure: Structure) -> str:
    """The structure with a star for each tensor: ``(*, {'a': *})``."""
    if structure is None:
        return "None"
    if isinstance(structure, Nested):
        return f"Dataset({describe(structure.structure)})"
    if isinstance(structure, Texts):
        return "*"
    if isinstance(structure, Mapping):
        return (
            "{" + ", ".join(f"{key!r}: {describe(part)}" for key, part in structure.items()) + "}"
        )
    if isinstance(structure, tuple):
        inner = ", ".join(describe(part) for part in structure)
        return f"({inner}{',' if len(structure) == 1 else ''})"
    if is_container(structure):
        return (
            type(structure).__name__
            + "("
            + ", ".join(describe(part) for part in parts(structure))
            + ")"
        )
    return "*"


def skeleton(structure: Structure, format: str) -> Any:
    """The structure as ``_internal.Packer`` takes it: a number for each leaf, ``[make, parts]`` for
    a container that is neither tuple nor dict, and ``[make, values, row_splits]`` for strings.
    """
    numbers = iter(range(len(flatten(structure))))
    return _skeleton(structure, numbers, format)


def _skeleton(structure: Structure, numbers: Iterator[int], format: str) -> Any:
    if structure is None:
        return None
    if structure is TEXT:
        return [maker(format), next(numbers), None]
    if isinstance(structure, Texts):
        return [maker(format), next(numbers), next(numbers)]
    if not is_container(structure):
        return next(numbers)
    inner = [_skeleton(part, numbers, format) for part in parts(structure)]
    if type(structure) in (tuple, dict):
        return rebuilt(structure, inner)
    if isinstance(structure, Ragged):
        return [lambda new: framework(*new), inner]
    return [lambda new: rebuilt(structure, new), inner]
