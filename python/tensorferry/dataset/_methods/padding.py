"""Shapes and values of the padding in ``padded_batch``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tensorferry import _arguments, _internal, errors
from tensorferry._convert import reading, text
from tensorferry._nest import specs, structures
from tensorferry._nest.structures import Structure
from tensorferry._nest.text import STRING

#: The Python numbers that are values of each kind of dtype.
_KINDS: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "uint": (int,),
    "float": (int, float),
    "bfloat": (int, float),
    "complex": (int, float, complex),
}


def shapes(
    structure: Structure, spec: list[specs.Part], given: Any, stage: str
) -> list[list[int | None]]:
    """The dimensions to which each component is padded; None for the longest of a batch."""
    if any(isinstance(part, list) for part in spec):
        raise errors.make(
            "wrong_type",
            f"{stage}: elements hold datasets, not tensors. Flatten them first: "
            "flat_map(lambda window: window.padded_batch(n)).",
        )
    if given is not None:
        what = f"{stage}: padded_shapes"
        places = [f"{what}: component {name}" for name in structures.names(structure)] or [what]
        return [
            _dimensions(shape, place)
            for shape, place in zip(_up_to(structure, given, what), places, strict=True)
        ]
    for name, (_, dims) in zip(structures.names(structure) or ["0"], spec, strict=True):
        if dims is None:
            raise errors.make(
                "argument",
                f"{stage}: component {name} has an unknown number of dimensions. Pass "
                "padded_shapes=.",
            )
    return [list(dims) for _, dims in spec]


def values(structure: Structure, spec: list[specs.Part], given: Any, stage: str) -> list[Any]:
    """The padding value of each component; None for 0. One number applies to all."""
    what = f"{stage}: padding_values"
    if structures.is_container(given):
        flat = _up_to(structure, given, what)
    else:
        is_text = text.is_text(given)
        flat = [given if (name == STRING) == is_text else None for name, _ in spec]
    places = [f"{what}: component {name}" for name in structures.names(structure)] or [what]
    each = zip(flat, spec, places, strict=True)
    return [
        None if value is None else _value(value, name, place) for value, (name, _), place in each
    ]


def number(value: Any, spec: list[specs.Part], what: str) -> Any:
    """A number of the dtype of the first component, which ``_internal`` can read."""
    part = spec[0] if spec else []
    return value if isinstance(part, list) else _value(value, part[0], what)


def _up_to(structure: Structure, given: Any, what: str) -> list[Any]:
    """The value given for each component, nested like the elements. A None in the place of a part
    applies to all its components.
    """
    if structure is None:
        return []
    if not structures.is_container(structure):
        return [given]
    if given is None:
        return [None] * len(structures.flatten(structure))
    due = structures.describe(structure)
    same = (
        isinstance(given, Mapping)
        if isinstance(structure, Mapping)
        else type(given) is type(structure)
    )
    if not same:
        raise errors.make(
            "wrong_type",
            f"{what} has to nest like the elements, {due}; it holds {given!r:.80} there",
        )
    if isinstance(structure, Mapping) and set(given) != set(structure):
        raise errors.make("argument", f"{what} has the keys {list(given)}; the elements are {due}")
    outer, inner = structures.parts(structure), structures.parts(given)
    if len(outer) != len(inner):
        raise errors.make(
            "argument",
            f"{what} has {len(inner)} parts where the elements, {due}, have {len(outer)}",
        )
    return [
        flat for part, value in zip(outer, inner, strict=True) for flat in _up_to(part, value, what)
    ]


def _dimensions(shape: Any, what: str) -> list[int | None]:
    if shape is None or getattr(shape, "rank", 0) is None:
        raise errors.make(
            "argument",
            f"{what} has to have a length for each dimension, None or -1 for unknown ones, "
            f"not {shape}",
        )
    if not isinstance(shape, Iterable) or getattr(shape, "shape", None) == ():
        return [_length(_arguments.whole(shape, what, "a shape"), what)]
    dims = [
        None if dim is None else _arguments.whole(dim, what, "every dimension") for dim in shape
    ]
    return [None if dim is None or dim == -1 else _length(dim, what) for dim in dims]


def _length(dim: int, what: str) -> int:
    if dim < 0:
        raise errors.make("argument", f"{what}: a dimension cannot be {dim}")
    return dim


def _value(value: Any, dtype: str, what: str) -> Any:
    """A padding value that ``_internal`` can read. A Python number becomes the component's dtype;
    other values have to be of that dtype.
    """
    if dtype == STRING:
        return text.row(value, what)
    if isinstance(value, bool | int | float | complex):
        kinds = _KINDS[dtype.rstrip("0123456789")]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise errors.make(
                "dtype_mismatch",
                f"{what}: {value!r} is not a value of dtype {dtype}, its component's",
            )
        try:
            return _internal.tensor(value, dtype)
        except errors.ValueOverflowError as error:
            raise errors.make(
                error.code,
                f"{what}: {_arguments.shown(value)} is not a value of dtype {dtype}, its "
                "component's. Pass another, or cast the component first.",
            ) from None
    array = reading.source(value, what)[0]
    name, rank = _internal.describe(array)
    if rank != 0:
        raise errors.make(
            "argument",
            f"{what}: a padding value has to be one number, not an array of {rank} dimensions",
        )
    if name != dtype:
        raise errors.make(
            "dtype_mismatch",
            f"{what}: a padding value is of dtype {name}, its component of {dtype}",
        )
    return _internal.tensor(array)
