"""Python numbers and lists in datasets: they get TensorFlow's dtypes and keep their values."""

from __future__ import annotations

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf

from tests.support.side_by_side import assert_agree

TAKEN = [
    7,
    2.5,
    True,
    1 + 2j,
    -(2**31),
    2**31,
    -(2**63),
    1e-50,
    float("inf"),
    [1, 2],
    [1, True],
    [2.5, True],
    [True, False],
    [1, 2.5],
    [1, 2.5, 2**40],
    [2**31],
    [-(2**31) - 1],
    [1, 2**40],
    [1j, 1],
    [3.4028235e38],
    [float("nan")],
    [],
    [[], []],
    [[1], [2.5]],
    [(1, 2), [3, 4]],
    range(3),
    range(2**40, 2**40 + 2),
    [range(2), range(2)],
    np.float64(0.1),
    np.uint64(2**64 - 1),
    [np.uint8(1), np.uint8(2)],
    [np.int64(5), 1],
    [np.float64(0.1), 2],
    [0.1, np.float64(0.1)],
    [np.float32(0.1), np.float64(0.1)],
    [np.float16(0.1), 2.5],
    [np.float64(1e300)],
    [np.int8(1), 2.5],
    [1, np.float32(2)],
    [np.bool_(True), True],
    [np.complex64(1j)],
    [np.array(1.5)],
    [np.array(5), np.array(6)],
    [np.arange(3, dtype=np.int16)],
    [[1, 2], np.array([3, 4])],
    [np.array([1.5]), np.array([2.5])],
    [tf.constant(1.5, tf.float64)],
    [tf.constant(1), 2],
]


@pytest.mark.parametrize("value", TAKEN, ids=repr)
def test_a_list_is_one_tensor_of_the_dtype_of_tensorflow(value) -> None:
    assert_agree(lambda Dataset: Dataset.from_tensors(value))
    assert_agree(
        lambda Dataset: Dataset.from_tensors({"a": value}).map(lambda element: (element["a"], 1))
    )


REFUSED = [
    2**63,
    2**64,
    -(2**63) - 1,
    [2**63],
    [1, 2**63],
    [-1, 2**63],
    [1, 2**70],
    [np.uint64(2**63)],
    1e39,
    [1e300],
    [3.4028236e38],
    [1e300, np.float64(1e300)],
    [True, 1],
    [True, 2.5],
    [1, 1j],
    [1.5, 1j],
    [1, [2]],
    [[1, 2], [3]],
    [1, "a"],
    [1, None],
]


@pytest.mark.parametrize("value", REFUSED, ids=repr)
def test_numbers_that_the_dtype_does_not_hold_are_refused(value) -> None:
    with pytest.raises(ValueError, match="from_tensor"):
        tfy.Dataset.from_tensors(value)
    assert_agree(lambda Dataset: Dataset.from_tensors(value))


def test_a_list_that_tensorflow_truncates_is_refused() -> None:
    value = [[], [1]]
    assert next(iter(tf.data.Dataset.from_tensors(value))).shape == (2, 0)
    with pytest.raises(ValueError, match="not an array of numbers"):
        tfy.Dataset.from_tensors(value)


def exactly(dtype: str, numbers: list) -> list:
    """The numbers after a generator, map, scan and reduce of a known dtype."""
    spec = tfy.TensorSpec((), dtype)
    indices = tfy.Dataset.range(len(numbers)).with_format("numpy")
    generated = tfy.Dataset.from_generator(lambda: iter(numbers), output_signature=spec)
    mapped = indices.map(lambda i: numbers[i], output_signature=spec)
    zero = np.zeros((), dtype)
    scanned = indices.scan(zero, lambda _, i: (numbers[i], numbers[i]), output_signature=spec)
    (last,) = {
        indices.take(i + 1).reduce(zero, lambda _, i: numbers[i]).tolist()
        for i in range(len(numbers))
    } - set(numbers[:-1])
    assert last == numbers[-1]
    results = [
        [x.item() for x in dataset.with_format("numpy")] for dataset in (generated, mapped, scanned)
    ]
    assert results[0] == results[1] == results[2]
    return results[0]


@pytest.mark.parametrize(
    ("dtype", "numbers"),
    [
        ("float64", [0.1, 1e300, 5]),
        ("uint64", [1, 2**63, 2**64 - 1]),
        ("complex128", [0.1, 0.1j]),
        ("int64", [2**53 + 1, -(2**63)]),
    ],
)
def test_a_known_dtype_keeps_every_digit(dtype, numbers) -> None:
    assert exactly(dtype, numbers) == numbers


def test_a_known_dtype_keeps_every_digit_of_a_list() -> None:
    def make():
        yield [1, 2**63 + 1]
        yield [0, 1]

    dataset = tfy.Dataset.from_generator(make, output_signature=tfy.TensorSpec((2,), "uint64"))
    assert [x.tolist() for x in dataset.as_numpy_iterator()] == [[1, 2**63 + 1], [0, 1]]
    wide = tfy.Dataset.from_generator(
        lambda: iter([[0.1, 1]]), output_signature=tfy.TensorSpec((2,), "float64")
    )
    assert_agree(
        lambda Dataset: Dataset.from_generator(
            lambda: iter([[0.1, 1]]), output_signature=tf.TensorSpec((2,), tf.float64)
        )
    )
    assert next(wide.as_numpy_iterator()).tolist() == [0.1, 1.0]


@pytest.mark.parametrize(
    ("dtype", "number"),
    [("int32", 2.5), ("uint8", 300), ("uint8", -1), ("float32", 1e39), ("bool", 2)],
)
def test_a_number_that_a_known_dtype_cannot_hold_is_an_error(dtype, number) -> None:
    dataset = tfy.Dataset.from_generator(
        lambda: iter([number]), output_signature=tfy.TensorSpec((), dtype)
    )
    with pytest.raises(OverflowError, match="in from_generator, at its element 0"):
        list(dataset.as_numpy_iterator())
