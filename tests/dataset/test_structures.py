"""Containers around tensors: nested as in tf.data, or refused by name."""

from __future__ import annotations

import collections
import dataclasses
import types
from typing import Any

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from tensorferry import errors

Pair = collections.namedtuple("Pair", "x y")


class Attrs:
    """Looks like a class of the package attrs to tf.data."""

    __attrs_attrs__ = (types.SimpleNamespace(name="x"), types.SimpleNamespace(name="y"))

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __repr__(self) -> str:
        return f"Attrs({self.x!r}, {self.y!r})"


@dataclasses.dataclass
class Data:
    x: Any
    y: Any


class Triple(tuple):  # type: ignore[type-arg]
    __slots__ = ()


class Named(dict):  # type: ignore[type-arg]
    pass


A, B = [1, 2], [3.5, 4.5]
NESTED: dict[str, Any] = {
    "tuple": (A, B),
    "dict": {"b": A, "a": B},
    "namedtuple": Pair(A, B),
    "attrs": Attrs(A, B),
    "OrderedDict": collections.OrderedDict(b=A, a=B),
    "defaultdict": collections.defaultdict(list, {"b": A, "a": B}),
    "UserDict": collections.UserDict({"b": A, "a": B}),
    "dict of another class": Named(b=A, a=B),
    "NumPy's result": np.linalg.svd(np.eye(2)),
    "in one another": {"x": (A, Pair(B, {"z": A})), "w": collections.OrderedDict(v=B)},
    "None": (None, A),
}


def plain(value: Any) -> Any:
    return tf.nest.map_structure(lambda leaf: np.asarray(leaf).tolist(), value)


@pytest.mark.parametrize("name", NESTED)
def test_containers_are_nested_as_in_tf_data(name: str) -> None:
    value = NESTED[name]
    ours, theirs = tfy.Dataset.from_tensor_slices(value), tf.data.Dataset.from_tensor_slices(value)
    assert repr(ours.element_spec) == repr(theirs.element_spec)
    for mine, other in zip(ours, theirs, strict=True):
        assert type(mine) is type(other)
        tf.nest.assert_same_structure(mine, other)
        assert repr(mine) == repr(other)
    assert repr(list(ours.batch(2))) == repr(list(theirs.batch(2)))


@pytest.mark.parametrize(
    "value",
    [[(1, 2), (3, 4)], [[1, 2], [3, 4]], [np.arange(2), np.arange(2)], [(1.5, 2), [3, 4]]],
    ids=repr,
)
def test_a_list_of_tuples_is_one_tensor(value: Any) -> None:
    ours, theirs = tfy.Dataset.from_tensor_slices(value), tf.data.Dataset.from_tensor_slices(value)
    assert ours.element_spec == theirs.element_spec
    assert repr(list(ours)) == repr(list(theirs))


REFUSED: dict[str, tuple[Any, str]] = {
    "dataclass": (Data(A, B), r"Data cannot hold the parts of an element.*vars\(x\)"),
    "mappingproxy": (types.MappingProxyType({"a": A}), "a mappingproxy cannot hold the parts"),
    "Counter": (collections.Counter({"a": 2, "b": 3}), "Counter cannot hold the parts"),
    "ChainMap": (collections.ChainMap({"a": A}, {"b": B}), "ChainMap cannot hold the parts"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_container_that_cannot_be_rebuilt_is_refused(name: str) -> None:
    value, words = REFUSED[name]
    for stage in (tfy.Dataset.from_tensor_slices, tfy.Dataset.from_tensors):
        for nested in (value, (value, A), {"k": value}):
            with pytest.raises(errors.InvalidTypeError, match=words):
                stage(nested)


def test_a_subclass_of_tuple_holds_components() -> None:
    (first, _) = tfy.Dataset.from_tensor_slices(Triple((A, B, A))).with_format("numpy")
    assert type(first) is Triple
    assert first == (1, 3.5, 1)


def test_a_sparse_tensor_value_is_one_tensor_and_refused_by_name() -> None:
    sparse = tf.compat.v1.SparseTensorValue([[0, 0]], [1], [2, 2])
    for value in (sparse, (A, sparse), {"k": sparse}, Pair(sparse, A)):
        for stage in (tfy.Dataset.from_tensor_slices, tfy.Dataset.from_tensors):
            with pytest.raises(
                errors.InvalidTypeError,
                match=r"a SparseTensorValue is one sparse tensor.*tf\.sparse\.to_dense",
            ):
                stage(value)
    spec = tfy.TensorSpec(None, "int64")
    for dataset in (
        tfy.Dataset.from_generator(lambda: iter([sparse]), output_signature=spec),
        tfy.Dataset.range(1).with_format("numpy").map(lambda x: sparse, output_signature=spec),
    ):
        with pytest.raises(errors.InvalidTypeError, match="SparseTensorValue"):
            list(dataset)


SIZES = [[3, 0], [0, 3], [3, 0, 2], [0, 0, 5], [8, 0], [3, 0, 0]]


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("sizes", SIZES, ids=repr)
def test_a_batch_of_size_0_has_no_rows(sizes: list[int], drop: bool) -> None:
    for count in (0, 3, 6, 8, 12):
        theirs = [
            x.tolist()
            for x in tf.data.Dataset.range(count).batch(4).rebatch(sizes, drop).as_numpy_iterator()
        ]
        known = tfy.Dataset.range(count).batch(4).rebatch(sizes, drop).with_format("numpy")
        streamed = (
            tfy.Dataset.range(count)
            .filter(lambda x: True)
            .batch(4)
            .rebatch(sizes, drop)
            .with_format("numpy")
        )
        assert [x.tolist() for x in known] == [x.tolist() for x in streamed] == theirs, count
        assert len(known) == len(theirs)
        for position in range(len(theirs)):
            iterator = iter(streamed)
            for _ in range(position):
                next(iterator)
            state = iterator.state_dict()
            resumed = iter(streamed)
            resumed.load_state_dict(state)
            assert [x.tolist() for x in resumed] == theirs[position:]


@pytest.mark.parametrize("sizes", [0, [0], [0, 0], []], ids=repr)
def test_batches_without_any_row_are_refused(sizes: Any) -> None:
    with pytest.raises(
        errors.InvalidArgumentError,
        match="rebatch: batch_size has to be at least 1, or numbers of which one is",
    ):
        tfy.Dataset.range(8).batch(4).rebatch(sizes)
