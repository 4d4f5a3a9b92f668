"""Hand-written peers, and the memory that both sides use."""

import ctypes
import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorferry
import tensorflow as tf
from numpy.typing import DTypeLike, NDArray

ALIGNMENT = 64

_libc = ctypes.CDLL(None)
_libc.memcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
_libc.memcpy.restype = ctypes.c_void_p


def address(array: NDArray) -> int:
    """The address of the array's first element."""
    return array.__array_interface__["data"][0]


def aligned(length: int, dtype: DTypeLike) -> NDArray:
    """A one-dimensional array aligned to 64 bytes, filled so that every page exists."""
    return at_offset(length, dtype, 0)


def at_offset(length: int, dtype: DTypeLike, offset: int) -> NDArray:
    """The same, `offset` bytes after a 64-byte boundary. NumPy's large arrays are at offset 16."""
    nbytes = length * np.dtype(dtype).itemsize
    memory = np.empty(nbytes + 2 * ALIGNMENT, np.uint8)
    start = -address(memory) % ALIGNMENT + offset
    array = memory[start : start + nbytes].view(dtype)
    _fill(array)
    return array


def frozen(length: int, dtype: DTypeLike) -> NDArray:
    """An array that tensorferry may share: aligned, and read-only including its owner."""
    array = tensorferry.empty((length,), dtype)
    _fill(array)
    array.flags.writeable = False
    return array


def _fill(array: NDArray) -> None:
    """0 to 99 repeatedly, without a temporary array of this size."""
    pattern = np.arange(100).astype(array.dtype)
    whole = len(array) // len(pattern) * len(pattern)
    array[:whole].reshape(-1, len(pattern))[...] = pattern
    array[whole:] = pattern[: len(array) - whole]


def memcpy(target: NDArray, source: NDArray) -> None:
    """The C library's memcpy of as many bytes as the smaller of the two holds."""
    _libc.memcpy(address(target), address(source), min(target.nbytes, source.nbytes))


def memcpy_in_threads(
    target: NDArray, source: NDArray, pool: ThreadPoolExecutor, threads: int
) -> None:
    """The same split evenly among threads (ctypes releases the interpreter lock)."""
    nbytes = min(target.nbytes, source.nbytes)
    cuts = [nbytes * i // threads // ALIGNMENT * ALIGNMENT for i in range(threads)] + [nbytes]
    spans = list(itertools.pairwise(cuts))
    to, start = address(target), address(source)
    list(
        pool.map(lambda span: _libc.memcpy(to + span[0], start + span[0], span[1] - span[0]), spans)
    )


def min_max_astype(array: NDArray, dtype: DTypeLike) -> NDArray:
    """A checked conversion in NumPy: three passes, and a new array."""
    limits = np.iinfo(dtype)
    if array.min() < limits.min or array.max() > limits.max:
        raise OverflowError("out of range")
    return array.astype(dtype)


def is_shared(tensor: tf.Tensor, array: NDArray) -> bool:
    """Whether the tensor shares the array's memory."""
    return np.frombuffer(memoryview(tensor), array.dtype).__array_interface__["data"][0] == address(
        array
    )


def require_equal(found: object, expected: NDArray) -> None:
    """Fails if the values are wrong."""
    if not np.array_equal(np.asarray(found), expected):
        raise AssertionError("the values differ")
