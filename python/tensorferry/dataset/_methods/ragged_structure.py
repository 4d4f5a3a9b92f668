"""Structures of arrays of which some hold rows of different lengths."""

from __future__ import annotations

from typing import Any

from tensorferry import _arguments, _internal, errors
from tensorferry._convert import ragged, reading
from tensorferry._files import opened
from tensorferry._nest import structures
from tensorferry._nest.structures import Structure


def has_ragged(value: Any) -> bool:
    """Whether a part of a structure holds rows of different lengths."""
    if ragged.is_ragged(value):
        return True
    return structures.is_container(value) and any(map(has_ragged, structures.parts(value)))


def plan(values: Any, stage: str, lists: bool) -> tuple[_internal.Plan, Structure]:
    """The plan and the structure of the rows of arrays. With ``lists``, a list of lists or arrays
    holds rows of different lengths too.
    """
    wrapped = _wrapped(opened.opened(values))
    leaves, structure = structures.flatten(wrapped), structures.structure_of(wrapped)
    names = structures.names(structure)
    plans: list[_internal.Plan] = []
    lengths: list[int] = []
    for at, leaf in enumerate(leaves):
        what = f"{stage}: component {names[at]}" if names else stage
        if isinstance(leaf, _Leaf):
            plans.append(_internal.from_ragged(ragged.parts(leaf.value, what)))
        elif lists and (not names or _is_list_of_rows(leaf)):
            plans.append(_internal.from_ragged(ragged.parts(leaf, what)))
        else:
            source = reading.source(leaf, what)
            with _arguments.named(what):
                plans.append(_internal.from_tensor_slices([source], []))
        lengths.append(plans[-1].cardinality)
    if not plans:
        raise errors.make("argument", f"{stage}: no arrays were given")
    for name, length in zip(names, lengths, strict=False):
        if length != lengths[0]:
            raise errors.make(
                "argument",
                f"{stage}: different numbers of rows: {lengths[0]} in component {names[0]} and "
                f"{length} in component {name}",
            )
    return (plans[0] if len(plans) == 1 else _internal.zip(plans)), structure


class _Leaf:
    """A ragged value, as one leaf of a structure."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _wrapped(value: Any) -> Any:
    """The structure with a leaf in the place of each ragged value."""
    if ragged.is_ragged(value):
        return _Leaf(value)
    if value is None or not structures.is_container(value):
        return value
    return structures.rebuilt(value, [_wrapped(part) for part in structures.parts(value)])


def _is_list_of_rows(value: Any) -> bool:
    """Whether a value is a list of lists or arrays, or an array of such objects."""
    if getattr(getattr(value, "dtype", None), "kind", "") != "O" and not isinstance(value, list):
        return False
    first = next(iter(value), None)
    return isinstance(first, list | tuple) or getattr(first, "ndim", 0) > 0
