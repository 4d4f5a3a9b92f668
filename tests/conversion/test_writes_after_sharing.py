"""Elements never change after they are returned, whatever is written to their source."""

import array
import contextlib
import ctypes
import gc
import mmap
import time
from multiprocessing import shared_memory

import numpy as np
import pytest
import tensorferry as tfy

N = 16


class Source:
    """A source of a dataset, and an array that writes to its memory."""

    def __init__(self, value, writer):
        self.value, self.writer = value, writer

    def close(self):
        self.value = self.writer = None


def _bytes():
    return bytearray(np.arange(N, dtype=np.int32).tobytes())


def _mapped(tmp_path, access):
    path = tmp_path / "m"
    path.write_bytes(_bytes())
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), 0, access=access)


def writable_array(tmp_path):
    value = np.arange(N, dtype=np.int32)
    return Source(value, value)


def aligned_array(tmp_path):
    value = tfy.empty(N, "int32")
    value[:] = np.arange(N)
    return Source(value, value)


def read_only_view(tmp_path):
    writer = np.arange(N, dtype=np.int32)
    value = writer[:]
    value.flags.writeable = False
    return Source(value, writer)


def view_of_bytes(tmp_path):
    memory = _bytes()
    return Source(np.frombuffer(memory, np.int32), np.frombuffer(memory, np.int32))


def view_of_read_only_memory(tmp_path):
    memory = _bytes()
    return Source(
        np.frombuffer(memoryview(memory).toreadonly(), np.int32), np.frombuffer(memory, np.int32)
    )


def bare_bytearray(tmp_path):
    memory = _bytes()
    return Source(memory, np.frombuffer(memory, np.uint8))


def bare_memoryview(tmp_path):
    memory = _bytes()
    return Source(memoryview(memory).cast("i"), np.frombuffer(memory, np.int32))


def read_only_memoryview(tmp_path):
    memory = _bytes()
    return Source(memoryview(memory).cast("i").toreadonly(), np.frombuffer(memory, np.int32))


def memoryview_of_array(tmp_path):
    writer = np.arange(N, dtype=np.int32)
    return Source(memoryview(writer), writer)


def python_array(tmp_path):
    value = array.array("i", range(N))
    return Source(value, np.frombuffer(value, np.int32))


def ctypes_array(tmp_path):
    value = (ctypes.c_int * N)(*range(N))
    return Source(value, np.frombuffer(value, np.int32))


def array_of_ctypes(tmp_path):
    value = (ctypes.c_int * N)(*range(N))
    return Source(np.ctypeslib.as_array(value), np.frombuffer(value, np.int32))


def bare_mmap(tmp_path):
    value = _mapped(tmp_path, mmap.ACCESS_WRITE)
    return Source(value, np.frombuffer(value, np.uint8))


def copied_mmap(tmp_path):
    value = _mapped(tmp_path, mmap.ACCESS_COPY)
    return Source(value, np.frombuffer(value, np.uint8))


def memmap_write(tmp_path):
    (tmp_path / "m").write_bytes(_bytes())
    value = np.memmap(tmp_path / "m", np.int32, "r+")
    return Source(value, np.memmap(tmp_path / "m", np.int32, "r+"))


def memmap_copy(tmp_path):
    (tmp_path / "m").write_bytes(_bytes())
    value = np.memmap(tmp_path / "m", np.int32, "c")
    return Source(value, value)


def frozen_memmap_copy(tmp_path):
    source = memmap_copy(tmp_path)
    value = source.value[:]
    value.flags.writeable = False
    return Source(value, source.writer)


class Shared(Source):
    def __init__(self, tmp_path):
        self.memory = shared_memory.SharedMemory(create=True, size=4 * N)
        writer = np.frombuffer(self.memory.buf, np.int32)[:N]
        writer[:] = np.arange(N)
        super().__init__(self.memory.buf[: 4 * N].cast("i"), writer)

    def close(self):
        super().close()
        self.memory.unlink()
        for _ in range(100):  # what TensorFlow's threads drop is released a moment later
            gc.collect()
            with contextlib.suppress(BufferError):
                self.memory.close()
                return
            time.sleep(0.01)


def interface(tmp_path):
    class Lender:
        def __init__(self):
            self.memory = np.arange(N, dtype=np.int32)
            self.__array_interface__ = self.memory.__array_interface__

    value = Lender()
    return Source(value, value.memory)


def numpy_protocol(tmp_path):
    class Lender:
        memory = np.arange(N, dtype=np.int32)

        def __array__(self, dtype=None, copy=None):
            return self.memory

    Lender.memory = Lender.memory.copy()
    return Source(Lender(), Lender.memory)


def dlpack_protocol(tmp_path):
    class Lender:
        def __init__(self):
            self.memory = np.arange(N, dtype=np.int32)

        def __dlpack__(self, **options):
            return self.memory.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.memory.__dlpack_device__()

    value = Lender()
    return Source(value, value.memory)


def torch_tensor(tmp_path):
    torch = pytest.importorskip("torch")
    writer = np.arange(N, dtype=np.int32)
    return Source(torch.from_numpy(writer), writer)


def tensorflow_variable(tmp_path):
    tensorflow = pytest.importorskip("tensorflow")
    value = tensorflow.Variable(np.arange(N, dtype=np.int32))

    class Writer:
        def __setitem__(self, where, what):
            value.assign(tensorflow.zeros_like(value))

    return Source(value, Writer())


SOURCES = [
    writable_array,
    aligned_array,
    read_only_view,
    view_of_bytes,
    view_of_read_only_memory,
    bare_bytearray,
    bare_memoryview,
    read_only_memoryview,
    memoryview_of_array,
    python_array,
    ctypes_array,
    array_of_ctypes,
    bare_mmap,
    copied_mmap,
    memmap_write,
    memmap_copy,
    frozen_memmap_copy,
    Shared,
    interface,
    numpy_protocol,
    dlpack_protocol,
    torch_tensor,
    tensorflow_variable,
]


@pytest.fixture(params=SOURCES, ids=lambda make: make.__name__)
def source(request, tmp_path):
    source = request.param(tmp_path)
    yield source
    source.close()


STAGES = {
    "rows": lambda dataset: dataset,
    "batch": lambda dataset: dataset.batch(8),
    "whole_batch": lambda dataset: dataset.batch(64),
    "take": lambda dataset: dataset.skip(1).take(5),
    "window": lambda dataset: dataset.window(4).flat_map(lambda window: window.batch(4)),
    "shuffle": lambda dataset: dataset.shuffle(64, seed=1),
    "cache": lambda dataset: dataset.cache(),
    "cached_batch": lambda dataset: dataset.batch(8).cache(),
    "zip": lambda dataset: tfy.Dataset.zip(dataset, dataset),
    "concatenate": lambda dataset: dataset.concatenate(dataset),
    "repeat": lambda dataset: dataset.repeat(2),
    "shard": lambda dataset: dataset.shard(2, 1),
    "prefetch": lambda dataset: dataset.prefetch(4),
    "unbatch": lambda dataset: dataset.batch(8).unbatch(),
    "map": lambda dataset: dataset.map(lambda row: row),
    "filter": lambda dataset: dataset.filter(lambda row: True),
    "scan": lambda dataset: dataset.scan(np.int64(0), lambda state, row: (state, row)),
    "rebatch": lambda dataset: dataset.batch(4).rebatch(8),
}


def _leaves(element):
    return list(element) if isinstance(element, tuple) else [element]


def _values(elements):
    return [np.asarray(leaf).copy() for element in elements for leaf in _leaves(element)]


def _check(source, dataset):
    handed_out = list(dataset)
    assert handed_out
    before = _values(handed_out)
    source.writer[:] = 0
    for one, other in zip(before, _values(handed_out), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("stage", STAGES)
def test_returned_elements_do_not_change(source, stage):
    _check(source, STAGES[stage](tfy.Dataset.from_tensor_slices(source.value).with_format("numpy")))


@pytest.mark.parametrize("format", ["tensorflow", "torch", "jax", "tensorferry"])
def test_elements_of_every_format_do_not_change(source, format):
    if format != "tensorferry":
        pytest.importorskip(format)
    dataset = tfy.Dataset.from_tensor_slices(source.value)
    _check(source, dataset.with_format(format))
    source.writer[:] = 1
    _check(source, dataset.batch(64).with_format(format))


def test_elements_of_to_tf_data_do_not_change(source):
    pytest.importorskip("tensorflow")
    dataset = tfy.Dataset.from_tensor_slices(source.value)
    _check(source, dataset.to_tf_data())
    source.writer[:] = 1
    _check(source, dataset.batch(64).to_tf_data())


def test_elements_of_other_datasets_of_arrays_do_not_change(source):
    if source.value is not None and not isinstance(source.value, bytearray):
        _check(source, tfy.Dataset.from_tensors(source.value).with_format("numpy"))
        source.writer[:] = 1
    if not isinstance(source.value, mmap.mmap | bytearray):
        windows = tfy.Dataset.token_windows(source.value, 4, dtype="int32").with_format("numpy")
        _check(source, windows)
        source.writer[:] = 1
        _check(source, windows.batch(2))
        source.writer[:] = 1
        _check(source, tfy.Dataset.range(N).lookup(source.value).with_format("numpy"))


def test_results_of_a_function_may_be_written_later(source):
    _check(source, list(tfy.Dataset.range(1).map(lambda _: source.value).with_format("numpy")))
    source.writer[:] = 1

    def generator():
        yield source.value

    signature = tfy.TensorSpec(
        None, "uint8" if isinstance(source.value, bytearray | mmap.mmap) else "int32"
    )
    _check(
        source,
        list(
            tfy.Dataset.from_generator(generator, output_signature=signature).with_format("numpy")
        ),
    )


def test_later_elements_see_what_was_written(source):
    """A dataset over writable memory reads it when it makes an element."""
    if "tensorflow" in type(source.value).__module__:
        pytest.skip("TensorFlow copies its variable")
    rows = tfy.Dataset.from_tensor_slices(source.value).with_format("numpy")
    assert _values(rows)[1] is not None
    source.writer[:] = 0
    assert not any(value.any() for value in _values(rows))


def test_tensors_do_not_change(source):
    tensor = tfy.tensor(source.value)
    before = np.array(tensor)
    source.writer[:] = 0
    np.testing.assert_array_equal(before, np.array(tensor))
