"""DLPack in both directions, and objects with false descriptions."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
import tensorferry
from tensorferry import errors

from tests.support.arrays import NAMES, address, np_dtype, numpy_2, same
from tests.support.processes import run_python


def capsule_name(capsule) -> str:
    function = ctypes.pythonapi.PyCapsule_GetName
    function.restype, function.argtypes = ctypes.c_char_p, [ctypes.py_object]
    return function(capsule).decode()


def capsule_pointer(capsule) -> int:
    function = ctypes.pythonapi.PyCapsule_GetPointer
    function.restype, function.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return function(capsule, capsule_name(capsule).encode())


def new_capsule(pointer: int, name: bytes):
    function = ctypes.pythonapi.PyCapsule_New
    function.restype, function.argtypes = (
        ctypes.py_object,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
    )
    return function(pointer, name, None)


class DLTensor(ctypes.Structure):
    """dlpack.h 1.0."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class Managed(ctypes.Structure):
    _fields_ = (("tensor", DLTensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


class Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", DLTensor),
    )


class Producer:
    """An object with nothing but DLPack, which returns one capsule."""

    def __init__(self, capsule, device=(1, 0)):
        self.capsule, self.device = capsule, device

    def __dlpack__(self, **options):
        return self.capsule

    def __dlpack_device__(self):
        return self.device


def described(versioned=False, **changes):
    """A capsule over an int32 array of shape (2, 3), with some fields changed, and its owner."""
    values = np.arange(6, dtype=np.int32)
    shape, strides = (ctypes.c_int64 * 2)(2, 3), (ctypes.c_int64 * 2)(3, 1)
    tensor = DLTensor(values.ctypes.data, 1, 0, 2, 0, 32, 1, shape, strides, 0)
    managed = Versioned(1, 0, None, None, 0, tensor) if versioned else Managed(tensor, None, None)
    for name, value in changes.items():
        setattr(managed if name in ("major", "minor", "flags") else managed.tensor, name, value)
    name = b"dltensor_versioned" if versioned else b"dltensor"
    return new_capsule(ctypes.addressof(managed), name), (values, shape, strides, managed)


def test_a_versioned_capsule_shares_and_is_flagged_read_only():
    tensor = tensorferry.tensor(np.arange(6).reshape(2, 3))
    capsule = tensor.__dlpack__(max_version=(1, 0))
    assert capsule_name(capsule) == "dltensor_versioned"
    managed = Versioned.from_address(capsule_pointer(capsule))
    assert managed.major == 1
    assert managed.flags & 1 == 1  # DLPACK_FLAG_BITMASK_READ_ONLY
    assert managed.tensor.data + managed.tensor.byte_offset == address(tensor.numpy())
    assert managed.tensor.shape[:2] == [2, 3]


def test_a_legacy_capsule_holds_a_copy_by_default():
    tensor = tensorferry.tensor(np.arange(6).reshape(2, 3))
    for options, shared in [
        ({}, False),
        ({"max_version": (0, 8)}, False),
        ({"copy": True}, False),
        ({"copy": False}, True),
    ]:
        capsule = tensor.__dlpack__(**options)
        assert capsule_name(capsule) == "dltensor"
        managed = Managed.from_address(capsule_pointer(capsule))
        assert (
            managed.tensor.data + managed.tensor.byte_offset == address(tensor.numpy())
        ) is shared


def test_a_copied_versioned_capsule_is_flagged_and_writable():
    tensor = tensorferry.tensor(np.arange(6))
    managed = Versioned.from_address(
        capsule_pointer(capsule := tensor.__dlpack__(max_version=(1, 0), copy=True))
    )
    assert managed.flags & 3 == 2  # DLPACK_FLAG_BITMASK_IS_COPIED
    assert managed.tensor.data != address(tensor.numpy())
    assert capsule


def test_the_device_is_main_memory():
    tensor = tensorferry.tensor([1])
    assert tensor.__dlpack_device__() == (1, 0)
    assert tensor.__dlpack__(dl_device=(1, 0))
    for options in ({"dl_device": (2, 0)}, {"stream": 1}):
        with pytest.raises(BufferError):
            tensor.__dlpack__(**options)


def test_dropped_capsules_free_their_tensor():
    tensor = tensorferry.tensor(np.arange(100_000))
    for _ in range(200):
        tensor.__dlpack__()
        tensor.__dlpack__(max_version=(1, 0), copy=True)
        tensor.__dlpack__(max_version=(1, 0))


@numpy_2
@pytest.mark.parametrize("name", NAMES)
def test_numpy_imports_tensors(name):
    tensor = tensorferry.tensor((np.arange(6) % 2).astype(np_dtype(name)).reshape(2, 3))
    if name == "bfloat16":
        pytest.skip("numpy.from_dlpack knows no bfloat16")
    taken = np.from_dlpack(tensor)
    assert address(taken) == address(tensor.numpy())
    assert not taken.flags.writeable
    same(taken, tensor.numpy())
    same(np.from_dlpack(tensor[:, ::-2]), tensor.numpy()[:, ::-2])
    assert np.from_dlpack(tensor, copy=True).flags.writeable


@pytest.mark.parametrize("name", NAMES)
def test_tensorflow_imports_tensors(tf, name):
    tensor = tensorferry.tensor((np.arange(6) % 2).astype(np_dtype(name)).reshape(2, 3))
    taken = tf.experimental.dlpack.from_dlpack(tensor.__dlpack__())
    same(taken.numpy(), tensor.numpy())


def test_jax_imports_tensors(jax):
    tensor = tensorferry.tensor(np.arange(6, dtype=np.float32).reshape(2, 3))
    same(jax.dlpack.from_dlpack(tensor), tensor.numpy())


@pytest.mark.torch
def test_torch_imports_tensors_and_may_write(torch):
    tensor = tensorferry.tensor(np.arange(6))
    taken = torch.utils.dlpack.from_dlpack(tensor.__dlpack__())
    taken += 1
    same(tensor.numpy(), np.arange(6))
    same(taken.numpy(), np.arange(1, 7))


@pytest.mark.torch
def test_torch_tensors_are_imported(torch):
    for value in (
        torch.arange(6).reshape(2, 3),
        torch.arange(6).reshape(2, 3).T,
        torch.zeros(0, 3),
        torch.tensor(1.5),
    ):
        same(tensorferry.tensor(value).numpy(), value.numpy())
    halves = torch.arange(6, dtype=torch.bfloat16)
    same(tensorferry.tensor(halves).numpy(), np.arange(6).astype(np_dtype("bfloat16")))
    writable = torch.arange(6)
    tensor = tensorferry.tensor(writable)
    writable += 1
    same(tensor.numpy(), np.arange(6))


def test_jax_and_tensorflow_tensors_are_imported(jax, tf):
    array = jax.numpy.arange(6, dtype="int16").reshape(2, 3)
    same(tensorferry.tensor(array).numpy(), np.asarray(array))
    same(tensorferry.convert_to_tensor(array).numpy(), np.asarray(array))
    same(tensorferry.tensor(tf.constant([1, 2])).numpy(), np.array([1, 2], np.int32))


class OnlyDlpack:
    def __init__(self, array, versioned):
        self.array, self.versioned, self.asked = array, versioned, []

    def __dlpack__(self, **options):
        self.asked.append(options)
        if not self.versioned and options:
            raise TypeError("unexpected keyword argument")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return (1, 0)


@pytest.mark.parametrize("versioned", [False, True])
def test_an_object_with_only_dlpack_old_or_new(versioned):
    for array in (
        np.arange(6).reshape(2, 3),
        np.arange(12.0).reshape(3, 4)[::-1, ::2],
        np.zeros((0, 3)),
        np.array(5),
    ):
        producer = OnlyDlpack(array, versioned)
        same(tensorferry.tensor(producer).numpy(), array)
        same(tensorferry.convert_to_tensor(OnlyDlpack(array, versioned)).numpy(), array)
        assert producer.asked[0]["max_version"] >= (1, 0)


def test_later_writes_of_a_producer_are_not_visible():
    array = np.arange(6)
    for versioned in (False, True):
        tensor = tensorferry.tensor(OnlyDlpack(array, versioned))
        array += 1
        assert not np.array_equal(tensor.numpy(), array)


def test_a_capsule_used_twice():
    producer = Producer(np.arange(6).__dlpack__())
    same(tensorferry.tensor(producer).numpy(), np.arange(6))
    with pytest.raises(errors.NotShareableError, match="taken") as refused:
        tensorferry.tensor(producer)
    assert refused.value.code == "dlpack"
    own = Producer(tensorferry.tensor([1, 2]).__dlpack__(max_version=(1, 0)))
    same(tensorferry.tensor(own).numpy(), np.array([1, 2]))
    with pytest.raises(BufferError):
        tensorferry.tensor(own)


@pytest.mark.parametrize("versioned", [False, True])
def test_a_true_description_is_accepted(versioned):
    capsule, alive = described(versioned)
    same(tensorferry.tensor(Producer(capsule)).numpy(), np.arange(6, dtype=np.int32).reshape(2, 3))
    capsule, alive = described(versioned, byte_offset=4, strides=None, ndim=1)
    same(tensorferry.tensor(Producer(capsule)).numpy(), np.arange(1, 3, dtype=np.int32))
    assert alive


FAKES = {
    "negative ndim": {"ndim": -1},
    "65 dimensions": {"ndim": 65},
    "2 lanes": {"lanes": 2},
    "0 lanes": {"lanes": 0},
    "7 bits": {"bits": 7},
    "128-bit integers": {"bits": 128},
    "opaque handles": {"code": 3, "bits": 64},
    "code 200": {"code": 200},
    "null data": {"data": None},
    "null shape": {"shape": None},
    "GPU memory": {"device_type": 2},
}


@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize("which", FAKES)
def test_a_false_description_is_refused(which, versioned):
    capsule, alive = described(versioned, **FAKES[which])
    with pytest.raises((BufferError, ValueError, TypeError)) as refused:
        tensorferry.tensor(Producer(capsule))
    assert isinstance(refused.value, tensorferry.Error)
    assert alive


@pytest.mark.parametrize("dims", [(-1, 3), (2**62, 2**62), (2**63 - 1, 1), (-(2**63), 2)])
def test_a_false_shape_is_refused(dims):
    for strides in (None, (ctypes.c_int64 * 2)(2**62, 2**62)):
        shape = (ctypes.c_int64 * 2)(*dims)
        capsule, alive = described(shape=shape, strides=strides)
        with pytest.raises((BufferError, ValueError, MemoryError)):
            tensorferry.tensor(Producer(capsule))
        assert alive


def test_a_version_from_the_future_is_refused():
    capsule, alive = described(versioned=True, major=2)
    with pytest.raises(BufferError, match="version"):
        tensorferry.tensor(Producer(capsule))
    assert alive


@pytest.mark.parametrize(
    "what", [None, 5, "capsule", pytest.param(object(), id="an object")], ids=repr
)
def test_a_producer_must_return_a_capsule(what):
    with pytest.raises(errors.Error):
        tensorferry.tensor(Producer(what))


def test_a_capsule_of_another_name():
    managed = Managed()
    with pytest.raises(errors.NotShareableError):
        tensorferry.tensor(Producer(new_capsule(ctypes.addressof(managed), b"something")))


@pytest.mark.parametrize("device", [(2, 0), (13, 0), "cpu", None, (1,), (2**70, 0)], ids=repr)
def test_a_producer_on_another_device_or_with_a_bad_device(device):
    with pytest.raises((BufferError, TypeError, ValueError, OverflowError)):
        tensorferry.tensor(Producer(np.arange(3).__dlpack__(), device))


def test_an_error_of_the_producer_passes_through():
    class Broken(Producer):
        def __dlpack__(self, **options):
            raise RuntimeError("no tensor today")

    with pytest.raises(RuntimeError, match="no tensor today"):
        tensorferry.tensor(Broken(None))


LYING = {
    "shape larger than its buffer": {"shape": (10**9,), "data": bytes(8)},
    "strides outside its buffer": {"strides": (-8,)},
    "stride of 2**62": {"strides": (2**62,)},
    "negative shape": {"shape": (-1,)},
    "overflowing shape": {"shape": (2**62, 2**62)},
    "no typestr": {"typestr": None},
    "object typestr": {"typestr": "|O"},
    "offset beyond its buffer": {"offset": 10**6},
    "data that is a string": {"data": "text"},
    "no dictionary": None,
}


LIARS = """
import sys, tensorferry

convert = getattr(tensorferry, sys.argv[1])
for name, changes in eval(sys.argv[2]).items():

    class Liar:
        __array_interface__ = (
            {"shape": (3,), "typestr": "<i8", "data": bytes(24), "version": 3, **changes}
            if changes
            else 7
        )

    try:
        print(name, convert(Liar()))
    except (TypeError, ValueError, MemoryError, BufferError) as error:
        print("refused:", type(error).__name__)
"""


@pytest.mark.parametrize("which", LYING)
def test_a_false_array_interface_is_an_exception(which):
    """Detectable where the interface is over a buffer of known size. Runs in a new process."""
    assert run_python(LIARS, "tensor", repr({which: LYING[which]})).startswith("refused:")


def test_a_false_array_interface_never_reaches_tensorflow():
    assert run_python(LIARS, "convert_to_tensor", repr(LYING)).count("refused:") == len(LYING)
