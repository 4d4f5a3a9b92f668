"""Datasets inside TensorFlow live exactly as long as it can read them; a graph without them reports
that.
"""

from __future__ import annotations

import gc
import textwrap
import time
import weakref

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import _internal
from tensorferry.tensorflow import checked_cast

from tests.support.processes import run_python

NUMBER = tfy.TensorSpec((), "int64")


class Array(np.ndarray):
    """An array with weak references."""


def source(length: int = 10_000):
    array = np.arange(length).view(Array)
    return array, weakref.ref(array)


def settle(tf) -> None:
    gc.collect()
    tf.constant(0)  # applies drops of other threads


def comes_true(tf, what) -> bool:
    """Waits for a condition: TensorFlow's threads drop references with a delay."""
    deadline = time.monotonic() + 60
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
        settle(tf)
    return True


def handles_left(tf) -> int:
    """The number of handles that earlier tests left in use, once it is stable."""
    before, still = -1, 0
    while still < 5:
        settle(tf)
        count = _internal.live_handles()
        before, still = count, still + 1 if count == before else 0
        time.sleep(0.01)
    return before


KINDS = {
    "indexed": lambda array: tfy.Dataset.from_tensor_slices(array).batch(100),
    "shuffled": lambda array: tfy.Dataset.from_tensor_slices(array).shuffle(seed=1).batch(100),
    "streamed": lambda array: (
        tfy.Dataset.from_tensor_slices(array).batch(100).with_format("numpy").filter(lambda x: True)
    ),
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_arrays_live_as_long_as_the_dataset(tf, kind) -> None:
    before = handles_left(tf)
    array, alive = source()
    real = KINDS[kind](array).to_tf_data()
    del array
    settle(tf)
    assert sum(1 for _ in real) == 100
    assert alive() is not None
    del real
    assert comes_true(tf, lambda: alive() is None)
    assert comes_true(tf, lambda: _internal.live_handles() <= before)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_iterator_keeps_them(tf, kind) -> None:
    before = handles_left(tf)
    array, alive = source()
    iterator = iter(KINDS[kind](array).to_tf_data().map(lambda x: x * 2).prefetch(1))
    del array
    settle(tf)
    total = sum(int(tf.reduce_sum(next(iterator))) for _ in range(60))
    assert alive() is not None
    total += sum(int(tf.reduce_sum(x)) for x in iterator)
    assert total == 10_000 * 9_999
    del iterator
    assert comes_true(tf, lambda: alive() is None)
    assert comes_true(tf, lambda: _internal.live_handles() <= before)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_function_that_was_traced_with_it_keeps_it(tf, kind) -> None:
    array, alive = source()

    def traced(array):
        captured = KINDS[kind](array).to_tf_data()
        inside = tf.function(lambda: KINDS[kind](source()[0]).to_tf_data().reduce(np.int64(0), add))
        return tf.function(lambda: captured.reduce(np.int64(0), add)), inside

    def add(state, x):
        return state + tf.reduce_sum(x)

    functions = traced(array)
    del array
    for _ in range(2):
        settle(tf)
        assert [int(function()) for function in functions] == [5000 * 9_999] * 2
    assert alive() is not None
    del functions
    assert comes_true(tf, lambda: alive() is None)


def test_an_iterator_is_dropped_inside_a_user_function(tf) -> None:
    before = handles_left(tf)

    def slow():
        for number in range(1000):
            for _ in range(1000):
                pass
            yield number

    made = [
        tfy.Dataset.range(1000).with_format("numpy").map(lambda x: x + 1, output_signature=NUMBER)
    ]
    made.append(tfy.Dataset.from_generator(slow, output_signature=NUMBER).prefetch(4))
    for dataset in made:
        for _ in range(10):
            iterator = iter(dataset.to_tf_data().prefetch(4))
            next(iterator)
            del iterator
    assert comes_true(tf, lambda: _internal.live_handles() <= before)


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.slow
def test_thousands_of_datasets_leave_nothing_behind(tf) -> None:
    def make(count: int) -> None:
        for _ in range(count):
            # 800 kB each, so that leaks of a quarter are visible.
            tfy.Dataset.from_tensor_slices(np.ones(100_000)).batch(50_000).to_tf_data()

    plan = tfy.Dataset.from_tensor_slices(np.ones(100_000))._plan
    make(50)
    handles, memory = handles_left(tf), resident()
    for _ in range(20_000):
        plan.handle()
    make(500)
    for kind in KINDS.values():
        for _ in range(20):
            assert sum(1 for _ in kind(np.ones(1000)).to_tf_data()) == 10
    assert comes_true(tf, lambda: _internal.live_handles() <= handles)
    assert comes_true(tf, lambda: resident() - memory < 100 << 20)


def test_a_saved_model_that_reads_a_dataset_is_refused_or_names_it(tf, tmp_path) -> None:
    class Reader(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.real = tfy.Dataset.range(10).batch(3).to_tf_data()

        @tf.function(input_signature=[])
        def total(self):
            return self.real.reduce(np.int64(0), lambda state, x: state + tf.reduce_sum(x))

    before = handles_left(tf)
    reader = Reader()
    assert int(reader.total()) == 45
    tf.saved_model.save(reader, str(tmp_path / "model"))
    del reader
    assert comes_true(tf, lambda: _internal.live_handles() <= before)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    with pytest.raises(tf.errors.FailedPreconditionError, match="does not take its arrays along"):
        loaded.total()


@pytest.mark.slow
def test_another_process_loads_casts_and_reports_missing_datasets(tf, tmp_path) -> None:
    class Caster(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
        def narrow(self, x):
            return checked_cast(x, tf.uint8)

    tf.saved_model.save(Caster(), str(tmp_path / "model"))
    real = tfy.Dataset.range(10).shuffle(seed=1).batch(3).to_tf_data()
    (tmp_path / "graph").write_bytes(real._as_serialized_graph().numpy())
    script = """
    import pathlib, sys
    import tensorflow as tf
    from tensorferry.tensorflow import register_ops

    folder = pathlib.Path(sys.argv[1])
    graph = tf.compat.v1.GraphDef.FromString((folder / "graph").read_bytes())
    made = graph.node[-1].input[0]
    del graph.node[-1]

    def count():
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            (variant,) = tf.graph_util.import_graph_def(graph, return_elements=[f"{made}:0"])
            read = tf.data.experimental.from_variant(variant, tf.TensorSpec([None], tf.int64))
            session.run(read.reduce(0, lambda n, x: n + 1))

    for register in (lambda: None, register_ops):
        register()
        try:
            count()
        except (tf.errors.OpError, ValueError) as error:
            print(type(error).__name__, str(error).replace(chr(10), " "))
    model = tf.saved_model.load(str(folder / "model"))
    print(model.narrow(tf.constant([1, 2], tf.int64)).numpy().tolist())
    try:
        model.narrow(tf.constant([1, 300], tf.int64))
    except tf.errors.InvalidArgumentError as error:
        print(str(error).replace(chr(10), " "))
    """
    unknown, elsewhere, cast, checked = run_python(script, str(tmp_path)).splitlines()
    assert "Op type not registered 'Tensorferry" in unknown
    assert elsewhere.startswith("FailedPreconditionError")
    assert "is not in this process" in elsewhere
    assert cast == "[1, 2]"
    assert "int64 -> uint8: 1 of 2 values does not fit" in checked


GIVEN_UP = """
import gc
import tensorflow as tf, tensorferry as tfy

number = tfy.TensorSpec((), "int64")
numbers = tfy.Dataset.range(3).with_format("numpy")

class Cycle:
    pass

def function(x):
    if x == 7:
        raise ValueError("seven")
    return x
"""


def test_drops_by_tensorflow_inside_a_user_function_need_no_gil() -> None:
    # TensorFlow releases the GIL before it drops a tensor, here inside a user function.
    script = """
    def left_behind():
        for plan in (numbers, tfy.Dataset.range(7, 9).with_format("numpy").prefetch(4)):
            cycle = Cycle()
            cycle.itself, cycle.real = (
                cycle,
                plan.map(function, output_signature=number).to_tf_data(),
            )
            cycle.iterator = iter(cycle.real.ignore_errors())
            next(cycle.iterator)

    def collects(x):
        gc.collect()
        return x

    gc.disable()
    left_behind()
    print(
        [int(x) for x in numbers.map(collects, output_signature=number)],
        tfy._internal.live_handles(),
    )
    """
    assert run_python(GIVEN_UP + textwrap.dedent(script)) == "[0, 1, 2] 0\n"


def test_a_function_may_read_a_dataset_inside_tensorflow_that_calls_functions() -> None:
    # TensorFlow releases the GIL, and computes the element in the calling thread.
    script = """
    real = numbers.map(function, output_signature=number).batch(3).to_tf_data()
    failing = (
        tfy.Dataset.range(7, 8)
        .with_format("numpy")
        .map(function, output_signature=number)
        .to_tf_data()
    )

    def reads(x):
        try:
            failing.get_single_element()
        except tf.errors.InvalidArgumentError as error:
            assert "seven" in str(error)
            return x + int(tf.reduce_sum(real.get_single_element()))

    print([int(x) for x in numbers.map(reads, output_signature=number)])
    """
    assert run_python(GIVEN_UP + textwrap.dedent(script)) == "[3, 4, 5]\n"
