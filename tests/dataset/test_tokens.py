"""Windows over tokens, as for the training of language models."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorferry import errors

from tests.support.arrays import NAMES, np_dtype


def windows(tokens: np.ndarray, length: int, stride: int, shift: int) -> list[tuple[list, list]]:
    """The naive implementation."""
    starts = range(0, len(tokens) - length - shift + 1, stride)
    return [
        (tokens[s : s + length].tolist(), tokens[s + shift : s + shift + length].tolist())
        for s in starts
    ]


def plain(dataset) -> list[tuple[list, list]]:
    return [(x.tolist(), y.tolist()) for x, y in dataset.as_numpy_iterator()]


@given(
    st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))),
    st.integers(1, 70) | st.none(),
    st.data(),
)
def test_every_window_that_fits_is_an_element(sizes, stride, data):
    count, length = sizes
    shift = data.draw(st.integers(0, count - length))
    tokens = np.arange(count, dtype=np.uint16)
    dataset = tfy.Dataset.token_windows(tokens, length, stride, shift)
    assert plain(dataset) == windows(tokens, length, stride or length, shift)
    assert len(dataset) == len(windows(tokens, length, stride or length, shift))


def test_elements_are_pairs_of_int64_windows():
    dataset = tfy.Dataset.token_windows(np.arange(10, dtype=np.uint16), 4)
    assert dataset.element_spec == (tf.TensorSpec((4,), tf.int64), tf.TensorSpec((4,), tf.int64))
    assert dataset.batch(2, drop_remainder=True).element_spec[0] == tf.TensorSpec((2, 4), tf.int64)
    x, y = next(iter(dataset))
    assert isinstance(x, tf.Tensor)
    np.testing.assert_array_equal(y, [1, 2, 3, 4])


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("complex")])
def test_tokens_of_any_dtype_are_widened_exactly(name):
    tokens = np.arange(20).astype(np_dtype(name))
    dataset = tfy.Dataset.token_windows(tokens, 3, stride=2)
    assert plain(dataset) == windows(tokens.astype(np.int64), 3, 2, 1)


def test_tokens_come_from_arrays_files_and_tensors_of_any_layout(tmp_path):
    tokens = np.arange(40, dtype=np.uint16)
    expected = windows(tokens, 6, 6, 1)
    np.save(tmp_path / "tokens.npy", tokens)
    tokens.tofile(tmp_path / "tokens.bin")
    sources = {
        "mapped .npy": np.load(tmp_path / "tokens.npy", mmap_mode="r"),
        "mapped raw": np.memmap(tmp_path / "tokens.bin", np.uint16, "r"),
        "Tensor": tfy.tensor(tokens),
        "opened": tfy.open_npy(tmp_path / "tokens.npy"),
        "tf.Tensor": tf.constant(tokens),
        "list": tokens.tolist(),
        "big-endian": tokens.astype(">u2"),
        "strided": np.repeat(tokens, 3)[::3],
        "reversed": tokens[::-1].copy()[::-1],
    }
    for name, source in sources.items():
        assert plain(tfy.Dataset.token_windows(source, 6)) == expected, name


def test_a_shuffled_batch_is_gathered_and_resumes_at_every_position(tmp_path):
    tokens = np.memmap(tmp_path / "tokens.bin", np.uint16, "w+", shape=(400,))
    tokens[:] = np.arange(400) * 7 % 400
    dataset = (
        tfy.Dataset.token_windows(tokens, 16, stride=3)
        .shuffle(seed=4)
        .batch(32)
        .with_format("numpy")
    )
    whole = [(x.tolist(), y.tolist()) for x, y in dataset]
    assert sorted(row for x, _ in whole for row in x) == sorted(
        x for x, _ in windows(tokens, 16, 3, 1)
    )
    assert all([x[1:] for x in xs] == [y[:-1] for y in ys] for xs, ys in whole)
    for position in range(len(whole) + 1):
        iterator = iter(
            tfy.Dataset.token_windows(tokens, 16, stride=3)
            .shuffle(seed=4)
            .batch(32)
            .with_format("numpy")
        )
        for _ in range(position):
            next(iterator)
        resumed = iter(dataset)
        resumed.load_state_dict(iterator.state_dict())
        assert [(x.tolist(), y.tolist()) for x, y in resumed] == whole[position:]


def test_a_pickled_dataset_maps_its_file_again(tmp_path):
    tokens = np.memmap(tmp_path / "tokens.bin", np.uint16, "w+", shape=(100_000,))
    tokens[:] = np.arange(100_000) % 50_000
    dataset = tfy.Dataset.token_windows(tokens, 16, stride=10_000)
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 1000
    assert plain(pickle.loads(pickled)) == plain(dataset)


def test_later_windows_see_later_writes():
    tokens = np.zeros(9, np.int64)
    iterator = iter(tfy.Dataset.token_windows(tokens, 4).with_format("numpy"))
    first, _ = next(iterator)
    tokens[:] = 1
    assert first.tolist() == [0] * 4
    assert next(iterator)[0].tolist() == [1] * 4


def test_a_token_that_the_dtype_does_not_hold_is_an_error_at_its_window():
    tokens = np.array([1, 2, 3, 4, 5, 300, 7, 8, 9])
    iterator = iter(tfy.Dataset.token_windows(tokens, 2, dtype="uint8").with_format("numpy"))
    assert next(iterator)[0].tolist() == [1, 2]
    assert next(iterator)[0].tolist() == [3, 4]
    with pytest.raises(
        errors.ValueOverflowError, match=r"token_windows: element 2: int64 -> uint8.*300"
    ):
        next(iterator)
    assert next(iterator)[0].tolist() == [7, 8]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (np.zeros((3, 4)), 2),
            errors.InvalidArgumentError,
            r"one dimension, not of shape \[3, 4\]",
        ),
        (
            (np.arange(5), 5),
            errors.InvalidArgumentError,
            "5 tokens are fewer than a window's length of 5",
        ),
        ((np.arange(0), 1), errors.InvalidArgumentError, "0 tokens are fewer"),
        ((np.arange(5), 0), errors.InvalidArgumentError, "length has to be at least 1, not 0"),
        ((np.arange(5), 2, 0), errors.InvalidArgumentError, "stride has to be at least 1, not 0"),
        (
            (np.arange(5), 2, 1, -1),
            errors.InvalidArgumentError,
            "shift has to be at least 0, not -1",
        ),
        ((np.arange(5), 2.0), errors.InvalidTypeError, "length has to be a whole number, not 2.0"),
        ((np.arange(5), 2, None, 1, "datetime64[s]"), errors.InvalidArgumentError, "datetime64"),
        ((np.arange(5) * 1j, 2), errors.InvalidTypeError, "complex128 -> int64"),
        ((np.array(["a", "b"]), 1), errors.InvalidArgumentError, "carry numbers"),
        (({"a": np.arange(5)}, 2), errors.InvalidArgumentError, "carry numbers"),
    ],
)
def test_impossible_arguments_are_refused_when_the_stage_is_made(arguments, error, message):
    with pytest.raises(error, match=message):
        tfy.Dataset.token_windows(*arguments)
