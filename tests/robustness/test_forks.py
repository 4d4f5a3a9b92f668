"""Iterators in a forked child while threads use them, and functions that use their own iterator:
never a deadlock.
"""

from __future__ import annotations

import pytest

from tests.support.processes import run_python

FORKED = """
    import faulthandler, os, signal, sys, threading, time, warnings
    import numpy as np
    import tensorferry as tfy

    warnings.simplefilter("ignore")
    faulthandler.dump_traceback_later(100, exit=True)
    scalar = tfy.TensorSpec((), "int64")

    def in_child(work):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # kills a child that waits, which then returns nothing
            try:
                answer = repr(work())
            except BaseException as error:
                answer = f"{type(error).__name__}: {error}"
            os.write(write, answer.encode()[:4000])
            os._exit(0)
        os.close(write)
        with open(read) as answers:
            answer = answers.read()
        assert os.waitpid(child, 0)[1] == 0, "the child waited"
        return answer
"""

DATASETS = """
    def slowly(x):
        time.sleep(0.002)
        return x

    numbers = tfy.Dataset.range(10**6).with_format("numpy")
    datasets = {
        "indexed": numbers.batch(4),
        "workers": numbers.shuffle(seed=1).batch(4).prefetch(3),
        "function": numbers.map(slowly, output_signature=scalar),
        "function ahead": numbers.map(slowly, output_signature=scalar).prefetch(3),
        "stream": numbers.filter(lambda x: True),
        "stream ahead": numbers.filter(lambda x: True).prefetch(2),
        "native stream": numbers.unique(),
        "buffer": numbers.filter(lambda x: True).shuffle(10, seed=1),
    }
"""


@pytest.mark.parametrize(
    "name",
    [
        "indexed",
        "workers",
        "function",
        "function ahead",
        "stream",
        "stream ahead",
        "native stream",
        "buffer",
    ],
)
def test_a_child_forked_while_threads_use_an_iterator_never_waits(name):
    code = """
    iterator = iter(datasets[sys.argv[1]])
    ended = threading.Event()

    def use():
        while not ended.is_set():
            next(iterator)
            iterator.state_dict()

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(12):
            time.sleep(0.003)
            for work in (
                lambda: np.size(next(iterator)),
                lambda: type(iterator.state_dict()).__name__,
            ):
                answer = in_child(work)
                assert answer in ("1", "4", "'dict'") or answer.startswith(
                    "FailedPreconditionError"
                ), answer
                assert (
                    not answer.startswith("FailedPreconditionError")
                    or "Make the iterator in the child process" in answer
                ), answer
            # An iterator made in the child works there.
            assert in_child(lambda: np.size(next(iter(datasets[sys.argv[1]])))) in ("1", "4")
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    print("done")
    """
    assert run_python(FORKED + DATASETS + code, name).split() == ["done"]


def test_a_child_forked_inside_a_function_continues_with_its_part():
    code = """
    def fork(x):
        return int(in_child(lambda: int(x) * 2)) if x == 2 else x

    for ahead in (0, 2):
        dataset = tfy.Dataset.range(4).with_format("numpy").map(fork, output_signature=scalar)
        dataset = dataset.prefetch(ahead) if ahead else dataset
        assert list(dataset) == [0, 1, 4, 3]
    print("done")
    """
    assert run_python(FORKED + code).split() == ["done"]


def test_an_unused_iterator_continues_in_the_child():
    code = """
    for name in ("indexed", "workers", "function", "stream", "buffer"):
        iterator = iter(datasets[name])
        next(iterator)
        state = iterator.state_dict()
        assert in_child(lambda: np.asarray(next(iterator)).tolist()) == repr(
            np.asarray(next(iterator)).tolist()
        ), name
        resumed = iter(datasets[name])
        resumed.load_state_dict(state)
        next(resumed)
    print("done")
    """
    assert run_python(FORKED + DATASETS + code).split() == ["done"]


@pytest.mark.parametrize("mode", ["read", "direct"])
def test_a_child_forked_while_threads_read_a_file_reads_it(tmp_path, mode):
    code = """
    path, mode = sys.argv[1:]
    x = np.arange(400_000, dtype=np.int32).reshape(4000, 100)
    np.save(path, x)
    rows = tfy.open(path, mode=mode)
    table = tfy.Dataset.range(4000).with_format("numpy").lookup(x)
    dataset = (
        tfy.Dataset.from_tensor_slices(rows)
        .with_format("numpy")
        .shuffle(seed=1)
        .batch(50)
        .prefetch(4)
    )
    blocks = (
        tfy.Dataset.from_tensor_slices(rows)
        .with_format("numpy")
        .shuffle(640, seed=1, block=64)
        .batch(50)
        .prefetch(4)
    )
    ended = threading.Event()

    def use():
        while not ended.is_set():
            for dataset_ in (dataset, blocks):
                iterator = iter(dataset_)
                for _ in range(10):
                    next(iterator)
                iterator.state_dict()
            iter(table).state_dict()

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    expected = repr(int(x.astype(np.int64).sum()))
    try:
        for turn in range(6):
            time.sleep(0.005)
            for made in (dataset, blocks):
                assert (
                    in_child(lambda: sum(int(batch.astype(np.int64).sum()) for batch in made))
                    == expected
                )
            assert in_child(lambda: rows[17].numpy().tolist()) == repr(x[17].tolist())
            assert in_child(lambda: type(iter(table).state_dict()).__name__) == "'dict'"
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    print("done")
    """
    assert run_python(FORKED + code, str(tmp_path / "x.npy"), mode).split() == ["done"]


@pytest.mark.parametrize("ahead", [None, 1, 4])
@pytest.mark.parametrize("use", ["next", "state_dict"])
def test_a_function_that_uses_its_own_iterator_is_a_runtime_error(ahead, use):
    code = """
    ahead, use = sys.argv[1:]
    made = {}

    def own(x):
        if x == 1:
            return next(made["iterator"]) if use == "next" else made["iterator"].state_dict() and x
        return x

    numbers = tfy.Dataset.range(4).with_format("numpy")
    mapped = numbers.map(own, output_signature=scalar)
    for dataset in (
        mapped,
        numbers.filter(lambda x: own(x) >= 0),
        numbers.flat_map(lambda x: tfy.Dataset.range(own(x), 2)),
    ):
        dataset = dataset if ahead == "None" else dataset.prefetch(int(ahead))
        made["iterator"] = iter(dataset)
        errors = []
        for _ in range(8):
            try:
                next(made["iterator"])
            except StopIteration:
                break
            except RuntimeError as error:
                errors.append(str(error))
        assert len(errors) == 1 and "uses the iterator that calls it" in errors[0], errors
    print("done")
    """
    assert run_python(FORKED + code, str(ahead), use).split() == ["done"]
