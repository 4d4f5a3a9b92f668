"""TensorFlow ops of ours: datasets inside tf.data, and the cast that checks."""

from __future__ import annotations

import functools
import gc

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry.tensorflow import checked_cast


def batches():
    return tfy.Dataset.from_tensor_slices({"x": np.arange(40).reshape(20, 2), "y": np.arange(20)}).batch(4)


def test_tf_datas_own_stages_take_it(tf) -> None:
    real = batches().to_tf_data()
    mixed = tf.data.Dataset.zip((real.map(lambda e: e["y"] * 2), real.unbatch().batch(4))).cache().prefetch(2)
    for _ in range(2):
        pairs = list(mixed)
        assert [pair[0].numpy().tolist() for pair in pairs] == [(np.arange(4) * 2 + 8 * i).tolist() for i in range(5)]


def test_it_works_inside_tf_function_and_outlives_its_dataset(tf) -> None:
    real = batches().to_tf_data()

    def total(real):
        return real.reduce(np.int64(0), lambda state, e: state + tf.reduce_sum(e["y"]))

    total = tf.function(functools.partial(total, real))
    assert total().numpy() == 190
    iterator = iter(real)
    del real
    gc.collect()
    assert [e["y"].shape[0] for e in iterator] == [4] * 5
    assert total().numpy() == 190


def test_a_source_lives_as_long_as_its_dataset_and_no_longer(tf) -> None:
    import weakref

    class Array(np.ndarray):
        pass

    array = np.arange(10_000).view(Array)
    alive = weakref.ref(array)
    real = tfy.Dataset.from_tensor_slices(array).batch(100).to_tf_data()
    del array
    gc.collect()
    assert sum(1 for _ in real) == 100
    assert alive() is not None
    del real
    for _ in range(3):
        gc.collect()
        tf.constant(0)
    assert alive() is None


def test_many_datasets_leave_nothing_behind() -> None:
    from tensorferry import _internal

    array = np.arange(1000)
    plan = tfy.Dataset.from_tensor_slices(array)._plan
    for _ in range(2000):
        plan.handle()
    assert isinstance(plan, _internal.Plan)
    for _ in range(20):
        assert sum(1 for _ in tfy.Dataset.from_tensor_slices(array).batch(100).to_tf_data()) == 10


def test_an_error_is_tensorflows_class_with_our_message(tf) -> None:
    real = tfy.Dataset.from_tensor_slices(np.array([1, 300])).cast("uint8").to_tf_data()
    with pytest.raises(tf.errors.InvalidArgumentError, match="int64 -> uint8: 1 of 1 value does not fit"):
        list(real)


def test_a_checkpoint_goes_on_where_it_was_saved(tf, tmp_path) -> None:
    iterator = iter(batches().to_tf_data())
    next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "state"))
    rest = [e["y"].numpy().tolist() for e in iterator]
    other = iter(batches().to_tf_data())
    tf.train.Checkpoint(iterator=other).restore(path)
    assert [e["y"].numpy().tolist() for e in other] == rest


def test_a_mirrored_strategy_deals_it_out(tf) -> None:
    script = """
    import numpy as np, tensorflow as tf, tensorferry as tfy
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    real = tfy.Dataset.from_tensor_slices(np.arange(40)).batch(8).to_tf_data()
    seen = []
    for batch in strategy.experimental_distribute_dataset(real):
        for part in strategy.experimental_local_results(batch):
            seen += part.numpy().tolist()
    assert sorted(seen) == list(range(40)), seen
    print("dealt")
    """
    from conftest import run_python

    assert "dealt" in run_python(script)


def test_a_keras_model_is_fitted_on_it(tf) -> None:
    x, y = np.random.default_rng(0).random((64, 3), np.float32), np.arange(64) % 2
    real = tfy.Dataset.from_tensor_slices((x, y)).shuffle(seed=1).batch(16).to_tf_data()
    model = tf.keras.Sequential([tf.keras.layers.Dense(2)])
    model.compile("sgd", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(real, epochs=2, validation_data=real, class_weight={0: 1.0, 1: 2.0}, shuffle=False, verbose=0)
    assert len(history.history["val_loss"]) == 2


def test_checked_cast_checks_in_eager_code_and_in_graphs(tf) -> None:
    cast = tf.function(lambda x: checked_cast(x, tf.int8))
    for run in (lambda x: checked_cast(x, tf.int8), cast):
        assert run(tf.constant([1, -2])).numpy().tolist() == [1, -2]
        with pytest.raises(tf.errors.InvalidArgumentError, match="int32 -> int8: 1 of 2 values does not fit"):
            run(tf.constant([1, 300]))
    assert checked_cast(tf.constant([1, 300]), tf.uint8, casting="saturate").numpy().tolist() == [1, 255]
    assert cast.get_concrete_function(tf.TensorSpec([None, 3], tf.int32)).structured_outputs.shape.as_list() == [None, 3]


def test_the_gradient_of_checked_cast_is_tf_casts(tf) -> None:
    x = tf.Variable([1.5, 2.5])
    for cast in (checked_cast, tf.cast):
        with tf.GradientTape(persistent=True) as tape:
            wide = tf.reduce_sum(cast(x, tf.float64) ** 2)
            whole = tf.reduce_sum(cast(cast(tf.round(x), tf.int32), tf.float32))
        assert tape.gradient(wide, x).numpy().tolist() == [3.0, 5.0]
        assert tape.gradient(whole, x) is None
