"""Strings in the elements of stages: batches of them, and stages that do not take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorferry import _internal, errors
from tensorferry._nest import structures
from tensorferry._nest.structures import LEAF, Structure
from tensorferry._nest.text import TEXT, Texts
from tensorferry.dataset._base import Base


def batched(dataset: Base, size: int, drop_remainder: bool) -> tuple[_internal.Plan, Structure]:
    """The plan and the structure of ``batch`` of elements with strings."""
    refuse_several(dataset, "batch")
    structure = structures.map_structure(
        lambda leaf: Texts(LEAF, LEAF) if leaf is TEXT else leaf, dataset._structure
    )
    which = structures.texts(dataset._structure)
    return _internal.ragged_batch(dataset._plan, size, drop_remainder, which), structure


def refuse_several(dataset: Base, stage: str) -> None:
    """Refuses elements that hold several strings, such as batches."""
    if structures.holds_several(dataset._structure):
        raise errors.make(
            "argument",
            f"{stage}: component {_first(dataset._structure)} holds several strings, and "
            f"{stage} takes one for each element. Use {stage} before batch.",
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
