"""Bounded memory: opened files are read by the batch, and stages hold no more than their limit."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import tensorferry as tfy

from tests.support.processes import LIMITED, run_python

SCALAR = tfy.TensorSpec((), "int64")


@pytest.mark.parametrize("mode", ["read", "direct"])
def test_files_larger_than_memory_are_read_by_the_batch(tmp_path, mode):
    """A file of 4 GiB, most of which is a hole."""
    path = tmp_path / "tokens.npy"
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=(2 << 30,))
    rows[:4096], rows[-4096:] = np.arange(4096), np.arange(4096)
    rows.flush()
    del rows
    code = """
    path, mode = sys.argv[1:]
    tokens = tfy.open(path, mode=mode)
    limit("data", 96 * MIB)
    windows = tfy.Dataset.token_windows(tokens, 512).with_format("numpy")
    x, y = next(iter(windows.batch(4)))
    assert (x.ravel() == np.arange(2048)).all() and (y.ravel() == np.arange(1, 2049)).all()
    assert next(iter(windows.skip(len(windows) - 1)))[0][-1] == 4095 - 512
    assert len(windows) == (tokens.shape[0] - 1) // 512
    looked = tfy.Dataset.from_tensor_slices([3, 2**31 - 1, 5]).with_format("numpy").lookup(tokens)
    assert [int(x) for x in looked] == [3, 4095, 5]
    assert [int(x) for x in looked.batch(3).take(1).unbatch()] == [3, 4095, 5]
    state = iter(looked).state_dict()
    iter(looked).load_state_dict(state)
    try:
        next(iter(tfy.Dataset.from_tensors(tokens).with_format("numpy")))
    except MemoryError:
        print("caught")
    part = tfy.Dataset.from_tensors(
        {"a": tokens.part(0, 10) if hasattr(tokens, "part") else tokens}
    ).with_format("numpy")
    """
    assert run_python(LIMITED + code, str(path), mode).split() == ["caught"]


def opened(tmp_path, tokens, mode, kind):
    """The tokens in a file, or in two."""
    if kind == "shards":
        np.save(tmp_path / "a.npy", tokens[:37])
        np.save(tmp_path / "b.npy", tokens[37:])
        return tfy.open(tmp_path / "?.npy", mode=mode)
    if kind == "npz":
        np.savez(tmp_path / "x.npz", tokens=tokens)
        return tfy.open(tmp_path / "x.npz", mode=mode)["tokens"]
    if kind == "deflated":
        np.savez_compressed(tmp_path / "x.npz", tokens=tokens)
        return tfy.open(tmp_path / "x.npz", mode=mode)["tokens"]
    if kind == "raw":
        tokens.tofile(tmp_path / "x.raw")
        return tfy.open_raw(tmp_path / "x.raw", tokens.dtype, mode=mode)
    np.save(
        tmp_path / "x.npy",
        tokens.astype(tokens.dtype.newbyteorder(">")) if kind == "big-endian" else tokens,
    )
    made = tfy.open(tmp_path / "x.npy", mode=mode)
    return made.astype("int32") if kind == "cast" else made


@pytest.mark.parametrize("mode", ["map", "read", "direct"])
@pytest.mark.parametrize("kind", ["npy", "big-endian", "shards", "npz", "deflated", "raw", "cast"])
def test_windows_tables_and_tensors_of_files_equal_those_of_arrays(tmp_path, mode, kind):
    tokens = np.random.default_rng(1).integers(0, 60_000, 500).astype(np.uint16)
    file = opened(tmp_path, tokens, mode, kind)
    same = np.array(tokens, np.int32) if kind == "cast" else tokens
    for length, stride, shift in [
        (8, None, 1),
        (8, 1, 1),
        (5, 3, 0),
        (4, 9, 20),
        (100, 7, 300),
        (1, 1, 1),
    ]:

        def of(source, args=(length, stride, shift)):
            return tfy.Dataset.token_windows(source, *args, dtype="int64").with_format("numpy")

        for plan in (
            lambda windows: windows,
            lambda windows: windows.batch(7),
            lambda windows: windows.shuffle(seed=3).batch(7).prefetch(2),
            lambda windows: windows.shard(3, 1).batch(2),
            lambda windows: windows.shuffle(32, seed=1, block=8).batch(5),
        ):
            expected, found = list(plan(of(same))), list(plan(of(file)))
            assert len(found) == len(expected)
            for a, b in zip(found, expected, strict=True):
                assert np.array_equal(a[0], b[0])
                assert np.array_equal(a[1], b[1])
        assert str(of(file)._plan) == str(of(same)._plan)
    indices = tfy.Dataset.from_tensor_slices(np.arange(500)[::-7].reshape(-1, 2)).with_format(
        "numpy"
    )
    for plan in (lambda dataset: dataset, lambda dataset: dataset.batch(5)):
        expected, found = list(plan(indices.lookup(same))), list(plan(indices.lookup(file)))
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
        assert found[0].dtype == same.dtype
    one = tfy.Dataset.from_tensors({"file": file, "array": same, "number": 3}).with_format("numpy")
    assert len(one) == 1
    for element in (
        next(iter(one)),
        {key: value[0] for key, value in next(iter(one.batch(1))).items()},
    ):
        assert np.array_equal(element["file"], same)
        assert np.array_equal(element["array"], same)
        assert element["number"] == 3
    with pytest.raises(tfy.errors.Error, match=r"lookup: element 0: 500 is not in 0\.\.500"):
        next(iter(tfy.Dataset.from_tensor_slices([500]).with_format("numpy").lookup(file)))


def test_a_token_of_a_file_that_does_not_fit_is_an_error_at_its_window(tmp_path):
    np.save(tmp_path / "x.npy", np.array([1, 2, 3, 300, 5, 6, 7, 8]))
    for mode in ("read", "direct"):
        windows = tfy.Dataset.token_windows(
            tfy.open(tmp_path / "x.npy", mode=mode), 2, 2, dtype="uint8"
        ).with_format("numpy")
        iterator = iter(windows)
        assert next(iterator)[0].tolist() == [1, 2]
        with pytest.raises(OverflowError, match="token_windows: element 1: int64 -> uint8"):
            next(iterator)
        assert next(iterator)[0].tolist() == [5, 6]


@pytest.mark.parametrize("mode", ["read", "direct"])
def test_a_shuffle_in_blocks_is_bounded_by_default(tmp_path, mode):
    """1.6 GB in blocks of 16 MiB; 64 of them would be the whole file."""
    path = tmp_path / "rows.npy"
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(400_000, 4096))
    rows[:, 0] = 0
    del rows
    code = """
    path, mode = sys.argv[1:]
    rows = tfy.open(path, mode=mode)
    dataset = (
        tfy.Dataset.from_tensor_slices(rows)
        .shuffle(seed=1, block=4096)
        .batch(64)
        .with_format("numpy")
        .prefetch(2)
    )
    assert "group=4" in str(dataset._plan), dataset._plan
    limit("data", 420 * MIB)
    iterator = iter(dataset)
    for _ in range(1200):
        next(iterator)
    print("done")
    """
    assert run_python(LIMITED + code, str(path), mode).split() == ["done"]
    small = tfy.Dataset.range(1000).shuffle(seed=1, block=4)
    assert "group=64" in str(small._plan)
    # An array in memory is shuffled in the same order, so states are interchangeable.
    memory = tfy.Dataset.from_tensor_slices(np.zeros((4096 * 5, 4096), np.uint8)).shuffle(
        seed=1, block=4096
    )
    assert "group=4" in str(memory._plan)


@pytest.mark.parametrize("ahead", [1, 2, 7, 40])
def test_prefetch_reads_ahead_by_its_buffer_size(ahead):
    calls, more = [], threading.Condition()

    def count(x):
        with more:
            calls.append(int(x))
            more.notify_all()
        return x

    def settled(expected):
        with more:
            assert more.wait_for(lambda: len(calls) >= expected, timeout=30), (len(calls), expected)
        time.sleep(0.02)
        return len(calls)

    mapped = tfy.Dataset.range(200).with_format("numpy").map(count, output_signature=SCALAR)
    for dataset in (mapped, mapped.filter(lambda x: True)):
        calls.clear()
        iterator = iter(dataset.prefetch(ahead))
        for taken in range(1, 6):
            assert next(iterator) == taken - 1
            assert settled(taken + ahead) <= taken + ahead + 1
