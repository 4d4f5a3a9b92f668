"""A dtype means the same for every function, whichever library it comes from."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from tensorferry import errors

from tests.support.arrays import NAMES

VALUES = np.array([0, 1])


def raw_file(dtype, tmp_path):
    path = tmp_path / "raw.bin"
    path.write_bytes(bytes(16))
    return tfy.open_raw(path, dtype).dtype.name


def mapped(dtype, tmp_path):
    dataset = tfy.Dataset.range(1).with_format("numpy")
    return dataset.map(
        lambda x: x, output_signature=tfy.TensorSpec((), dtype)
    ).element_spec.dtype.name


def into_torch(dtype, tmp_path):
    import tensorferry.torch

    return str(tensorferry.torch.convert_to_tensor(VALUES, dtype).dtype).removeprefix("torch.")


def of_dataset(make):
    return lambda dtype, tmp_path: make(dtype).with_format("numpy").element_spec.dtype.name


def one_hot(dtype):
    return tfy.Dataset.from_tensor_slices(VALUES).one_hot(2, dtype)


#: Every function that takes a dtype, and the name of the dtype of its result.
FUNCTIONS = {
    "convert_to_tensor": lambda dtype, _: tfy.convert_to_tensor(VALUES, dtype).dtype.name,
    "convert_to_tensor of a list": lambda dtype, _: tfy.convert_to_tensor([0, 1], dtype).dtype.name,
    "convert_to_tensor of a tensor": lambda dtype, _: (
        tfy.convert_to_tensor(tfy.tensor(VALUES), dtype).dtype.name
    ),
    "tensor": lambda dtype, _: tfy.tensor(VALUES, dtype).dtype.name,
    "tensor of a list": lambda dtype, _: tfy.tensor([0, 1], dtype).dtype.name,
    "astype": lambda dtype, _: tfy.tensor(VALUES).astype(dtype).dtype.name,
    "empty": lambda dtype, _: tfy.empty(2, dtype).dtype.name,
    "TensorSpec": lambda dtype, _: tfy.TensorSpec((), dtype).dtype.name,
    "cast": of_dataset(lambda dtype: tfy.Dataset.from_tensor_slices(VALUES).cast(dtype)),
    "output_types": of_dataset(
        lambda dtype: tfy.Dataset.from_generator(lambda: iter([0]), output_types=dtype)
    ),
    "map": mapped,
    "open_raw": raw_file,
    "checked_cast": lambda dtype, _: (
        __import__("tensorferry.tensorflow").tensorflow.checked_cast(VALUES, dtype).dtype.name
    ),
}
#: Functions that do not take every dtype.
NUMBERS_ONLY = {
    "range": of_dataset(lambda dtype: tfy.Dataset.range(2, output_type=dtype)),
    "one_hot": of_dataset(one_hot),
}

MEANINGS = {
    float: "float32",
    int: "int32",
    bool: "bool",
    complex: "complex128",
    "float": "float32",
    "int": "int32",
    "bool": "bool",
    "half": "float16",
    "double": "float64",
    "single": "float32",
    "long": "int64",
    "f4": "float32",
    "u1": "uint8",
    "i8": "int64",
    "bfloat16": "bfloat16",
    "torch.int16": "int16",
    np.float16: "float16",
    np.dtype("u2"): "uint16",
    ml_dtypes.bfloat16: "bfloat16",
    np.dtype(ml_dtypes.bfloat16): "bfloat16",
    tf.uint16: "uint16",
    tf.bfloat16: "bfloat16",
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", MEANINGS, ids=str)
def test_a_dtype_means_the_same_everywhere(function, dtype, tmp_path):
    assert FUNCTIONS[function](dtype, tmp_path) == MEANINGS[dtype]


@pytest.mark.parametrize("function", NUMBERS_ONLY)
@pytest.mark.parametrize(
    "dtype",
    [float, int, "float", "int", "half", "i8", np.float16, tf.int32, "torch.int16"],
    ids=str,
)
def test_a_numeric_dtype_means_the_same_everywhere(function, dtype, tmp_path):
    assert NUMBERS_ONLY[function](dtype, tmp_path) == MEANINGS.get(dtype, "int32")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_jax_dtypes_everywhere(function, jax, tmp_path):
    for name in ("int8", "uint64", "float32", "bfloat16"):
        assert FUNCTIONS[function](getattr(jax.numpy, name), tmp_path) == name


@pytest.mark.torch
@pytest.mark.parametrize("function", FUNCTIONS)
def test_torch_dtypes_everywhere(function, torch, tmp_path):
    for name in NAMES:
        dtype = getattr(torch, name)
        assert FUNCTIONS[function](dtype, tmp_path) == name
    assert FUNCTIONS[function](torch.long, tmp_path) == "int64"
    assert FUNCTIONS[function](torch.int, tmp_path) == "int32"
    assert FUNCTIONS[function](torch.half, tmp_path) == "float16"


@pytest.mark.torch
def test_every_dtype_converts_to_torch(torch, tmp_path):
    for dtype, name in MEANINGS.items():
        assert into_torch(dtype, tmp_path) == name
    assert into_torch(torch.int16, tmp_path) == "int16"


@pytest.mark.parametrize(
    "name", ["float", "double", "half", "bool", "bfloat16", "int32", "uint64", "complex64"]
)
def test_names_that_tensorflow_knows_mean_the_same(name, tmp_path):
    for function in FUNCTIONS.values():
        assert function(name, tmp_path) == tf.as_dtype(name).name


def test_python_types_mean_the_dtypes_of_tensorflow():
    for kind in (float, int, bool, complex):
        assert tfy.TensorSpec((), kind).dtype == tf.convert_to_tensor(kind(1)).dtype.as_numpy_dtype
    for kind in (float, bool):
        assert tfy.TensorSpec((), kind).dtype == tf.as_dtype(kind).as_numpy_dtype


@pytest.mark.parametrize(
    "function", [function for function in FUNCTIONS if not function.startswith("convert_to_tensor")]
)
@pytest.mark.parametrize(
    "dtype",
    [str, object, "S3", "M8[s]", "f4,i4", np.longdouble, tf.string, tf.qint8, "float8_e4m3fn"],
    ids=str,
)
def test_a_dtype_without_numbers_is_refused_everywhere(function, dtype, tmp_path):
    if dtype in (str, tf.string) and function in ("TensorSpec", "output_types", "map"):
        pytest.skip("datasets carry strings: see tests/dataset/test_strings.py")
    with pytest.raises((errors.InvalidTypeError, errors.InvalidArgumentError), match="dtype"):
        FUNCTIONS[function](dtype, tmp_path)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "dtype",
    ["nonsense", 1.5, object(), "torch.nonsense"],
    ids=["text", "number", "object", "torch"],
)
def test_invalid_dtypes_are_refused_with_one_message(function, dtype, tmp_path):
    with pytest.raises(
        errors.InvalidTypeError,
        match=r"is not a dtype\. Pass a tf\.DType, torch\.dtype, numpy\.dtype, type or name\.",
    ):
        FUNCTIONS[function](dtype, tmp_path)


def test_numpy_keeps_its_own_meaning_of_float():
    assert (
        np.asarray(tfy.tensor([1, 2]), float).dtype == np.float64
    )  # NumPy's protocol, NumPy's float
    assert np.asarray(tfy.tensor([1, 2]), dtype="int").dtype == np.int64
