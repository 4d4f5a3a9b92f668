"""Every pair of dtypes under every casting, against exact arithmetic on single values."""

from __future__ import annotations

import itertools
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
import tensorferry
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from tensorferry import errors

from tests.support.arrays import NAMES, np_dtype, same
from tests.support.exact_numbers import FORMATS, PARTS
from tests.support.exact_numbers import nearest as nearest_to

CASTINGS = ["checked", "saturate", "wrap"]


class Misfit(Exception):
    """The target cannot hold the value."""


def kind(name: str) -> str:
    if name == "bool":
        return "bool"
    if name in FORMATS:
        return "float"
    return "complex" if name in PARTS else "integer"


def is_defined(source: str, target: str, casting: str) -> bool:
    if kind(source) == "complex":
        return kind(target) == "complex"
    return not (kind(source) == "float" and kind(target) == "integer" and casting == "wrap")


def nearest(value, name: str) -> float:
    """A number rounded to the nearest of a float dtype, ties to even, in exact arithmetic."""
    if isinstance(value, float) and (value == 0 or not math.isfinite(value)):
        return value
    return nearest_to(Fraction(value), name)


def cast(value, target: str, casting: str):
    """The result of a conversion according to the documented table."""
    if isinstance(value, complex):
        return complex(
            cast(value.real, PARTS[target], casting), cast(value.imag, PARTS[target], casting)
        )
    if target in PARTS:
        return complex(cast(value, PARTS[target], casting), 0.0)
    if target == "bool":
        if casting == "checked" and value not in (0, 1):
            raise Misfit
        return value != 0
    if target in FORMATS:
        rounded = nearest(value, target)
        if casting == "checked":
            became_infinite = math.isinf(rounded) and not (
                isinstance(value, float) and math.isinf(value)
            )
            inexact = not isinstance(value, float) and not became_infinite and int(rounded) != value
            if became_infinite or inexact:
                raise Misfit
        return rounded
    info = np.iinfo(target)
    low, high = int(info.min), int(info.max)
    if casting == "wrap":
        return (int(value) - low) % (high - low + 1) + low
    if isinstance(value, float):
        if casting == "checked" and not (math.isfinite(value) and value == int(value)):
            raise Misfit
        value = (
            0
            if math.isnan(value)
            else (low if value < 0 else high)
            if math.isinf(value)
            else int(value)
        )
    if casting == "saturate":
        return min(max(value, low), high)
    if not low <= value <= high:
        raise Misfit
    return int(value)


def python_values(array: np.ndarray) -> list:
    """The elements as exact Python numbers."""
    which = array.dtype.kind
    if array.dtype.name in FORMATS:
        return [float(value) for value in array.astype(np.float64)]
    return [
        complex(value) if which == "c" else bool(value) if which == "b" else int(value)
        for value in array
    ]


def edges(name: str) -> np.ndarray:
    """Values at which some dtype begins, ends or rounds."""
    dtype = np_dtype(name)
    if name == "bool":
        return np.array([False, True])
    powers = [7, 8, 11, 12, 15, 16, 24, 25, 31, 32, 53, 54, 63, 64]
    integers = [0, 1, 2] + [2**power + by for power in powers for by in (-1, 0, 1, 2**power // 256)]
    integers += [-value for value in integers] + [
        65504,
        65519,
        65520,
        65536,
        255 << 23,
        257 << 40,
        2**63 + 2**10,
    ]
    if kind(name) == "integer":
        info = np.iinfo(name)
        return np.array(
            [value for value in dict.fromkeys(integers) if info.min <= value <= info.max], dtype
        )
    others = [
        -0.0,
        0.5,
        -0.5,
        1.5,
        0.1,
        2.5,
        1e-8,
        6e-8,
        2.0**-149,
        2.0**-150,
        2.0**-133,
        3.0e-45,
        5e-324,
    ]
    others += [
        65519.99,
        3.3895e38,
        3.3961e38,
        3.4028235e38,
        3.40282357e38,
        1e39,
        1e300,
        -1e300,
        math.nan,
        math.inf,
        -math.inf,
    ]
    with np.errstate(all="ignore"):
        floats = np.array([float(value) for value in integers] + others)
        if kind(name) == "complex":
            return (floats + 1j * np.roll(floats, 5)).astype(dtype)
        return floats.astype(dtype)


def check(array: np.ndarray, target: str, casting: str) -> None:
    """Compares one conversion, result or error, with exact arithmetic."""
    source = array.dtype.name
    if source != target and not is_defined(source, target, casting):
        with pytest.raises(errors.InvalidTypeError) as refused:
            tensorferry.tensor(array, np_dtype(target), casting=casting)
        assert refused.value.code == "cast_not_defined"
        return
    expected, misfits = [], []
    for at, value in enumerate(python_values(array)):
        try:
            expected.append(cast(value, target, casting) if source != target else value)
        except Misfit:
            misfits.append(at)
    if misfits:
        assert not tensorferry.can_convert(array, np_dtype(target))
        with pytest.raises(OverflowError) as refused:
            tensorferry.tensor(array, np_dtype(target), casting=casting)
        message = str(refused.value)
        assert message.startswith(f"{source} -> {target}: {len(misfits)} of {array.size} value")
        assert f"(first: [{misfits[0]}] = " in message
        return
    if casting == "checked":
        assert tensorferry.can_convert(array, np_dtype(target))
    result = tensorferry.tensor(array, np_dtype(target), casting=casting).numpy()
    with np.errstate(all="ignore"):
        wide = np.array(
            expected,
            np.complex128
            if target in PARTS
            else np.float64
            if target in FORMATS
            else np.dtype(target),
        )
        same(result, wide.astype(np_dtype(target)))  # exact: the values are already rounded


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize(("source", "target"), list(itertools.product(NAMES, NAMES)))
def test_edge_values_together_and_one_by_one(source, target):
    values = edges(source)
    for casting in CASTINGS:
        check(values, target, casting)
        for at in range(values.size):
            check(values[at : at + 1], target, casting)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning", "ignore:overflow:RuntimeWarning")
@given(data=st.data())
def test_random_arrays(data):
    source = data.draw(st.sampled_from([name for name in NAMES if name != "bfloat16"]))
    array = data.draw(npst.arrays(source, st.integers(0, 200)))
    check(array, data.draw(st.sampled_from(NAMES)), data.draw(st.sampled_from(CASTINGS)))


@pytest.mark.parametrize(
    "target", ["int8", "int32", "uint8", "uint32", "float16", "float32", "float64", "bool"]
)
@pytest.mark.parametrize("size", [63, 64, 65, 1000, 100_000])
def test_one_misfit_anywhere_is_found(target, size):
    for at in {0, 1, size // 2, size - 1}:
        array = np.ones(size, np.int64)
        array[at] = 2**53 + 1
        with pytest.raises(
            OverflowError,
            match=rf"1 of {size} values does not fit \(first: \[{at}\] = 9007199254740993",
        ):
            tensorferry.tensor(array, target)


def test_the_error_has_all_that_the_documentation_promises():
    array = np.zeros((1000, 1000), np.int64)
    array[12, 7] = 4294967296
    array[12, 8] = array[999, 999] = -(2**40)
    with pytest.raises(OverflowError) as refused:
        tensorferry.tensor(array, "int32")
    assert str(refused.value) == (
        "int64 -> int32: 3 of 1000000 values do not fit (first: [12, 7] = 4294967296; int32 holds "
        '-2147483648..2147483647). Keep dtype="int64", or pass casting="saturate" or '
        'casting="wrap".'
    )
    assert isinstance(refused.value, errors.ValueOverflowError)
    assert isinstance(refused.value, ValueError)


def test_a_float_error_does_not_offer_wrap():
    with pytest.raises(OverflowError) as refused:
        tensorferry.tensor(np.array([1.5]), "int32")
    assert 'casting="saturate"' in str(refused.value)
    assert "wrap" not in str(refused.value)


def test_a_misfit_in_a_view_is_named_by_the_views_index():
    array = np.zeros((4, 6), np.int64)
    array[2, 4] = 300
    with pytest.raises(OverflowError, match=r"first: \[0, 1\] = 300"):
        tensorferry.tensor(array.T[4:, ::-1], "uint8")


def test_each_kind_of_error_of_rust_has_one_class_in_python():
    classes = {}
    for code, kind in tensorferry._internal.error_codes():
        assert classes.setdefault(kind, errors.CODES[code]) is errors.CODES[code], code
    own = {kind for kind, its_class in classes.items() if its_class is not errors.Error}
    assert classes.keys() - own == {"function", "interrupted", "io"}
    for kind in own:
        assert errors.CODES[classes[kind]("words").code] is classes[kind]
    for kind_of_error in errors.CODES.values():
        assert issubclass(kind_of_error, errors.Error)
        assert str(kind_of_error("words")) == "words"
    # as TensorFlow rebuilds it
    assert errors.ValueOverflowError("words").code == "values_do_not_fit"


def test_an_error_survives_pickle():
    with pytest.raises(errors.Error) as refused:
        tensorferry.tensor(np.zeros(3), np.complex64)[5]
    again = pickle.loads(pickle.dumps(refused.value))
    assert type(again) is type(refused.value)
    assert (str(again), again.code) == (str(refused.value), "index_out_of_range")


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.ValueOverflowError, OverflowError),
        (errors.ValueOverflowError, ValueError),
        (errors.InvalidArgumentError, ValueError),
        (errors.InvalidTypeError, TypeError),
        (errors.NotShareableError, BufferError),
        (errors.NotShareableError, ValueError),
        (errors.InvalidIndexError, IndexError),
        (errors.AllocationError, MemoryError),
        (errors.FailedPreconditionError, RuntimeError),
        (errors.PlanTooDeepError, RecursionError),
        (errors.FileFormatError, ValueError),
    ],
)
def test_each_class_is_also_a_builtin(kind, builtin):
    assert issubclass(kind, errors.Error)
    assert issubclass(kind, builtin)


def test_no_name_shadows_a_builtin():
    import builtins

    assert not set(errors.__all__) & set(dir(builtins))
    assert issubclass(errors.FileFormatError, ValueError)


def test_value_range_and_smallest_dtype_agree_with_numpy():
    for values in (
        [0, 255],
        [-1, 255],
        [0, 256],
        [-129],
        [0, 2**63],
        [0],
        [-(2**63)],
        [True, False],
        [2**32, 5],
    ):
        array = np.array(values)
        low, high = tensorferry.value_range(array)
        assert (low, high) == (array.min(), array.max())
        smallest = tensorferry.smallest_dtype(array)
        if array.dtype.kind != "b":
            assert smallest == np.result_type(
                np.min_scalar_type(int(low)), np.min_scalar_type(int(high))
            )
        assert tensorferry.can_convert(array, smallest)
    with pytest.raises(ValueError, match="without elements") as refused:
        tensorferry.value_range(np.array([], np.int32))
    assert refused.value.code == "no_elements"


def test_can_convert_checks_the_values():
    assert tensorferry.can_convert(np.array([255]), "uint8")
    assert not tensorferry.can_convert(np.array([256]), "uint8")
    assert tensorferry.can_convert(np.array([1.0]), np.int8)
    assert not tensorferry.can_convert(np.array([1 + 0j]), "float32")
    assert tensorferry.can_convert(np.array([], np.float64), "int8")
