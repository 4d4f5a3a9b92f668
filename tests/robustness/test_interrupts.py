"""Datasets and signals: Ctrl-C interrupts every long operation and loses nothing."""

from __future__ import annotations

import numpy as np
import pytest
import tensorferry as tfy

from tests.support.processes import program, run_python

SCALAR = tfy.TensorSpec((), "int64")


INTERRUPT = """
inside = threading.Event()

def interrupted(work, after=None):
    \"\"\"Runs `work`, which has to be interrupted by a signal that comes a little later.\"\"\"
    def interrupt():
        if after is not None:
            after.wait(60)
        time.sleep(0.2)  # until it sleeps: an earlier signal does not wake it
        os.kill(os.getpid(), signal.SIGINT)
    thread = threading.Thread(target=interrupt)
    try:
        thread.start()
        result = work()
    except KeyboardInterrupt:
        return
    finally:
        thread.join()
    raise AssertionError(f"it was not interrupted, and returned {result!r}")

def late(x):
    \"\"\"The third number takes long, the first time it is asked for.\"\"\"
    if x == 2 and not inside.is_set():
        inside.set()
        time.sleep(60)
    return x

def forever(x):
    return False

def late_numbers():
    for i in range(5):
        yield late(i)

few = tfy.Dataset.range(5).with_format("numpy")
stream = few.filter(lambda x: True)
nothing_new = tfy.Dataset.range(1).with_format("numpy").repeat().unique()
"""


@pytest.mark.parametrize(
    "pipeline",
    [
        "few.map(late, output_signature=scalar)",
        "stream.map(late, output_signature=scalar)",
        "stream.filter(lambda x: late(x) >= 0)",
        "few.take_while(lambda x: late(x) >= 0)",
        "stream.scan(np.int64(0), lambda state, x: (state, late(x)), output_signature=scalar)",
        "few.flat_map(lambda x: tfy.Dataset.from_tensors(late(x)).with_format('numpy'))",
        "stream.map(late, output_signature=scalar).batch(1).unbatch()",
        "tfy.Dataset.zip(stream, stream.map(late, output_signature=scalar)).map(lambda a, b: b)",
        "tfy.Dataset.from_generator(late_numbers, output_signature=scalar).with_format('numpy')",
    ],
)
def test_an_element_interrupted_by_ctrl_c_is_not_lost(pipeline):
    """Neither to the same iterator, nor to one resumed from the state after the interrupt."""
    program(
        INTERRUPT
        + f"""
dataset = {pipeline}
iterator, seen = iter(dataset), []
def work():
    for x in iterator:
        seen.append(int(x))
interrupted(work, inside)
state = iterator.state_dict()
assert state["position"] == len(seen) == 2, seen
resumed = iter(dataset)
resumed.load_state_dict(state)
assert [int(x) for x in iterator] == [2, 3, 4]
assert [int(x) for x in resumed] == [2, 3, 4]
"""
    )


@pytest.mark.parametrize(
    "pipeline",
    [
        "nothing_new.skip(1)",
        "nothing_new.skip(1).prefetch(2)",
        "nothing_new.skip(1).map(late, output_signature=scalar)",
        "numbers.filter(forever)",
        "numbers.filter(forever).prefetch(2)",
        "numbers.unique().skip(10**12)",
        "numbers.filter(lambda x: True).skip(10**12)",
        "numbers.filter(lambda x: True).shard(10**12, 10**11)",
        "numbers.filter(lambda x: True).batch(10**12)",
        "numbers.filter(lambda x: True).shuffle(10**12)",
        "numbers.map(lambda x: x).batch(10**8)",
        "numbers.batch(10).batch(10**6)",
        "tfy.Dataset.range(100, "
        "output_type='int8').with_format('numpy').shuffle(seed=1).repeat().batch(10**9)",
        "tfy.Dataset.range(100, "
        "output_type='int8').with_format('numpy').shuffle(seed=1).repeat().batch(10**9)"
        ".prefetch(1)",
    ],
)
def test_ctrl_c_ends_endless_work_and_a_state_can_be_saved_then(pipeline):
    program(
        INTERRUPT
        + f"""
dataset = {pipeline}
iterator = iter(dataset)
interrupted(lambda: next(iterator))
state = iterator.state_dict()
assert state["position"] == 0
resumed = iter(dataset)
resumed.load_state_dict(state)
for again in (iterator, resumed):
    interrupted(lambda: next(again))
del iterator, resumed, again
assert settled(0)
"""
    )


def test_ctrl_c_while_another_thread_computes_loses_nothing():
    program(
        INTERRUPT
        + """
go_on = threading.Event()

def waits(x):
    if x == 2:
        go_on.wait(60)
    return x

for dataset in (
    few.map(waits, output_signature=scalar).prefetch(2),
    stream.filter(lambda x: waits(x) >= 0).prefetch(2),
):
    go_on.clear()
    iterator = iter(dataset)
    assert [int(next(iterator)) for _ in range(2)] == [0, 1]
    interrupted(lambda: next(iterator))
    if not dataset._plan.is_indexed:
        interrupted(iterator.state_dict)  # waits for the function
    go_on.set()
    assert iterator.state_dict()["position"] == 2
    assert [int(x) for x in iterator] == [2, 3, 4]
"""
    )


def test_ctrl_c_ends_reduce_and_resuming():
    program(
        INTERRUPT
        + """
interrupted(lambda: nothing_new.reduce(np.int64(0), lambda state, x: state))
interrupted(lambda: numbers.filter(forever).reduce(np.int64(0), lambda state, x: state))

pause = 0
def counting():
    for i in range(10**9):
        time.sleep(pause)
        yield i
dataset = tfy.Dataset.from_generator(counting, output_signature=scalar).with_format("numpy")
iterator = iter(dataset)
for _ in range(1000):
    next(iterator)
state = iterator.state_dict()
resumed, pause = iter(dataset), 0.1
def resume():
    resumed.load_state_dict(state)
    next(resumed)  # skips the elements already taken
interrupted(resume)
pause = 0
assert next(resumed) == 1000
"""
    )


def test_only_a_raising_signal_handler_interrupts():
    program(
        INTERRUPT
        + """
class Enough(Exception):
    pass

handled = []
def handler(number, frame):
    handled.append(number)
    if len(handled) == 3:
        raise Enough

signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
try:
    list(nothing_new.map(lambda x: x))
except Enough:
    signal.setitimer(signal.ITIMER_REAL, 0)
assert len(handled) == 3
"""
    )


@pytest.mark.parametrize("ahead", [None, 2])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_a_function_surfaces_in_next(ahead, error):
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
    iterator = iter(
        tfy.Dataset.range(4).repeat().with_format("numpy").one_hot(depth, "uint8").batch(4)
    )
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    try:
        while True:
            next(iterator)
    except KeyboardInterrupt:
        print("interrupted")
    """
    assert run_python(code).split() == ["interrupted"]


@pytest.mark.parametrize("rows", [10, 1 << 22])
def test_what_the_reader_of_rows_raises_is_raised(rows, tmp_path):
    """Also in a thread that does the work for Python, where no signal ends it."""

    class Stopped(BaseException):
        pass

    def read(_):
        raise Stopped("by the reader")

    array = tfy._internal.open_rows(read, "int64", (rows, 4))
    for work in (
        lambda: np.asarray(array),
        lambda: array[0].numpy(),
        lambda: tfy.value_range(array),
        lambda: tfy.save(tmp_path / "x.npy", array),
    ):
        with pytest.raises(Stopped, match="by the reader"):
            work()
