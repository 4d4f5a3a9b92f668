"""``map(num_parallel_calls=)``: threads that call a function, with the results of one call at a
time.
"""

from __future__ import annotations

import gc
import itertools
import logging
import pickle
import random
import threading
import time
import traceback
import weakref

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from tensorferry import _internal, errors
from tensorferry.dataset._functions import parallel

from tests.support.paths import ROOT
from tests.support.processes import program, run_python

SCALAR = tfy.TensorSpec((), "int64")
FORMATS = ["tensorflow", "torch", "jax", "numpy", "tensorferry"]


def numbers(n: int = 40):
    return tfy.Dataset.range(n).with_format("numpy")


def uneven(x):
    """Takes longer for some elements, so that calls end in another order than they begin."""
    time.sleep(int(x) * 7 % 5 / 2000)
    return x * 3


def streamed(n: int = 40):
    return numbers(n).filter(lambda x: True)


def generated(n: int = 40):
    return tfy.Dataset.from_generator(lambda: iter(range(n)), output_signature=SCALAR).with_format(
        "numpy"
    )


INPUTS = {
    "indexed": numbers,
    "streamed": streamed,
    "generated": generated,
    "shuffled": lambda n=40: numbers(n).shuffle(seed=3, reshuffle_each_iteration=False),
    "after a map": lambda n=40: numbers(n).map(lambda x: x + 1),
}
AFTER = {
    "alone": lambda data: data,
    "batches": lambda data: data.batch(7),
    "whole batches": lambda data: data.batch(7, drop_remainder=True).prefetch(2),
    "some batches": lambda data: data.skip(3).batch(4).take(5),
    "filtered": lambda data: data.filter(lambda x: x % 2 == 0),
    "mapped": lambda data: data.map(lambda x: x - 1).batch(3),
    "padded": lambda data: data.map(lambda x: np.arange(x % 4)).padded_batch(5),
    "shuffled": lambda data: data.shuffle(10, seed=1, reshuffle_each_iteration=False).batch(3),
    "repeated": lambda data: data.batch(9).repeat(2),
    "cached": lambda data: data.cache().repeat(2),
    "windows": lambda data: data.window(3).flat_map(lambda window: window.batch(2)),
    "ahead": lambda data: data.prefetch(3),
}


def values(elements):
    return [np.asarray(element).tolist() for element in elements]


@pytest.mark.parametrize("made", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
def test_results_and_states_are_those_of_one_call_at_a_time(made, after) -> None:
    def plan(calls=None):
        return after(made().map(uneven, calls, output_signature=SCALAR))

    expected = values(plan())
    assert values(plan(3)) == values(plan(1)) == expected
    assert plan(3)._plan.cardinality == plan()._plan.cardinality
    for position in sorted({0, 1, 2, len(expected) // 2, len(expected) - 1, len(expected)}):
        saving = iter(plan(3))
        assert values(itertools.islice(saving, position)) == expected[:position]
        state = saving.state_dict()
        for calls in (3, 2, None):
            resumed = iter(plan(calls))
            resumed.load_state_dict(state)
            assert values(resumed) == expected[position:]
        assert values(saving) == expected[position:], "the saved pass continues"


def test_calls_overlap_also_across_batches() -> None:
    barrier = threading.Barrier(4, timeout=30)

    def meets(x):
        barrier.wait()
        return x

    for made in (numbers, streamed, generated):
        data = made(8).map(meets, 4, output_signature=SCALAR)
        assert values(data) == list(range(8))
        assert values(data.batch(2)) == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_without_it_calls_are_made_one_at_a_time_when_a_result_is_asked_for() -> None:
    called = []
    data = numbers().map(lambda x: called.append(int(x)) or x, output_signature=SCALAR)
    pass_ = iter(data)
    for i in range(5):
        next(pass_)
        assert called == list(range(i + 1))


def test_it_runs_ahead_by_a_bounded_number_of_elements() -> None:
    called = itertools.count()
    endless = numbers(5).repeat()
    for data in (endless, endless.filter(lambda x: True)):
        first = next(called)
        pass_ = iter(data.map(lambda x: next(called) * 0 + x, 3, output_signature=SCALAR))
        for taken in range(1, 30):
            assert int(next(pass_)) == (taken - 1) % 5
            time.sleep(0.002)
        before = next(called)
        assert before - first <= taken + 6 + 1
        del pass_


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_gives_its_tensors_to_the_function(format) -> None:
    rows = np.arange(24, dtype=np.float32).reshape(8, 3)
    data = tfy.Dataset.from_tensor_slices({"row": rows, "label": np.arange(8)}).with_format(format)
    kinds = set()

    def function(element):
        kinds.add(type(element["row"]))
        return {"row": element["row"][1:], "label": element["label"]}

    spec = {"row": tfy.TensorSpec((2,), "float32"), "label": tfy.TensorSpec((), "int64")}
    data = data.map(function, 2, output_signature=spec).batch(3)
    found = list(data)
    assert np.concatenate([np.asarray(batch["row"]) for batch in found]).tolist() == (
        rows[:, 1:].tolist()
    )
    (kind,) = {kind.__name__ for kind in kinds}
    assert type(found[0]["row"]).__name__ == kind


def test_it_works_inside_to_tf_data() -> None:
    for made in (numbers, streamed, generated):
        data = made().map(uneven, 3, output_signature=SCALAR).batch(4)
        real = data.to_tf_data()
        assert isinstance(real, tf.data.Dataset)
        assert values(real) == values(data)
    assert values(numbers().map(uneven, 3).to_tf_data().repeat(2).take(60)) == (
        [3 * i for i in [*range(40), *range(20)]]
    )


def test_a_traced_map_agrees_with_tf_data() -> None:
    def plan(Dataset):
        return Dataset.range(20).map(lambda x: (x * 2, {"y": tf.cast(x, tf.float32)}), 3)

    ours, theirs = list(plan(tfy.Dataset)), list(plan(tf.data.Dataset))
    assert [int(a) for a, _ in ours] == [int(a) for a, _ in theirs]
    assert plan(tfy.Dataset).element_spec == plan(tf.data.Dataset).element_spec
    assert values(numbers(0).map(uneven, 3)) == []


@pytest.mark.parametrize("made", INPUTS.values(), ids=INPUTS)
def test_exceptions_surface_at_their_elements(made) -> None:
    bad = {2, 3, 11, 39}

    def fails(x):
        time.sleep(int(x) % 3 / 2000)
        if int(x) in bad:
            raise LookupError(f"no {int(x)}")
        return x

    plain, pass_ = values(made()), iter(made().map(fails, 4, output_signature=SCALAR))
    found, raised = [], []
    while True:
        try:
            found.append(int(next(pass_)))
        except LookupError as error:
            raised.append(error)
            found.append(-int(str(error).split()[1]))
        except StopIteration:
            break
    assert found == [-x if x in bad else x for x in plain]
    for error in raised:
        functions = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        assert "fails" in functions
        assert any("in map, at its element" in note for note in error.__notes__)


def test_the_number_is_checked() -> None:
    for wrong in (0, -2, 2**15 + 1):
        with pytest.raises(errors.InvalidArgumentError, match="num_parallel_calls has to be at"):
            numbers().map(uneven, wrong)
    for wrong in (1.5, "2", True):
        with pytest.raises(errors.InvalidTypeError, match="num_parallel_calls"):
            numbers().map(uneven, wrong)
    assert parallel.calls(tf.data.AUTOTUNE, "map") == _internal.cpus() >= 1
    assert values(numbers(9).map(uneven, tf.data.AUTOTUNE)) == [3 * i for i in range(9)]
    assert values(numbers(9).map(uneven, np.int64(5))) == [3 * i for i in range(9)]


def test_one_cpu_is_told_once_in_the_log(monkeypatch, caplog) -> None:
    monkeypatch.setattr(_internal, "cpus", lambda: 1)
    monkeypatch.setattr(parallel, "_told", set())
    with caplog.at_level(logging.WARNING, "tensorferry"):
        for _ in range(2):
            numbers().map(uneven, 4, output_signature=SCALAR)
    assert [record.getMessage() for record in caplog.records] == [
        "map: num_parallel_calls=4, but the process may use one CPU: the calls overlap only while "
        "they wait, for files or a network."
    ]


@pytest.mark.parametrize(
    ("function", "count", "words"),
    [
        # How often the consumer meets a short call depends on the machine.
        ("adds_in_python", 4000, "adds_in_python holds the GIL (or not)"),
        ("adds_long_in_python", 150, "adds_long_in_python holds the GIL"),
        ("compresses", 2000, None),
        ("sleeps", 400, None),
        # It holds the GIL and is quick: which is told first depends on the machine.
        ("adds_one", 4000, "adds_one (or not)"),
    ],
)
def test_threads_that_do_not_help_are_told_once_in_the_log(function, count, words) -> None:
    # In a process of its own: other tests' threads take the GIL as well.
    run_python(
        f"""
        import logging, sys
        sys.path.insert(0, {str(ROOT)!r})
        import tensorferry as tfy
        from tests.support.slow_functions import {function} as function

        class Handler(logging.Handler):
            def emit(self, record):
                told.append(record.getMessage())

        told = []
        logging.getLogger("tensorferry").addHandler(Handler())
        spec = tfy.TensorSpec((), "int64")
        for _ in range(2):
            data = tfy.Dataset.range({count}).with_format("numpy")
            found = [int(x) for x in data.map(function, 2, output_signature=spec)]
            assert found == [int(function(i)) for i in range({count})]
        words = {words!r}
        words, _, maybe = (words or "").partition(" (")
        assert len(told) == bool(words) or (maybe and not told), told
        assert all(words in line for line in told), told
        """
    )


def test_a_function_that_becomes_slow_is_called_on_threads_again() -> None:
    running, most = 0, 0

    def changing(x):
        nonlocal running, most
        if int(x) >= 3000:
            running += 1
            most = max(most, running)
            time.sleep(0.002)
            running -= 1
        return x

    pass_ = iter(numbers(3200).map(changing, 3, output_signature=SCALAR))
    assert values(itertools.islice(pass_, 2000)) == list(range(2000))
    resumed = iter(numbers(3200).map(changing, 3, output_signature=SCALAR))
    resumed.load_state_dict(pass_.state_dict())
    assert values(pass_) == values(resumed) == list(range(2000, 3200))
    assert most > 1


def test_interleave_says_once_that_the_number_has_no_effect(monkeypatch, caplog) -> None:
    monkeypatch.setattr(parallel, "_told", set())
    with caplog.at_level(logging.WARNING, "tensorferry"):
        for calls in (None, 1, 4, 4):
            found = values(numbers(3).interleave(tfy.Dataset.range, num_parallel_calls=calls))
            assert found == [0, 0, 1]
    (record,) = caplog.records
    assert "interleave: num_parallel_calls=4 has no effect" in record.getMessage()


def test_a_pickled_plan_keeps_the_number() -> None:
    data = pickle.loads(pickle.dumps(numbers().map(uneven, 3).batch(4)))
    assert values(data) == values(numbers().map(uneven).batch(4))


def test_several_threads_consume_one_iterator() -> None:
    pass_ = iter(numbers(300).map(lambda x: x, 3, output_signature=SCALAR))
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.extend(int(x) for x in pass_)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == list(range(300))


def test_a_function_that_uses_the_iterator_that_calls_it_is_an_error() -> None:
    for made in (numbers, streamed):
        holder: list = []
        data = made(4).map(lambda x, holder=holder: next(holder[0]), 2, output_signature=SCALAR)
        holder.append(iter(data))
        with pytest.raises(RuntimeError, match="uses the"):
            next(holder[0])


def test_a_result_does_not_wait_for_the_input() -> None:
    ready = threading.Semaphore(0)

    def source():
        for i in range(6):
            assert ready.acquire(timeout=30)
            yield i

    data = tfy.Dataset.from_generator(source, output_signature=SCALAR).with_format("numpy")
    pass_ = iter(data.map(lambda x: x * 2, 4, output_signature=SCALAR))
    for i in range(6):
        ready.release()
        assert int(next(pass_)) == 2 * i


def test_a_cycle_through_the_function_is_collected() -> None:
    class Owner:
        def __init__(self):
            self.data = numbers().map(self.function, 2, output_signature=SCALAR)

        def function(self, x):
            return x

    owner = Owner()
    assert values(owner.data) == list(range(40))
    seen = weakref.ref(owner)
    del owner
    for _ in range(6000):
        gc.collect()
        if seen() is None:
            break
        time.sleep(0.01)  # a thread that ends may still hold its plan
    assert seen() is None


def test_random_plans_resume_at_random_positions() -> None:
    for seed in range(25):
        rng = random.Random(seed)
        made = rng.choice(list(INPUTS.values()))
        after = rng.choice(list(AFTER.values()))
        calls, size = rng.randint(1, 5), rng.randint(0, 25)

        def plan(calls=calls, made=made, after=after, size=size):
            return after(made(size).map(lambda x: x * 3, calls, output_signature=SCALAR))

        expected = values(plan(None))
        position = rng.randint(0, len(expected))
        saving = iter(plan())
        assert values(itertools.islice(saving, position)) == expected[:position], seed
        resumed = iter(plan(rng.randint(1, 5)))
        resumed.load_state_dict(saving.state_dict())
        assert values(resumed) == expected[position:], seed


def test_output_signature_keeps_functions_from_being_called_when_the_dataset_is_made() -> None:
    def fails(*args):
        raise AssertionError("it was called")

    for format in FORMATS:
        data = tfy.Dataset.range(4).with_format(format)
        data.map(fails, output_signature=SCALAR)
        data.map(fails, 2, output_signature=SCALAR)
        data.scan(np.int64(0), fails, output_signature=SCALAR)
        data.flat_map(fails, output_signature=SCALAR)
        data.interleave(fails, output_signature=SCALAR)
        tfy.Dataset.from_generator(fails, output_signature=SCALAR)
        if format != "tensorflow":  # a traced predicate is checked
            data.filter(fails)
            data.take_while(fails)


def test_ctrl_c_interrupts_and_the_iteration_continues() -> None:
    program("""
        def late(x):
            if x == 3 and not inside.is_set():
                inside.set()
                time.sleep(1)
            return x

        inside = threading.Event()

        def interrupt():
            inside.wait(60)
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGINT)

        for data in (numbers.take(6), numbers.take(6).filter(lambda x: True)):
            inside.clear()
            thread = threading.Thread(target=interrupt)
            thread.start()
            pass_, found = iter(data.map(late, 2, output_signature=scalar)), []
            try:
                for x in pass_:
                    found.append(int(x))
                raise AssertionError("not interrupted")
            except KeyboardInterrupt:
                pass
            thread.join()
            assert found == [0, 1, 2], found
            assert [int(x) for x in pass_] == [3, 4, 5]
            del pass_
            assert settled(0), threads()
        """)


def test_a_forked_child_continues_with_threads_of_its_own() -> None:
    program("""
        import warnings
        warnings.simplefilter("ignore")
        data = numbers.take(30).map(lambda x: (time.sleep(0.001), x)[1], 3, output_signature=scalar)
        pass_ = iter(data.batch(2))
        before = [x.tolist() for x in (next(pass_), next(pass_))]
        child = os.fork()
        rest = [x.tolist() for x in pass_]
        ok = before + rest == [[i, i + 1] for i in range(0, 30, 2)]
        if child == 0:
            os._exit(0 if ok else 1)
        assert ok
        assert os.waitpid(child, 0)[1] == 0
        """)


@pytest.mark.parametrize("ending", ["pass", "sys.exit()", "del pass_", "raise SystemExit"])
def test_the_interpreter_exits_while_threads_call_functions(ending) -> None:
    program(f"""
        def busy(x):
            end = time.monotonic() + 0.003
            while time.monotonic() < end:
                pass
            return x

        data = numbers.map(busy, 4, output_signature=scalar)
        for pass_ in [iter(data), iter(data.batch(2)), iter(data.filter(lambda x: True))]:
            next(pass_)
        {ending}
        """)


def double(batch):
    return batch * 2


def test_batched_functions_take_batches_and_elements_stay_elements() -> None:
    for made in (numbers, streamed, generated):
        for calls in (None, 3):
            sizes = []

            def doubles(batch, sizes=sizes):
                sizes.append(len(batch))
                return batch * 2

            data = made(25).map(doubles, calls, batched=True, batch_size=10)
            assert values(data) == [2 * i for i in range(25)]
            assert sorted(sizes[-3:]) == [5, 10, 10]
            assert data.element_spec == tfy.TensorSpec((), "int64")
            assert data._plan.cardinality == made(25)._plan.cardinality
            for size in (10, 7):
                assert values(data.batch(size)) == values(made(25).map(double).batch(size))
            for position in (0, 3, 10, 24, 25):
                pass_ = iter(data)
                assert len(values(itertools.islice(pass_, position))) == position
                resumed = iter(data)
                resumed.load_state_dict(pass_.state_dict())
                assert values(resumed) == [2 * i for i in range(position, 25)]
            assert values(data.to_tf_data()) == values(data)


@pytest.mark.parametrize("format", FORMATS)
def test_batched_functions_work_in_every_format(format) -> None:
    rows = np.arange(14, dtype=np.float32).reshape(7, 2)
    data = tfy.Dataset.from_tensor_slices((rows, np.arange(7))).with_format(format)
    spec = {"sum": tfy.TensorSpec((), "float32"), "n": tfy.TensorSpec((), "int64")}

    def function(row, n):
        return {"sum": np.asarray(row).sum(1), "n": n}

    for given in (spec, None):
        made = data.map(function, batched=True, batch_size=3, output_signature=given)
        assert [(float(x["sum"]), int(x["n"])) for x in made] == [
            (float(row.sum()), i) for i, row in enumerate(rows)
        ]


def test_batched_functions_have_to_keep_the_number_of_rows() -> None:
    data = numbers(7).map(lambda batch: batch[:2], batched=True, batch_size=3)
    pass_ = iter(data)
    for _ in range(2):
        with pytest.raises(ValueError, match="returned 2 rows for a batch of 3"):
            next(pass_)
    batches = numbers(7).map(lambda batch: batch[:1], batched=True, batch_size=3).batch(3)
    with pytest.raises(ValueError, match="returned 1 rows"):
        list(batches)
    with pytest.raises(errors.InvalidArgumentError, match="is a scalar"):
        numbers(7).map(lambda batch: batch.sum(), batched=True)
    with pytest.raises(errors.InvalidArgumentError, match="batch_size has to be at least 1"):
        numbers(7).map(double, batched=True, batch_size=0)
    assert values(numbers(0).map(double, batched=True)) == []
    assert values(numbers(1500).map(double, batched=True)) == [2 * i for i in range(1500)]


def test_batched_functions_may_run_in_processes() -> None:
    from tests.support import slow_functions

    data = numbers(25).map(
        slow_functions.triple, 2, batched=True, batch_size=4, workers="processes"
    )
    assert values(data) == [3 * i for i in range(25)]
    assert values(data.batch(4)) == values(numbers(25).map(slow_functions.triple).batch(4))
