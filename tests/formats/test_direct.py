"""Direct reads, past the page cache: log messages, threads, forks, Ctrl-C and memory. test_open.py
covers elements and modes.
"""

from __future__ import annotations

import logging
import re
import threading
import time

import numpy as np
import pytest
import tensorferry as tfy

from tests.support.arrays import same
from tests.support.openers import openers
from tests.support.processes import run_python

HOW = re.compile(r"rows\.npy: read by (io_uring|threads), (past|through) the system's cache")


@pytest.fixture
def rows(tmp_path):
    """A file of 3 MB in different rows of 400 bytes, and its content."""
    array = np.arange(7_500 * 100, dtype=np.int32).reshape(7_500, 100)
    np.save(tmp_path / "rows.npy", array)
    return tmp_path / "rows.npy", array


def said(caplog) -> str:
    for _ in range(500):  # the main thread emits messages when it runs Python code
        if caplog.records:
            break
        time.sleep(0.01)
    return "\n".join(record.getMessage() for record in caplog.records)


def test_the_way_a_file_is_read_is_logged_once(rows, caplog):
    path, expected = rows
    with caplog.at_level(logging.INFO, "tensorferry"):
        array = tfy.open(path, mode="direct")
        same(array[7_000], expected[7_000])
        assert HOW.search(said(caplog)), caplog.records
        threads = [threading.Thread(target=lambda: array[5]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        list(tfy.Dataset.from_tensor_slices(array).batch(1000).with_format("numpy"))
    assert len(caplog.records) == 1
    assert (caplog.records[0].name, caplog.records[0].levelname) == ("tensorferry", "INFO")


def test_messages_of_threads_are_logged(rows, caplog):
    with caplog.at_level(logging.INFO, "tensorferry"):
        dataset = (
            tfy.Dataset.from_files(rows[0], mode="direct").shuffle(8, seed=1).batch(100).prefetch(2)
        )
        found = np.concatenate(list(dataset.with_format("numpy")))
        assert HOW.search(said(caplog)), caplog.records
    same(np.sort(found, axis=0), rows[1])


def test_the_last_message_before_the_exit_is_not_lost(rows):
    code = """
    import logging, sys, tensorferry as tfy
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    def last():
        tfy.open(sys.argv[1], mode="direct")[0]
    last()
    """
    assert HOW.search(run_python(code, str(rows[0])))


def test_a_raising_log_handler_has_no_effect(rows):
    code = """
    import logging, sys, time, numpy as np, tensorferry as tfy
    raised = []
    sys.unraisablehook = lambda what: raised.append(str(what.exc_value))
    class Raises(logging.Handler):
        def emit(self, record):
            raise OSError("no space")
    logging.getLogger("tensorferry").addHandler(Raises())
    logging.getLogger("tensorferry").setLevel("INFO")
    for _ in range(3):
        array = tfy.open(sys.argv[1], mode="direct")
        assert (np.asarray(array) == np.load(sys.argv[1])).all()
        for _ in range(10):
            time.sleep(0.001)
    assert raised and set(raised) == {"no space"}, raised
    """
    run_python(code, str(rows[0]))


def test_a_forked_process_reads_the_same_elements(rows):
    code = """
    import os, sys, warnings, numpy as np, tensorferry as tfy

    warnings.simplefilter("ignore")  # the test forks a process with threads
    path = sys.argv[1]
    expected = np.load(path)
    array = tfy.open(path, mode="direct")
    plans = [
        tfy.Dataset.from_tensor_slices(array).batch(64).with_format("numpy"),
        tfy.Dataset.from_tensor_slices(array).shuffle(9, 3, False).batch(64).with_format("numpy"),
    ]
    for plan in plans:
        whole = np.concatenate(list(plan))
        iterator = iter(plan)
        begun = [next(iterator) for _ in range(20)]
        for _ in range(3):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    assert (array[[7, 7_000, 3]] == expected[[7, 7_000, 3]]).all()
                    assert (np.concatenate(list(plan)) == whole).all()
                    status = 0
                finally:
                    os._exit(status)
            begun.append(next(iterator))
            assert os.waitpid(child, 0)[1] == 0
        assert (np.concatenate(begun + list(iterator)) == whole).all()
    """
    run_python(code, str(rows[0]))


@openers("direct")
def test_a_state_of_one_mode_resumes_in_another(rows, opener):
    def plan(source):
        return source.shuffle(9, seed=3, block=opener.block).batch(100).with_format("numpy")

    def mapped():
        return plan(tfy.Dataset.from_files(rows[0], mode="map"))

    whole = list(mapped())
    iterator = iter(plan(opener.from_files(rows[0])))
    begun = [next(iterator) for _ in range(31)]
    resumed = iter(mapped())
    resumed.load_state_dict(iterator.state_dict())
    for found, expected in zip(begun + list(resumed), whole, strict=True):
        same(found, expected)
    backwards = iter(plan(opener.from_files(rows[0])))
    backwards.load_state_dict(iterator.state_dict())
    for found, expected in zip(backwards, whole[31:], strict=True):
        same(found, expected)


@openers("direct")
def test_many_threads_read_one_array_in_order_and_at_random(rows, opener):
    path, expected = rows
    array = opener.open(path)
    wrong = []

    def reads(seed: int):
        random = np.random.default_rng(seed)
        for start in range(0, 7_500, 500):
            at = random.integers(0, 7_500, 50)
            if not (np.asarray(array[start : start + 500]) == expected[start : start + 500]).all():
                wrong.append(start)
            if not (np.asarray(array[at]) == expected[at]).all():
                wrong.append(at)

    threads = [threading.Thread(target=reads, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_unlinked_file_is_still_read(rows):
    path, expected = rows
    array = tfy.open(path, mode="direct")
    path.unlink()
    same(array[-1], expected[-1])
    same(np.asarray(array), expected)


@pytest.mark.parametrize("mode", ["read", "direct"])
def test_a_file_that_grows_is_refused(rows, mode):
    path, expected = rows
    array = tfy.open(path, mode=mode)
    same(array[0], expected[0])
    with path.open("ab") as file:
        file.write(b"\0" * 400)
    with pytest.raises(
        tfy.errors.FileFormatError,
        match=r"written to since it was opened \(3000128 bytes then, 3000528 now\)",
    ) as raised:
        array[1]
    assert raised.value.code == "file_changed"
    # A new `open` sees the rows that the header counts, or all rows of a file without a header.
    same(np.asarray(tfy.open(path, mode=mode)), expected)
    same(
        tfy.open_raw(path, "int32", (-1, 100), offset=128, mode=mode)[7_499:],
        np.stack([expected[-1], np.zeros(100, np.int32)]),
    )


def bytes_read() -> int:
    """The bytes that this process has read from a device, as counted by the kernel."""
    with open("/proc/self/io") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("read_bytes"))


@openers("map", "read", "direct")
@pytest.mark.parametrize("shard", [None, 3])
def test_a_shuffle_in_blocks_is_the_same_in_every_mode_with_and_without_shards(rows, shard, opener):
    path, expected = rows

    def plan(source):
        shuffled = tfy.Dataset.from_tensor_slices(source).shuffle(1_000, seed=5, block=64)
        return (
            [shuffled.shard(shard, at).batch(50).with_format("numpy") for at in range(shard)]
            if shard
            else [shuffled.batch(50).with_format("numpy")]
        )

    for epoch in range(2):
        for of_file, of_memory in zip(plan(opener.open(path)), plan(expected), strict=True):
            for _ in range(epoch):
                next(iter(of_file))
                next(iter(of_memory))
            for found, there in zip(of_file, of_memory, strict=True):
                same(found, there)


def test_a_shuffle_in_blocks_resumes_from_a_small_state_in_another_mode(rows):
    def plan(mode):
        return (
            tfy.Dataset.from_files(rows[0], mode=mode)
            .shuffle(1_000, seed=5, block=64)
            .repeat(2)
            .batch(100)
            .with_format("numpy")
        )

    whole = list(plan("map"))
    iterator = iter(plan("direct"))
    for _ in range(100):
        next(iterator)
    state = iterator.state_dict()
    assert len(str(state)) < 1024
    for mode in ["direct", "read", "map"]:
        resumed = iter(plan(mode))
        resumed.load_state_dict(state)
        for found, expected in zip(resumed, whole[100:], strict=True):
            same(found, expected)


def test_a_shuffle_in_blocks_reads_each_block_once(rows):
    path, expected = rows
    array = tfy.open(path, mode="direct")
    array[0]
    before = bytes_read()
    if before == 0:
        pytest.skip("the kernel counts no reads of this file system")
    dataset = (
        tfy.Dataset.from_tensor_slices(array)
        .shuffle(1_500, seed=5, block=100)
        .batch(50)
        .with_format("numpy")
    )
    found = np.concatenate(list(dataset))
    read = bytes_read() - before
    same(found[np.argsort(found[:, 0])], expected)
    # Reading twice would double it. Read row by row, each row costs one or two blocks of 4,096
    # bytes.
    assert read < 2 * expected.nbytes, read
