"""empty() and aligned_memory(): recycled memory that can always be shared."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
import tensorferry
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from tensorferry import aligned_memory, empty

from tests.support.arrays import NAMES, NUMPY_2, address, np_dtype, same
from tests.support.processes import run_python


def handler() -> str:
    return (np._core if NUMPY_2 else np.core).multiarray.get_handler_name()


@given(
    shape=npst.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=9),
    name=st.sampled_from(NAMES),
)
def test_empty_is_aligned_contiguous_and_writable(shape, name):
    array = empty(shape, np_dtype(name))
    assert isinstance(array, np.ndarray)
    assert (array.shape, array.dtype) == (shape, np_dtype(name))
    assert array.size == 0 or address(array) % 64 == 0
    assert array.flags.c_contiguous
    assert array.flags.writeable
    array[...] = 1
    assert (array == 1).all()


@pytest.mark.parametrize(
    "size", [1, 63, 64, 4095, 4096, 65_537, 1 << 20, (1 << 21) + 1, 30_000_000]
)
def test_empty_of_every_size_holds_what_is_written(size):
    first, second = empty(size, "uint8"), empty(size, "uint8")
    first[:], second[:] = 1, 2
    assert (first == 1).all()
    assert (second == 2).all()
    assert address(first) % 64 == address(second) % 64 == 0


def test_empty_takes_what_numpy_empty_takes():
    assert empty(3).dtype == np.empty(3).dtype
    assert empty([2, np.int64(3)], np.int8).shape == (2, 3)
    assert empty((), "int8").shape == ()
    for shape in [-1, (2, -1), "ab", 1.5, None]:
        with pytest.raises((TypeError, ValueError, OverflowError)):
            empty(shape)
    with pytest.raises((TypeError, ValueError)):
        empty(3, "M8[s]")
    with pytest.raises((ValueError, MemoryError)):
        empty((2**62, 2**62))
    with pytest.raises(MemoryError):
        empty(2**60, "uint8")


def test_memory_is_recycled_only_when_unused():
    array = empty(1_000_000, "uint8")
    array[:] = 7
    where, row = address(array), array[500_000:]
    del array
    gc.collect()
    others = [empty(1_000_000, "uint8") for _ in range(4)]
    for other in others:
        other[:] = 9
    assert (row == 7).all()
    assert where not in [address(other) for other in others]
    del row, others, other
    gc.collect()
    assert where in [address(again) for again in [empty(1_000_000, "uint8") for _ in range(8)]]


def test_arrays_made_inside_are_aligned_and_outlive_it():
    before = handler()
    with aligned_memory():
        assert handler() == "tensorferry"
        made = [np.arange(size) for size in (1, 3, 100, 10_000, 1_000_000)] + [
            np.zeros((3, 5), "f4"),
            np.ones(7) + 1,
            np.full(9, 2),
        ]
    assert handler() == before
    junk = [np.arange(10_000) for _ in range(20)]
    for array in made:
        assert address(array) % 64 == 0
    same(made[3], np.arange(10_000))
    same(tensorferry.convert_to_tensor(made[4], copy=False).numpy(), np.arange(1_000_000))
    assert address(tensorferry.convert_to_tensor(made[4], copy=False)) == address(made[4])
    del made, array
    gc.collect()
    assert junk


def test_nested_contexts_and_exceptions_restore_the_handler():
    before, context = handler(), aligned_memory()
    with context:
        with context, aligned_memory():
            assert handler() == "tensorferry"
        assert handler() == "tensorferry"
        with pytest.raises(KeyError), aligned_memory():
            raise KeyError
        assert handler() == "tensorferry"
    assert handler() == before


def test_as_a_decorator():
    @aligned_memory()
    def make(depth: int) -> np.ndarray:
        assert handler() == "tensorferry"
        return make(depth - 1) if depth else np.arange(1001)

    before = handler()
    assert all(address(make(depth)) % 64 == 0 for depth in range(4) for _ in range(5))
    assert handler() == before


def test_each_thread_has_its_own():
    inside, done, seen = threading.Event(), threading.Event(), []

    def other() -> None:
        inside.wait(30)
        seen.append(handler())
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    before = handler()
    with aligned_memory():
        inside.set()
        done.wait(30)
    thread.join()
    assert seen == [before]


def test_threads_make_and_free_each_others_arrays():
    made: list[np.ndarray] = []

    def work(value: int) -> None:
        with aligned_memory():
            for size in range(1, 20_000, 97):
                array = np.full(size, value)
                assert (array == value).all()
                made.append(array)
                if len(made) > 50:
                    made.pop(0)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for array in made:
        assert (array == array[0]).all()


def test_resize_inside_and_outside():
    with aligned_memory():
        inside = np.arange(10)
        for size in (5, 1000, 300_000, 20, 0, 64):
            kept = inside[: min(size, inside.size)].copy()
            inside.resize(size, refcheck=False)
            assert size == 0 or address(inside) % 64 == 0
            same(inside[: kept.size], kept)
            assert (inside[kept.size :] == 0).all()
    inside.resize(5000, refcheck=False)  # by the handler that allocated it
    outside = np.arange(10)
    with aligned_memory():
        outside.resize(100_000, refcheck=False)
        same(outside[:10], np.arange(10))


def test_zeros_are_zero_in_recycled_memory():
    with aligned_memory():
        for size in (10, 5000, 400_000):
            np.full(size, 7)
            assert not np.zeros(size).any()


def test_np_load_inside(tmp_path):
    np.save(tmp_path / "array.npy", np.arange(100_000))
    with aligned_memory():
        array = np.load(tmp_path / "array.npy")
    assert address(array) % 64 == 0
    same(array, np.arange(100_000))


def test_too_much_memory_inside_is_a_memory_error():
    with aligned_memory(), pytest.raises(MemoryError):
        np.zeros(2**60, np.uint8)
    with aligned_memory():
        assert np.zeros(0).size == 0
        assert np.empty((0, 5)).shape == (0, 5)


@pytest.mark.slow
def test_sharing_256_mib_allocates_nothing():
    """Compares the resident set before and after in a new process; one copy would add 256 MiB."""
    out = run_python(
        """
        import gc, os, tempfile, numpy as np, tensorflow as tf, tensorferry
        page = os.sysconf("SC_PAGE_SIZE")
        def private():
            fields = [int(field) for field in open("/proc/self/statm").read().split()]
            return (fields[1] - fields[2]) * page  # resident pages without those of mapped files
        MIB = 1 << 20
        tensorferry.convert_to_tensor(tensorferry.empty(100, "int32"), copy=False)
        array = tensorferry.empty((64 * MIB,), "int32")
        array[:] = 1
        base = private()
        tensor = tensorferry.convert_to_tensor(array, copy=False)
        print("shared", (private() - base) // MIB)
        assert int(tensor[-1]) == 1
        kept = [tensorferry.tensor(array, copy=False)[5:] for _ in range(100)]
        print("slices", (private() - base) // MIB)
        path = os.path.join(tempfile.mkdtemp(), "big.npy")
        np.save(path, array)
        base = private()
        mapped = tensorferry.open_npy(path).to_tensorflow()
        print("mapped", (private() - base) // MIB)
        assert int(mapped[-1]) == 1
        os.unlink(path)
        del array, tensor, kept, mapped
        gc.collect()
        """
    )
    growth = {line.split()[0]: int(line.split()[1]) for line in out.splitlines()}
    assert all(value < 16 for value in growth.values()), growth
    assert set(growth) == {"shared", "slices", "mapped"}


@pytest.mark.slow
def test_repeated_conversion_does_not_grow():
    out = run_python(
        """
        import os, numpy as np, tensorferry

        def resident():
            return (
                int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
            )

        def convert():
            tensorferry.tensor(source, "int32")
            tensorferry.tensor(source)
            tensorferry.empty(3_000_000)
            try:
                tensorferry.tensor(source * 2**40, "int32")
            except OverflowError:
                pass

        source = np.ones(2_000_000, np.int64)
        for _ in range(20):
            convert()
        base = resident()
        for _ in range(50):
            convert()
        print(resident() - base)
        """
    )
    assert int(out) < 100  # one leaked tensor per round would be 400 or more
