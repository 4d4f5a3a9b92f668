"""Functions for random pipelines. Each takes elements of any tensors, and may be traced."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

Pair = collections.namedtuple("Pair", "a b")


class Named:
    """A function whose repr is its name; `bound(Dataset)` is the callable for a library."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = function.__name__

    def bound(self, Dataset: Any) -> Callable[..., Any]:
        return tf.autograph.experimental.do_not_convert(
            self.function
        )  # conversion is slow and has no effect here

    def __repr__(self) -> str:
        return self.name


class Making(Named):
    """A function that makes datasets. Its first argument is the library's `Dataset`."""

    def bound(self, Dataset: Any) -> Callable[..., Any]:
        return tf.autograph.experimental.do_not_convert(
            lambda *element: self.function(Dataset, *element)
        )


def leaves(element: tuple[Any, ...]) -> list[Any]:
    """The tensors of an element, given as the arguments of a function."""
    return [leaf for leaf in tf.nest.flatten(element) if leaf is not None]


def number(element: tuple[Any, ...]) -> Any:
    """An int64 computed from an element, without casts of floats to integers."""
    first = leaves(element)[0]
    if first.dtype.is_complex:
        first = tf.math.real(first)
    if first.dtype.is_floating:
        first = first > 0
    return tf.reduce_sum(tf.cast(first, tf.int64))


def whole(*element):
    return element[0] if len(element) == 1 else element


def first_leaf(*element):
    return leaves(element)[0]


def as_dict(*element):
    first, *others = leaves(element)
    return {"z": first, "a": tuple(others)}


def as_namedtuple(*element):
    return Pair(leaves(element)[-1], {"n": number(element)})


def with_none(*element):
    return number(element), None


def shape_of_first(*element):
    return tf.shape(leaves(element)[0])


def twice_each(*element):
    return tf.nest.map_structure(lambda x: None if x is None else tf.stack([x, x]), element)


def to_float(*element):
    return tf.nest.map_structure(
        lambda x: None if x is None or x.dtype.is_complex else tf.cast(x, tf.float32), element
    )


def constants(*element):
    return 1, 2.5, True


def lists(*element):
    return [number(element), [1.5, 2.5]]


def numpy_numbers(*element):
    return np.int16(3), np.zeros((2,), np.float64)


def other_lengths(*element):
    return tf.range(number(element) % 3), leaves(element)[0]


def squeezed(*element):
    return tf.squeeze(leaves(element)[0])


def flattened(*element):
    return tf.reshape(leaves(element)[0], [-1])


def sum_is_even(*element):
    return number(element) % 2 == 0


def sum_is_small(*element):
    return number(element) < 3


def always(*element):
    return True


def never(*element):
    return tf.constant(False)


def not_a_bool(*element):
    return number(element)


def add_up(state, element):
    total = state + number((element,))
    return total, (total, element)


def count(state, element):
    return state + 1, state


def collect(state, element):
    calls, _ = state
    return (calls + 1, tf.cast(number((element,)), tf.float32)), {"calls": calls}


def fold_sum(state, element):
    return state + number((element,))


def fold_pair(state, element):
    total, count = state
    return total + number((element,)), count + 1


def grow(state, element):
    state = tf.concat([state, state[:1] + 1], 0)
    return state, state


def fold_grow(state, element):
    return tf.concat([state, [number((element,))]], 0)


def zipped(Dataset, element):
    """The windows of an element, zipped."""
    windows = [part for part in tf.nest.flatten(element) if hasattr(part, "element_spec")]
    return windows[0] if len(windows) == 1 else Dataset.zip(tuple(windows))


def windows_whole(Dataset, *element):
    return zipped(Dataset, element)


def windows_batched(Dataset, *element):
    return zipped(Dataset, element).batch(2)


def windows_padded(Dataset, *element):
    return zipped(Dataset, element).take(2).repeat(2)


def itself_twice(Dataset, *element):
    return Dataset.from_tensors(whole(*element)).repeat(2)


def constant_range(Dataset, *element):
    return Dataset.range(3)


def nothing(Dataset, *element):
    return Dataset.range(0).batch(2)


def with_numbers(Dataset, *element):
    return Dataset.from_tensors(leaves(element)[0]).repeat(3).enumerate()


def asserts(*element):
    with tf.control_dependencies([tf.debugging.assert_less(number(element), np.int64(3))]):
        return whole(
            *tf.nest.map_structure(lambda x: None if x is None else tf.identity(x), element)
        )


def parity(*element):
    return number(element) % 2


def group_whole(Dataset, key, window):
    return window


def group_batched(Dataset, key, window):
    return window.batch(2)


def group_with_key(Dataset, key, window):
    return Dataset.zip(Dataset.from_tensors(key).repeat(), window)


def fold_other_dtype(state, element):
    return tf.cast(state, tf.float32)


MAPS = [
    Named(function)
    for function in (
        whole,
        first_leaf,
        as_dict,
        as_namedtuple,
        with_none,
        shape_of_first,
        twice_each,
        to_float,
        constants,
        lists,
        numpy_numbers,
        other_lengths,
        squeezed,
        flattened,
        asserts,
    )
]
#: Maps whose results contain None, or dimensions of length 0.
NONES, EMPTIES = ["with_none", "to_float"], ["other_lengths"]
PREDICATES = [
    Named(function) for function in (sum_is_even, sum_is_small, always, never, not_a_bool)
]
SCANS = [
    (np.int64(0), Named(add_up)),
    (0, Named(count)),
    ((np.int64(0), 0.0), Named(collect)),
    (np.zeros(1, np.int16), Named(grow)),
]
FOLDS = [
    (np.int64(0), Named(fold_sum)),
    ((np.int64(0), 0), Named(fold_pair)),
    (np.zeros(0, np.int64), Named(fold_grow)),
    (0, Named(fold_other_dtype)),
]
DATASETS = [Making(function) for function in (itself_twice, constant_range, nothing, with_numbers)]
WINDOWS = [Making(function) for function in (windows_whole, windows_batched, windows_padded)]
GROUPS = [
    (Named(parity), Making(function)) for function in (group_whole, group_batched, group_with_key)
]
