"""Memory that is bounded, and running out of it: opened files are read by the batch, and no memory
is a MemoryError."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import tensorferry as tfy
from conftest import run_python

tf = pytest.importorskip("tensorflow")

SCALAR = tfy.TensorSpec((), "int64")

LIMITED = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    import tensorferry as tfy

    MIB = 1 << 20
    scalar = tfy.TensorSpec((), "int64")

    def limit(kind, more):
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
        field, which = {"as": ("VmSize", resource.RLIMIT_AS), "data": ("VmData", resource.RLIMIT_DATA)}[kind]
        used = int(status[field].split()[0]) * 1024
        resource.setrlimit(which, (used + more, used + more))
"""

ENDLESS = """
    numbers = tfy.Dataset.range(10**12).with_format("numpy")
    stream = numbers.filter(lambda x: True)
    again = tfy.Dataset.range(10**9).repeat().with_format("numpy")
    rows = tfy.Dataset.from_tensor_slices(np.zeros((4, MIB), np.uint8)).repeat().with_format("numpy").filter(lambda x: True)
    # One more than there is room for.
    plans = {
        "shuffle": lambda: stream.shuffle(10**9),
        "shuffle rows": lambda: rows.shuffle(10**9),
        "shuffle endless": lambda: again.shuffle(10**9),
        "unique": lambda: again.unique().skip(10**9),
        "cache": lambda: stream.cache().skip(10**9),
        "window": lambda: stream.window(10**9),
        "window rows": lambda: rows.window(10**9),
        "group": lambda: numbers.group_by_window(lambda x: 0, lambda key, window: window, 10**9),
        "batch": lambda: numbers.batch(10**10),
        "batch of a stream": lambda: stream.batch(10**9),
        "batch rows": lambda: rows.batch(10**9),
        "rebatch": lambda: stream.batch(2).rebatch(10**9),
        "rebatch rows": lambda: rows.batch(2).rebatch(10**9),
        "tokens": lambda: tfy.Dataset.token_windows(np.arange(10**6), 8).with_format("numpy").repeat().batch(10**9),
        "sample": lambda: tfy.Dataset.sample_from_datasets([stream.shuffle(10**9), stream], seed=1),
        "choose": lambda: tfy.Dataset.choose_from_datasets([stream.shuffle(10**9), stream], numbers.map(lambda x: x % 2)),
        "padded": lambda: stream.padded_batch(10**9),
        "padded rows": lambda: rows.padded_batch(10**9),
        "one_hot": lambda: numbers.one_hot(2**31),
        "pad_to": lambda: numbers.batch(2).pad_to((2**31,)),
        "lookup": lambda: numbers.lookup(np.zeros((9, MIB), np.uint8)).batch(10**4),
        "list": lambda: again,
    }
"""


@pytest.mark.parametrize("kind", ["as", "data"])
@pytest.mark.parametrize(
    "name",
    [
        *(
            "shuffle",
            "shuffle rows",
            "shuffle endless",
            "unique",
            "cache",
            "window",
            "window rows",
            "group",
        ),
        *("rebatch", "rebatch rows", "tokens", "sample", "choose"),
        *(
            "batch",
            "batch of a stream",
            "batch rows",
            "padded",
            "padded rows",
            "one_hot",
            "pad_to",
            "lookup",
        ),
        pytest.param("list", marks=pytest.mark.slow),
    ],
)
def test_no_memory_is_a_memory_error_that_can_be_caught(name, kind):
    code = """
    dataset, kept = plans[sys.argv[1]](), []
    limit(sys.argv[2], 48 * MIB)
    iterator = iter(dataset)
    try:
        for element in iterator:
            assert sys.argv[1] == "list", element
            kept.append(element)
    except MemoryError as error:
        found = error
    del dataset, kept, iterator
    # There is memory again.
    assert [int(batch.sum()) for batch in tfy.Dataset.range(100_000).with_format("numpy").batch(50_000)] == [1249975000, 3749975000]
    print("caught", type(found).__mro__[-5:][0].__name__)
    """
    assert run_python(LIMITED + ENDLESS + code, name, kind, timeout=200).split()[0] == "caught"


@pytest.mark.parametrize("kind", ["as", "data"])
@pytest.mark.parametrize("what", ["shuffle", "shuffle numbers", "window", "group"])
def test_a_state_for_which_there_is_no_memory_is_a_memory_error(what, kind):
    code = """
    rows = tfy.Dataset.from_tensor_slices((np.arange(40 * MIB) % 251).astype(np.uint8).reshape(40, MIB)).with_format("numpy")
    stream = rows.enumerate().map(lambda i, row: row, output_signature=tfy.TensorSpec((MIB,), "uint8")).filter(lambda row: True)
    plan = {
        "shuffle": lambda: stream.shuffle(40, seed=1),
        "shuffle numbers": lambda: tfy.Dataset.range(10**8).with_format("numpy").repeat().shuffle(4 * MIB, seed=1),
        "unique": lambda: stream.map(lambda row: row, output_signature=tfy.TensorSpec((MIB,), "uint8")).unique(),
        "window": lambda: stream.window(40, shift=1).flat_map(lambda window: window),
        "prefetch": lambda: stream.prefetch(40),
        "group": lambda: stream.group_by_window(lambda row: 0, lambda key, window: window, 50).repeat(2),
    }[sys.argv[1]]()
    iterator = iter(plan)
    first = [np.array(next(iterator)) for _ in range(2)]
    limit(sys.argv[2], 20 * MIB)
    try:
        iterator.state_dict()
    except MemoryError:
        print("caught")
    before = len(first)
    second = next(iterator)  # and the iteration goes on
    resource.setrlimit({"as": resource.RLIMIT_AS, "data": resource.RLIMIT_DATA}[sys.argv[2]], (-1, -1))
    print(len(iterator.state_dict()["data"]) > MIB)
    """
    code = code.replace("limit(sys.argv[2], 20 * MIB)", "soft(sys.argv[2], 20 * MIB)")
    soft = """
    def soft(kind, more):
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
        field, which = {"as": ("VmSize", resource.RLIMIT_AS), "data": ("VmData", resource.RLIMIT_DATA)}[kind]
        resource.setrlimit(which, (int(status[field].split()[0]) * 1024 + more, -1))
    """
    assert run_python(LIMITED + soft + code, what, kind).split() == ["caught", "True"]


@pytest.mark.parametrize("kind", ["as", "data"])
def test_an_element_for_which_there_is_no_memory_is_not_saved(kind, tmp_path):
    code = """
    dataset, folder = plans["batch rows"](), Path(sys.argv[2]) / "saved"
    limit(sys.argv[1], 48 * MIB)
    try:
        dataset.save(folder)
    except MemoryError:
        assert not folder.exists()
        print("caught")
    """
    assert run_python(LIMITED + ENDLESS + code, kind, str(tmp_path)).split() == ["caught"]


LISTS = {
    "ints": "[7] * n",
    "floats": "[0.5] * n",
    "bools": "[True] * (8 * n)",
    "mixed": "[1, 2.5] * (n // 2)",
    "objects": "np.full(n, 7, object)",
    "range": "range(n)",
    "arrays": "[np.arange(3)] * (n // 8)",
    "tensors": "[tfy.tensor([1, 2])] * (n // 8)",
    "masked": "np.ma.array(np.ones(8 * n, np.int8), mask=np.zeros(8 * n, bool))",
}


@pytest.mark.parametrize("which", LISTS)
def test_a_list_for_which_there_is_no_memory_is_a_memory_error(which):
    code = f"""
    import resource
    import numpy as np, tensorferry as tfy
    n = 6_000_000
    value = {LISTS[which]}
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (30 << 20),) * 2)
    doors = tfy.tensor, lambda x: tfy.tensor(x, "int64"), tfy.smallest_dtype, tfy.Dataset.from_tensors
    for door in doors if {which!r} != "masked" else doors[:2]:
        try:
            door(value)
            raise SystemExit("no error")
        except MemoryError:
            pass
    print("done")
    """
    assert run_python(code).split() == ["done"]


def test_no_memory_while_a_state_is_loaded_is_no_damage():
    code = """
    rows = tfy.Dataset.from_tensor_slices(np.zeros((60, MIB), np.uint8)).with_format("numpy").filter(lambda row: True)
    iterator = iter(rows.shuffle(60, seed=1))
    next(iterator)
    state = iterator.state_dict()
    other = iter(rows.shuffle(60, seed=1))
    limit("as", 30 * MIB)
    try:
        other.load_state_dict(state)
    except MemoryError as error:
        assert "damaged" not in str(error), error
        print("caught")
    """
    assert run_python(LIMITED + code).split() == ["caught"]


@pytest.mark.parametrize("mode", ["read", "direct"])
def test_files_larger_than_memory_are_read_by_the_batch(tmp_path, mode):
    """Of a file of 4 GiB, most of which is a hole."""
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
    part = tfy.Dataset.from_tensors({"a": tokens.part(0, 10) if hasattr(tokens, "part") else tokens}).with_format("numpy")
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
def test_windows_tables_and_tensors_of_files_are_those_of_arrays(tmp_path, mode, kind):
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
def test_a_shuffle_in_blocks_holds_no_more_than_it_may_by_default(tmp_path, mode):
    """1.6 GB in blocks of 16 MiB: 64 of them were the whole file."""
    path = tmp_path / "rows.npy"
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(400_000, 4096))
    rows[:, 0] = 0
    del rows
    code = """
    path, mode = sys.argv[1:]
    rows = tfy.open(path, mode=mode)
    dataset = tfy.Dataset.from_tensor_slices(rows).shuffle(seed=1, block=4096).batch(64).with_format("numpy").prefetch(2)
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
    # What is in memory is shuffled in the same order: a state is of both.
    memory = tfy.Dataset.from_tensor_slices(np.zeros((4096 * 5, 4096), np.uint8)).shuffle(
        seed=1, block=4096
    )
    assert "group=4" in str(memory._plan)


@pytest.mark.parametrize("ahead", [1, 2, 7, 40])
def test_prefetch_stays_as_many_elements_ahead_as_it_says(ahead):
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


def fails_at(*bad):
    def function(x):
        if int(x) in bad:
            raise ValueError(f"no {int(x)}")
        return x

    return function


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("arguments", "bad"),
    [
        ((2, 4), 3),
        ((2, 4), 7),
        ((2, 4, 1, True), 9),
        ((4, None, 1, True), 9),
        ((2, 3, 2), 1),
        ((3, 2), 2),
        ((1, 9), 9),
    ],
)
def test_windows_fail_for_their_own_elements_as_in_tf_data(arguments, bad, stream):
    size, shift, stride, drop = (
        (*arguments, 1, False)[:4] if len(arguments) == 2 else (*arguments, False)[:4]
    )

    def refuse(x):
        with tf.control_dependencies(
            [tf.debugging.assert_none_equal(x, tf.constant(bad, tf.int64))]
        ):
            return tf.identity(x)

    def found(dataset):
        windows, errors, iterator = [], 0, iter(dataset)
        while True:
            try:
                windows.append([int(x) for x in next(iterator)])
            except StopIteration:
                return windows, errors
            except Exception:
                errors += 1

    theirs = (
        tf.data.Dataset.range(10)
        .map(refuse)
        .window(size, shift, stride, drop)
        .flat_map(lambda window: window.batch(10))
    )
    ours = tfy.Dataset.range(10).with_format("numpy").map(fails_at(bad), output_signature=SCALAR)
    ours = ours.filter(lambda x: True) if stream else ours
    windows, errors = found(ours.window(size, shift, stride, drop))
    expected, failed = found(theirs)
    assert windows == expected
    assert (errors > 0) == (failed > 0)


def test_an_error_that_ended_a_generator_is_told_although_no_window_holds_it():
    def numbers():
        yield from range(3)
        raise ValueError("it is broken")

    dataset = (
        tfy.Dataset.from_generator(numbers, output_signature=SCALAR)
        .with_format("numpy")
        .window(1, shift=4)
    )
    iterator = iter(dataset)
    assert [int(x) for x in next(iterator)] == [0]
    with pytest.raises(ValueError, match="it is broken"):
        next(iterator)


EMPTY = {
    "range": lambda module: module.Dataset.range(0),
    "take": lambda module: module.Dataset.range(5).take(0),
    "filter": lambda module: module.Dataset.range(5).filter(lambda x: x < 0),
    "slices": lambda module: module.Dataset.from_tensor_slices(np.zeros((0, 3), np.float32)),
}


@pytest.mark.parametrize("source", list(EMPTY))
@pytest.mark.parametrize("method", ["map", "flat_map", "interleave", "filter", "scan"])
def test_stages_over_nothing_are_as_in_tf_data(source, method):
    if source == "slices" and method == "filter":
        pytest.skip("a predicate of a vector is none")

    def made(module, dataset):
        datasets = module.Dataset
        return {
            "map": lambda: dataset.map(lambda x: (x * 2, x)),
            "flat_map": lambda: dataset.flat_map(lambda x: datasets.from_tensors(x)),
            "interleave": lambda: dataset.interleave(lambda x: datasets.from_tensors(x).repeat(2)),
            "filter": lambda: dataset.filter(lambda x: x > 0),
            "scan": lambda: dataset.scan(np.int64(0), lambda state, x: (state + 1, x)),
        }[method]()

    theirs = made(tf.data, EMPTY[source](tf.data))
    ours = made(tfy, EMPTY[source](tfy))
    assert list(ours) == list(theirs) == []
    assert str(ours.element_spec) == str(theirs.element_spec)
    numpy = made(tfy, EMPTY[source](tfy).with_format("numpy"))
    assert list(numpy) == []
    assert list(numpy.batch(2)) == []


def test_a_function_that_zeros_do_not_suit_asks_for_an_output_signature():
    nothing = tfy.Dataset.range(0).with_format("numpy")
    with pytest.raises(
        tfy.errors.InvalidArgumentError, match=r"map: .*ZeroDivisionError.*output_signature="
    ):
        nothing.map(lambda x: 1 // int(x))
    assert list(nothing.map(lambda x: 1 // int(x), output_signature=SCALAR)) == []


@pytest.mark.parametrize("ahead", [None, 2])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_interrupts_a_function_comes_out_of_next(ahead, error):
    def interrupted(x):
        if int(x) == 1:
            raise error("by the function")
        return x

    numbers = tfy.Dataset.range(3).with_format("numpy")
    for dataset in (
        numbers.map(interrupted, output_signature=SCALAR),
        numbers.filter(lambda x: interrupted(x) >= 0),
        numbers.flat_map(
            lambda x: tfy.Dataset.from_tensors(interrupted(x)), output_signature=SCALAR
        ),
    ):
        dataset = dataset if ahead is None else dataset.prefetch(ahead)
        iterator = iter(dataset)
        assert next(iterator) == 0
        with pytest.raises(error, match="by the function"):
            next(iterator)


def test_one_hot_of_a_huge_depth_can_be_interrupted():
    code = """
    import signal, sys, threading, time, os
    import numpy as np
    import tensorferry as tfy

    # As large as the machine allows, and as slow as its memory.
    depth = 2**28
    iterator = iter(tfy.Dataset.range(4).repeat().with_format("numpy").one_hot(depth, "uint8").batch(4))
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    try:
        while True:
            next(iterator)
    except KeyboardInterrupt:
        print("interrupted")
    """
    assert run_python(code).split() == ["interrupted"]
