"""Random shapes, strides, orders, byte orders and alignments, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorferry
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tests.support.arrays import MOST_DIMENSIONS, NAMES, at_offset, np_dtype, same

DTYPES = [name for name in NAMES if name != "bfloat16"]


@st.composite
def arrays(
    draw, dtypes=("int8", "int16", "int32", "int64", "float32", "float64", "complex64", "bool")
):
    """A slice, transposition, broadcast or misaligned copy of an array."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = draw(npst.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=6))
    size = int(np.prod(shape))
    array = (np.arange(size) % 100).astype(dtype).reshape(shape, order=draw(st.sampled_from("CF")))
    if draw(st.booleans()):
        array = array.astype(dtype.newbyteorder(draw(st.sampled_from("<>"))))
    if draw(st.booleans()):
        array = at_offset(array, draw(st.integers(0, 63)))
    if array.ndim:
        array = array.transpose(draw(st.permutations(range(array.ndim))))
        if array.size:
            array = array[
                draw(
                    npst.basic_indices(
                        array.shape, allow_newaxis=True, allow_ellipsis=True, max_dims=8
                    )
                )
            ]
    if draw(st.booleans()) and np.ndim(array) < 6:
        array = np.broadcast_to(array, (draw(st.integers(0, 3)), *np.shape(array)))
    return np.asarray(array)


@given(array=arrays())
def test_any_view_keeps_its_values(array):
    tensor = tensorferry.tensor(array)
    assert tensor.shape == array.shape
    same(tensor.numpy(), array)


@given(
    array=arrays(),
    target=st.sampled_from(
        ["int8", "int64", "uint16", "float16", "float32", "float64", "complex128"]
    ),
)
def test_any_view_converts(array, target):
    if array.dtype.kind == "c" and target != "complex128":
        with pytest.raises(TypeError):
            tensorferry.tensor(array, target)
        return
    same(tensorferry.tensor(array, target).numpy(), array.astype(target))


@given(array=arrays())
def test_any_view_reaches_tensorflow(tf, array):
    tensor = tensorferry.convert_to_tensor(array)
    same(tensor.numpy(), array)
    same(tf.identity(tensor).numpy(), array)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("swapped", [False, True])
def test_every_dtype_in_either_byte_order(name, swapped):
    dtype = np_dtype(name)
    array = np.arange(2).astype(dtype) if name == "bool" else np.arange(100).astype(dtype)
    if swapped and name != "bfloat16":
        array = array.astype(dtype.newbyteorder(">"))
    for view in (array, array[::-1], array[::3], array.reshape(2, -1).T):
        same(tensorferry.tensor(view).numpy(), view)
        same(
            tensorferry.tensor(view, "float64" if dtype.kind != "c" else "complex128")
            .numpy()
            .astype(dtype),
            view,
        )


@pytest.mark.parametrize("offset", range(64))
def test_every_misalignment_converts(offset):
    array = at_offset(np.arange(200, dtype=np.int64), offset)
    same(tensorferry.tensor(array).numpy(), array)
    same(tensorferry.tensor(array, "int16").numpy(), array.astype(np.int16))


@pytest.mark.parametrize(
    "shape",
    [(0,), (0, 3), (3, 0), (2, 0, 4), (0, 0), (0, 2**40), (1,) * (MOST_DIMENSIONS - 1) + (0,)],
)
def test_empty_arrays_keep_their_shape(shape):
    for name in DTYPES:
        array = np.zeros(shape, name)
        assert tensorferry.tensor(array).shape == shape
        wide = "complex64" if name.startswith("complex") else "float64"
        assert tensorferry.tensor(array, wide).shape == shape
        assert tensorferry.convert_to_tensor(array).shape == shape


def test_as_many_dimensions_as_numpy_has():
    outer = (1,) * (MOST_DIMENSIONS // 2 - 2)
    array = np.arange(2**4, dtype=np.int16).reshape(outer + (2,) * 4 + outer)
    for view in (
        array,
        array.T,
        array[..., ::-1],
        array[(slice(None),) * (len(outer) + 1) + (slice(None, None, -1),)],
    ):
        same(tensorferry.tensor(view).numpy(), view)
        same(tensorferry.tensor(view, "float32").numpy(), view.astype(np.float32))


def test_large_transposed_and_reversed():
    array = np.arange(1500 * 700, dtype=np.int32).reshape(1500, 700)
    for view in (array.T, array[::-1], array[:, ::-1], array[::2, ::3], array.T[::-1, ::2]):
        same(tensorferry.tensor(view, "int64").numpy(), view.astype(np.int64))
        same(tensorferry.tensor(view).numpy(), view)


def test_broadcast_to_more_than_memory_is_an_exception():
    huge = np.broadcast_to(np.zeros(1), (2**57,))
    with pytest.raises((MemoryError, ValueError)):
        tensorferry.tensor(huge, copy=True)
    with pytest.raises((MemoryError, ValueError)):
        tensorferry.tensor(huge, "float32")


def test_overlapping_windows():
    windows = np.lib.stride_tricks.sliding_window_view(np.arange(50, dtype=np.int64), 7)
    same(tensorferry.tensor(windows).numpy(), windows)
    same(tensorferry.tensor(windows, "int8").numpy(), windows.astype(np.int8))
