"""Arrays for tests: their dtypes, addresses and alignment, and how to compare them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

NAMES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]

# NumPy 1.26 prints scalars differently, has fewer dimensions, and copies where it cannot mark
# memory as read-only.
NUMPY_2 = np.lib.NumpyVersion(np.__version__) >= "2.0.0"
MOST_DIMENSIONS = 64 if NUMPY_2 else 32
numpy_2 = pytest.mark.skipif(not NUMPY_2, reason="of NumPy 2")


def np_dtype(name: str) -> np.dtype:
    """The NumPy dtype of that name; bfloat16 is ml_dtypes'."""
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def address(array) -> int:
    """The address of the first element. Pass a tf.Tensor itself: its `numpy()` is always a copy."""
    return np.asarray(array).__array_interface__["data"][0]


def at_offset(values, offset: int) -> np.ndarray:
    """A C-contiguous copy of the values that starts `offset` bytes after a multiple of 64."""
    values = np.asarray(values)
    memory = np.zeros(values.nbytes + 192, np.uint8)
    start = -address(memory) % 64 + offset
    array = memory[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    array[...] = values
    assert array.size == 0 or address(array) % 64 == offset % 64
    return array


def freeze(array: np.ndarray) -> np.ndarray:
    """Makes an array and all the arrays it is a view of read-only."""
    base = array
    while isinstance(base, np.ndarray):
        base.flags.writeable = False
        base = base.base
    return array


def same(actual, expected) -> None:
    """Same dtype (in either byte order), same shape, same values; NaN is NaN."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    native = expected.astype(expected.dtype.newbyteorder("="))
    actual = actual.astype(actual.dtype.newbyteorder("="))
    assert actual.dtype == native.dtype
    assert actual.shape == native.shape
    wide = np.complex128 if native.dtype.kind == "c" else np.float64
    if native.dtype.kind in "biu":
        assert np.array_equal(actual, native)
    else:
        np.testing.assert_array_equal(actual.astype(wide), native.astype(wide))


def numbered_file(path, rows: int, width: int):
    """A `.npy` file of int32 rows, each filled with its number."""
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.int32, shape=(rows, width))
    for start in range(0, rows, 4096):
        file[start : start + 4096] = np.arange(start, min(start + 4096, rows), dtype=np.int32)[
            :, None
        ]
    file.flush()
    return path


def random_values(name: str, shape=(5, 3), seed: int = 0) -> np.ndarray:
    """Random values of a dtype; integers over the whole range."""
    random = np.random.default_rng(seed)
    if name == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if "complex" in name:
        return (random.normal(size=shape) + 1j * random.normal(size=shape)).astype(name)
    if "float" in name:
        return random.normal(size=shape).astype(np_dtype(name))
    limits = np.iinfo(name)
    return random.integers(limits.min, limits.max, shape, name, endpoint=True)
