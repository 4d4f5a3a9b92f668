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
from tensorferry.dataset._functions import identity
from tensorferry.dataset._methods import padding

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
    if len(unknown) != 1:
        raise errors.make(
            "argument",
            f"{STAGE}: {len(unknown)} parts of the elements are of unknown length. Pass the key of "
            "one, or a function of an element's length.",
        )
    return unknown[0]


def measured(plan: _internal.Plan, structure: Structure, length: Any) -> int | None:
    """The number of the component whose length counts, if it is known without reading."""
    if length is len and structure is LEAF:
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
        self.at = at

    def __call__(self, *element: Any) -> int:
        nested = element if type(self.structure) is tuple else element[0]
        return len(structures.flatten(nested)[self.at])


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
        spec = plan.spec
        common = padding.shapes(structure, spec, shapes, STAGE)
        self.values = padding.values(structure, spec, values, STAGE)
        self.to_boundary = to_boundary
        self._check(plan, common)
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
        return [(name, (None, *dims)) for (name, _), dims in zip(spec, common, strict=True)]

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
        shapes = padding.shapes(structure, plan.spec, given[0], STAGE)
        self.values = padding.values(structure, plan.spec, given[1], STAGE)
        self._check(plan, shapes)
        if flags[0]:
            for boundary in self.boundaries:
                _arguments.positive(boundary, STAGE, "every one of bucket_boundaries, to pad to,")
        return _internal.bucket_by_sequence_length(
            plan, component, (self.boundaries, self.sizes), (shapes, self.values), flags
        )

    def _check(self, plan: _internal.Plan, shapes: list[list[int | None]]) -> None:
        """Refuses shapes that elements do not fit in, when the dataset is made."""
        try:
            plan.padded_batch(1, shapes, self.values, False)
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
        if not self.shapes:
            return plan.batch(self.size(key), self.drop_remainder)
        return plan.padded_batch(
            self.size(key), self.shapes[int(key)], self.values, self.drop_remainder
        )

    def functions(
        self,
    ) -> tuple[_Named[int], _Named[_internal.Plan], _Named[int]]:
        """Key, batch and size, with names that contain everything that changes the elements."""
        padding = f"{self.shapes}, {self.values}" if self.shapes else "no_padding"
        batch = f"{padding}, drop_remainder" if self.drop_remainder else padding
        name, number = identity.known_as(self.length)
        key = f"{STAGE}({name}, {self.boundaries})"
        return (
            ((key, number), self.key),
            ((batch, 0), self.batch),
            ((str(self.sizes), 0), self.size),
        )
