"""A failing element: where the error surfaces, and what follows it, as in the real tf.data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf

from tests.support.pipeline_functions import Making, Named

SCALAR = tfy.TensorSpec((), "int64")


FAILED = "failed"


def checked(x):
    with tf.control_dependencies([tf.debugging.assert_none_equal(x, np.int64(2))]):
        return tf.identity(x)


def mapped(Dataset, n: int = 5):
    """Numbers of which only the third fails."""
    return Dataset.range(n).map(Named(checked).bound(Dataset))


def generated(Dataset, n: int = 5):
    """Numbers of a generator that raises in place of the third."""

    def numbers():
        yield from np.arange(2)
        raise KeyError("broken")

    return Dataset.from_generator(numbers, output_signature=tf.TensorSpec((), tf.int64))


def shown(dataset: Any) -> list[Any]:
    """The elements, with `FAILED` in place of an error."""
    iterator, elements = iter(dataset), []
    while len(elements) < 20:
        try:
            elements.append(
                tf.nest.map_structure(lambda leaf: leaf.numpy().tolist(), next(iterator))
            )
        except StopIteration:
            return elements
        except (tf.errors.OpError, KeyError):
            elements.append(FAILED)
    raise AssertionError("there is no end")


def function(call: Callable[..., Any], Dataset: Any = None) -> Any:
    return (Named(call) if Dataset is None else Making(lambda _, *element: call(*element))).bound(
        Dataset
    )


def whole(window):
    return window.batch(9)


PIPELINES = {
    "alone": lambda D, make: make(D),
    "batch": lambda D, make: make(D).batch(4),
    "batch that is dropped": lambda D, make: make(D).batch(4, True),
    "padded_batch that is dropped": lambda D, make: make(D).padded_batch(4, drop_remainder=True),
    "rebatch": lambda D, make: make(D).batch(1).rebatch(4, True),
    "window": lambda D, make: make(D).window(4).flat_map(function(whole)),
    "take": lambda D, make: make(D).take(2),
    "concatenate": lambda D, make: make(D).concatenate(D.range(2)),
    "repeat": lambda D, make: make(D).repeat(2),
    "zip": lambda D, make: D.zip(make(D), D.range(9)),
    "enumerate": lambda D, make: make(D).enumerate(),
    "filter": lambda D, make: make(D).filter(function(lambda x: x != 1)),
    "take_while": lambda D, make: make(D).take_while(function(lambda x: x < 4)),
    "scan": lambda D, make: make(D).scan(
        np.int64(0), function(lambda state, x: (state + x, state))
    ),
    "unique": lambda D, make: make(D).concatenate(make(D)).unique(),
    "cache": lambda D, make: make(D).cache().repeat(1),
    "prefetch": lambda D, make: make(D).prefetch(2),
    "shuffle of one": lambda D, make: make(D).filter(function(lambda x: True)).shuffle(1),
    "flat_map": lambda D, make: D.range(2).flat_map(function(lambda x: make(D))),
    "interleave": lambda D, make: make(D).interleave(
        function(lambda x: D.from_tensors(x).repeat(2)), 2, 1
    ),
    "group_by_window": lambda D, make: make(D).group_by_window(
        function(lambda x: x % 2), function(lambda key, w: w.batch(3)), 3
    ),
    "choose_from_datasets": lambda D, make: D.choose_from_datasets(
        [make(D), D.range(9)], D.from_tensor_slices(np.arange(9) % 2)
    ),
    "sample_from_datasets": lambda D, make: D.sample_from_datasets([make(D)], seed=1),
}


@pytest.mark.parametrize("make", [mapped, generated])
@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_an_error_surfaces_where_it_does_in_tf_data_and_the_same_elements_follow(
    name, make
) -> None:
    ours, theirs = (
        shown(PIPELINES[name](Dataset, make)) for Dataset in (tfy.Dataset, tf.data.Dataset)
    )
    assert FAILED in ours or name == "take"
    assert ours == theirs


#: Where tf.data differs: its behaviour, and why tensorferry does not share it.
DIFFERENT = {
    # tf.data computes skipped elements.
    "skip": (lambda D: mapped(D).skip(3), [3, 4], [FAILED]),
    "shard": (lambda D: mapped(D).shard(3, 1), [1, 4], [1, FAILED]),
    "a last batch that is dropped": (lambda D: mapped(D, 3).batch(4, True), [], [FAILED]),
    "zip with what is shorter": (
        lambda D: D.zip(mapped(D), D.range(2)),
        [(0, 0), (1, 1)],
        [(0, 0), (1, 1), FAILED],
    ),
    # An error counts as an element, as in other stages.
    "take": (lambda D: mapped(D).take(3), [0, 1, FAILED], [0, 1, FAILED, 3]),
    # tf.data loses the other rows of the failing batch.
    "unbatch": (lambda D: mapped(D).batch(2).unbatch(), [0, 1, FAILED, 3, 4], [0, 1, FAILED, 4]),
}


@pytest.mark.parametrize("name", sorted(DIFFERENT))
def test_errors_that_surface_differently_in_tf_data(name) -> None:
    pipeline, ours, theirs = DIFFERENT[name]
    assert shown(pipeline(tfy.Dataset)) == ours
    assert shown(pipeline(tf.data.Dataset)) == theirs


TRUNCATED = {
    "skip": lambda dataset: dataset.skip(5),
    "skip to the error": lambda dataset: dataset.skip(2),
    "another shard": lambda dataset: dataset.shard(3, 1),
    "another input": lambda dataset: tfy.Dataset.zip(
        dataset, tfy.Dataset.range(2).filter(lambda x: True)
    ),
    "a window that is dropped": lambda dataset: dataset.window(4, drop_remainder=True).flat_map(
        whole
    ),
    "between windows": lambda dataset: dataset.window(1, shift=4).flat_map(whole),
    "a dropped batch": lambda dataset: dataset.batch(4, drop_remainder=True),
}


@pytest.mark.parametrize("name", sorted(TRUNCATED))
def test_a_failing_generator_is_never_mistaken_for_an_ended_one(name) -> None:
    elements = shown(TRUNCATED[name](generated(tfy.Dataset)))
    assert elements.count(FAILED) == 1
    assert elements[-1] == FAILED


def fails_at(*bad):
    def function(x):
        if int(x) in bad:
            raise ValueError(f"no {int(x)}")
        return x

    return function


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("arguments", "bad"),
    [
        ((2, 4), 3),
        ((2, 4), 7),
        ((2, 4, 1, True), 9),
        ((4, None, 1, True), 9),
        ((2, 3, 2), 1),
        ((3, 2), 2),
        ((1, 9), 9),
    ],
)
def test_windows_fail_for_their_own_elements_as_in_tf_data(arguments, bad, stream):
    size, shift, stride, drop = (
        (*arguments, 1, False)[:4] if len(arguments) == 2 else (*arguments, False)[:4]
    )

    def refuse(x):
        with tf.control_dependencies(
            [tf.debugging.assert_none_equal(x, tf.constant(bad, tf.int64))]
        ):
            return tf.identity(x)

    def found(dataset):
        windows, errors, iterator = [], 0, iter(dataset)
        while True:
            try:
                windows.append([int(x) for x in next(iterator)])
            except StopIteration:
                return windows, errors
            except Exception:
                errors += 1

    theirs = (
        tf.data.Dataset.range(10)
        .map(refuse)
        .window(size, shift, stride, drop)
        .flat_map(lambda window: window.batch(10))
    )
    ours = tfy.Dataset.range(10).with_format("numpy").map(fails_at(bad), output_signature=SCALAR)
    ours = ours.filter(lambda x: True) if stream else ours
    windows, errors = found(ours.window(size, shift, stride, drop))
    expected, failed = found(theirs)
    assert windows == expected
    assert (errors > 0) == (failed > 0)


def test_an_error_of_a_generator_is_raised_even_between_windows():
    def numbers():
        yield from range(3)
        raise ValueError("it is broken")

    dataset = (
        tfy.Dataset.from_generator(numbers, output_signature=SCALAR)
        .with_format("numpy")
        .window(1, shift=4)
    )
    iterator = iter(dataset)
    assert [int(x) for x in next(iterator)] == [0]
    with pytest.raises(ValueError, match="it is broken"):
        next(iterator)
