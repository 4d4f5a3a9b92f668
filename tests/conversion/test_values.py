"""Lists, objects, masks and values without numbers: every function follows one rule and gives one
message.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions

import ml_dtypes
import numpy as np
import pytest
import scipy.sparse
import tensorferry as tfy
import tensorflow as tf
from PIL import Image
from tensorferry import errors

from tests.support.arrays import NAMES, np_dtype

PICTURE = Image.new("L", (3, 2), 7)


def first(dataset):
    return next(iter(dataset.with_format("numpy")))


def saved(value, tmp_path):
    tfy.save(tmp_path / "a.npy", value)
    return np.load(tmp_path / "a.npy")


def saved_by_name(value, tmp_path):
    tfy.save(tmp_path / "a.npz", {"a": value})
    return np.load(tmp_path / "a.npz")["a"]


#: Functions from a value to its numbers.
PLAIN = {
    "convert_to_tensor": lambda value, _: tfy.convert_to_tensor(value).numpy(),
    "tensor": lambda value, _: tfy.tensor(value).numpy(),
    "save": saved,
    "save by name": saved_by_name,
    "from_tensors": lambda value, _: first(tfy.Dataset.from_tensors({"a": value}))["a"],
    "from_tensor_slices": lambda value, _: first(tfy.Dataset.from_tensor_slices({"a": [value]}))[
        "a"
    ],
    "map": lambda value, _: first(
        tfy.Dataset.range(1).with_format("numpy").map(lambda x: {"a": value})
    )["a"],
    "scan": lambda value, _: first(
        tfy.Dataset.range(1).with_format("numpy").scan(0, lambda s, x: (s, {"a": value}))
    )["a"],
    "lookup": lambda value, _: first(tfy.Dataset.from_tensors(0).lookup([value])),
}


def generated(value, dtype):
    spec = {"a": tfy.TensorSpec(None, dtype)}
    return first(tfy.Dataset.from_generator(lambda: iter([{"a": value}]), output_signature=spec))[
        "a"
    ]


def mapped(value, dtype):
    spec = {"a": tfy.TensorSpec(None, dtype)}
    return first(
        tfy.Dataset.range(1).with_format("numpy").map(lambda x: {"a": value}, output_signature=spec)
    )["a"]


def scanned(value, dtype):
    spec = {"a": tfy.TensorSpec(None, dtype)}
    dataset = tfy.Dataset.range(1).with_format("numpy")
    return first(dataset.scan(0, lambda state, x: (state, {"a": value}), output_signature=spec))[
        "a"
    ]


def written(value, dtype):
    out = np.empty(np.shape(tfy.tensor(value, dtype)), np_dtype(dtype))
    tfy.convert_into(value, out)
    return out


def into_jax(value, dtype):
    import tensorferry.jax

    return np.asarray(tensorferry.jax.convert_to_tensor(value, dtype))


#: Functions of a value and a dtype.
TYPED = {
    "convert_to_tensor": lambda value, dtype: tfy.convert_to_tensor(value, dtype).numpy(),
    "tensor": lambda value, dtype: tfy.tensor(value, dtype).numpy(),
    "convert_into": written,
    "from_generator": generated,
    "map": mapped,
    "scan": scanned,
}

EXACT = [
    ([2**63 + 1, 1], "uint64"),
    ([2**60 + 1, 1.0], "int64"),
    ([[1.0, 2**62 + 1], [np.float32(3), True]], "int64"),
    ([np.uint64(2**64 - 1), -0.0], "uint64"),
    ([np.int64(2**53 + 1), np.float64(2)], "int64"),
    (np.array([2**64 - 1, 1.0], object), "uint64"),
    ([np.array([2**53 + 1]), np.array([0.5e1])], "int64"),
    ([np.array([2**63 + 1], object), [3]], "uint64"),
    ([2**200, 0.1], "float64"),
    ([range(2), (np.True_, 2.0)], "int8"),
    ([collections.deque([1, 2]), [3, 4]], "uint8"),
    ([1, 2j], "complex128"),
    ([tfy.tensor([1, 2]), [3.0, 4]], "int16"),
    ([tf.constant([1, 2]), np.array([3, 4], np.int8)], "int64"),
    pytest.param([PICTURE, np.zeros((2, 3))], "float16", id="pictures"),
]


@pytest.mark.parametrize("function", TYPED)
@pytest.mark.parametrize(("value", "dtype"), EXACT, ids=repr)
def test_every_value_is_exact(function, value, dtype):
    made = TYPED[function](value, dtype)
    assert np.asarray(made).dtype == dtype
    assert np.asarray(made).reshape(-1).tolist() == leaves(value)
    assert tfy.can_convert(value, dtype)


@pytest.mark.parametrize("function", TYPED)
def test_every_value_is_exact_in_jax(function, jax):
    value = [jax.numpy.array([1, 2]), [2**40, 4]]
    assert np.asarray(TYPED[function](value, "int64")).tolist() == [[1, 2], [2**40, 4]]


def leaves(value):
    if isinstance(value, list | tuple | range | collections.deque):
        return [leaf for part in value for leaf in leaves(part)]
    array = np.asarray(value if not isinstance(value, int) else np.array(value, object))
    return array.reshape(-1).tolist()


MISFITS = [
    ([1, 2.5], "int32", r"\[1\] = 2.5"),
    ([[1, 2], [3, 300]], "uint8", r"\[1, 1\] = 300"),
    ([2**63 + 1, 1], "float64", r"\[0\] = 9223372036854775809"),
    ([1, 2**64], "uint64", r"\[1\] = 18446744073709551616"),
    ([0, -(2**200)], "int64", rf"\[1\] = -{2**200}"),
    ([1, np.int64(-1)], "uint64", r"\[1\] = -1"),
    ([np.arange(3), [0, 1, 1.5]], "int8", r"\[1, 2\] = 1.5"),
    ([[0, 1, 2], np.array([0, 0, 128])], "int8", r"\[1, 2\] = 128"),
    ([tfy.tensor([1.0, 2.5])], "int8", r"\[0, 1\] = 2.5"),
    (np.array([2.7], object), "int32", r"\[0\] = 2.7"),
    (np.array([[1, 2], [3, float("nan")]], object), "int32", r"\[1, 1\] = NaN"),
    ([1, 2], "bool", r"\[1\] = 2"),
    (2**64, "int64", r"\[\] = 18446744073709551616"),
    ([1e300], "float32", r"\[0\] = 1e300"),
]


@pytest.mark.parametrize("function", [function for function in TYPED if function != "convert_into"])
@pytest.mark.parametrize(("value", "dtype", "where"), MISFITS, ids=repr)
def test_a_value_that_does_not_fit_is_named_with_its_index(function, value, dtype, where):
    with pytest.raises(OverflowError, match=rf"(?i)1 of \d values? does not fit \(first: {where};"):
        TYPED[function](value, dtype)
    assert not tfy.can_convert(value, dtype)


@pytest.mark.parametrize("function", ["convert_to_tensor", "tensor"])
def test_casting_and_copy_are_obeyed(function):
    make = getattr(tfy, function)
    for value in ([300, -1.5, True], np.array([300, -1.5, True], object)):
        assert np.asarray(make(value, "uint8", casting="saturate")).tolist() == [255, 0, 1]
        with pytest.raises(TypeError, match=r"wrapping is not defined for floats.*\[1\] = -1.5"):
            make(value, "uint8", casting="wrap")
        with pytest.raises(BufferError, match="cannot share without a copy"):
            make(value, "uint8", copy=False)
    assert np.asarray(make([300, -1, 2**200 + 7], "uint8", casting="wrap")).tolist() == [44, 255, 7]
    for text in ("a", ["a"], np.array(["a"]), np.array(["a"], object)):
        with pytest.raises((BufferError, errors.InvalidArgumentError)):
            make(text, copy=False)


def test_a_list_of_a_million_numbers_is_exact():
    numbers = list(range(-(10**6), 10**6))
    assert tfy.tensor(numbers, "int32").numpy().tolist() == numbers
    assert tfy.convert_to_tensor([float(x) for x in numbers], "float64").numpy().tolist() == numbers


ARRAYS = {
    "PIL": [PICTURE, PICTURE],
    "ours": [tfy.tensor(np.full((2, 3), 7, np.uint8))] * 2,
    "tensors beside numbers": [tfy.tensor(np.full((2, 3), 7, np.uint8)), [[7, 7, 7], [7, 7, 7]]],
}


@pytest.mark.parametrize("function", PLAIN)
@pytest.mark.parametrize("which", ARRAYS)
def test_lists_of_tensors_keep_their_dtype_everywhere(function, which, tmp_path):
    made = PLAIN[function](ARRAYS[which], tmp_path)
    assert made.dtype == np.uint8
    assert made.tolist() == [[[7] * 3] * 2] * 2


@pytest.mark.parametrize("function", PLAIN)
def test_lists_of_jax_arrays(function, jax, tmp_path):
    made = PLAIN[function]([jax.numpy.full((2, 3), 7, jax.numpy.uint8)] * 2, tmp_path)
    assert made.dtype == np.uint8
    assert made.tolist() == [[[7] * 3] * 2] * 2


@pytest.mark.torch
@pytest.mark.parametrize("function", PLAIN)
def test_lists_of_torch_tensors_and_opened_arrays(function, torch, tmp_path):
    assert (
        PLAIN[function]([torch.tensor([1, 2], dtype=torch.int16)] * 2, tmp_path).dtype == np.int16
    )
    np.save(tmp_path / "one.npy", np.array([1, 2], np.int16))
    assert PLAIN[function]([tfy.open(tmp_path / "one.npy")] * 2, tmp_path).tolist() == [
        [1, 2],
        [1, 2],
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "function",
    [
        function
        for function in PLAIN
        if function not in ("convert_to_tensor", "save", "save by name")
    ],
)
def test_lists_of_arrays_keep_their_dtype(function, name, tmp_path):
    made = PLAIN[function]([np.array([0, 1], np_dtype(name))] * 2, tmp_path)
    assert made.dtype == np_dtype(name)


@pytest.mark.parametrize(
    "value",
    [
        [np.float32(1), np.int64(2)],
        [np.int8(1), 2.5],
        [np.float16(1), np.float64(2)],
        [np.int64(1)],
    ],
)
def test_numpy_scalars_of_several_dtypes_get_the_dtype_of_tensorflow(value, tmp_path):
    due = tf.convert_to_tensor(value).numpy()
    for function in ("convert_to_tensor", "tensor", "save", "save by name", "from_tensors"):
        made = PLAIN[function](value, tmp_path)
        assert (made.dtype, made.tolist()) == (due.dtype, due.tolist())


SET = np.ma.array([1.0, 2.0], mask=[False, True])
EMPTY = np.ma.array([1.0, 2.0])
MASKED = {
    "alone": SET,
    "in a list": [SET, [1.0, 2.0]],
    "deep": [[[1.0, 2.0]], [SET]],
    "masked": [1.0, np.ma.masked],
    "scalar": np.ma.masked,
}
OBJECTS = np.empty(2, object)
OBJECTS[:] = [SET, EMPTY]


@pytest.mark.parametrize("function", PLAIN)
@pytest.mark.parametrize("which", MASKED)
def test_a_set_mask_is_an_error_everywhere(function, which, tmp_path):
    with pytest.raises(TypeError, match=r"\.filled\(") as refused:
        PLAIN[function](MASKED[which], tmp_path)
    assert refused.value.code == "masked_array"


@pytest.mark.parametrize("function", TYPED)
@pytest.mark.parametrize("which", [*MASKED, "objects"])
def test_a_set_mask_is_an_error_with_a_dtype_too(function, which):
    with pytest.raises(TypeError, match=r"\.filled\("):
        TYPED[function](MASKED.get(which, OBJECTS), "float32")


@pytest.mark.parametrize("function", PLAIN)
@pytest.mark.parametrize(
    "value",
    [EMPTY, np.ma.array([1.0, 2.0], mask=[False, False]), [EMPTY, EMPTY]],
    ids=["none", "clear", "list"],
)
def test_an_empty_mask_is_fine_everywhere(function, value, tmp_path):
    assert np.asarray(PLAIN[function](value, tmp_path)).tolist() == np.asarray(value).tolist()


def test_masks_in_the_other_functions():
    for function in (
        tfy.value_range,
        tfy.smallest_dtype,
        lambda value: tfy.can_convert(value, "int8"),
    ):
        for value in (SET, [SET], [1, np.ma.masked]):
            with pytest.raises(TypeError, match=r"\.filled\("):
                function(value)
        function(EMPTY)
    with pytest.raises(TypeError, match=r"\.filled\("):
        tfy.convert_into([1.0, 2.0], SET.copy())
    slices = tfy.Dataset.from_tensor_slices({"a": EMPTY, "b": [1, 2]})
    assert [x["a"] for x in slices.as_numpy_iterator()] == [1.0, 2.0]


def test_the_range_of_large_integers_is_exact_or_an_error():
    assert tfy.value_range([2**100, -(2**70), 1.5]) == (-(2**70), 2**100)
    assert tfy.value_range([2**127 - 1, 2**126, 1 - 2**127]) == (1 - 2**127, 2**127 - 1)
    for value in (2**127, [1, -(2**128)], np.array([2**2000, 1.0], object)):
        with pytest.raises(OverflowError, match="that no dtype holds"):
            tfy.value_range(value)


def quantized(torch):
    return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8)


KINDS = {
    "sparse": (lambda: tf.sparse.from_dense([[1]]), "sparse.*to_dense"),
    "SparseTensorValue": (
        lambda: tf.compat.v1.SparseTensorValue([[0]], [1], [2]),
        "sparse.*to_dense",
    ),
    "scipy": (lambda: scipy.sparse.eye(2).tocsr(), "sparse.*toarray"),
    "ragged": (lambda: tf.ragged.constant([[1], [2, 3]]), "different lengths.*to_tensor"),
    "ragged list": (lambda: [[1], [2, 3]], "different lengths"),
    "structured": (lambda: np.zeros(2, [("a", "i4")]), r"fields.*array\['a'\]"),
    "datetime64": (lambda: np.zeros(2, "M8[s]"), "dates.*astype"),
    "timedelta64": (lambda: np.zeros(2, "m8[s]"), "time spans.*astype"),
    "longdouble": (lambda: np.zeros(2, np.longdouble), 'extended precision.*astype."float64"'),
    "clongdouble": (lambda: np.zeros(2, np.clongdouble), 'extended precision.*astype."complex128"'),
    "None": (lambda: None, r"None (at \[0\] )?is not a number"),
    "None in a list": (lambda: [[1, None]], r"None at \[.*1\] is not a number"),
    "set": (lambda: {1}, "set.*sorted"),
    "Decimal": (lambda: decimal.Decimal(1), "Decimal.*float"),
    "Fraction": (lambda: [fractions.Fraction(1, 2)], "Fraction.*float"),
    "date": (lambda: datetime.datetime(2020, 1, 1), "date.*timestamp"),
    "generator": (lambda: (x for x in [1]), "once.*list"),
    "objects": (lambda: np.array([1, 2], object), "dtype=.*astype"),
    "object": (object, "not an array of numbers"),
    "float8 in a list": (lambda: [ml_dtypes.float8_e4m3fn(1)], 'astype."float32"'),
}
#: Values that TensorFlow converts and others do not.
STRINGS = {
    "str": (lambda: "abc", "text.*numbers"),
    "bytes": (lambda: b"abc", "text.*numbers"),
    "list of str": (lambda: ["a", "b"], "text.*numbers"),
    "str array": (lambda: np.array(["a"]), "text.*numbers"),
    "string tensor": (lambda: tf.constant(["a"]), "text.*numbers"),
    "variant": (lambda: tf.data.experimental.to_variant(tf.data.Dataset.range(3)), "handle"),
    "resource": (lambda: tf.raw_ops.VarHandleOp(dtype=tf.int32, shape=[]), "handle"),
    "float8 tensor": (lambda: tf.cast([1.0], tf.dtypes.experimental.float8_e5m2), "tf.cast"),
    "int4": (lambda: np.zeros(2, ml_dtypes.int4), 'astype."int8"'),
}
TOLD = {
    "tensor": tfy.tensor,
    "tensor with a dtype": lambda value: tfy.tensor([value], "int32"),
    "value_range": tfy.value_range,
    "smallest_dtype": tfy.smallest_dtype,
    "can_convert": lambda value: tfy.can_convert(value, "int8"),
    "convert_into": lambda value: tfy.convert_into(value, np.zeros(2)),
    "save_npy": lambda value: tfy.save_npy("/nonexistent/a.npy", value),
    "save": lambda value: tfy.save("/nonexistent/a.npy", value),
    "from_generator": lambda value: generated(value, "float32"),
    "to_jax": lambda value: into_jax(value, None),
}
DATASETS = {
    "from_tensors": lambda value: tfy.Dataset.from_tensors({"a": value}),
    "from_tensor_slices": lambda value: tfy.Dataset.from_tensor_slices({"a": value}),
    "map": lambda value: tfy.Dataset.range(1).with_format("numpy").map(lambda x: {"a": value}),
    "lookup": lambda value: tfy.Dataset.range(1).lookup(value),
}
IN_STRUCTURES = ("None", "SparseTensorValue")
#: What datasets carry without computing with it: see tests/dataset/test_strings.py.
CARRIED = ("str", "bytes", "list of str", "str array", "string tensor")


@pytest.mark.parametrize("function", [*TOLD, *DATASETS])
@pytest.mark.parametrize("kind", [*KINDS, *STRINGS])
def test_values_without_numbers_are_named_with_the_way_out(function, kind):
    if (function in DATASETS or function == "from_generator") and kind in IN_STRUCTURES:
        pytest.skip("it is part of a structure there")
    if kind in CARRIED and function in DATASETS and function != "lookup":
        pytest.skip("it is carried there")
    if kind == "objects" and function not in (
        "tensor",
        "value_range",
        "smallest_dtype",
        "save",
        "save_npy",
        "to_jax",
        *DATASETS,
    ):
        pytest.skip("objects are looked at one by one there")
    make, words = (KINDS | STRINGS)[kind]
    if (function, kind) in (
        ("value_range", "objects"),
        ("smallest_dtype", "objects"),
        ("from_tensor_slices", "ragged"),
        ("from_tensor_slices", "structured"),
        ("from_tensors", "structured"),
        ("save", "structured"),
    ):
        return
    with pytest.raises(
        (errors.InvalidArgumentError, errors.InvalidTypeError), match=f"(?s){words}"
    ):
        (TOLD | DATASETS)[function](make())


@pytest.mark.parametrize("kind", KINDS)
def test_values_that_tensorflow_refuses_are_named_and_caught_alike(kind):
    make, words = KINDS[kind]
    with pytest.raises((ValueError, TypeError)) as theirs:
        tf.convert_to_tensor(make())
    with pytest.raises(errors.Error, match=f"(?s){words}") as ours:
        tfy.convert_to_tensor(make())
    assert isinstance(ours.value, ValueError if isinstance(theirs.value, ValueError) else TypeError)


@pytest.mark.parametrize("kind", ["str", "bytes", "list of str", "str array"])
def test_strings_are_not_numbers(kind):
    make, words = STRINGS[kind]
    for dtype in NAMES:
        with pytest.raises(errors.InvalidArgumentError, match=words):
            tfy.convert_to_tensor(make(), dtype) if kind not in ("str", "bytes") else tfy.tensor(
                make(), dtype
            )
    assert tfy.convert_to_tensor(make()).dtype == tf.string


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_kinds_of_torch(torch):
    for value, words in (
        (torch.eye(2).to_sparse(), "sparse.*to_dense"),
        (quantized(torch), "quantized.*dequantize"),
        (torch.zeros(2, dtype=torch.float8_e4m3fn), "torch.float32"),
    ):
        for function in (
            tfy.tensor,
            tfy.value_range,
            tfy.convert_to_tensor,
            DATASETS["from_tensors"],
            lambda value: tfy.tensor([value]),
        ):
            with pytest.raises(errors.InvalidArgumentError, match=words):
                function(value)


def test_a_list_that_contains_itself_is_an_error():
    loop = []
    loop.append(loop)
    for function in (tfy.tensor, tfy.convert_to_tensor, tfy.value_range, DATASETS["from_tensors"]):
        with pytest.raises(errors.InvalidArgumentError, match="64"):
            function(loop)
