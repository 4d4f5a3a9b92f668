"""Datasets as real tf.data.Datasets, in the rest of TensorFlow."""

from __future__ import annotations

import functools
import itertools
import threading
from collections import namedtuple

import numpy as np
import pytest
import tensorferry as tfy

from tests.support.dataset_checks import assert_same_elements
from tests.support.processes import run_python

Pair = namedtuple("Pair", "a b")
NUMBER = tfy.TensorSpec((), "int64")


def batches():
    return tfy.Dataset.from_tensor_slices(
        {"x": np.arange(40).reshape(20, 2), "y": np.arange(20)}
    ).batch(4)


def stream():
    """Numbers as a stream, without random access."""
    return tfy.Dataset.range(12).with_format("numpy").filter(lambda x: x % 3 != 0)


def mapped(dataset, function=lambda x: x):
    return dataset.with_format("numpy").map(function, output_signature=NUMBER)


PLANS = {
    "indexed": lambda: tfy.Dataset.range(8),
    "shuffled": lambda: tfy.Dataset.range(8).shuffle(seed=5),
    "shuffled once": lambda: tfy.Dataset.range(8).shuffle(seed=5, reshuffle_each_iteration=False),
    "function": lambda: mapped(tfy.Dataset.range(8)),
    "shuffled function": lambda: mapped(tfy.Dataset.range(8).shuffle(seed=5)).batch(3),
    "stream": stream,
    "native stream": lambda: tfy.Dataset.from_tensor_slices([1, 2, 1, 3]).unique(),
    "shuffled stream": lambda: stream().shuffle(4, seed=5),
    "generator": lambda: tfy.Dataset.from_generator(
        lambda: iter(range(5)), output_signature=NUMBER
    ),
    "endless": lambda: tfy.Dataset.range(3).shuffle(seed=5).repeat(),
    "empty": lambda: tfy.Dataset.range(0),
    "namedtuple": lambda: tfy.Dataset.from_tensor_slices(
        Pair(np.arange(6), {"c": (np.ones((6, 2)),)})
    ).batch(4),
    "nothing in a part": lambda: tfy.Dataset.from_tensor_slices({"x": np.arange(6), "y": None}),
    "prefetched": lambda: tfy.Dataset.range(8).shuffle(seed=5).batch(3).prefetch(2),
    "prefetched as seems good": lambda: mapped(tfy.Dataset.range(8)).prefetch(-1),
    "options": lambda: tfy.Dataset.range(8).with_options(tfy.Options(threads=1, read_ahead=3)),
    "stream options": lambda: stream().with_options(tfy.Options(read_ahead=3)),
}


@pytest.mark.parametrize("name", sorted(PLANS))
def test_every_kind_of_plan_yields_the_iterated_elements(name) -> None:
    real, ours = PLANS[name]().to_tf_data(), PLANS[name]().with_format("tensorflow")
    assert real.element_spec == ours.element_spec
    assert real.cardinality().numpy() == ours.cardinality()
    for _ in range(2):
        assert_same_elements(real.take(20), itertools.islice(ours, 20))


def test_batch_dimensions_are_known_only_if_fixed(tf) -> None:
    rows = tfy.Dataset.from_tensor_slices(np.zeros((10, 3)))
    assert rows.batch(4).to_tf_data().element_spec.shape.as_list() == [None, 3]
    assert rows.batch(4, drop_remainder=True).to_tf_data().element_spec.shape.as_list() == [4, 3]
    seen = []
    list(
        rows.batch(4, drop_remainder=True)
        .to_tf_data()
        .map(lambda x: seen.append(x.shape.as_list()) or x)
    )
    assert seen == [[4, 3]]


def test_stages_of_tf_data_accept_it(tf) -> None:
    real = batches().to_tf_data()
    mixed = (
        tf.data.Dataset.zip((real.map(lambda e: e["y"] * 2), real.unbatch().batch(4)))
        .cache()
        .prefetch(2)
    )
    for _ in range(2):
        pairs = list(mixed)
        assert [pair[0].numpy().tolist() for pair in pairs] == [
            (np.arange(4) * 2 + 8 * i).tolist() for i in range(5)
        ]
        assert [pair[1]["y"].numpy().tolist() for pair in pairs] == [
            list(range(4 * i, 4 * i + 4)) for i in range(5)
        ]


@pytest.mark.parametrize("name", ["indexed", "shuffled", "stream"])
def test_it_may_be_nested_in_datasets_of_tf_data(tf, name) -> None:
    real = PLANS[name]().to_tf_data()
    rounds = [int(x) for x in tf.data.Dataset.range(2).flat_map(lambda _: real)]
    both = PLANS[name]().with_format("numpy")
    assert rounds == [int(x) for _ in range(2) for x in both]
    mixed = tf.data.Dataset.range(4).interleave(
        lambda i: real.map(lambda x: x + 100 * i), 2, num_parallel_calls=2
    )
    seen = [int(x) for x in mixed]
    each = sorted(int(x) for x in both)
    assert sorted(seen) == [x + 100 * i for i in range(4) for x in each]


def test_saves_by_tf_data_are_independent_of_it(tf, tmp_path) -> None:
    real = tfy.Dataset.range(10).shuffle(seed=1).batch(3).to_tf_data()
    ours = tfy.Dataset.range(10).shuffle(seed=1).batch(3)
    real.save(str(tmp_path / "saved"))
    snapshot = real.snapshot(str(tmp_path / "snapshot"))
    first = list(ours)
    assert_same_elements(tf.data.Dataset.load(str(tmp_path / "saved")), first)
    second = list(ours)
    for _ in range(2):
        assert_same_elements(snapshot, second)


def test_it_works_inside_tf_function(tf) -> None:
    real = batches().to_tf_data()

    def total(real):
        return real.reduce(np.int64(0), lambda state, e: state + tf.reduce_sum(e["y"]))

    made_inside = tf.function(lambda: total(batches().to_tf_data()))
    captured = tf.function(functools.partial(total, real))
    iterator = tf.function(lambda iterator: next(iterator)["y"])
    for _ in range(2):
        assert total(real).numpy() == captured().numpy() == made_inside().numpy() == 190
    elements = iter(real)
    assert [iterator(elements).numpy().tolist() for _ in range(5)] == [
        list(range(4 * i, 4 * i + 4)) for i in range(5)
    ]


def test_a_user_function_is_called_in_order_one_call_at_a_time() -> None:
    calls, together, lock = [], [], threading.Semaphore(1)

    def note(x):
        together.append(not lock.acquire(blocking=False))
        calls.append(int(x))
        threading.Event().wait(0.001)  # time for another call to begin
        if not together[-1]:
            lock.release()
        return x

    real = mapped(tfy.Dataset.range(50), note).to_tf_data()
    assert [int(x) for x in real] == calls == list(range(50))
    assert not any(together)


def test_a_graph_of_tensorflow_1_is_refused(tf) -> None:
    with tf.Graph().as_default(), pytest.raises(ValueError, match=r"to_tf_data: a tf.Graph"):
        tfy.Dataset.range(3).to_tf_data()


def classifier(tf):
    model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(2)])
    model.compile(
        tf.keras.optimizers.SGD(), tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


def test_a_keras_model_is_fitted_on_it_as_on_the_same_batches(tf) -> None:
    x, y = np.random.default_rng(0).random((64, 3), np.float32), np.arange(64) % 2

    def train():
        return tfy.Dataset.from_tensor_slices((x, y)).shuffle(seed=1).batch(16)

    weights = {0: 1.0, 1: 2.0}
    tf.keras.utils.set_random_seed(0)
    fitted = classifier(tf).fit(
        train().to_tf_data(),
        epochs=3,
        validation_data=train().to_tf_data(),
        class_weight=weights,
        shuffle=False,
        verbose=0,
    )
    tf.keras.utils.set_random_seed(0)
    model, epochs = classifier(tf), train()
    for epoch in range(3):
        losses = [float(model.train_on_batch(a, b, class_weight=weights)) for a, b in epochs]
        assert fitted.history["loss"][epoch] == pytest.approx(np.mean(losses), rel=1e-6)
    assert len(fitted.history["val_loss"]) == 3


def test_steps_per_epoch_continue_through_an_endless_dataset(tf) -> None:
    x, y = np.zeros((6, 3), np.float32), np.arange(6) % 2
    seen = tf.Variable(tf.zeros([0], tf.int64), shape=[None])

    def note(i, element):
        with tf.control_dependencies([seen.assign(tf.concat([seen, i], 0))]):
            return tf.nest.map_structure(tf.identity, element)

    ours = tfy.Dataset.from_tensor_slices((np.arange(6), (x, y))).shuffle(seed=1).repeat().batch(2)
    real = ours.to_tf_data().map(note, num_parallel_calls=1)
    history = classifier(tf).fit(real, epochs=4, steps_per_epoch=3, shuffle=False, verbose=0)
    assert len(history.history["loss"]) == 4
    rounds = seen.numpy()[:24].reshape(4, 6)
    assert all(sorted(each) == list(range(6)) for each in rounds.tolist())
    assert len({tuple(each) for each in rounds.tolist()}) > 1


@pytest.mark.slow
def test_batches_are_computed_while_another_thread_holds_the_gil() -> None:
    # `read` through PyDLL keeps the GIL until the hundredth batch writes to the pipe. A loop that
    # needs the GIL would deadlock.
    script = """
    import ctypes, os, sys
    import numpy as np, tensorflow as tf, tensorferry as tfy

    pipe = sys.argv[1]
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR)
    array = np.arange(40_000).reshape(-1, 10)

    def write(i, batch):
        with tf.control_dependencies(
            [tf.cond(i == 99, lambda: tf.io.write_file(pipe, "x"), tf.no_op)]
        ):
            return tf.identity(batch)

    real = (
        tfy.Dataset.from_tensor_slices(array).shuffle(seed=1).cast("float32").batch(32).to_tf_data()
    )
    iterator = iter(real.enumerate().map(write).prefetch(200))
    first = next(iterator)
    assert ctypes.PyDLL(None).read(end, ctypes.create_string_buffer(1), 1) == 1
    print(1 + sum(1 for _ in iterator))
    """
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        assert run_python(script, f"{folder}/pipe").split() == ["125"]


@pytest.mark.slow
def test_it_works_in_tf_datas_debug_mode() -> None:
    script = """
    import tensorflow as tf, tensorferry as tfy
    tf.data.experimental.enable_debug_mode()
    make = lambda: tfy.Dataset.range(5).shuffle(seed=1)
    assert [int(x) for x in make().to_tf_data()] == [int(x) for x in make()]
    print("same")
    """
    assert "same" in run_python(script)


def test_functions_are_called_ahead_of_time_only_by_a_prefetch(tf) -> None:
    calls = []

    def function(x):
        calls.append(int(x))
        return x

    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False  # tf.data's own
    iterator = iter(mapped(tfy.Dataset.range(8), function).to_tf_data().with_options(options))
    for expected in range(4):
        assert int(next(iterator)) == expected
        one_ahead = tf.__version__.startswith(("2.16.", "2.17."))
        assert calls == list(range(expected + 1)) or (
            one_ahead and calls == list(range(expected + 2))
        )
