"""Random nested lists of Python and NumPy numbers, in every dtype under every casting, against
exact arithmetic.
"""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.arrays import NAMES, np_dtype
from tests.support.exact_numbers import MISFIT, UNDEFINED, equal, expected, plain

EDGES = [
    2**n + d for n in (7, 8, 11, 15, 16, 24, 31, 32, 53, 63, 64, 127, 128, 1024) for d in (-1, 0, 1)
]
INTS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from(EDGES + [-edge for edge in EDGES]),
    st.integers(-(2**200), 2**200),
)
FLOATS = st.one_of(
    st.floats(),
    st.sampled_from(
        [
            0.5,
            -0.0,
            1.0,
            65504.0,
            65520.0,
            3.4028235e38,
            3.4028236e38,
            1e300,
            2.0**63,
            -(2.0**63),
            2.0**53,
            1e-45,
        ]
    ),
    st.integers(-(2**20), 2**20).map(float),
)
COMPLEX = st.one_of(st.complex_numbers(), st.sampled_from([1j, 1 + 0j, complex(1e300, 1)]))


def numpys(name: str):
    """Values of a NumPy dtype, as a strategy."""
    dtype = np_dtype(name)
    if dtype.kind == "b":
        return st.booleans().map(np.bool_)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return st.one_of(
            st.integers(int(info.min), int(info.max)), st.sampled_from([info.min, info.max, 0, 1])
        ).map(dtype.type)
    width = {"float16": 16, "bfloat16": 16, "float32": 32, "complex64": 32}.get(name, 64)
    if dtype.kind == "c":
        return st.complex_numbers(width=64 if width == 32 else 128).map(dtype.type)
    return (
        st.floats(width=width).map(float).map(dtype.type)
        if name != "bfloat16"
        else st.integers(0, 2**16 - 1).map(brain)
    )


def brain(bits: int):
    return np.array(bits, np.uint16).view(ml_dtypes.bfloat16)[()]


SCALARS = st.one_of(st.booleans(), INTS, FLOATS, COMPLEX, *(numpys(name) for name in NAMES))
REALS = st.one_of(
    st.booleans(), INTS, FLOATS, *(numpys(name) for name in NAMES if "complex" not in name)
)


def a_row(length: int, scalars):
    """A list of numbers, or an equivalent."""
    numbers = st.lists(scalars, min_size=length, max_size=length)

    def objects(values):
        array = np.empty(length, object)
        array[:] = values
        return array

    def arrays(name):
        return st.lists(numpys(name), min_size=length, max_size=length).map(
            lambda values: np.array(values, np_dtype(name))
        )

    array = st.sampled_from([name for name in NAMES if "complex" not in name]).flatmap(arrays)
    return st.one_of(
        numbers,
        numbers,
        numbers.map(tuple),
        numbers.map(objects),
        array,
        array.map(lambda values: values[::-1]),
        array.map(lambda values: np.ma.array(values)),
        array.map(tfy.tensor),
        array.map(lambda values: [np.array(value) for value in values]),
    )


def nested(shape: tuple[int, ...], scalars):
    if not shape:
        return scalars
    if len(shape) == 1:
        return a_row(shape[0], scalars)
    return st.lists(nested(shape[1:], scalars), min_size=shape[0], max_size=shape[0])


SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)
CASES = SHAPES.flatmap(
    lambda shape: st.tuples(st.just(shape), st.one_of(nested(shape, REALS), nested(shape, SCALARS)))
)


def leaves(value):
    if isinstance(value, np.ndarray | tfy.Tensor):
        value = np.asarray(value.numpy() if isinstance(value, tfy.Tensor) else value)
        return [value[()]] if value.ndim == 0 else [leaf for part in value for leaf in leaves(part)]
    return (
        [leaf for part in value for leaf in leaves(part)]
        if isinstance(value, list | tuple)
        else [value]
    )


def known_shape(shape, value):
    """The visible shape of a list: dimensions inside an empty one are unknown."""
    return (
        shape
        if 0 not in shape
        else np.asarray(value, object).shape
        if not isinstance(value, np.ndarray)
        else value.shape
    )


def check(shape, made, value, dtype, casting):
    """Compares a conversion with exact arithmetic."""
    due = [expected(leaf, dtype, casting) for leaf in leaves(value)]
    if UNDEFINED in due:
        with pytest.raises(TypeError, match="->"):
            made()
        return
    if MISFIT in due:
        with pytest.raises(OverflowError) as refused:
            made()
        first = due.index(MISFIT)
        index = [int(i) for i in np.unravel_index(first, shape)] if shape else []
        number = plain(leaves(value)[first])
        assert f"{due.count(MISFIT)} of {len(due)} value" in str(refused.value)
        assert f"(first: {index} = " in str(refused.value)
        assert (
            not isinstance(number, int)
            or isinstance(number, bool)
            or number.bit_length() > 1024
            or str(number) in str(refused.value)
        )
        return
    tensor = made()
    assert tensor.shape == known_shape(shape, value)
    assert tensor.dtype == np_dtype(dtype)
    for actual, exact in itertools.zip_longest(np.asarray(tensor).reshape(-1), due):
        assert equal(actual, exact)


@pytest.mark.parametrize("casting", ["checked", "saturate", "wrap"])
@pytest.mark.parametrize("dtype", NAMES)
@given(case=CASES)
@settings(max_examples=12)
def test_a_list_with_a_dtype_is_exact_or_an_error(dtype, casting, case):
    shape, value = case
    if isinstance(value, np.ndarray) and value.size == 0:
        return  # an array without elements can be refused for its dtype
    check(shape, lambda: tfy.tensor(value, dtype, casting=casting).numpy(), value, dtype, casting)


@given(
    case=CASES,
    dtype=st.sampled_from(NAMES),
    casting=st.sampled_from(["checked", "saturate", "wrap"]),
)
@settings(max_examples=80)
def test_every_function_reports_the_same(case, dtype, casting):
    shape, value = case
    if isinstance(value, np.ndarray | tfy.Tensor):
        value, shape = [value], (1, *shape)
    if not shape and isinstance(value, np.generic):
        value = [value]
        shape = (1,)
    check(
        shape,
        lambda: tfy.convert_to_tensor(value, dtype, casting=casting).numpy(),
        value,
        dtype,
        casting,
    )

    def into():
        out = np.empty(known_shape(shape, value), np_dtype(dtype))
        tfy.convert_into(value, out, casting=casting)
        return out

    check(shape, into, value, dtype, casting)
    fits = not {MISFIT, UNDEFINED} & set(
        map(repr_if_number, (expected(leaf, dtype, "checked") for leaf in leaves(value)))
    )
    assert tfy.can_convert(value, dtype) is fits
    if casting == "checked":
        spec = tfy.TensorSpec(None, dtype)
        dataset = tfy.Dataset.from_generator(
            lambda: iter([value]), output_signature=spec
        ).with_format("numpy")
        check(shape, lambda: np.asarray(next(iter(dataset))), value, dtype, casting)


def repr_if_number(value):
    return value if isinstance(value, str) else None


@given(case=SHAPES.flatmap(lambda shape: st.tuples(st.just(shape), nested(shape, REALS))))
@settings(max_examples=80)
def test_the_range_and_the_smallest_dtype_are_exact(case):
    value = case[1]
    if isinstance(value, np.generic):
        return
    numbers = [plain(leaf) for leaf in leaves(value)]
    if (
        any(isinstance(number, int) and number.bit_length() > 120 for number in numbers)
        or not numbers
    ):
        return
    low, high = tfy.value_range(value)
    if any(number != number for number in numbers):
        assert low != low
        assert high != high
    else:
        assert (low, high) == (min(numbers), max(numbers))
    integers = [
        name
        for name in NAMES
        if "int" in name and all(expected(number, name, "checked") != MISFIT for number in numbers)
    ]
    if all(isinstance(number, bool) for number in numbers):
        assert tfy.smallest_dtype(value) == np.bool_
    elif not integers:
        with pytest.raises(OverflowError):
            tfy.smallest_dtype(value)
    else:
        signed = [name for name in integers if (name[0] == "i") == (min(numbers) < 0)]
        assert tfy.smallest_dtype(value).name == min(
            signed, key=lambda name: np_dtype(name).itemsize
        )


def tensorflows(function):
    try:
        return function()
    except (ValueError, TypeError, tf.errors.InvalidArgumentError):
        return None


WITHOUT_TENSORS = SHAPES.flatmap(
    lambda shape: nested(
        shape,
        st.one_of(
            st.booleans(), INTS, FLOATS, COMPLEX, *(numpys(n) for n in NAMES if n != "bfloat16")
        ),
    )
)


@given(value=WITHOUT_TENSORS)
@settings(max_examples=120)
def test_without_a_dtype_it_is_tensorflows_result(value):
    if not isinstance(value, list) or has(value, tfy.Tensor) or has(value, np.ma.MaskedArray):
        return
    for theirs, ours in (
        (lambda: tf.convert_to_tensor(value), lambda: tfy.convert_to_tensor(value)),
        (
            lambda: next(iter(tf.data.Dataset.from_tensors({"a": value})))["a"],
            lambda: next(iter(tfy.Dataset.from_tensors({"a": value})))["a"],
        ),
    ):
        due = tensorflows(theirs)
        if due is None:
            continue
        made = ours().numpy()
        assert made.dtype == due.dtype.as_numpy_dtype
        assert made.shape == due.shape
        assert all(map(equal, made.reshape(-1), map(plain, due.numpy().reshape(-1))))


def has(value, kind):
    return isinstance(value, kind) or (
        isinstance(value, list | tuple) and any(has(part, kind) for part in value)
    )


NO_BOOLS = np.array([], bool)


@pytest.mark.parametrize(
    "value",
    [
        [[], NO_BOOLS],
        [NO_BOOLS, []],
        [NO_BOOLS, NO_BOOLS],
        [(), np.array([], np.int8)],
        [np.array([], np.int8), NO_BOOLS],
        [[[]], [NO_BOOLS]],
        [np.zeros((0, 2), np.float16)] * 2,
        [np.zeros((0, 2), np.float16), []],
    ],
    ids=repr,
)
def test_a_list_without_elements_has_the_dtype_of_tf_data(value):
    due = next(iter(tf.data.Dataset.from_tensors({"a": value})))["a"]
    made = next(iter(tfy.Dataset.from_tensors({"a": value})))["a"]
    assert made.dtype == due.dtype
