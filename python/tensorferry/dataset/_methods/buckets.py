"""The parts of ``bucket_by_sequence_length``: a key for each element, and a batch of each full
bucket.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from tensorferry import _arguments, _internal, errors
from tensorferry._nest import specs, structures
from tensorferry._nest.structures import LEAF, Structure
from tensorferry._nest.text import TEXT, Texts
from tensorferry.dataset._functions import identity
from tensorferry.dataset._methods import strings
from tensorferry.dataset._methods.strings import StringPadding

STAGE = "bucket_by_sequence_length"
_T = TypeVar("_T")
#: The name and identity of a function in a plan, and the function.
_Named: TypeAlias = tuple[tuple[str, int], Callable[..., _T]]


def _at(structure: Structure, spec: list[specs.Part], key: str | None) -> int:
    """The number of the component of this key; without one, of the only one of unknown length."""
    names = structures.names(structure)
    if key is not None:
        for at, name in enumerate(names):
            if name in (json.dumps(key, ensure_ascii=False), f".{key}"):
                return at
        raise errors.make(
            "argument",
            f"{STAGE}: elements have no part {key!r}; they have {', '.join(names) or 'one part'}",
        )
    unknown = [
        at
        for at, part in enumerate(spec)
        if not isinstance(part, list) and part[1] and part[1][0] is None
    ]
    are_strings = structures.texts(structure)
    unknown = [at for at in unknown if at not in are_strings] or unknown
    if len(unknown) != 1:
        raise errors.make(
            "argument",
            f"{STAGE}: {len(unknown)} parts of the elements are of unknown length. Pass the key of "
            "one, or a function of an element's length.",
        )
    return unknown[0]


def measured(plan: _internal.Plan, structure: Structure, length: Any) -> int | None:
    """The number of the component whose length counts, if it is known without reading."""
    if length is len and (structure is LEAF or structure is TEXT):
        at = 0
    elif length is None or isinstance(length, str):
        at = _at(structure, plan.spec, length)
    elif callable(length):
        return None
    else:
        raise errors.make(
            "wrong_type",
            f"{STAGE}: element_length_func has to be a function, the key of a part or None, not "
            f"{_arguments.shown(length)}",
        )
    return at if plan.is_measured(at) else None


class LengthOf:
    """The length of a component of an element."""

    def __init__(self, structure: Structure, at: int) -> None:
        self.structure = structure
        self.at = leaves(structure)[at]

    def __call__(self, *element: Any) -> int:
        nested = element if type(self.structure) is tuple else element[0]
        value = structures.flatten(nested)[self.at]
        return len(value if getattr(value, "shape", None) != () else value.numpy())


def leaves(structure: Structure) -> list[int]:
    """The number of the value in an element that each component belongs to."""
    if isinstance(structure, Texts):
        return [0, 0]
    if not structures.is_container(structure):
        return [0] * len(structures.flatten(structure))
    numbers: list[int] = []
    for part in structures.parts(structure):
        start = numbers[-1] + 1 if numbers else 0
        numbers += [start + at for at in leaves(part)]
    return numbers


def length_of(structure: Structure, spec: list[specs.Part], key: str | None) -> LengthOf:
    """A function of the length of the component of this key."""
    return LengthOf(structure, _at(structure, spec, key))


class Buckets:
    """Ranges of lengths, the batch size of each, and how batches are padded."""

    def __init__(
        self, length: Callable[..., Any], boundaries: Any, sizes: Any, drop_remainder: bool
    ) -> None:
        self.length = length
        self.boundaries = _arguments.wholes(boundaries, STAGE, "every one of bucket_boundaries")
        self.sizes = [
            _arguments.positive(size, STAGE, "every one of bucket_batch_sizes")
            for size in _arguments.several(sizes)
        ]
        self.drop_remainder = drop_remainder
        count = len(self.boundaries) + 1
        if len(self.sizes) != count:
            raise errors.make(
                "argument",
                f"{STAGE}: {count - 1} bucket_boundaries make {count} buckets, but "
                f"bucket_batch_sizes are {len(self.sizes)}",
            )
        #: For each bucket the dimensions that its elements are padded to; empty without padding.
        self.shapes: list[list[list[int | None]]] = []
        self.values: list[Any] = []
        self.strings: list[list[StringPadding]] = []
        #: The components that are strings, of elements that are not padded.
        self.texts: list[int] = []
        self.to_boundary = False

    def pad(
        self,
        plan: _internal.Plan,
        structure: Structure,
        shapes: Any,
        values: Any,
        to_boundary: bool,
    ) -> list[specs.Part]:
        """Pads batches from now on, and returns their components."""
        common, self.values, of_strings = strings.paddings(
            structure, plan.spec, shapes, values, STAGE
        )
        self.to_boundary = to_boundary
        spec = self._check(plan, common, of_strings)
        for boundary in [*self.boundaries, None]:
            filler = None
            if to_boundary and boundary is not None:
                filler = (
                    _arguments.positive(
                        boundary, STAGE, "every one of bucket_boundaries, to pad to,"
                    )
                    - 1
                )
            self.shapes.append(
                [[filler if dim is None else dim for dim in dims] for dims in common]
            )
            self.strings.append(
                [
                    (at, is_row, filler if is_row and size is None else size, value)
                    for at, is_row, size, value in of_strings
                ]
            )
        return [(name, (None, *dims[1:])) for name, dims in spec]

    def ascend(self) -> bool:
        """Whether the boundaries are lengths in ascending order."""
        return all(low < high for low, high in itertools.pairwise([-1, *self.boundaries]))

    def native(
        self,
        plan: _internal.Plan,
        structure: Structure,
        component: int,
        given: tuple[Any, Any],
        flags: tuple[bool, bool, bool],
    ) -> _internal.Plan:
        """The plan of a stage that knows lengths without reading. ``given`` are padded shapes and
        padding values, ``flags`` whether to pad to boundaries, not to pad, and to drop remainders.
        """
        shapes, self.values, of_strings = strings.paddings(structure, plan.spec, *given, STAGE)
        self._check(plan, shapes, of_strings)
        if flags[0]:
            for boundary in self.boundaries:
                _arguments.positive(boundary, STAGE, "every one of bucket_boundaries, to pad to,")
        return _internal.bucket_by_sequence_length(
            plan, component, (self.boundaries, self.sizes), (shapes, self.values), flags, of_strings
        )

    def _check(
        self,
        plan: _internal.Plan,
        shapes: list[list[int | None]],
        of_strings: list[StringPadding],
    ) -> list[specs.Part]:
        """The components of a batch. Refuses shapes that elements do not fit in, when the dataset
        is made.
        """
        try:
            return plan.padded_batch(1, shapes, self.values, False, of_strings).spec
        except errors.Error as error:
            raise errors.make(
                error.code, str(error).replace("padded_batch: ", f"{STAGE}: ", 1)
            ) from None

    def key(self, *element: Any) -> int:
        """The number of an element's bucket."""
        length = _arguments.whole(
            self.length(*element), STAGE, "the length that element_length_func returns"
        )
        starts, ends = [-math.inf, *self.boundaries], [*self.boundaries, math.inf]
        at = next(
            at
            for at, (start, end) in enumerate(zip(starts, ends, strict=True))
            if start <= length < end
        )
        if self.to_boundary and at == len(self.boundaries):
            raise errors.make(
                "argument",
                f"{STAGE}: an element of length {length}; with pad_to_bucket_boundary=True every "
                f"length has to be less than the last of bucket_boundaries={self.boundaries}",
            )
        return at

    def size(self, key: Any) -> int:
        """The batch size of a bucket."""
        return self.sizes[int(key)]

    def batch(self, key: Any, window: Any) -> _internal.Plan:
        """The batch of a bucket's elements."""
        plan: _internal.Plan = window._plan
        size, drop = self.size(key), self.drop_remainder
        if not self.shapes:
            texts = self.texts
            return (
                _internal.ragged_batch(plan, size, drop, texts) if texts else plan.batch(size, drop)
            )
        bucket = int(key)
        return plan.padded_batch(size, self.shapes[bucket], self.values, drop, self.strings[bucket])

    def functions(
        self,
    ) -> tuple[_Named[int], _Named[_internal.Plan], _Named[int]]:
        """Key, batch and size, with names that contain everything that changes the elements."""
        padding = f"{self.shapes}, {self.values}" if self.shapes else "no_padding"
        padding += f", {self.strings}" if any(self.strings) else ""
        batch = f"{padding}, drop_remainder" if self.drop_remainder else padding
        name, number = identity.known_as(self.length)
        key = f"{STAGE}({name}, {self.boundaries})"
        return (
            ((key, number), self.key),
            ((batch, 0), self.batch),
            ((str(self.sizes), 0), self.size),
        )
