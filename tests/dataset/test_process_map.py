"""``map(workers="processes")``: worker processes that call a function."""

from __future__ import annotations

import functools
import itertools
import logging
import pickle
import signal
import sys
import textwrap
import time

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import errors

from tests.support import slow_functions
from tests.support.paths import ROOT
from tests.support.processes import run_python

SCALAR = tfy.TensorSpec((), "int64")
FORMATS = ["tensorflow", "torch", "jax", "numpy", "tensorferry"]


def numbers(n: int = 30):
    return tfy.Dataset.range(n).with_format("numpy")


def mapped(data, function, calls=2, spec=SCALAR):
    return data.map(function, calls, output_signature=spec, workers="processes")


def values(elements):
    return [np.asarray(element).tolist() for element in elements]


def script(code: str, timeout: float = 120) -> str:
    """Runs code in a new process that has this directory's functions."""
    start = f"""
import gc, os, signal, sys, threading, time
sys.path.insert(0, {str(ROOT)!r})
import tensorferry as tfy
from tests.support import slow_functions
numbers = tfy.Dataset.range(10**9).with_format("numpy")
scalar = tfy.TensorSpec((), "int64")

def children():
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = open(f"/proc/{{entry}}/stat").read().rsplit(")", 1)[1].split()
                line = open(f"/proc/{{entry}}/cmdline").read()
            except OSError:
                continue
            if int(stat[1]) == os.getpid() and "resource_tracker" not in line:
                found.append((int(entry), stat[0]))
    return found

def no_children():
    for _ in range(3000):
        if not children():
            return True
        time.sleep(0.02)
    return False
"""
    return run_python(start + textwrap.dedent(code), timeout=timeout)


def test_results_and_states_are_those_of_this_process() -> None:
    def plans(calls=2):
        indexed = mapped(numbers(), slow_functions.uneven, calls)
        streamed = mapped(numbers().filter(lambda x: True), slow_functions.uneven, calls)
        return [indexed, streamed.batch(4), indexed.batch(7).skip(1)]

    expected = [
        values(data)
        for data in (
            numbers().map(slow_functions.uneven),
            numbers().map(slow_functions.uneven).batch(4),
            numbers().map(slow_functions.uneven).batch(7).skip(1),
        )
    ]
    for plan, all_values in zip(plans(), expected, strict=True):
        assert values(plan) == all_values
        saving = iter(plan)
        assert values(itertools.islice(saving, 2)) == all_values[:2]
        resumed = iter(plan)
        resumed.load_state_dict(saving.state_dict())
        assert values(resumed) == all_values[2:]


def test_the_function_runs_in_as_many_processes() -> None:
    pids = set(values(mapped(numbers(40), slow_functions.process, 3)))
    assert 2 <= len(pids) <= 3
    import os

    assert os.getpid() not in pids


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_carries_structures_and_empty_arrays(format) -> None:
    rows = np.arange(24, dtype=np.int16).reshape(4, 3, 2)
    data = tfy.Dataset.from_tensor_slices({"rows": rows, "n": np.arange(4)}).with_format(format)
    spec = {
        "rows": tfy.TensorSpec((3, 2), "int16"),
        "first": tfy.TensorSpec((1, 2), "int16"),
        "none": tfy.TensorSpec((0, 2), "int16"),
        "big": tfy.TensorSpec((200, 100), "float32"),
        "n": tfy.TensorSpec((), "int64"),
    }
    for here, there in zip(
        data.map(slow_functions.images, output_signature=spec),
        mapped(data, slow_functions.images, 1, spec),
        strict=True,
    ):
        assert here.keys() == there.keys()
        for name in here:
            assert type(here[name]) is type(there[name])
            assert np.array_equal(np.asarray(here[name]), np.asarray(there[name]))


def test_results_that_are_kept_stay_as_they_were() -> None:
    spec = tfy.TensorSpec((200, 100), "float32")
    data = tfy.Dataset.from_tensor_slices({"rows": np.ones((60, 1)), "n": np.arange(60)})
    made = mapped(
        data.with_format("numpy"), functools.partial(_big), 2, spec
    )  # more than there are shared files for
    found = list(made)
    assert [float(big[0, 0]) for big in found] == [float(n) for n in range(60)]
    assert all(np.all(big == big[0, 0]) for big in found)


def _big(element):
    return slow_functions.images(element)["big"]


def test_arguments_that_are_kept_stay_as_they_were() -> None:
    rows = np.arange(8, dtype=np.int64).repeat(100).reshape(8, 100)
    data = tfy.Dataset.from_tensor_slices(rows).with_format("numpy")
    found = values(mapped(data, slow_functions.keeps, 1, tfy.TensorSpec((2,), "int64")))
    # The sum of the oldest of the last five arguments.
    assert found == [[max(0, i - 4) * 100] * 2 for i in range(8)]


def test_exceptions_keep_their_class_and_the_worker_traceback() -> None:
    pass_ = iter(mapped(numbers(8), slow_functions.fails))
    found = []
    for _ in range(8):
        try:
            found.append(int(next(pass_)))
        except Exception as error:
            found.append(error)
    assert [x for x in found if isinstance(x, int)] == [0, 1, 2, 4, 6, 7]
    assert isinstance(found[3], LookupError)
    assert "in fails" in str(found[3].__cause__)
    assert any("in map, at its element 3" in note for note in found[3].__notes__)
    # A class that cannot travel.
    assert isinstance(found[5], RuntimeError)
    assert "OddError: odd 5" in str(found[5])
    assert list(pass_) == []


def test_values_that_do_not_fit_are_errors_as_in_this_process() -> None:
    spec = tfy.TensorSpec((), "int32")
    for data in (
        numbers(2).map(slow_functions.too_big, output_signature=spec),
        mapped(numbers(2), slow_functions.too_big, 1, spec),
    ):
        pass_ = iter(data)
        assert int(next(pass_)) == 1
        with pytest.raises(errors.ValueOverflowError, match="int32"):
            next(pass_)


def test_functions_that_cannot_travel_are_refused() -> None:
    def inner(x):
        return x

    lock = __import__("threading").Lock()
    try:
        import cloudpickle  # noqa: F401
    except ModuleNotFoundError:
        for function in (lambda x: x, inner):
            with pytest.raises(errors.InvalidTypeError, match="install cloudpickle"):
                mapped(numbers(), function)
    else:
        assert values(mapped(numbers(3), inner)) == [0, 1, 2]
    with pytest.raises(errors.InvalidTypeError, match="cannot be sent to worker processes"):
        mapped(numbers(), functools.partial(slow_functions.dies_once, lock))
    with pytest.raises(errors.InvalidArgumentError, match="holds a dataset"):
        mapped(numbers().window(2), slow_functions.triple)
    with pytest.raises(errors.InvalidArgumentError, match="workers has to be"):
        numbers().map(slow_functions.triple, workers="greenlets")


def test_a_killed_worker_costs_nothing(tmp_path, caplog) -> None:
    function = functools.partial(slow_functions.dies_once, str(tmp_path))
    with caplog.at_level(logging.WARNING, "tensorferry"):
        assert values(mapped(numbers(40), function, 2)) == list(range(40))
    assert len(list(tmp_path.iterdir())) == 4
    assert sum("was killed by SIGKILL" in r.getMessage() for r in caplog.records) == 4


def test_an_element_that_kills_its_workers_is_an_error() -> None:
    pass_ = iter(mapped(numbers(6), slow_functions.dies_at_three, 2))
    assert values(itertools.islice(pass_, 3)) == [0, 1, 2]
    with pytest.raises(RuntimeError, match="killed by SIGKILL while it called dies_at_three"):
        next(pass_)
    assert values(pass_) == [4, 5]


def test_pickled_plans_and_random_access_work() -> None:
    data = pickle.loads(pickle.dumps(mapped(numbers(9), slow_functions.triple).batch(2)))
    assert values(data) == values(numbers(9).map(slow_functions.triple).batch(2))
    assert values(data.to_tf_data()) == values(data)


def test_it_works_by_forkserver() -> None:
    script("""
    import multiprocessing
    multiprocessing.set_start_method("forkserver")
    data = numbers.take(20).map(
        slow_functions.triple, 2, output_signature=scalar, workers="processes"
    )
    assert [int(x) for x in data] == [3 * i for i in range(20)]
    """)


def test_a_daemonic_process_is_told_why_not() -> None:
    script("""
    import multiprocessing
    from tests.dataset.test_process_map import in_daemon

    if __name__ == "__main__":
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert "daemonic" in pool.apply(in_daemon)
    """)


def in_daemon() -> str:
    try:
        next(iter(mapped(numbers(), slow_functions.triple)))
    except errors.InvalidArgumentError as error:
        return str(error)
    return "no error"


def test_calls_end_with_the_iteration_and_workers_with_the_dataset() -> None:
    script("""
    data = numbers.map(slow_functions.forever, 3, output_signature=scalar, workers="processes")
    pass_ = iter(data)
    assert [int(next(pass_)), int(next(pass_))] == [0, 1]
    assert 1 <= len(children()) <= 3
    calling = children()
    del pass_
    gc.collect()
    for _ in range(3000):
        if len(children()) < len(calling):
            break  # those that were calling the function were killed
        time.sleep(0.02)
    assert len(children()) < len(calling)
    assert [int(x) for x in data.take(2)] == [0, 1]
    del data
    gc.collect()
    assert no_children(), children()
    """)


def test_ctrl_c_interrupts_and_the_iteration_continues() -> None:
    script("""
    os.setpgrp()
    data = numbers.take(8).map(slow_functions.uneven, 2, output_signature=scalar,
                               workers="processes").batch(2)
    pass_ = iter(data)
    found = [next(pass_).tolist()]
    stream = iter(numbers.map(slow_functions.forever, 2, output_signature=scalar,
                              workers="processes"))
    next(stream), next(stream)
    threading.Timer(0.3, lambda: os.killpg(0, signal.SIGINT)).start()
    try:
        next(stream)
        raise AssertionError("not interrupted")
    except KeyboardInterrupt:
        pass
    found += [x.tolist() for x in pass_]  # its workers ignored the signal
    assert found == [[0, 3], [6, 9], [12, 15], [18, 21]], found
    del stream, pass_, data
    assert no_children(), children()
    """)


@pytest.mark.parametrize("ending", ["pass", "sys.exit()", "del pass_", "os.kill(os.getpid(), 9)"])
def test_workers_end_with_the_process(ending) -> None:
    import subprocess

    code = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
import tensorferry as tfy
from tests.support import slow_functions
data = tfy.Dataset.range(100).with_format("numpy").map(
    slow_functions.forever, 2, output_signature=tfy.TensorSpec((), "int64"), workers="processes")
pass_ = iter(data)
next(pass_)
print(os.getpid(), flush=True)
{ending}
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    killed = "kill" in ending
    assert ended.returncode == (-signal.SIGKILL if killed else 0), ended.stderr
    if not killed:
        assert ended.stderr == ""
    # Its workers hold the pipes that `run` waited for: so they have ended too.


def test_a_forked_child_has_workers_of_its_own() -> None:
    script("""
    import warnings
    warnings.simplefilter("ignore")
    data = numbers.take(12).map(slow_functions.uneven, 2, output_signature=scalar,
                                workers="processes")
    pass_ = iter(data)
    before = [int(next(pass_)) for _ in range(3)]
    child = os.fork()
    ok = before + [int(x) for x in pass_] == [3 * i for i in range(12)]
    if child == 0:
        os._exit(0 if ok else 1)
    assert ok
    assert os.waitpid(child, 0)[1] == 0
    assert before == [int(x) for x in data.take(3)]  # the child left the workers alone
    del pass_, data
    assert no_children(), children()
    """)


def test_nothing_is_left_in_shared_memory() -> None:
    before = set((ROOT / "/dev/shm").iterdir())
    pass_ = iter(mapped(numbers(), slow_functions.uneven))
    next(pass_)
    assert set((ROOT / "/dev/shm").iterdir()) == before
    del pass_
    time.sleep(0.01)
