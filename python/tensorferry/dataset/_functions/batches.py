"""The results of functions of whole batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorferry import errors
from tensorferry._nest import specs, structures
from tensorferry._nest.structures import LEAF, Nested, Structure
from tensorferry._nest.text import TEXT, Texts
from tensorferry.dataset._base import Base
from tensorferry.dataset._functions import calls
from tensorferry.dataset._functions.tracing import Result


def inferred(batches: Base, function: Callable[..., Any], output_signature: Any) -> Result:
    """The specification of the results of a function of batches. ``output_signature`` describes
    their rows.
    """
    structure, spec = calls.inferred(batches, function, output_signature, "map")
    if any(isinstance(leaf, Nested) for leaf in structures.flatten(structure)):
        raise errors.make(
            "wrong_type", "map: with batched=True the function returns tensors, not datasets"
        )
    if output_signature is not None:
        return _of_rows(structure, spec)
    if TEXT in [leaf for leaf in structures.flatten(structure) if not isinstance(leaf, Nested)]:
        raise errors.make(
            "argument",
            "map: what the function returned for a batch is one string. With batched=True, return "
            "a row for each element.",
        )
    names = structures.names(structure) or [""]
    for (_, dims), name in zip(spec, names, strict=True):
        if dims == ():
            where = f"component {name} of " if name else ""
            raise errors.make(
                "argument",
                f"map: {where}what the function returned for a batch is a scalar. With "
                "batched=True, return a row for each element.",
            )
    return structure, [(name, dims and (None, *dims[1:])) for name, dims in spec]


def _of_rows(structure: Structure, spec: list[specs.Part]) -> Result:
    """The structure and components of batches, of those of rows."""
    flat = iter(spec)
    batch: list[specs.Part] = []

    def walk(place: Structure) -> Structure:
        if place is None:
            return None
        if isinstance(place, Texts):
            values, (dtype, dims) = next(flat), next(flat)
            batch.extend([values, (dtype, (None, *dims))])
            return place
        if structures.is_container(place):
            return structures.rebuilt(place, [walk(part) for part in structures.parts(place)])
        dtype, dims = next(flat)
        if place is TEXT:
            batch.extend([(dtype, dims), ("int64", (None,))])
            return Texts(LEAF, LEAF)
        batch.append((dtype, None if dims is None else (None, *dims)))
        return place

    return walk(structure), batch
