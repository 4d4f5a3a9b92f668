"""Structures of arrays of which some hold rows of different lengths."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from tensorferry import _arguments, _internal, errors
from tensorferry._convert import ragged, reading, tables, text
from tensorferry._files import opened
from tensorferry._internal import Array
from tensorferry._nest import structures
from tensorferry._nest.ragged import Ragged
from tensorferry._nest.structures import LEAF, Structure
from tensorferry._nest.text import TEXT, StringRows, Strings, Texts


def has_ragged(value: Any) -> bool:
    """Whether a part of a structure holds rows of different lengths: strings are rows of bytes."""
    if _is_varying(value) or _columns(value) is not None:
        return True
    return structures.is_container(value) and any(map(has_ragged, structures.parts(value)))


def _is_varying(value: Any) -> bool:
    return ragged.is_ragged(value) or text.is_text(value) or isinstance(value, StringRows)


def _columns(value: Any) -> dict[Any, Any] | None:
    """The columns of a table that is not one array: some of them hold lists or strings."""
    columns = tables.columns(value)
    return columns if columns is not None and any(map(_is_varying, columns.values())) else None


def refuse_batches(structure: Structure, stage: str) -> None:
    """Refuses elements that are ragged batches: their values and row splits have no common rows."""
    if isinstance(structure, Ragged):
        raise errors.make(
            "argument",
            f"{stage}: elements hold ragged batches, which are neither rows nor stacked. Use "
            f"{stage} in the place of ragged_batch, or map them to dense tensors.",
        )
    if structures.is_container(structure):
        for part in structures.parts(structure):
            refuse_batches(part, stage)


def plan(values: Any, stage: str, lists: bool) -> tuple[_internal.Plan, Structure]:
    """The plan and the structure of the rows of arrays. With ``lists``, a list of lists or arrays
    holds rows of different lengths too.
    """
    wrapped = _wrapped(opened.opened(values))
    leaves, structure = structures.flatten(wrapped), structures.structure_of(wrapped)
    names = structures.names(structure)
    plans: list[_internal.Plan] = []
    lengths: list[int] = []
    at = 0
    for in_files, group in itertools.groupby(leaves, lambda leaf: isinstance(leaf, Array)):
        part = list(group)
        here, at = slice(at, at + len(part)), at + len(part)
        if in_files and names:  # features of the same records are read together
            made = [_slices(part, names[here], stage)]
        else:
            whats = [f"{stage}: component {name}" for name in names[here]] or [stage]
            made = [
                _rows(leaf, what, lists, bool(names))
                for leaf, what in zip(part, whats, strict=True)
            ]
        plans += made
        lengths += [plan.cardinality for plan in made for _ in range(len(part) // len(made))]
    if not plans:
        raise errors.make("argument", f"{stage}: no arrays were given")
    for name, length in zip(names, lengths, strict=False):
        if length != lengths[0]:
            raise errors.make(
                "argument",
                f"{stage}: different numbers of rows: {lengths[0]} in component {names[0]} and "
                f"{length} in component {name}",
            )
    found = iter(leaves)
    placed = structures.map_structure(lambda _: _place(next(found)), structure)
    return _zipped(plans), placed


def _place(leaf: Any) -> Structure:
    if isinstance(leaf, _Leaf) and leaf.several:
        return Texts(LEAF, LEAF)
    return TEXT if isinstance(leaf, _Leaf) and leaf.is_text else LEAF


def has_text(value: Any) -> bool:
    """Whether a part of a structure is a string or holds strings."""
    value = _columns(value) or value
    if text.is_text(value) or isinstance(value, StringRows):
        return True
    return structures.is_container(value) and any(map(has_text, structures.parts(value)))


def _slices(arrays: list[Any], names: list[str], stage: str) -> _internal.Plan:
    """The rows of several arrays."""
    with _arguments.named(stage):
        return _internal.from_tensor_slices(reading.sources(arrays, names, stage), names)


def _rows(leaf: Any, what: str, lists: bool, is_part: bool) -> _internal.Plan:
    """The rows of one leaf."""
    if isinstance(leaf, _Leaf) and leaf.several:
        several = _several(leaf, what)
        inner = [_rows(part, what, False, is_part) for part in _wrapped((*several,))]
        return _internal.zip(inner)
    if isinstance(leaf, _Leaf) and isinstance(leaf.value, Strings):
        return _internal.from_ragged([_of_strings(leaf.value, what)])
    if isinstance(leaf, _Leaf):
        made = text.parts if leaf.is_text else ragged.parts
        return _internal.from_ragged(made(leaf.value, what))
    if lists and (not is_part or _is_list_of_rows(leaf)):
        return _internal.from_ragged(ragged.parts(leaf, what))
    source = reading.source(leaf, what)
    with _arguments.named(what):
        return _internal.from_tensor_slices([source], [])


def _of_strings(strings: Strings, what: str) -> ragged.Part:
    """The rows of bytes of strings, where they lie."""
    part = ragged.of_values(strings.values, "splits", [strings.row_splits], what)
    name, rank = _internal.describe(part[0][0])
    if (name, rank) != ("uint8", 1):
        raise errors.make(
            "argument",
            f"{what}: the values of Strings are bytes: uint8 in one dimension, not {name} in "
            f"{rank}",
        )
    return part


class _Leaf:
    """A ragged value, or strings, as one leaf of a structure."""

    def __init__(self, value: Any, is_text: bool = False, several: bool = False) -> None:
        self.value = value
        self.is_text = is_text
        #: Whether a row holds several strings.
        self.several = several


def _wrapped(value: Any) -> Any:
    """The structure with a leaf in the place of each ragged value."""
    value = _columns(value) or value
    if ragged.is_ragged(value) or isinstance(value, StringRows):
        return _Leaf(value, several=isinstance(value, StringRows) or ragged.holds_strings(value))
    if text.is_text(value):
        return _Leaf(value, is_text=True, several=len(text.shape(value)) == 2)
    if value is None or not structures.is_container(value):
        return value
    return structures.rebuilt(value, [_wrapped(part) for part in structures.parts(value)])


def _several(leaf: _Leaf, what: str) -> StringRows:
    """The rows of a leaf, each of several strings."""
    if isinstance(leaf.value, StringRows):
        return leaf.value
    return _grid(leaf.value, what) if leaf.is_text else ragged.strings(leaf.value, what)


def _grid(value: Any, what: str) -> StringRows:
    """The rows of strings in two dimensions."""
    bytes_, splits = text.rows(value, what)
    ends = np.append(splits[:, 0], splits[-1:, -1]) if len(splits) else np.zeros(1, np.int64)
    return StringRows(Ragged(bytes_, ends), splits - splits[:, :1])


def _is_list_of_rows(value: Any) -> bool:
    """Whether a value is a list of lists or arrays, or an array of such objects."""
    if getattr(getattr(value, "dtype", None), "kind", "") != "O" and not isinstance(value, list):
        return False
    first = next(iter(value), None)
    return isinstance(first, list | tuple) or getattr(first, "ndim", 0) > 0


def tensors(values: Any, stage: str) -> tuple[_internal.Plan, Structure]:
    """The plan and the structure of one element: arrays and strings as they are."""
    arrays = _wrapped_strings(opened.opened(values, rows=False), stage)
    leaves, structure = structures.flatten(arrays), structures.structure_of(arrays)
    names = structures.names(structure)
    plans: list[_internal.Plan] = []
    places: list[Structure] = []
    for at, leaf in enumerate(leaves):
        what = f"{stage}: component {names[at]}" if names else stage
        leaf = leaf.value if isinstance(leaf, _Leaf) else leaf
        if text.is_text(leaf) and text.shape(leaf) == ():
            one = text.rows([text.row(leaf, what)], what)
            plans.append(_internal.from_ragged([((one[0], True), "splits", [(one[1], True)])]))
            places.append(TEXT)
            continue
        is_text = text.is_text(leaf)
        sources = (
            [(part, True) for part in text.rows(leaf, what)]
            if is_text
            else [reading.source(leaf, what)]
        )
        with _arguments.named(what):
            plans.append(_internal.from_tensors(sources, []))
        places.append(Texts(LEAF, LEAF) if is_text else LEAF)
    found = iter(places)
    return _zipped(plans), structures.map_structure(lambda leaf: next(found), structure)


def _wrapped_strings(value: Any, stage: str) -> Any:
    """The structure with a leaf in the place of each :class:`tensorferry.Strings`."""
    value = _columns(value) or value
    if isinstance(value, StringRows):
        raise errors.make(
            "argument",
            f"{stage}: rows of several strings are not one element. Use from_tensor_slices.",
        )
    if isinstance(value, Strings):
        return _Leaf(value, is_text=True)
    if value is None or not structures.is_container(value):
        return value
    return structures.rebuilt(
        value, [_wrapped_strings(part, stage) for part in structures.parts(value)]
    )


def _zipped(plans: list[_internal.Plan]) -> _internal.Plan:
    return plans[0] if len(plans) == 1 else _internal.zip(plans)
