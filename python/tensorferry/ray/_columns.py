"""Elements as columns: a column for each component, named by its place in an element."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from ray.data.block import Block, BlockAccessor

from tensorferry import errors
from tensorferry._nest import structures
from tensorferry._nest.structures import Nested
from tensorferry._nest.text import Texts
from tensorferry.dataset import Dataset
from tensorferry.dataset._rows import are_uniform

#: The column of elements that are one array, as Ray's ``read_numpy`` calls it.
ALONE = "data"
#: Kinds of dtypes that Arrow has: bool, integers, floats.
_KINDS = "biuf"
#: Bytes of one element whose size is not known before it is read.
_UNKNOWN_BYTES = 1 << 10


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a dataset's elements."""

    names: list[str]
    #: Whether elements have one known shape, and are read many at once.
    uniform: bool
    #: Bytes of one element; an estimate if shapes vary.
    bytes: int

    @classmethod
    def of(cls, dataset: Dataset) -> Columns:
        """
        Raises:
            tensorferry.errors.InvalidTypeError: elements that Ray has no columns for.
        """
        structure, spec = dataset._structure, dataset._plan.spec
        names = _names(structure)
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise errors.make(
                "wrong_type",
                f"ray.read: two components have the name {repeated!r}. Map the elements to a dict "
                "with a key for each.",
            )
        for name, leaf in zip(names, _leaves(structure), strict=True):
            if isinstance(leaf, Nested):
                raise _refused(name, "holds datasets", "Flatten them first: flat_map.")
            if isinstance(leaf, Texts):
                raise _refused(name, "holds several strings", "Leave out batch: rows hold one.")
        if not names:
            raise errors.make("wrong_type", "ray.read: the elements hold no tensors")
        for name, part in zip(names, spec, strict=True):
            _check(name, part)
        return cls(names, are_uniform(spec), max(1, sum(map(row_bytes, spec))))

    def block(self, columns: list[Any]) -> Block:
        """A block over the memory of the columns."""
        return BlockAccessor.batch_to_block(dict(zip(self.names, columns, strict=True)))


class Elements:
    """An iteration, as blocks. It begins when this object is made.

    Args:
        columns: those of the dataset.
        dataset: whose elements to read.
        rows: the elements of a block.
    """

    def __init__(self, columns: Columns, dataset: Dataset, rows: int) -> None:
        self._columns, self._rows = columns, rows
        self._elements = (dataset.batch(rows) if columns.uniform else dataset).as_numpy_iterator()

    @property
    def row_bytes(self) -> int | None:
        """Bytes of an element; None where shapes vary."""
        return self._columns.bytes if self._columns.uniform else None

    def blocks(self, bytes_: int) -> Iterator[Block]:
        """The blocks. Where shapes vary, one ends after ``bytes_`` bytes."""
        if self._columns.uniform:
            for batch in self._elements:
                yield self._columns.block(structures.flatten(batch))
            return
        held: list[list[Any]] = []
        size = 0
        for element in self._elements:
            held.append(structures.flatten(element))
            size += sum(len(leaf) if isinstance(leaf, bytes) else leaf.nbytes for leaf in held[-1])
            if len(held) == self._rows or size >= bytes_:
                yield self._stacked(held)
                held, size = [], 0
        if held:
            yield self._stacked(held)

    def _stacked(self, elements: list[list[Any]]) -> Block:
        return self._columns.block([_column(values) for values in zip(*elements, strict=True)])


def _column(values: tuple[Any, ...]) -> Any:
    """The values of one component. Arrow has a column for arrays of several shapes, and strings."""
    if isinstance(values[0], np.generic):
        return np.array(values)
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _names(structure: Any) -> list[str]:
    return [".".join(path) or ALONE for path, _ in _walk(structure, ())]


def _leaves(structure: Any) -> list[Any]:
    return [leaf for _, leaf in _walk(structure, ())]


def _walk(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if value is None:
        return
    if isinstance(value, Texts) or not structures.is_container(value):
        yield path, value
        return
    parts = structures.parts(value)
    keys = structures.fields(value) or range(len(parts))
    for key, part in zip(keys, parts, strict=True):
        yield from _walk(part, (*path, key if isinstance(key, str) else json.dumps(key)))


def _check(name: str, part: Any) -> None:
    """Refuses a component that Arrow has no column for."""
    dtype, dims = part
    if dims is None:
        raise _refused(
            name, "has a number of dimensions that is not known", "Map it to a known shape."
        )
    try:
        known = np.dtype(dtype).kind in _KINDS
    except TypeError:
        known = False
    if not known:
        raise _refused(
            name, f"is {dtype}, which Arrow has no dtype for", 'Cast it: cast("float32").'
        )


def _refused(name: str, why: str, way: str) -> errors.Error:
    return errors.make("wrong_type", f"ray.read: {name!r} {why}. {way}")


def row_bytes(part: Any) -> int:
    """Bytes of a component of one element; an estimate if its shape varies."""
    dtype, dims = part
    if dims is None or None in dims:
        return _UNKNOWN_BYTES
    return int(math.prod(dims) * np.dtype(dtype).itemsize)
