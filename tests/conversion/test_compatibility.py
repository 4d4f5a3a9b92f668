"""convert_to_tensor against tf.convert_to_tensor in the same test. Tests name where it checks or
refuses more.
"""

from __future__ import annotations

import decimal
import fractions

import ml_dtypes
import numpy as np
import pytest
import tensorferry
from tensorferry import convert_to_tensor, errors

from tests.support.arrays import MOST_DIMENSIONS, NAMES, NUMPY_2, at_offset, np_dtype, same


def agree(tf, value, *dtype) -> None:
    """The result is a tf.Tensor of TensorFlow's dtype, shape and values."""
    theirs, ours = tf.convert_to_tensor(value, *dtype), convert_to_tensor(value, *dtype)
    assert isinstance(ours, tf.Tensor)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    assert ours.device == theirs.device
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def both_refuse(tf, value, *dtype) -> None:
    """The call raises what TensorFlow raises, or an exception that the same `except` catches."""
    with pytest.raises((ValueError, TypeError)) as theirs:
        tf.convert_to_tensor(value, *dtype)
    with pytest.raises(type(theirs.value)):
        convert_to_tensor(value, *dtype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (7,), (2, 3, 4)])
def test_an_array_keeps_its_dtype_and_shape(tf, name, shape):
    agree(tf, np.arange(int(np.prod(shape))).reshape(shape).astype(np_dtype(name)))


@pytest.mark.parametrize(
    "name",
    [
        "float8_e4m3fn",
        "float8_e5m2",
        "float8_e4m3fnuz",
        "float8_e4m3b11fnuz",
        "float8_e5m2fnuz",
        "int4",
        "uint4",
        "int2",
        "uint2",
        "float4_e2m1fn",
    ],
)
def test_small_dtypes_of_ml_dtypes_pass_where_tensorflow_knows_them(tf, name):
    if not hasattr(ml_dtypes, name):
        pytest.skip("not in this ml_dtypes")
    array = np.array([0, 1], getattr(ml_dtypes, name))
    try:
        theirs = tf.convert_to_tensor(array)
    except ValueError:
        both_refuse(tf, array)
        return
    ours = convert_to_tensor(array)
    assert ours.dtype == theirs.dtype
    assert ours.numpy().tobytes() == theirs.numpy().tobytes()


def layouts():
    base = np.arange(24, dtype=np.int32).reshape(4, 6)
    packed = np.zeros(5, dtype=[("a", "u1"), ("b", "<i4")])
    packed["b"] = np.arange(5)
    return {
        "big-endian": base.astype(">i4"),
        "F-order": np.asfortranarray(base),
        "transposed": base.T,
        "strided": base[::2, 1::3],
        "negative stride": base[::-1, ::-2],
        "stride 0": np.broadcast_to(base[0], (3, 6)),
        "unaligned": at_offset(base, 1),
        "packed struct field": packed["b"],
        "as many dimensions as NumPy has": np.full((1,) * MOST_DIMENSIONS, 7, np.int16),
        "matrix-like subclass": base.view(np.recarray),
        "numpy scalar": np.int8(3),
        "numpy bool": np.True_,
        "float16 scalar": np.float16(1.5),
        "flat iterator": base.flat,
        "list of arrays": [np.array([1, 2]), np.array([3, 4])],
        "memoryview": memoryview(b"abc"),
        "bytearray": bytearray(b"abc"),
    }


@pytest.mark.parametrize("which", layouts())
def test_any_layout_gives_the_right_values(tf, which):
    agree(tf, layouts()[which])


PYTHON_VALUES = [
    0,
    -1,
    True,
    2**31 - 1,
    2**31,
    -(2**31),
    -(2**31) - 1,
    2**63 - 1,
    -(2**63),
    1.5,
    float("inf"),
    5e-324,
    1 + 2j,
    [],
    [[]],
    [[], []],
    [1, True],
    [1, 2.5],
    [2.5, 1],
    [1.5, True],
    [1, 2**31],
    [2**31, 1],
    [True, False],
    (1, 2),
    [(1, 2), [3, 4]],
    range(3),
    [np.int64(1)],
    [np.int64(2**40)],
    [np.float64(1.5)],
    [np.float32(1.5)],
    [np.int8(1)],
    [np.bool_(True)],
    [np.array([1.0, 2.0])],
    [np.zeros(2, "f4"), [1, 2]],
    [np.float32(1), np.int64(2)],
    [2**53 + 1, 0.5],
]


@pytest.mark.parametrize("value", PYTHON_VALUES, ids=repr)
def test_python_numbers_and_sequences(tf, value):
    agree(tf, value)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1, "float32"),
        (True, "int32"),
        (True, "float32"),
        ([], "int32"),
        ([1, 2], "float64"),
        (1.5, "bfloat16"),
        (1 + 2j, "complex64"),
        (1, "complex64"),
        (2**63, "uint64"),
        (2**63, "float64"),
        ([[1, 2], [3, 4]], "int8"),
        ([1, 2], "float16"),
    ],
    ids=repr,
)
def test_python_numbers_with_a_dtype(tf, value, dtype):
    agree(tf, value, getattr(tf, dtype))


REFUSED = {
    "longdouble": np.zeros(2, np.longdouble),
    "clongdouble": np.zeros(2, np.clongdouble),
    "datetime64": np.zeros(2, "M8[s]"),
    "timedelta64": np.zeros(2, "m8[s]"),
    "structured": np.zeros(2, [("a", "i4")]),
    "void": np.zeros(2, "V3"),
    **({"StringDType": np.array(["a"], np.dtypes.StringDType())} if NUMPY_2 else {}),
    "object of int": np.array([1, 2], object),
    "object of float": np.array([1.5], object),
    "object of None": np.array([None], object),
    "object of list": np.array([[1], [2, 3]], object),
    "longdouble scalar": np.longdouble(1),
    "datetime scalar": np.datetime64("2020-01-01"),
    **(
        {"float8 TensorFlow lacks": np.zeros(2, ml_dtypes.float8_e8m0fnu)}
        if hasattr(ml_dtypes, "float8_e8m0fnu")
        else {}
    ),
    "int beyond int64": 2**63,
    "int below int64": -(2**63) - 1,
    "list with int beyond int64": [1, 2**64],
    "uint64 scalar beyond int64 in a list": [np.uint64(2**63)],
    "float beyond float32": 1e300,
    "ragged list": [[1], [2, 3]],
    "ragged arrays": [np.array([1, 2]), np.array([3])],
    "bool then int": [True, 1],
    "bool then float": [True, 2.5],
    "int and complex": [1, 2j],
    "int and str": [1, "a"],
    "set": {1},
    "dict": {"a": 1},
    "None": None,
    "list of None": [None],
    "int and None": [1, None],
    "Decimal": decimal.Decimal(1),
    "Fraction": fractions.Fraction(1, 2),
    "object": object(),
    "iterator": iter([1]),
}


@pytest.mark.parametrize("which", REFUSED)
def test_input_that_tensorflow_refuses_is_refused(tf, which):
    both_refuse(tf, REFUSED[which])


@pytest.mark.parametrize("dtype", [np.longdouble, np.datetime64, "nonsense"], ids=str)
def test_dtypes_unknown_to_tensorflow(tf, dtype):
    both_refuse(tf, np.arange(3), dtype)


@pytest.mark.parametrize(
    "value",
    [
        "abc",
        b"abc",
        ["a", "b"],
        np.array(["a", "b"]),
        np.array([b"a"]),
        np.array(["a"], object),
        np.str_("a"),
    ],
    ids=repr,
)
def test_strings_convert_as_in_tensorflow(tf, value):
    agree(tf, value)


def test_every_way_to_write_a_dtype(tf):
    array = np.arange(3)
    for dtype in [
        tf.int8,
        np.dtype("i1"),
        np.int8,
        "int8",
        np.dtype(">i4"),
        float,
        bool,
        "half",
        tf.int32.as_numpy_dtype,
    ]:
        value = array[:2] if dtype is bool else array
        agree(tf, value, dtype)
    for dtype in [tf.bfloat16, ml_dtypes.bfloat16, np.dtype(ml_dtypes.bfloat16), "bfloat16"]:
        agree(tf, array, dtype)


def test_tensors_and_variables_pass_through(tf):
    tensor = tf.constant([1, 2])
    assert convert_to_tensor(tensor) is tensor
    variable = tf.Variable([1, 2])
    agree(tf, variable)
    agree(tf, [tf.constant(1), 2])
    agree(tf, tf.TensorShape([1, 2]))
    agree(tf, tf.keras.Variable(1))
    agree(tf, tensor, tf.int32)
    for value in (tensor, variable):
        both_refuse(tf, value, tf.int64)


def test_ragged_and_sparse_are_refused_as_tensorflow_refuses_them(tf):
    both_refuse(tf, tf.ragged.constant([[1], [2, 3]]))
    both_refuse(tf, tf.sparse.from_dense([[1]]))


class WithArray:
    def __array__(self, dtype=None, copy=None):
        return np.arange(3, dtype=dtype)


class WithInterface:
    def __init__(self):
        self.array = np.arange(3.0)
        self.__array_interface__ = self.array.__array_interface__


class WithDlpack:
    def __init__(self):
        self.array = np.arange(3.0)

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_objects_with_an_array_protocol(tf):
    agree(tf, WithArray())
    agree(tf, WithInterface())
    agree(tf, WithInterface(), tf.int32)
    with pytest.raises(ValueError, match="unsupported type"):
        tf.convert_to_tensor(WithDlpack())
    same(
        convert_to_tensor(WithDlpack()).numpy(), np.arange(3.0)
    )  # tensorferry accepts what TensorFlow does not


def test_a_masked_array_is_refused_naming_the_way_out(tf):
    masked = np.ma.array([1, 2], mask=[False, True])
    assert tf.convert_to_tensor(masked).numpy().tolist() == [1, 2]  # TensorFlow drops the mask
    for function in (convert_to_tensor, tensorferry.tensor):
        with pytest.raises(TypeError, match=r"\.filled\(") as refused:
            function(masked)
        assert refused.value.code == "masked_array"
    same(convert_to_tensor(masked.filled(0)).numpy(), np.array([1, 0]))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.array([2**63 - 1]), "int32"),
        (np.array([-1]), "uint64"),
        (np.array([300]), "uint8"),
        (np.array([1.7]), "int32"),
        (np.array([2**24 + 1]), "float32"),
        (np.array([1e300]), "float32"),
        (np.array([2]), "bool"),
        (300, "uint8"),
        ([2**63 - 1], "int32"),
        ([np.int64(2**40)], "int32"),
        (np.int64(2**40), "int32"),
        (2**24 + 1, "float32"),
        (1e39, "float32"),
        (70000, "float16"),
    ],
    ids=repr,
)
def test_values_that_tensorflow_changes_silently_are_refused(tf, value, dtype):
    with np.errstate(all="ignore"):
        changed = tf.convert_to_tensor(value, getattr(tf, dtype)).numpy()
    assert not np.array_equal(changed.astype(object), np.asarray(value).astype(object))
    with pytest.raises(OverflowError) as refused:
        convert_to_tensor(value, getattr(tf, dtype))
    assert refused.value.code == "values_do_not_fit"
    assert isinstance(refused.value, (ValueError, errors.Error))


def test_wrap_equals_tensorflow(tf):
    for value, dtype in [(2**63 - 1, "int32"), (-1, "uint64"), (300, "uint8"), (-129, "int8")]:
        array = np.array([value])
        theirs = tf.convert_to_tensor(array, getattr(tf, dtype))
        same(convert_to_tensor(array, dtype, casting="wrap").numpy(), theirs.numpy())


def test_inside_a_function_it_is_a_constant_with_the_name(tf):
    seen = []

    @tf.function
    def ours():
        tensor = convert_to_tensor(np.arange(3), "int32", name="arrived")
        seen.append((tensor.name, tf.is_symbolic_tensor(tensor)))
        return tensor + convert_to_tensor([1, 2, 3])

    assert ours().numpy().tolist() == [1, 3, 5]
    assert seen == [("arrived:0", True)]


def test_inside_a_function_values_are_checked_too(tf):
    @tf.function
    def ours():
        return convert_to_tensor(np.array([300]), tf.uint8)

    with pytest.raises(OverflowError, match="300") as refused:
        ours()
    assert refused.value.code == "values_do_not_fit"


def test_inside_a_function_nothing_can_be_shared(tf):
    array = tensorferry.empty((16,), "int32")

    @tf.function
    def ours():
        return convert_to_tensor(array, copy=False)

    with pytest.raises(BufferError, match=r"tf\.function"):
        ours()


def test_an_unknown_casting_is_named():
    with pytest.raises(ValueError, match="sideways") as refused:
        convert_to_tensor(np.arange(3), "int8", casting="sideways")
    assert refused.value.code == "unknown_casting"


def test_rows_that_tensorflow_would_drop_are_refused(tf):
    assert tf.convert_to_tensor([[], [1]]).shape == (2, 0)
    with pytest.raises(ValueError, match="rows of different lengths"):
        tensorferry.convert_to_tensor([[], [1]])
