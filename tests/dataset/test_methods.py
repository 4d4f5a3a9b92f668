"""Methods of tf.data without functions: the meaning and order of their arguments, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from tensorferry import errors

from tests.support.side_by_side import assert_agree

ROWS = {"x": np.arange(14, dtype=np.float32).reshape(7, 2), "y": np.arange(7)}


def rows(Dataset):
    return Dataset.from_tensor_slices(ROWS)


CALLS = {
    "from_tensor_slices": lambda D: D.from_tensor_slices(ROWS, "name"),
    "from_tensor_slices of no rows": lambda D: D.from_tensor_slices(
        (np.zeros((0, 3)), np.zeros(0, np.int32))
    ).batch(2),
    "from_tensor_slices of rows of no elements": lambda D: D.from_tensor_slices(
        np.zeros((3, 0), np.int32)
    ).batch(2),
    "from_tensor_slices of nothing": lambda D: D.from_tensor_slices([]),
    "from_tensor_slices of a scalar": lambda D: D.from_tensor_slices({"a": 1}),
    "from_tensor_slices of other lengths": lambda D: D.from_tensor_slices({"a": [1], "b": [1, 2]}),
    "from_tensors": lambda D: D.from_tensors(ROWS, "name"),
    "range of one": lambda D: D.range(np.int64(3), name="name"),
    "range of two": lambda D: D.range(2, 5),
    "range of three": lambda D: D.range(5, -5, -3, output_type=tf.float64, name="name"),
    "range that is empty": lambda D: D.range(3, 3),
    "range of step 0": lambda D: D.range(0, 3, 0),
    "zip of a tuple": lambda D: D.zip((D.range(3), rows(D))),
    "zip of several": lambda D: D.zip(D.range(3), rows(D), name="name"),
    "zip by name": lambda D: D.zip(datasets={"b": D.range(3), "a": (rows(D),)}),
    "zip of one": lambda D: D.zip((D.range(3),)),
    "zip of a list": lambda D: D.zip([D.range(3)]),
    "concatenate": lambda D: rows(D).concatenate(rows(D).take(1), "name"),
    "concatenate of other shapes": lambda D: D.from_tensors([[1, 2]]).concatenate(
        D.from_tensors([[1], [2]])
    ),
    "concatenate of other ranks": lambda D: D.from_tensors([1, 2]).concatenate(D.from_tensors(1)),
    "concatenate of other dtypes": lambda D: D.range(3).concatenate(D.from_tensors(1.5)),
    "concatenate of other structures": lambda D: D.range(3).concatenate(D.zip((D.range(3),))),
    "batch": lambda D: rows(D).batch(np.int32(3), True, 2, True, "name"),
    "batch of a tensor": lambda D: rows(D).batch(tf.constant(3, tf.int64)),
    "batch of more than there are": lambda D: rows(D).batch(100),
    "batch of more, dropped": lambda D: rows(D).batch(100, drop_remainder=True),
    "batch of 0": lambda D: rows(D).batch(0),
    "batch of less": lambda D: rows(D).batch(-3),
    "batch of other shapes": lambda D: (
        D.from_tensors([1, 2]).concatenate(D.from_tensors([1])).batch(2)
    ),
    "window": lambda D: D.range(7).window(3, 2, 2, True, "name"),
    "window of a tensor": lambda D: D.range(7).window(tf.constant(3, tf.int64)),
    "window of 0": lambda D: D.range(7).window(0),
    "window with shift 0": lambda D: D.range(7).window(3, 0),
    "window with stride 0": lambda D: D.range(7).window(3, 1, 0),
    "enumerate": lambda D: rows(D).enumerate(np.int64(5), "name"),
    "enumerate from below 0": lambda D: rows(D).enumerate(start=-2),
    "repeat": lambda D: rows(D).repeat(np.int64(2), "name"),
    "repeat 0 times": lambda D: rows(D).repeat(0),
    "repeat of nothing": lambda D: rows(D).take(0).repeat(),
    "take": lambda D: rows(D).take(tf.constant(2, tf.int64), "name"),
    "take of less than 0": lambda D: rows(D).take(-1),
    "skip": lambda D: rows(D).skip(np.int64(5), "name"),
    "skip of less than 0": lambda D: rows(D).skip(-1),
    "skip of more than there are": lambda D: rows(D).skip(100),
    "shard": lambda D: rows(D).shard(np.int64(3), np.int64(2), "name"),
    "shard of more than there are": lambda D: rows(D).shard(100, 99),
    "shard of a wrong index": lambda D: rows(D).shard(3, 3),
    "shard of an index below 0": lambda D: rows(D).shard(3, -1),
    "shard of none": lambda D: rows(D).shard(0, 0),
    "cache": lambda D: rows(D).cache("", "name").repeat(2),
    "prefetch": lambda D: rows(D).prefetch(2, "name"),
    "prefetch of none": lambda D: rows(D).prefetch(0),
    "prefetch, chosen": lambda D: rows(D).prefetch(tf.data.AUTOTUNE),
    "prefetch of less": lambda D: rows(D).prefetch(-2),
    "unique": lambda D: D.from_tensor_slices([[1, 2], [2, 1], [1, 2]]).unique("name"),
    "unique of several": lambda D: D.zip(D.range(3), D.range(3)).unique(),
    "apply": lambda D: rows(D).apply(lambda dataset: dataset.take(2)),
}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_call_means_the_same_as_in_tf_data(name) -> None:
    assert_agree(CALLS[name])


def test_from_generator_takes_arguments_in_the_order_of_tf_data() -> None:
    def count(n, by):
        for i in range(int(n)):
            yield i * by, [i, i]

    assert_agree(lambda D: D.from_generator(count, (tf.float32, tf.int64), ((), (2,)), (3, 0.5)))
    assert_agree(lambda D: D.from_generator(count, (tf.float32, tf.int64), args=(np.int64(3), 2.0)))


def test_any_number_below_0_takes_all() -> None:
    """tf.data takes all as well, and reports -7 elements."""
    assert (
        len(tfy.Dataset.range(3).take(-7)) == len(numbers(tf.data.Dataset.range(3).take(-7))) == 3
    )
    assert numbers(tfy.Dataset.range(3).prefetch(np.int64(2))) == [
        0,
        1,
        2,
    ]  # tf.data refuses this NumPy integer


def numbers(dataset) -> list[int]:
    return [int(x) for x in dataset]


def test_every_pass_over_a_shuffle_keeps_epochs_whole() -> None:
    for Dataset in (tfy.Dataset, tf.data.Dataset):
        twice = numbers(Dataset.range(8).shuffle(5, 7).repeat(2))
        assert sorted(twice[:8]) == sorted(twice[8:]) == list(range(8))


def test_a_shuffle_that_does_not_reshuffle_repeats_its_order() -> None:
    for Dataset in (tfy.Dataset, tf.data.Dataset):
        dataset = Dataset.range(20).shuffle(20, 7, False, "name")
        once, twice = numbers(dataset), numbers(dataset.repeat(2))
        assert twice == once * 2


def test_the_buffer_size_of_a_shuffle_applies_to_streams_only() -> None:
    """With random access, `buffer_size` is a hint: the whole is permuted at no cost."""
    assert numbers(tf.data.Dataset.range(50).shuffle(1)) == list(range(50))
    assert numbers(tfy.Dataset.range(50).filter(lambda x: True).shuffle(1)) == list(range(50))
    order = numbers(tfy.Dataset.range(50).shuffle(2, seed=3))
    assert sorted(order) == list(range(50))
    assert any(x - place > 2 for place, x in enumerate(order))
    for buffer_size in (2, 5):  # an element comes at most `buffer_size` positions early
        order = numbers(tfy.Dataset.range(50).filter(lambda x: True).shuffle(buffer_size, seed=3))
        assert sorted(order) == list(range(50))
        assert all(x - place < buffer_size for place, x in enumerate(order))


def test_a_dataset_can_be_iterated_repeatedly() -> None:
    dataset = rows(tfy.Dataset).batch(2)
    first, second = iter(dataset), iter(dataset)
    assert [repr(a) == repr(b) for a, b in zip(first, second, strict=True)] == [True] * 4
    assert next(first, None) is None
    assert iter(first) is first
    assert dataset


def test_a_repr_names_the_elements_and_the_plan() -> None:
    assert repr(tfy.Dataset.range(3).batch(2)) == (
        "<tensorferry.Dataset element_spec=TensorSpec(shape=(None,), dtype=int64) plan=range(0, "
        "3, 1, int64) | batch(2)>"
    )


def test_options_of_tf_data_are_accepted() -> None:
    options = tf.data.Options()
    options.threading.private_threadpool_size = 2
    dataset = tfy.Dataset.range(3).with_options(options, "name")
    assert dataset.options() == tfy.Options(threads=2)
    assert numbers(dataset) == [0, 1, 2]
    assert dataset.with_options(tf.data.Options()).options() == tfy.Options(threads=2)
    with pytest.raises(errors.InvalidTypeError, match="with_options"):
        dataset.with_options(3)
