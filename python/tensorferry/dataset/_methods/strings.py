"""Strings in the elements of stages: batches and rows of them, and stages that do not take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from tensorferry import _internal, errors
from tensorferry._nest import specs, structures
from tensorferry._nest.structures import LEAF, Structure
from tensorferry._nest.text import TEXT, Texts
from tensorferry.dataset._base import Base
from tensorferry.dataset._methods import padding

#: A component of strings, whether an element has several, the number to pad them to (None for the
#: most of a batch), and the string to pad with.
StringPadding: TypeAlias = tuple[int, bool, int | None, bytes]


def batched(dataset: Base, size: int, drop_remainder: bool) -> tuple[_internal.Plan, Structure]:
    """The plan and the structure of ``batch`` of elements with strings."""
    if structures.holds_several(dataset._structure):
        return _of_several(dataset, size, drop_remainder)
    which = structures.texts(dataset._structure)
    plan = _internal.ragged_batch(dataset._plan, size, drop_remainder, which)
    return plan, of_batches(dataset._structure)


def _of_several(dataset: Base, size: int, drop_remainder: bool) -> tuple[Any, Structure]:
    """As :func:`batched`, of elements that hold several strings, always as many."""
    spec = dataset._plan.spec
    shapes, values, of_strings = paddings(dataset._structure, spec, None, None, "batch")
    held = _held(dataset._structure)
    known = all(
        holds or (dims is not None and None not in dims)
        for holds, (_, dims) in zip(held, spec, strict=True)
    )
    if not known or any(is_row and count is None for _, is_row, count, _ in of_strings):
        raise errors.make(
            "argument",
            f"batch: component {_first(dataset._structure)} holds several strings, and not all "
            "parts of the elements are of known shapes. Use padded_batch, or batch before.",
        )
    plan = dataset._plan.padded_batch(size, shapes, values, drop_remainder, of_strings)
    return plan, of_batches(dataset._structure)


def of_batches(structure: Structure) -> Structure:
    """The structure of batches of such elements."""
    return structures.map_structure(
        lambda leaf: Texts(LEAF, LEAF) if leaf is TEXT else leaf, structure
    )


def of_rows(structure: Structure, spec: list[specs.Part]) -> Structure:
    """The structure of the rows of elements with these components."""
    flat = iter(spec)

    def walk(place: Structure) -> Structure:
        if isinstance(place, Texts):
            _, (_, dims) = next(flat), next(flat)
            return TEXT if dims is None or len(dims) == 1 else place
        if place is not None and structures.is_container(place):
            return structures.rebuilt(place, [walk(part) for part in structures.parts(place)])
        if place is not None:
            next(flat)
        return place

    return walk(structure)


def several(structure: Structure) -> list[int]:
    """The numbers of the components with the bytes of several strings."""
    if isinstance(structure, Texts):
        return [0]
    found: list[int] = []
    at = 0
    for part in structures.parts(structure) if structures.is_container(structure) else []:
        found += [at + inner for inner in several(part)]
        at += len(structures.flatten(part))
    return found


def paddings(
    structure: Structure, spec: list[specs.Part], shapes: Any, values: Any, stage: str
) -> tuple[list[list[int | None]], list[Any], list[StringPadding]]:
    """Padded shapes and padding values of the components, and the padding of strings."""
    outer, shown = specs.with_strings(structure, spec)
    dims = iter(padding.shapes(outer, shown, shapes, stage))
    fillers = iter(padding.values(outer, shown, values, stage))
    names = iter(structures.names(outer) or ["0"])
    each: list[list[int | None]] = []
    fill: list[Any] = []
    made: list[StringPadding] = []

    def walk(place: Structure) -> None:
        if place is None:
            return
        if structures.is_container(place) and not isinstance(place, Texts):
            for part in structures.parts(place):
                walk(part)
            return
        shape, filler, name = next(dims), next(fillers), next(names)
        if place is not TEXT and not isinstance(place, Texts):
            each.append(shape)
            fill.append(filler)
            return
        is_one = place is TEXT
        if len(shape) != (0 if is_one else 1):
            due = "()" if is_one else "of one length"
            raise errors.make(
                "argument",
                f"{stage}: component {name} holds strings, whose padded shape has to be {due}, not "
                f"{tuple(shape)}. Strings of more dimensions are not padded.",
            )
        made.append((len(each), not is_one, None if is_one else shape[0], filler or b""))
        parts = 1 if is_one else 2
        each.extend([[None]] * parts)
        fill.extend([None] * parts)

    walk(structure)
    return each, fill, made


def refuse_several(dataset: Base, stage: str) -> None:
    """Refuses elements that hold several strings, such as batches."""
    if structures.holds_several(dataset._structure):
        raise errors.make(
            "argument",
            f"{stage}: component {_first(dataset._structure)} holds several strings, and "
            f"{stage} takes one for each element. Use {stage} before batch, or unbatch first.",
        )


def refuse(dataset: Base, stage: str, way: str, chosen: Sequence[Any] | None = None) -> None:
    """Refuses elements with strings, or, of ``chosen``, a true value for a component of strings."""
    names = structures.names(dataset._structure) or [""]
    for at, holds in enumerate(_held(dataset._structure)):
        if holds and (chosen is None or chosen[at]):
            name = f"component {names[at]} holds" if names[at] else "elements are"
            raise errors.make(
                "wrong_type", f"{stage}: {name} strings, which are carried as they are. {way}"
            )


def _held(structure: Structure) -> list[bool]:
    """Whether each component holds strings."""
    if structure is TEXT:
        return [True]
    if isinstance(structure, Texts):
        return [True, True]
    if structures.is_container(structure):
        return [one for part in structures.parts(structure) for one in _held(part)]
    return [False for _ in structures.flatten(structure)]


def _first(structure: Structure) -> str:
    names = structures.names(structure)
    held = zip(names, _held(structure), strict=True)
    return next((name for name, holds in held if holds and not name.startswith(".")), "0")
