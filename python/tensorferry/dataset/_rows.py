"""Elements of a batch, one by one, in the format of a dataset."""

from __future__ import annotations

import sys
from typing import Any

from tensorferry._nest import specs, structures
from tensorferry._nest.structures import LEAF, Structure
from tensorferry._typing import ElementFormat


def are_uniform(spec: list[specs.Part]) -> bool:
    """Whether all elements are tensors of one known shape, which can be gathered together."""
    return all(
        isinstance(part, tuple) and part[1] is not None and None not in part[1] for part in spec
    )


def unstacked(batch: Any, count: int, structure: Structure, format: ElementFormat) -> list[Any]:
    """The ``count`` elements of a batch. They share its memory where the framework can."""
    columns = [_rows(leaf, count, format) for leaf in structures.flatten(batch)]
    if structure is LEAF:
        return columns[0]
    if type(structure) is tuple and all(part is LEAF for part in structure):
        return list(zip(*columns, strict=True))
    return [
        structures.pack(structure, iter([column[at] for column in columns])) for at in range(count)
    ]


def _rows(leaf: Any, count: int, format: ElementFormat) -> list[Any]:
    if format == "torch":
        return list(leaf.unbind(0))
    if format == "tensorflow":
        return list(sys.modules["tensorflow"].unstack(leaf, count))
    return [leaf[at] for at in range(count)]
