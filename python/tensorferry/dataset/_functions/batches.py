"""The results of functions of whole batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorferry import errors
from tensorferry._nest import structures
from tensorferry._nest.structures import Nested
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
        return structure, [(name, None if dims is None else (None, *dims)) for name, dims in spec]
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
