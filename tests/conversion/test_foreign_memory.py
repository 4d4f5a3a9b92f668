"""Memory of other objects cannot be closed, moved or resized under a tensor or a dataset."""

import array
import contextlib
import gc
import mmap
from multiprocessing import shared_memory

import numpy as np
import pytest
import tensorferry as tfy

N = 64


class Owner:
    """An array over memory of an owner, and a call that releases the memory."""

    def __init__(self, array, take_away):
        self.array, self.take_away = array, take_away

    def close(self):
        pass


def _file(path):
    path.write_bytes(np.arange(N, dtype=np.int32).tobytes())
    return path


def _mapped(path, access):
    with open(_file(path), "r+b") as file:
        return mmap.mmap(file.fileno(), 0, access=access)


def _over(owner):
    """NumPy releases the owner's buffer at once."""
    return np.ndarray((N,), np.int32, buffer=owner)


def _numbers(kind):
    return kind(np.arange(N, dtype=np.int32).tobytes())


class Interfaced:
    """Describes memory and keeps only its owner alive."""

    def __init__(self, owner):
        self.__array_interface__ = {"shape": (N,), "typestr": "<i4", "version": 3, "data": owner}


def npy_memmap(tmp_path, mode="r"):
    np.save(tmp_path / "a.npy", np.arange(N, dtype=np.int32))
    mapped = np.load(tmp_path / "a.npy", mmap_mode=mode)
    return Owner(mapped, mapped._mmap.close)


def memmap_view(tmp_path):
    owner = npy_memmap(tmp_path)
    owner.array = np.asarray(owner.array)[::1].view(np.int32)
    return owner


def mmap_read(tmp_path):
    mapped = _mapped(tmp_path / "m", mmap.ACCESS_READ)
    return Owner(_over(mapped), mapped.close)


def mmap_write(tmp_path):
    mapped = _mapped(tmp_path / "m", mmap.ACCESS_WRITE)
    return Owner(_over(mapped), mapped.close)


def mmap_resize(tmp_path):
    mapped = _mapped(tmp_path / "m", mmap.ACCESS_WRITE)
    return Owner(_over(mapped), lambda: mapped.resize(16 * N))


def mmap_copy(tmp_path):
    mapped = _mapped(tmp_path / "m", mmap.ACCESS_COPY)
    return Owner(_over(mapped), mapped.close)


def memmap_write(tmp_path):
    return npy_memmap(tmp_path, "r+")


def bytearray_resize(tmp_path):
    owner = _numbers(bytearray)
    return Owner(_over(owner), lambda: owner.extend(bytes(1 << 20)))


def bytearray_clear(tmp_path):
    owner = _numbers(bytearray)
    return Owner(_over(owner), owner.clear)


def array_append(tmp_path):
    owner = array.array("i", range(N))
    return Owner(_over(owner), lambda: owner.extend(range(1 << 18)))


def memory_view(tmp_path):
    view = memoryview(_numbers(bytearray)).toreadonly()
    return Owner(np.frombuffer(view, np.int32), view.obj.clear)


def interface(tmp_path):
    owner = _numbers(bytearray)
    return Owner(np.asarray(Interfaced(owner)), owner.clear)


class Shared(Owner):
    def __init__(self, tmp_path):
        self.memory = memory = shared_memory.SharedMemory(create=True, size=4 * N)
        array = _over(memory.buf)
        array[:] = np.arange(N)
        super().__init__(array, memory.close)

    def close(self):
        self.array = self.take_away = None
        self.memory.close()
        self.memory.unlink()


READ_ONLY = [npy_memmap, memmap_view, mmap_read]
WRITABLE = [
    mmap_write,
    mmap_resize,
    mmap_copy,
    memmap_write,
    bytearray_resize,
    bytearray_clear,
    array_append,
    memory_view,
    interface,
    Shared,
]


@pytest.fixture
def owner(request, tmp_path):
    owner = request.param(tmp_path)
    yield owner
    owner.close()


def _check(owner, hold, read):
    holder, owner.array = hold(owner.array), None
    take_away = owner.take_away
    with pytest.raises(BufferError):
        take_away()
    np.testing.assert_array_equal(read(holder), np.arange(N))
    del holder, read
    with contextlib.suppress(SystemError):  # if a mapping cannot be resized
        take_away()


@pytest.mark.parametrize("owner", READ_ONLY, indirect=True)
def test_a_shared_tensor_holds_the_owner(owner):
    _check(owner, tfy.tensor, np.asarray)


@pytest.mark.parametrize("owner", READ_ONLY + WRITABLE, indirect=True)
def test_copy_false_holds_the_owner(owner):
    _check(owner, lambda array: tfy.tensor(array, copy=False), np.asarray)


@pytest.mark.parametrize("owner", [npy_memmap, mmap_read, mmap_write], indirect=True)
def test_a_tensor_of_a_framework_holds_the_owner(owner):
    pytest.importorskip("tensorflow")
    _check(owner, lambda array: tfy.convert_to_tensor(array, copy=False), np.asarray)


@pytest.mark.parametrize("owner", READ_ONLY, indirect=True)
def test_a_slice_of_a_tensor_and_an_array_over_it_hold_the_owner(owner):
    _check(
        owner,
        lambda array: [tfy.tensor(array)[:30], np.asarray(tfy.tensor(array))[30:]],
        np.concatenate,
    )


def _rows(dataset):
    return list(dataset.as_numpy_iterator())


DATASETS = {
    "from_tensor_slices": (tfy.Dataset.from_tensor_slices, _rows),
    "from_tensors": (tfy.Dataset.from_tensors, lambda dataset: _rows(dataset)[0]),
    "token_windows": (
        lambda array: tfy.Dataset.token_windows(array, N, shift=0, dtype="int32"),
        lambda dataset: _rows(dataset)[0][0],
    ),
    "batch": (
        lambda array: tfy.Dataset.from_tensor_slices(array).batch(16),
        lambda dataset: np.concatenate(_rows(dataset)),
    ),
    "iterator": (lambda array: tfy.Dataset.from_tensor_slices(array).as_numpy_iterator(), list),
}


@pytest.mark.parametrize("owner", READ_ONLY + WRITABLE, indirect=True)
@pytest.mark.parametrize("kind", DATASETS)
def test_a_dataset_holds_the_owner(owner, kind):
    dataset, read = DATASETS[kind]
    _check(owner, dataset, read)


@pytest.mark.parametrize("owner", READ_ONLY, indirect=True)
def test_a_table_holds_the_owner(owner):
    _check(owner, lambda array: tfy.Dataset.range(N).lookup(array), _rows)


@pytest.mark.parametrize("owner", READ_ONLY, indirect=True)
def test_a_batch_holds_the_owner(owner):
    def batch(array):
        return next(tfy.Dataset.from_tensor_slices(array).batch(N).as_numpy_iterator())

    _check(owner, batch, np.asarray)


@pytest.mark.parametrize("owner", READ_ONLY, indirect=True)
def test_to_tf_data_holds_the_owner(owner):
    pytest.importorskip("tensorflow")
    dataset = tfy.Dataset.from_tensor_slices(owner.array).to_tf_data()
    take_away, owner.array = owner.take_away, None
    with pytest.raises(BufferError):
        take_away()
    assert [int(row) for row in dataset] == list(range(N))


@pytest.mark.parametrize(
    "owner", [bytearray(256), array.array("i", range(64)), memoryview(bytearray(256))]
)
def test_a_buffer_is_held_like_an_array_over_it(owner):
    source = owner.obj if isinstance(owner, memoryview) else owner
    tensor = tfy.tensor(owner, copy=False)
    dataset = tfy.Dataset.from_tensor_slices(owner)
    for held in (tensor, dataset):
        with pytest.raises(BufferError):
            source.extend(source[:1])
        del held
    del tensor, dataset
    if isinstance(owner, memoryview):
        owner.release()
    source.extend(source[:1])


def test_the_memory_lives_as_long_as_the_object_that_describes_it():
    died = []

    class Lender:
        def __init__(self):
            self.memory = np.arange(N, dtype=np.int32)
            self.__array_interface__ = self.memory.__array_interface__

        def __del__(self):
            died.append(True)

    tensor = tfy.tensor(Lender(), copy=False)
    gc.collect()
    assert not died
    assert np.asarray(tensor).tolist() == list(range(N))
    del tensor
    gc.collect()
    assert died
