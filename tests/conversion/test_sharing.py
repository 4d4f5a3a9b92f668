"""Sharing and copying of memory, by address, by lifetime and by writes to the source."""

from __future__ import annotations

import gc
import itertools
import weakref

import numpy as np
import pytest
import tensorferry
from hypothesis import given
from hypothesis import strategies as st

from tests.support.arrays import NAMES, address, at_offset, freeze, np_dtype, same
from tests.support.processes import run_python

FUNCTIONS = [lambda value, **options: tensorferry.tensor(value, **options).numpy()]
FUNCTIONS += [lambda value, **options: np.asarray(tensorferry.convert_to_tensor(value, **options))]
functions = pytest.mark.parametrize("function", FUNCTIONS, ids=["tensor", "convert_to_tensor"])


class Owner(np.ndarray):
    """An array that weak references can watch."""


def owned(values) -> np.ndarray:
    return at_offset(values, 0).view(Owner)


@functions
def test_a_writable_array_is_copied(function):
    array = at_offset(np.arange(100), 0)
    taken = function(array)
    assert address(taken) != address(array)
    array[:] = -1
    same(taken, np.arange(100))


@functions
def test_a_frozen_array_is_shared(function):
    array = freeze(at_offset(np.arange(100), 0))
    assert address(function(array)) == address(array)


@functions
def test_a_read_only_view_of_a_writable_array_is_copied(function):
    array = at_offset(np.arange(100), 0)
    view = array[:]
    view.flags.writeable = False
    taken = function(view)
    assert address(taken) != address(array)
    array[:] = -1
    same(taken, np.arange(100))


@functions
def test_a_read_only_view_three_views_deep_is_judged_by_its_owner(function):
    array = tensorferry.empty((64,), "int64")
    array[:] = 5
    view = array[:][:].reshape(8, 8)
    view.flags.writeable = False
    taken = function(view)
    array[:] = -1
    same(taken, np.full((8, 8), 5))


@functions
def test_a_read_only_view_of_foreign_writable_memory_is_copied(function):
    memory = bytearray(np.arange(100).tobytes())
    view = np.frombuffer(memory, np.int64)
    view.flags.writeable = False
    taken = function(view)
    memory[:8] = b"\xff" * 8
    same(taken, np.arange(100))


def test_an_array_over_bytes_is_shared():
    array = np.frombuffer(np.arange(100).tobytes(), np.int64)
    assert address(tensorferry.tensor(array).numpy()) == address(array)


def test_a_read_only_memory_map_is_shared_and_a_writable_one_is_not(tmp_path):
    path = tmp_path / "array.npy"
    np.save(path, np.arange(1000))
    read_only = np.load(path, mmap_mode="r")
    assert address(read_only) % 64 == 0
    for function in FUNCTIONS:
        assert address(function(read_only)) == address(read_only)
    writable = np.load(path, mmap_mode="r+")
    for function in FUNCTIONS:
        assert address(function(writable)) != address(writable)
    private = np.load(path, mmap_mode="c")
    assert address(tensorferry.tensor(private).numpy()) != address(private)


@functions
def test_tensors_of_tensorferry_are_shared(function):
    tensor = tensorferry.tensor(np.arange(100))
    assert address(function(tensor)) == address(tensor.numpy())
    assert address(function(tensor, copy=True)) != address(tensor.numpy())


@functions
def test_copy_false_shares_a_writable_aligned_array(function):
    array = tensorferry.empty((100,), "int64")
    assert address(function(array, copy=False)) == address(array)


@functions
def test_copy_true_copies_shareable_memory(function):
    array = freeze(at_offset(np.arange(100), 0))
    taken = function(array, copy=True)
    assert address(taken) != address(array)
    same(taken, np.arange(100))


OBSTACLES = {
    "dtype": (
        lambda: tensorferry.convert_to_tensor(at_offset(np.arange(9), 0), "int32", copy=False),
        "dtype",
    ),
    "alignment": (
        lambda: tensorferry.convert_to_tensor(at_offset(np.arange(9), 8), copy=False),
        "aligned",
    ),
    "strides": (
        lambda: tensorferry.convert_to_tensor(at_offset(np.arange(9), 0)[::2], copy=False),
        "contiguous",
    ),
    "byte order": (
        lambda: tensorferry.convert_to_tensor(at_offset(np.arange(9).astype(">i8"), 0), copy=False),
        "byte order",
    ),
    "odd bool": (
        lambda: tensorferry.convert_to_tensor(
            at_offset(np.full(9, 7, np.uint8), 0).view(bool), copy=False
        ),
        "bool",
    ),
    "numbers": (lambda: tensorferry.convert_to_tensor([1, 2], copy=False), "array"),
    "dtype of a tensor": (lambda: tensorferry.tensor(np.arange(9), "int32", copy=False), "dtype"),
}


@pytest.mark.parametrize("which", OBSTACLES)
def test_copy_false_raises_with_the_reason(which):
    attempt, why = OBSTACLES[which]
    with pytest.raises(BufferError, match=why) as refused:
        attempt()
    assert refused.value.code == "not_shareable"
    assert "copy" in str(refused.value)


@functions
def test_a_shared_tensor_outlives_its_array_and_then_releases_it(function):
    array = owned(np.arange(1000))
    watch = weakref.ref(array)
    taken = function(array, copy=False)
    where = address(array)
    del array
    gc.collect()
    assert watch() is not None
    assert address(taken) == where
    same(taken, np.arange(1000))
    del taken
    gc.collect()
    tensorferry.tensor([1])  # a deferred drop happens at the next call at the latest
    gc.collect()
    assert watch() is None


def test_a_copied_array_is_released_at_once():
    array = owned(np.arange(1000))
    watch = weakref.ref(array)
    tensor, other = tensorferry.tensor(array), tensorferry.convert_to_tensor(array)
    del array
    gc.collect()
    assert watch() is None
    assert tensor.numpy()[-1] == other.numpy()[-1] == 999


def test_a_slice_of_a_tensor_keeps_the_memory():
    tensor = tensorferry.tensor(np.arange(1000).reshape(10, 100))
    row, where = tensor[3], address(tensor.numpy())
    array = row.numpy()
    del tensor, row
    gc.collect()
    junk = [tensorferry.tensor(np.zeros(1000, np.int64)) for _ in range(50)]
    same(array, np.arange(300, 400))
    assert address(array) == where + 300 * 8
    assert junk


@pytest.mark.parametrize("name", NAMES)
def test_memory_of_tensorflow_tensors_is_always_aligned(name):
    for offset in (0, 1, 2, 4, 8, 16, 32, 48):
        array = freeze(at_offset((np.arange(100) % 2).astype(np_dtype(name)), offset))
        taken = np.asarray(tensorferry.convert_to_tensor(array))
        assert address(taken) % 64 == 0
        same(taken, array)


def test_rows_of_a_tensor_reach_tensorflow_aligned():
    tensor = tensorferry.tensor(np.arange(700, dtype=np.int32).reshape(100, 7))
    for row in range(100):
        taken = np.asarray(tensor[row].to_tensorflow())
        assert address(taken) % 64 == 0
        same(taken, np.arange(7 * row, 7 * row + 7, dtype=np.int32))


def test_tensorflow_ops_survive_every_offset():
    """Runs in a new process, because misaligned memory would abort it."""
    out = run_python(
        """
        import numpy as np, tensorflow as tf, tensorferry

        memory = np.zeros(1 << 14, np.uint8)
        base = -memory.ctypes.data % 64
        for offset in list(range(0, 64, 4)) + [1, 2, 3, 5, 9, 33]:
            array = memory[base + offset : base + offset + 8 * 800].view(
                np.float64 if offset % 8 == 0 else np.float32
            )
            array[:] = np.arange(array.size)
            memory.flags.writeable = array.flags.writeable = False
            expected = array.copy()
            for value in (
                array,
                array[1:],
                array[7:],
                tensorferry.tensor(array)[3:],
                tensorferry.tensor(array, copy=False)[5:],
            ):
                x = tensorferry.convert_to_tensor(value)
                y = np.array(value)
                assert np.array_equal((x + x).numpy(), y + y)
                assert tf.reduce_sum(x).numpy() == y.sum()
                assert np.array_equal(tf.gather(x, [5, 1, 70]).numpy(), y[[5, 1, 70]])
                assert np.array_equal(tf.concat([x, x], 0).numpy(), np.concatenate([y, y]))
                assert np.array_equal(tf.where(x > 9, x, -x).numpy(), np.where(y > 9, y, -y))
                assert np.array_equal(tf.cast(x, tf.int32).numpy(), y.astype(np.int32))
                assert np.array_equal(x[3:50:2].numpy(), y[3:50:2])
                assert np.array_equal(tf.nn.relu(x).numpy(), y)
                tf.linalg.matvec(tf.reshape(x[:4], (2, 2)), x[:2])
                assert np.array_equal(np.array(value), y)
            assert np.array_equal(array, expected)
            memory = memory.copy()
            base = -memory.ctypes.data % 64
        print("whole")
        """
    )
    assert out.strip().endswith("whole")


def test_variables_do_not_write_into_shared_memory(tf):
    array = tensorferry.empty((256,), "float32")
    array[:] = 1
    shared = tensorferry.convert_to_tensor(array, copy=False)
    variable = tf.Variable(shared)
    variable.assign_add(tf.ones(256))
    variable.assign(shared * 3)
    tf.function(lambda x: x + 1)(shared)
    tf.raw_ops.AddV2(x=shared, y=shared)
    assert (array == 1).all()


@pytest.mark.parametrize("target", [None, "bool", "uint8", "int32", "float32"])
def test_bools_with_other_bytes_become_zero_or_one(target):
    for size in (1, 7, 64, 1000, 100_000):
        array = at_offset((np.arange(size) % 256).astype(np.uint8), 0).view(bool)
        truth = (np.arange(size) % 256) != 0
        for copy in (None, True):
            taken = tensorferry.convert_to_tensor(array, target, copy=copy).numpy()
            assert (
                set(taken.view(np.uint8).reshape(-1)[:: taken.itemsize].tolist()) <= {0, 1}
                or target == "float32"
            )
            same(taken, truth.astype(target or bool))
        frozen = freeze(at_offset((np.arange(size) % 256).astype(np.uint8), 0))
        taken = tensorferry.convert_to_tensor(frozen.view(bool)).numpy()
        same(taken.view(np.uint8), truth.astype(np.uint8))


@given(
    order=st.permutations(range(6)),
    copies=st.lists(st.sampled_from([None, True, False]), min_size=6, max_size=6),
)
def test_any_order_of_dropping_is_safe(order, copies):
    tensors = []
    for at, copy in enumerate(copies):
        array = tensorferry.empty((2000,), "int64")
        array[:] = at
        tensors.append(tensorferry.tensor(array, copy=copy))
        tensors.append(tensors[-1][at:])
        tensors.append(tensorferry.convert_to_tensor(array, copy=copy))
        del array
    for at, part in itertools.product(order, range(3)):
        kept = tensors[3 * at + part]
        assert set(np.asarray(kept.numpy()).tolist()) == {at}
        tensors[3 * at + part] = None
