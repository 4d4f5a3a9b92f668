"""padded_batch, unbatch and rebatch against the real tf.data in the same test."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
import tensorferry as tfy
from hypothesis import given
from hypothesis import strategies as st
from tensorferry import errors

from tests.support.arrays import NAMES, np_dtype
from tests.support.dataset_checks import Theirs, assert_agree, assert_everywhere

Pair = namedtuple("Pair", "a b")
GRID = np.arange(24, dtype=np.int32).reshape(4, 2, 3)


def ragged(d, shapes, dtype="int64"):
    """Elements of these shapes, with increasing values."""
    import tensorflow as tf

    rank = len(shapes[0]) if shapes else 1

    def elements():
        for at, shape in enumerate(shapes):
            yield (np.arange(np.prod(shape, dtype=int)).reshape(shape) + at).astype(np_dtype(dtype))

    return d.Dataset.from_generator(elements, output_signature=tf.TensorSpec((None,) * rank, dtype))


def words(d):
    return d.Dataset.range(1, 6).map(lambda n: fill(n))


def fill(n):
    import tensorflow as tf

    return tf.fill([n], n)


def both(d):
    """Named pairs of a ragged vector and a number."""
    return d.Dataset.range(1, 6).map(lambda n: {"word": fill(n), "length": n})


PADDED = {
    "to the longest": lambda d: words(d).padded_batch(2),
    "to one length": lambda d: words(d).padded_batch(2, 6),
    "to a shape, with a value": lambda d: words(d).padded_batch(3, [7], np.int64(-1)),
    "to a tensor": lambda d: words(d).padded_batch(3, np.array([7])),
    "to -1": lambda d: words(d).padded_batch(3, padded_shapes=[-1]),
    "without a remainder": lambda d: words(d).padded_batch(2, drop_remainder=True),
    "a dict": lambda d: both(d).padded_batch(
        2, {"word": [None], "length": []}, {"word": np.int64(9), "length": None}
    ),
    "one value for all": lambda d: both(d).padded_batch(2, padding_values=np.int64(4)),
    "a namedtuple": lambda d: (
        d.Dataset.zip((words(d), words(d)))
        .map(Pair)
        .padded_batch(4, Pair([8], [None]), Pair(np.int64(1), np.int64(2)))
    ),
    "a nested tuple": lambda d: d.Dataset.zip((words(d), both(d))).padded_batch(
        2, padding_values=(np.int64(1), None)
    ),
    "fixed shapes": lambda d: d.Dataset.from_tensor_slices(GRID).padded_batch(3),
    "fixed shapes, wider": lambda d: d.Dataset.from_tensor_slices(GRID).padded_batch(
        3, [None, 5], np.int32(-7)
    ),
    "scalars": lambda d: d.Dataset.range(5).padded_batch(2, []),
    "of a window": lambda d: d.Dataset.range(5).window(2).flat_map(lambda w: w.padded_batch(4)),
    "unknown rank": lambda d: d.Dataset.from_generator(
        lambda: iter([[1, 2], [3]]), output_types="int32", output_shapes=None
    ).padded_batch(2, [None]),
    "nothing": lambda d: ragged(d, []).padded_batch(2),
}


@pytest.mark.parametrize("name", PADDED)
def test_padded_batch_agrees_with_tf_data(tf, name) -> None:
    assert_agree(tf, PADDED[name])


@st.composite
def paddings(draw):
    rank = draw(st.integers(0, 3))
    shapes = draw(st.lists(st.tuples(*[st.integers(0, 4)] * rank), min_size=1, max_size=7))
    longest = [max(shape[at] for shape in shapes) for at in range(rank)]
    target = [draw(st.sampled_from([None, longest[at], longest[at] + 1])) for at in range(rank)]
    return (
        shapes,
        draw(st.sampled_from([None, target])),
        draw(st.integers(1, 4)),
        draw(st.booleans()),
        draw(st.integers(-3, 3)),
    )


@given(paddings())
def test_padded_batches_of_any_shapes_agree_with_tf_data(tf, padding) -> None:
    shapes, target, size, drop_remainder, value = padding
    assert_agree(
        tf, lambda d: ragged(d, shapes).padded_batch(size, target, np.int64(value), drop_remainder)
    )


@pytest.mark.parametrize("dtype", NAMES)
def test_every_dtype_is_padded(tf, dtype) -> None:
    value = np_dtype(dtype).type(1)
    assert_agree(tf, lambda d: ragged(d, [(1,), (3,), (0,)], dtype).padded_batch(2))
    assert_agree(tf, lambda d: ragged(d, [(1,), (3,), (0,)], dtype).padded_batch(2, 4, value))


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (ValueError, {"padded_shapes": [2, 2]}),
        (ValueError, {"padded_shapes": []}),
        (ValueError, {"padded_shapes": -1}),
        (ValueError, {"padding_values": np.array([1])}),
        (ValueError, {"padding_values": [np.int64(1)]}),
        (TypeError, {"padding_values": np.int32(1)}),
        (TypeError, {"padding_values": 1.5}),
        (TypeError, {"padding_values": True}),
    ],
)
def test_unfit_padding_values_are_the_same_kind_of_error(tf, kind, wrong) -> None:
    for library in (Theirs(tf), tfy):
        with pytest.raises(kind):
            words(library).padded_batch(2, **wrong)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (TypeError, {"padded_shapes": [[5], []]}),
        (TypeError, {"padded_shapes": [5]}),
        (TypeError, {"padded_shapes": ([5], [])}),
        (ValueError, {"padded_shapes": {"word": [5]}}),
        (ValueError, {"padded_shapes": {"word": [5], "length": None}}),
        (ValueError, {"padded_shapes": {"word": [5], "length": [1]}}),
    ],
)
def test_padded_shapes_of_another_structure_are_the_same_kind_of_error(tf, kind, wrong) -> None:
    for library in (Theirs(tf), tfy):
        with pytest.raises(kind):
            both(library).padded_batch(2, **wrong)


def test_padding_datasets_or_unknown_ranks_is_the_same_kind_of_error(tf) -> None:
    for library in (Theirs(tf), tfy):
        with pytest.raises(TypeError):
            library.Dataset.range(3).window(2).padded_batch(2)
        with pytest.raises(ValueError, match="padded_shapes"):
            library.Dataset.from_generator(lambda: iter([[1]]), output_types="int64").padded_batch(
                2
            )
    with pytest.raises(ValueError, match="batch_size"):
        words(tfy).padded_batch(0)


def test_python_numbers_pad_parts_of_any_dtype_that_holds_them() -> None:
    bytes = ragged(tfy, [(1,), (2,)], "uint8").with_format("numpy")
    assert [x.tolist() for x in bytes.padded_batch(2, padding_values=255)] == [[[0, 255], [1, 2]]]
    doubles = ragged(tfy, [(1,), (2,)], "float64").with_format("numpy")
    assert [x.tolist() for x in doubles.padded_batch(2, padding_values=0.1)] == [[[0, 0.1], [1, 2]]]
    with pytest.raises(OverflowError, match="padding_values: 256 is not a value of dtype uint8"):
        bytes.padded_batch(2, padding_values=256)


def test_an_oversized_element_costs_its_batch_and_iteration_continues(tf) -> None:
    def make(d):
        return ragged(d, [(1,), (4,), (2,), (1,)]).padded_batch(2, [3])

    with pytest.raises(tf.errors.DataLossError):
        next(iter(make(Theirs(tf))))
    iterator = iter(make(tfy))
    with pytest.raises(
        errors.InvalidArgumentError, match=r"padded_batch: element 0: .*\[4\].*\[3\]"
    ):
        next(iterator)
    assert next(iterator).numpy().tolist() == [[2, 3, 0], [3, 0, 0]]


UNBATCHED = {
    "full batches": lambda d: d.Dataset.range(10).batch(5, drop_remainder=True).unbatch(),
    "rows": lambda d: d.Dataset.from_tensor_slices(GRID).unbatch().unbatch(),
    "a structure": lambda d: d.Dataset.from_tensor_slices(
        {"x": GRID, "y": GRID[:, :, 0]}
    ).unbatch(),
    "endless": lambda d: d.Dataset.range(10).batch(4).repeat().unbatch().take(25),
    "a stream": lambda d: ragged(d, [(2, 3), (0, 1), (4, 2)]).unbatch(),
    "unknown rank": lambda d: d.Dataset.from_generator(
        lambda: iter([[1, 2], [3]]), output_types="int32"
    ).unbatch(),
    "mapped batches": lambda d: d.Dataset.range(10).batch(4).map(lambda x: x + 1).unbatch(),
    "None": lambda d: d.Dataset.from_tensor_slices((GRID, None)).unbatch(),
}


@pytest.mark.parametrize("name", UNBATCHED)
def test_unbatch_agrees_with_tf_data(tf, name) -> None:
    assert_agree(tf, UNBATCHED[name])


def test_unbatch_knows_the_rows_of_a_partial_last_batch(tf) -> None:
    assert_agree(tf, lambda d: d.Dataset.range(10).batch(4).unbatch(), cardinality=10)
    assert_agree(tf, lambda d: d.Dataset.range(10).batch(4).skip(2).unbatch())


@pytest.mark.parametrize("drop_remainder", [False, True])
@pytest.mark.parametrize("sizes", [1, 3, 4, 20, [2], [3, 1], [2, 2], [1, 4, 2]])
def test_rebatch_agrees_with_tf_data(tf, sizes, drop_remainder) -> None:
    for drop_first in (False, True):
        batches = len(
            list(tfy.Dataset.range(10).batch(4, drop_first).rebatch(sizes, drop_remainder))
        )
        assert_agree(
            tf,
            lambda d, drop=drop_first: (
                d.Dataset.range(10).batch(4, drop).rebatch(sizes, drop_remainder)
            ),
            cardinality=batches,
        )
    assert_agree(tf, lambda d: ragged(d, [(2, 3), (0, 3), (4, 3)]).rebatch(sizes, drop_remainder))
    assert_agree(
        tf,
        lambda d: (
            ragged(d, [(2, 3), (0, 3), (4, 3)])
            .map(lambda x: (x, {"y": x[:, 0]}))
            .rebatch(sizes, drop_remainder)
        ),
    )


def test_rebatch_knows_that_an_endless_dataset_is_endless() -> None:
    assert tfy.Dataset.range(10).batch(4).repeat().rebatch(3).cardinality() == -1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda d: d.Dataset.range(3).unbatch(),
        lambda d: d.Dataset.range(3).rebatch(2),
        lambda d: d.Dataset.from_tensors((np.zeros((2, 3)), np.zeros(3))).unbatch(),
        lambda d: d.Dataset.from_tensors((np.zeros((2, 3)), np.zeros(3))).rebatch(1),
        lambda d: d.Dataset.range(8).batch(2).window(2).unbatch(),
        lambda d: d.Dataset.range(8).batch(2).rebatch([[2]]),
    ],
)
def test_elements_without_rows_are_a_value_error_when_the_stage_is_made(tf, wrong) -> None:
    for library in (Theirs(tf), tfy):
        with pytest.raises(ValueError):  # noqa: PT011
            wrong(library)


@pytest.mark.parametrize(
    ("kind", "size"),
    [(ValueError, 0), (ValueError, -1), (ValueError, []), (ValueError, [0, 0]), (TypeError, 2.5)],
)
def test_impossible_sizes_are_refused_when_the_stage_is_made(kind, size) -> None:
    with pytest.raises(kind, match="rebatch: batch_size"):
        tfy.Dataset.range(8).batch(2).rebatch(size)


def test_components_of_unequal_rows_are_an_error_at_their_element() -> None:
    def elements():
        for first, second in ((2, 2), (1, 3), (1, 1)):
            yield np.arange(first), np.arange(second)

    signature = (tfy.TensorSpec((None,), "int64"), tfy.TensorSpec((None,), "int64"))
    iterator = iter(
        tfy.Dataset.from_generator(elements, output_signature=signature)
        .with_format("numpy")
        .unbatch()
    )
    assert [next(iterator) for _ in range(2)] == [(0, 0), (1, 1)]
    with pytest.raises(errors.InvalidArgumentError, match=r"unbatch: element 1: .*\[1, 3\]"):
        next(iterator)
    assert next(iterator) == (0, 0)


def ramps(n):
    return np.arange(n)


def some():
    for n in (2, 0, 3, 1, 4):
        yield np.arange(n)


def generated():
    return tfy.Dataset.from_generator(some, output_signature=tfy.TensorSpec((None,), "int64"))


EVERYWHERE = {
    "padded_batch": lambda: generated().padded_batch(2, padding_values=-1),
    "padded_batch of an array": lambda: (
        tfy.Dataset.from_tensor_slices(GRID).shuffle(seed=1).padded_batch(3, [4, 3])
    ),
    "unbatch": lambda: generated().unbatch(),
    "unbatch of batches": lambda: tfy.Dataset.range(7).batch(3).unbatch(),
    "unbatch of rows": lambda: tfy.Dataset.from_tensor_slices(GRID).shuffle(seed=1).unbatch(),
    "rebatch": lambda: tfy.Dataset.range(11).batch(4).rebatch([3, 1]),
    "rebatch of a stream": lambda: generated().rebatch(3),
}


@pytest.mark.parametrize("name", EVERYWHERE)
def test_they_resume_at_every_position_pickle_and_go_into_tf_data(name) -> None:
    assert_everywhere(EVERYWHERE[name])
