"""group_by_window and bucket_by_sequence_length against the real tf.data in the same test."""

from __future__ import annotations

import numpy as np
import pytest
import tensorferry as tfy
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorferry import errors

from tests.support.dataset_checks import Theirs, assert_agree, assert_everywhere, assert_resumes

GRID = np.arange(24, dtype=np.int32).reshape(4, 2, 3)


def parity(x):
    return x % 2


def pairs(key, window):
    return window.batch(2)


def long(x):
    import tensorflow as tf

    return tf.cast(x, tf.int64)


def ragged(d, lengths, shape=(), dtype="int64"):
    """Elements of these lengths, with increasing values."""
    import tensorflow as tf

    def elements():
        for at, length in enumerate(lengths):
            yield np.full((length, *shape), at, dtype)

    return d.Dataset.from_generator(elements, output_signature=tf.TensorSpec((None, *shape), dtype))


def size(x, *others):
    import tensorflow as tf

    return tf.shape(x)[0]


GROUPS = {
    "pairs": lambda d: d.Dataset.range(7).group_by_window(parity, pairs, 2),
    "full pairs": lambda d: d.Dataset.range(7).group_by_window(
        parity, lambda key, w: w.batch(2, drop_remainder=True), window_size=2
    ),
    "sizes by key": lambda d: d.Dataset.range(20).group_by_window(
        lambda x: x % 3, pairs, window_size_func=lambda key: key + 1
    ),
    "keys in the result": lambda d: d.Dataset.range(10).group_by_window(
        lambda x: x % 3, lambda key, w: d.Dataset.zip((d.Dataset.from_tensors(key), w.batch(4))), 4
    ),
    "rows": lambda d: d.Dataset.from_tensor_slices(GRID).group_by_window(
        lambda x: long(x[0, 0]) % 4, pairs, 2
    ),
    "a structure": lambda d: d.Dataset.from_tensor_slices(
        {"x": GRID, "y": np.arange(4)}
    ).group_by_window(
        lambda e: e["y"] % 2, lambda key, w: w.map(lambda e: (e["x"][0], e["y"])).batch(2), 2
    ),
    "a tuple": lambda d: d.Dataset.from_tensor_slices((GRID, np.arange(4))).group_by_window(
        lambda x, y: y % 2, lambda key, w: w.batch(3), 3
    ),
    "several elements of a window": lambda d: d.Dataset.range(9).group_by_window(
        lambda x: x // 4, lambda key, w: w.skip(1), 3
    ),
    "endless": lambda d: d.Dataset.range(5).repeat().group_by_window(parity, pairs, 2).take(9),
    "of a stream": lambda d: (
        d.Dataset.range(20).filter(lambda x: x % 3 > 0).group_by_window(parity, pairs, 3)
    ),
}


@pytest.mark.parametrize("name", GROUPS)
def test_group_by_window_agrees_with_tf_data(tf, name) -> None:
    assert_agree(tf, GROUPS[name])


@settings(max_examples=25)
@given(
    st.lists(st.integers(-9, 9), min_size=1, max_size=20),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
)
def test_windows_come_in_the_order_of_tf_data(tf, values, sizes) -> None:
    count = len(sizes)

    def make(d):
        return d.Dataset.from_tensor_slices(np.array(values)).group_by_window(
            lambda x: x % count,
            pairs,
            window_size_func=lambda key: tf.gather(tf.constant(sizes, tf.int64), key),
        )

    assert_agree(tf, make)


def test_an_endless_input_makes_an_endless_dataset(tf) -> None:
    for library in (Theirs(tf), tfy):
        assert (
            int(library.Dataset.range(5).repeat().group_by_window(parity, pairs, 2).cardinality())
            == -1
        )


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (ValueError, {}),
        (ValueError, {"window_size": 2, "window_size_func": parity}),
        (TypeError, {"window_size": 2, "reduce_func": lambda key, window: key}),
    ],
)
def test_impossible_groups_are_the_same_kind_of_error_when_the_stage_is_made(
    tf, kind, wrong
) -> None:
    for library in (Theirs(tf), tfy):
        with pytest.raises(kind):
            library.Dataset.range(4).group_by_window(parity, **{"reduce_func": pairs, **wrong})


def test_other_mistakes_are_refused_when_the_stage_is_made(tf) -> None:
    numbers = tfy.Dataset.range(4)
    with pytest.raises(ValueError, match="window_size has to be at least 1"):
        numbers.group_by_window(parity, pairs, 0)
    with pytest.raises(TypeError, match="key_func"):
        numbers.group_by_window(3, pairs, 2)
    with pytest.raises(TypeError, match=r"to_tf_data\(\)\.group_by_window"):
        numbers.group_by_window(parity, lambda key, window: tf.data.Dataset.range(2), 2)


def test_a_key_must_be_an_integer() -> None:
    keys = [0, 1.5, np.array([1, 2]), True, np.uint8(0)]
    numbers = tfy.Dataset.range(5).with_format("numpy")
    iterator = iter(numbers.group_by_window(lambda x: keys[x], pairs, 2))
    for at in (1, 2, 3):
        with pytest.raises(
            errors.InvalidTypeError, match="key_func has to return one integer"
        ) as raised:
            next(iterator)
        assert f"in group_by_window, at its element {at}" in raised.value.__notes__
    assert next(iterator).tolist() == [0, 4]


def test_a_window_size_of_zero_is_an_error_at_its_element() -> None:
    numbers = tfy.Dataset.range(3).with_format("numpy")
    iterator = iter(
        numbers.group_by_window(lambda x: x, pairs, window_size_func=lambda key: key - 1)
    )
    for _ in range(2):
        with pytest.raises(
            errors.InvalidArgumentError,
            match=r"group_by_window: element \d: .*the window size of key",
        ):
            next(iterator)
    assert next(iterator).tolist() == [2]


def test_specs_are_known_without_reading_unless_reduce_func_needs_values() -> None:
    started = []

    def rows():
        started.append(1)
        yield from GRID

    dataset = tfy.Dataset.from_generator(
        rows, output_signature=tfy.TensorSpec((2, 3), "int32")
    ).with_format("numpy")
    groups = dataset.group_by_window(lambda x: int(x[0, 0]) % 4, pairs, 2)
    assert started == []
    assert groups.element_spec == tfy.TensorSpec((None, 2, 3), "int32")
    # A function that reads the key is called for the first element.
    by_key = dataset.group_by_window(
        lambda x: int(x[0, 0]) % 4, lambda key, window: window.batch(1 + int(key)), 2
    )
    assert by_key.element_spec == tfy.TensorSpec((None, None, None), "int32")
    assert [x.shape[0] for x in by_key] == [1, 1, 2]
    given = dataset.group_by_window(
        lambda x: 0, pairs, 2, output_signature=tfy.TensorSpec((2, 2, 3), "int32")
    )
    assert [x.shape for x in given] == [(2, 2, 3)] * 2


def test_groups_of_datasets_have_no_state() -> None:
    windows = tfy.Dataset.range(8).window(2).with_format("numpy")
    groups = windows.group_by_window(
        len, lambda key, pair: pair.flat_map(lambda window: window.batch(2)), 2
    )
    iterator = iter(groups)
    assert next(iterator).tolist() == [0, 1]
    with pytest.raises(errors.InvalidArgumentError, match="group_by_window"):
        iterator.state_dict()
    assert [x.tolist() for x in iterator] == [[2, 3], [4, 5], [6, 7]]


BUCKETS = {
    "to the longest": lambda d: ragged(d, [1, 4, 3, 5, 6, 2]).bucket_by_sequence_length(
        size, [3, 5], [2, 2, 2]
    ),
    "other sizes": lambda d: ragged(d, [1, 4, 3, 5, 6, 2, 2, 2, 7]).bucket_by_sequence_length(
        size, [3, 5], [3, 1, 2]
    ),
    "one bucket": lambda d: ragged(d, [1, 4, 3]).bucket_by_sequence_length(size, [], [2]),
    "empty elements": lambda d: ragged(d, [0, 0, 1]).bucket_by_sequence_length(size, [1], [2, 2]),
    "a value": lambda d: ragged(d, [1, 4, 3, 2]).bucket_by_sequence_length(
        size, [3], [2, 2], padding_values=np.int64(-1)
    ),
    "a shape": lambda d: ragged(d, [1, 4, 3, 2]).bucket_by_sequence_length(
        size, [3], [2, 2], padded_shapes=[6]
    ),
    "to the boundary": lambda d: ragged(d, [1, 4, 3, 1, 2]).bucket_by_sequence_length(
        size, [3, 6], [2, 2, 2], pad_to_bucket_boundary=True
    ),
    "to the boundary, with a shape": lambda d: ragged(d, [1, 4, 3], (2,)).bucket_by_sequence_length(
        size, [3, 6], [2, 2, 2], padded_shapes=[None, 3], pad_to_bucket_boundary=True
    ),
    "no padding": lambda d: ragged(d, [1, 4, 1, 4, 4]).bucket_by_sequence_length(
        size, [3], [2, 2], no_padding=True
    ),
    "no remainder": lambda d: ragged(d, [1, 4, 3, 2, 2, 2]).bucket_by_sequence_length(
        size, [3], [2, 3], drop_remainder=True
    ),
    "no padding, no remainder": lambda d: ragged(d, [1, 4, 1, 1]).bucket_by_sequence_length(
        size, [3], [2, 2], no_padding=True, drop_remainder=True
    ),
    "a structure": lambda d: d.Dataset.zip(
        (ragged(d, [1, 4, 3, 2]), d.Dataset.range(4))
    ).bucket_by_sequence_length(
        size, [3], [2, 2], padded_shapes=([None], []), padding_values=(np.int64(7), None)
    ),
    "boundaries out of order": lambda d: ragged(d, [1, 2, 3, 4, 5]).bucket_by_sequence_length(
        size, [5, 3], [2, 2, 2]
    ),
}


@pytest.mark.parametrize("name", BUCKETS)
def test_bucket_by_sequence_length_agrees_with_tf_data(tf, name) -> None:
    assert_agree(tf, BUCKETS[name])


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=15),
    st.sets(st.integers(1, 9), max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_buckets_of_any_lengths_agree_with_tf_data(
    tf, lengths, boundaries, drop_remainder, to_boundary
) -> None:
    ends = sorted(boundaries) + [10] * to_boundary
    sizes = [1 + at % 3 for at in range(len(ends) + 1)]

    def make(d):
        return ragged(d, lengths).bucket_by_sequence_length(
            size, ends, sizes, pad_to_bucket_boundary=to_boundary, drop_remainder=drop_remainder
        )

    assert_agree(tf, make)


def test_impossible_buckets_are_the_same_kind_of_error_when_the_stage_is_made(tf) -> None:
    for library in (Theirs(tf), tfy):
        with pytest.raises(ValueError, match="bucket_boundaries"):
            ragged(library, [1]).bucket_by_sequence_length(size, [3, 5], [2, 2])
        with pytest.raises(TypeError):
            ragged(library, [1]).bucket_by_sequence_length(
                size, [3], [2, 2], padding_values=np.float32(1)
            )
        with pytest.raises(TypeError):
            library.Dataset.range(3).window(2).bucket_by_sequence_length(lambda w: 1, [3], [2, 2])
    with pytest.raises(ValueError, match="bucket_batch_sizes"):
        ragged(tfy, [1]).bucket_by_sequence_length(size, [3], [2, 0])


def test_a_length_beyond_the_last_boundary_is_an_error_at_its_element(tf) -> None:
    def make(d):
        return ragged(d, [1, 9, 2, 1]).bucket_by_sequence_length(
            size, [3, 5], [2, 2, 2], pad_to_bucket_boundary=True
        )

    with pytest.raises(tf.errors.OpError, match="bucket_boundaries"):
        list(make(Theirs(tf)))
    iterator = iter(make(tfy))
    with pytest.raises(errors.InvalidArgumentError, match="length 9") as raised:
        next(iterator)
    assert "in group_by_window, at its element 1" in raised.value.__notes__
    assert [x.numpy().tolist() for x in iterator] == [[[0, 0], [2, 2]], [[3, 0]]]


def test_a_length_must_be_an_integer() -> None:
    iterator = iter(ragged(tfy, [1]).bucket_by_sequence_length(lambda x: 1.5, [3], [2, 2]))
    with pytest.raises(TypeError, match="element_length_func"):
        next(iterator)


def generated():
    return ragged(tfy, [1, 4, 3, 5, 1, 6, 2])


def test_they_resume_at_every_position_pickle_and_go_into_tf_data() -> None:
    assert_everywhere(lambda: tfy.Dataset.range(11).group_by_window(parity, pairs, 4))
    assert_everywhere(
        lambda: (
            tfy.Dataset.range(11)
            .filter(not_seven)
            .group_by_window(parity, several, window_size_func=plus_two)
        )
    )
    assert_everywhere(
        lambda: (
            tfy.Dataset.range(11)
            .shuffle(seed=1)
            .group_by_window(parity, pairs, 3)
            .shuffle(2, seed=2)
        )
    )


def test_buckets_resume_at_every_position_and_go_into_tf_data() -> None:
    def make():
        return generated().bucket_by_sequence_length(size, [3, 5], [2, 1, 2], padding_values=-1)

    assert_resumes(make, "tensorflow")
    assert [x.numpy().tolist() for x in make().to_tf_data()] == [x.numpy().tolist() for x in make()]


def word(n):
    return np.full(n, n)


def test_buckets_pickle_as_plans() -> None:
    assert_everywhere(
        lambda: (
            tfy.Dataset.range(1, 8)
            .with_format("numpy")
            .map(word)
            .bucket_by_sequence_length(len, [3], [2, 3])
        )
    )


def test_a_state_of_other_buckets_is_refused() -> None:
    def make(boundaries, **kwargs):
        return iter(generated().bucket_by_sequence_length(size, boundaries, [2, 2], **kwargs))

    state = make([3]).state_dict()
    for other in (
        make([4]),
        make([3], padding_values=1),
        make([3], drop_remainder=True),
        make([3], no_padding=True),
    ):
        with pytest.raises(errors.InvalidArgumentError, match="bucket_by_sequence_length"):
            other.load_state_dict(state)


def not_seven(x):
    return x != 7


def several(key, window):
    return window.repeat(2).batch(3)


def plus_two(key):
    return key + 2
