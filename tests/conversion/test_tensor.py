"""tensorferry.Tensor: every attribute and protocol against its NumPy array."""

from __future__ import annotations

import copy
import hashlib
import io
import pickle

import numpy as np
import pytest
import tensorferry
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from tensorferry import errors

from tests.support.arrays import NAMES, address, np_dtype, numpy_2, same

SHAPES = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


def counted(shape, dtype="int32") -> np.ndarray:
    return np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)


@given(
    shape=SHAPES,
    order=st.sampled_from("CF"),
    name=st.sampled_from(["int8", "float64", "complex64", ">i4"]),
)
def test_attributes_are_those_of_the_array(shape, order, name):
    array = np.asarray(counted(shape, name), order=order)
    array.flags.writeable = False
    tensor = tensorferry.tensor(array, copy=False)
    for attribute in ("shape", "ndim", "size", "itemsize", "nbytes", "dtype", "strides"):
        assert getattr(tensor, attribute) == getattr(array, attribute), attribute
    assert isinstance(tensor.dtype, np.dtype)


@given(data=st.data())
def test_basic_indexing_is_that_of_numpy_and_copies_nothing(data):
    array = counted(data.draw(SHAPES))
    tensor = tensorferry.tensor(array)
    array = tensor.numpy()
    index = data.draw(npst.basic_indices(array.shape, allow_newaxis=True, allow_ellipsis=True))
    expected, actual = array[index], tensor[index]
    assert isinstance(actual, tensorferry.Tensor)
    same(actual.numpy(), expected)
    if isinstance(expected, np.ndarray) and expected.size:
        assert address(actual.numpy()) == address(expected)


@given(
    start=st.integers(), stop=st.integers(), step=st.integers().filter(bool), size=st.integers(0, 5)
)
def test_slices_with_arbitrary_bounds(start, stop, step, size):
    array = np.arange(size)
    same(tensorferry.tensor(array)[start:stop:step].numpy(), array[start:stop:step])


def test_slicing_a_slice():
    array = counted((10, 10))
    tensor = tensorferry.tensor(array)
    same(tensor[2:9:3][::-1, 4:].numpy()[1], array[2:9:3][::-1, 4:][1])
    same(tensor[..., None, 3][4:].numpy(), array[..., None, 3][4:])


@pytest.mark.parametrize(
    "index", [10, -11, (0, 10), (0, 0, 0), (..., ...), 2**70, -(2**70)], ids=repr
)
def test_indices_outside_are_index_errors(index):
    array = counted((10, 10))
    with pytest.raises(IndexError):
        array[index]
    with pytest.raises(IndexError):
        tensorferry.tensor(array)[index]


@pytest.mark.parametrize(
    "index", ["a", 1.0, [0, 1], {0: 1}, (0, "a"), slice("a"), slice(None, None, 0)], ids=repr
)
def test_other_indices_are_refused(index):
    with pytest.raises((TypeError, ValueError, IndexError)):
        tensorferry.tensor(counted((10, 10)))[index]


def test_an_index_error_has_a_code():
    with pytest.raises(errors.InvalidIndexError) as refused:
        tensorferry.tensor([1, 2])[2]
    assert refused.value.code == "index_out_of_range"


def test_repr_shows_values_shape_and_dtype():
    assert (
        repr(tensorferry.tensor(np.array([1, 2], np.int32)))
        == "tensorferry.Tensor([1, 2], shape=(2,), dtype=int32)"
    )
    big = repr(tensorferry.tensor(np.zeros((1000, 1000))))
    assert "..." in big
    assert "shape=(1000, 1000), dtype=float64" in big
    assert len(big) < 2000
    assert "shape=(), dtype=float16" in repr(tensorferry.tensor(np.float16(1)))
    assert "shape=(0, 3)" in repr(tensorferry.tensor(np.zeros((0, 3))))


def test_length_and_iteration():
    array = counted((3, 4))
    tensor = tensorferry.tensor(array)
    assert len(tensor) == 3
    rows = list(tensor)
    assert all(isinstance(row, tensorferry.Tensor) for row in rows)
    same(np.stack([row.numpy() for row in rows]), array)
    assert list(tensorferry.tensor(np.zeros((0, 4)))) == []
    with pytest.raises(TypeError):
        len(tensorferry.tensor(1))
    with pytest.raises(TypeError):
        iter(tensorferry.tensor(1))


@given(shape=SHAPES)
def test_comparison_is_elementwise_as_in_numpy(shape):
    array = counted(shape)
    other = array + (array % 2).astype("int32")
    tensor = tensorferry.tensor(array)
    for right, numpys in [
        (tensorferry.tensor(other), other),
        (other, other),
        (3, 3),
        (tensor, array),
    ]:
        for compare in ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"):
            same(getattr(tensor, compare)(right), getattr(array, compare)(numpys))
    same(other == tensor, other == array)


def test_a_tensor_has_no_hash_and_no_attributes_to_set():
    tensor = tensorferry.tensor([1, 2])
    with pytest.raises(TypeError, match="unhashable"):
        hash(tensor)
    for name in ("shape", "dtype", "strides", "something"):
        with pytest.raises(AttributeError):
            setattr(tensor, name, (2, 1))
    with pytest.raises(TypeError):
        tensor[0] = 5
    with pytest.raises(TypeError):
        tensorferry.Tensor()


def test_one_value_as_a_python_number():
    tensor = tensorferry.tensor(np.int16(7))
    assert (int(tensor), float(tensor), bool(tensor), range(9)[tensor]) == (7, 7.0, True, 7)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(tensorferry.tensor([1, 2]))


@pytest.mark.parametrize("name", NAMES)
def test_numpy_is_a_read_only_view(name):
    tensor = tensorferry.tensor(
        counted((3,), np_dtype(name)) if name != "bool" else np.array([True, False, True])
    )
    array = tensor.numpy()
    assert array.dtype == np_dtype(name) == tensor.dtype
    assert address(array) == address(tensor.numpy())
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


@numpy_2
def test_array_obeys_dtype_and_copy():
    tensor = tensorferry.tensor(counted((2, 3)))
    where = address(tensor.numpy())
    assert address(np.asarray(tensor)) == where
    assert address(np.array(tensor, copy=False)) == where
    assert address(np.array(tensor)) != where
    assert np.array(tensor).flags.writeable
    assert np.asarray(tensor, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.array(tensor, dtype=np.float64, copy=False)
    same(np.add(tensor, 1), counted((2, 3)) + np.int32(1))


def test_array_accepts_every_calling_convention():
    tensor = tensorferry.tensor(counted((2, 3)))
    where = address(tensor.numpy())
    for array in (
        tensor.__array__(),
        tensor.__array__(copy=False),
        tensor.__array__(np.int32, copy=False),
    ):
        assert address(array) == where
    assert address(tensor.__array__(copy=True)) != where
    for asked in (None, True):
        same(tensor.__array__(np.dtype("int8"), copy=asked), counted((2, 3), "int8"))
    with pytest.raises(ValueError, match="int32 as int8: unable to avoid a copy"):
        tensor.__array__(np.dtype("int8"), copy=False)


def test_array_interface_names_the_memory_as_read_only():
    tensor = tensorferry.tensor(counted((2, 3)))
    interface = tensor.__array_interface__
    assert interface["shape"] == (2, 3)
    assert interface["typestr"] == "<i4"
    assert interface["data"] == (address(tensor.numpy()), True)


BUFFERED = [name for name in NAMES if name != "bfloat16"]


@pytest.mark.parametrize("name", BUFFERED)
def test_the_buffer_protocol_gives_the_array(name):
    array = counted((6,), name) if name != "bool" else np.eye(2, 3, dtype=bool).reshape(-1)
    tensor = tensorferry.tensor(array)
    view = memoryview(tensor)
    assert view.readonly
    assert (view.shape, view.strides, view.nbytes) == (array.shape, array.strides, array.nbytes)
    same(np.frombuffer(tensor, np.dtype(name)), array)
    same(np.asarray(view), array)
    if name.startswith(("int", "uint", "float32", "float64", "bool")):
        assert view.tolist() == array.tolist()
        assert bytes(view) == array.tobytes()
    with pytest.raises((TypeError, NotImplementedError)):
        view[0] = 1


def test_the_buffer_protocol_of_views():
    tensor = tensorferry.tensor(counted((4, 6)))
    for index in [(3,), (slice(None), 2), (0, slice(None, None, -2)), (0, slice(1, 3))]:
        view = memoryview(tensor[index])
        same(np.asarray(view), tensor.numpy()[index])
        assert view.contiguous == tensor.numpy()[index].flags.forc
    # A request for plain bytes gets them contiguous.
    assert (
        hashlib.sha256(tensor[0, ::2]).digest()
        == hashlib.sha256(tensor.numpy()[0, ::2].copy()).digest()
    )
    with pytest.raises((BufferError, TypeError)):
        io.BytesIO(b"x" * 99).readinto(tensor[0])  # asks for writable memory


def test_only_tensors_of_one_dimension_have_a_buffer():
    """torch.asarray takes the buffer of any type that has one, and flattens it."""
    tensor = tensorferry.tensor(counted((4, 6)))
    for index in [(), (slice(None, None, 2),), (0, 0)]:
        with pytest.raises(TypeError):
            memoryview(tensor[index])


def test_a_buffer_outlives_its_tensor():
    view = memoryview(tensorferry.tensor(np.arange(10_000)))
    junk = [tensorferry.tensor(np.zeros(10_000, np.int64)) for _ in range(10)]
    assert view[9_999] == 9_999
    assert junk


def test_bfloat16_has_no_letter_in_the_buffer_protocol():
    with pytest.raises(TypeError):
        memoryview(tensorferry.tensor(np.zeros(3, np_dtype("bfloat16"))))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", [*NAMES, ">i4"])
def test_pickle(name, protocol):
    for shape in [(), (0, 3), (3, 2)]:
        tensor = tensorferry.tensor((counted(shape) % 2).astype(np_dtype(name)))
        again = pickle.loads(pickle.dumps(tensor, protocol))
        assert isinstance(again, tensorferry.Tensor)
        same(again.numpy(), tensor.numpy())
    view = tensorferry.tensor(counted((4, 6)))[::-2, 1::3]
    same(pickle.loads(pickle.dumps(view, protocol)).numpy(), view.numpy())


def test_pickle_out_of_band_moves_no_elements():
    tensor = tensorferry.tensor(np.arange(100_000))
    buffers = []
    recipe = pickle.dumps(tensor, 5, buffer_callback=buffers.append)
    assert len(recipe) < 1000
    assert len(buffers) == 1
    same(pickle.loads(recipe, buffers=buffers).numpy(), np.arange(100_000))
    same(pickle.loads(recipe, buffers=[bytearray(buffers[0])]).numpy(), np.arange(100_000))


def test_copies_are_equal():
    tensor = tensorferry.tensor(counted((2, 3)))
    same(copy.copy(tensor).numpy(), tensor.numpy())
    same(copy.deepcopy(tensor).numpy(), tensor.numpy())


def test_astype_converts_checked():
    tensor = tensorferry.tensor(np.array([1, 300]))
    same(tensor.astype("int16").numpy(), np.array([1, 300], np.int16))
    same(tensor.astype(np.uint8, casting="saturate").numpy(), np.array([1, 255], np.uint8))
    same(tensor.astype(np.uint8, casting="wrap").numpy(), np.array([1, 44], np.uint8))
    with pytest.raises(OverflowError, match=r"\[1\] = 300"):
        tensor.astype("uint8")
    assert address(tensor.astype("int64").numpy()) == address(tensor.numpy())


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        ("nonsense", TypeError),
        pytest.param(object(), TypeError, id="an object"),
        (np.dtype("M8[s]"), (TypeError, ValueError)),
        ("U3", (TypeError, ValueError)),
    ],
    ids=str,
)
def test_dtypes_that_tensors_lack(dtype, kind):
    with pytest.raises(kind) as refused:
        tensorferry.tensor([1, 2], dtype)
    assert isinstance(refused.value, tensorferry.Error)


@pytest.mark.parametrize(
    "value",
    [
        *("abc", None, {}, [None], np.array(["a"]), np.zeros(2, "M8[s]"), [[1], [2, 3]]),
        pytest.param(object(), id="an object"),
    ],
    ids=repr,
)
def test_values_without_numbers(value):
    with pytest.raises((TypeError, ValueError)):
        tensorferry.tensor(value)
