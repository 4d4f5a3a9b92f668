"""Sources of random pipelines, for hypothesis. Their repr is Python source."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from tests.support.arrays import NAMES, np_dtype
from tests.support.pipeline_functions import Named

Pair = collections.namedtuple("Pair", "a b")


@dataclasses.dataclass
class Array:
    """An array described by a seed, for a short repr."""

    dtype: str
    shape: tuple[int, ...]
    seed: int

    def make(self) -> np.ndarray:
        """A few values of every kind of the dtype, some of them equal."""
        dtype, rng = np_dtype(self.dtype), np.random.default_rng(self.seed)
        few = rng.integers(-2, 4, self.shape)
        if dtype.kind == "b":
            return (few > 0).astype(dtype)
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
            return np.choose(
                few % 5, [np.full(self.shape, x, dtype) for x in (info.min, 1, info.max, 3, 7)]
            ).astype(dtype)
        special = np.choose(
            few % 5, [np.full(self.shape, x) for x in (np.nan, 0.5, -np.inf, -0.0, -3.25)]
        )
        return (special + 1j * few if dtype.kind == "c" else special).astype(dtype)


@dataclasses.dataclass
class Rows:
    """A generator of the rows of arrays."""

    arrays: Any

    def make(self) -> Callable[[], Iterator[Any]]:
        arrays = resolve(self.arrays, None)

        def row(index: int) -> Any:
            return tf.nest.map_structure(lambda array: array[index], arrays)

        def rows() -> Iterator[Any]:
            yield from map(row, range(len(tf.nest.flatten(arrays)[0])))

        return rows


class Chain:
    """A pipeline: a call of a `Dataset` class, then calls of methods. Arguments may be chains."""

    def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
        self.calls = [(name, args, kwargs)]

    def then(self, name: str, *args: Any, **kwargs: Any) -> Chain:
        chain = Chain("")
        chain.calls = [*self.calls, (name, args, kwargs)]
        return chain

    def __call__(self, Dataset: Any) -> Any:
        """The pipeline, built with a library's `Dataset`."""
        built = Dataset
        for name, args, kwargs in self.calls:
            built = getattr(built, name)(*resolve(args, Dataset), **resolve(kwargs, Dataset))
        return built

    def __repr__(self) -> str:
        def call(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
            keywords = [f"{key}={value!r}" for key, value in kwargs.items()]
            return f"{name}({', '.join([*map(repr, args), *keywords])})"

        return "D." + ".".join(call(*one) for one in self.calls)


def resolve(value: Any, Dataset: Any) -> Any:
    """Resolves arguments: makes arrays, builds pipelines."""
    if isinstance(value, Array | Rows):
        return value.make()
    if isinstance(value, Chain):
        return value(Dataset)
    if isinstance(value, Named):
        return value.bound(Dataset)
    if isinstance(value, Pair):
        return Pair(*(resolve(part, Dataset) for part in value))
    if type(value) in (tuple, list):
        return type(value)(resolve(part, Dataset) for part in value)
    if isinstance(value, dict):
        return {key: resolve(part, Dataset) for key, part in value.items()}
    return value


@dataclasses.dataclass(frozen=True)
class Kind:
    """Permitted components of a pipeline's elements."""

    #: None in place of a tensor. tf.data fails if a window holds it.
    none: bool = False
    #: Dimensions of length 0. tf.data aborts the process when it unbatches them.
    empty: bool = False


booleans = st.booleans()
seeds = st.integers(0, 99)
dtypes = st.sampled_from(NAMES)


def arrays(kind: Kind, *rows: int) -> st.SearchStrategy[Array]:
    """Arrays of all dtypes, with a number of rows and a small row shape."""
    shapes = st.lists(st.integers(0 if kind.empty else 1, 3), max_size=3)
    return st.builds(Array, dtypes, shapes.map(lambda shape: (*rows, *shape)), seeds)


def nested(leaves: st.SearchStrategy[Any], none: bool) -> st.SearchStrategy[Any]:
    """Structures of at least one leaf, possibly with None."""

    def around(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(
            st.lists(parts, min_size=1, max_size=3).map(tuple),
            st.dictionaries(st.sampled_from("zab"), parts, min_size=1),
            st.builds(Pair, parts, parts),
            *([st.tuples(parts, st.none())] if none else []),
        )

    return leaves | st.recursive(leaves, around, max_leaves=4)


@functools.cache
def sources(kind: Kind) -> st.SearchStrategy[Chain]:
    """All of the sources below, weighted by their variety."""
    return st.one_of(*[slices(kind)] * 3, tensors(kind), lists(kind), ranges(), generators(kind))


@st.composite
def slices(draw: st.DrawFn, kind: Kind) -> Chain:
    rows = draw(st.integers(0, 7))
    return Chain("from_tensor_slices", draw(nested(arrays(kind, rows), kind.none)))


@st.composite
def tensors(draw: st.DrawFn, kind: Kind) -> Chain:
    numbers = st.sampled_from([3, 2.5, True, [1, 2], [[0.5]], 1 << 40, np.int8(3)])
    return Chain("from_tensors", draw(nested(arrays(kind) | numbers, kind.none)))


@st.composite
def lists(draw: st.DrawFn, kind: Kind) -> Chain:
    value = st.sampled_from([1, -7, 2.5, True, 1 << 40])
    return Chain(
        "from_tensor_slices", draw(nested(st.lists(value, min_size=3, max_size=3), kind.none))
    )


@st.composite
def ranges(draw: st.DrawFn) -> Chain:
    number = st.integers(-6, 12)
    args = draw(
        st.tuples(number)
        | st.tuples(number, number)
        | st.tuples(number, number, st.sampled_from([-3, -1, 1, 2, 5]))
    )
    # Only dtypes that hold the numbers: tf.data wraps the others.
    kwargs = draw(
        st.just({})
        | st.fixed_dictionaries(
            {"output_type": st.sampled_from([tf.int32, tf.int64, tf.float32, "float64"])}
        )
    )
    return Chain("range", *args, **kwargs)


@st.composite
def generators(draw: st.DrawFn, kind: Kind) -> Chain:
    generated = draw(
        nested(arrays(kind, draw(st.integers(0, 5))), none=False)
    )  # signatures of tf.data have no None

    def known(array: Array) -> tf.TensorSpec:
        dims = [dim if draw(booleans) else None for dim in array.shape[1:]]
        return tf.TensorSpec(draw(st.sampled_from([dims, dims, None])), np_dtype(array.dtype))

    return Chain(
        "from_generator", Rows(generated), output_signature=tf.nest.map_structure(known, generated)
    )
