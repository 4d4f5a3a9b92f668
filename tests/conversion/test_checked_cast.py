"""checked_cast has the values of convert_to_tensor and the gradients of tf.cast."""

from __future__ import annotations

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry.tensorflow import checked_cast

from tests.support.arrays import NAMES, np_dtype, same
from tests.support.processes import run_python

FLOATS = ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"]
CASTINGS = ["checked", "saturate", "wrap"]


def edges(name: str) -> np.ndarray:
    """Values that fit nearly everywhere, and the ends of the dtype."""
    dtype = np_dtype(name)
    if dtype.kind == "b":
        return np.array([True, False])
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.array([0, 1, limits.max, limits.min], dtype)
    return (
        np.array([0.0, 1.0, 1.5, 3e38, -1.0, np.inf, np.nan])
        .astype(np.float64)
        .astype(dtype, copy=False)
    )


def attempt(function, error: type[BaseException]):
    try:
        return function()
    except error as raised:
        return raised


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")  # 3e38 as float16 is infinite
@pytest.mark.parametrize("casting", CASTINGS)
@pytest.mark.parametrize("source", NAMES)
def test_every_pair_of_dtypes_equals_convert(tf, source, casting) -> None:
    for values in (edges(source), edges(source)[:2], edges(source)[:0].reshape(0, 3)):
        tensor = tf.constant(values)
        assert tensor.dtype == np_dtype(source)
        for target in NAMES:
            expected = attempt(
                lambda t=target, v=values: tfy.tensor(v, t, casting=casting), tfy.Error
            )
            actual = attempt(
                lambda t=target, x=tensor: checked_cast(x, t, casting=casting),
                tf.errors.InvalidArgumentError,
            )
            if isinstance(expected, tfy.Error):
                if source != target:
                    assert isinstance(actual, tf.errors.InvalidArgumentError), (target, values)
                    assert str(expected) in actual.message
            else:
                assert actual.dtype == np_dtype(target)
                same(actual.numpy(), expected.numpy())


@pytest.mark.filterwarnings("ignore:You are casting an input of type complex")
@pytest.mark.parametrize("source", FLOATS)
def test_the_gradient_is_that_of_tf_cast(tf, source) -> None:
    x = tf.constant(np.array([1.0, 2.0, -3.0]).astype(np_dtype(source)))

    def gradients(cast, target):
        """The first and the second derivative."""
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(cast(x, target) ** 3)
            first = tape.gradient(loss, x)
        return first, outer.gradient(first, x)

    for target in FLOATS:
        if np_dtype(source).kind == "c" and np_dtype(target).kind != "c":
            continue  # is refused
        for run in (gradients, tf.function(gradients)):
            for ours, theirs in zip(run(checked_cast, target), run(tf.cast, target), strict=True):
                assert ours.dtype == theirs.dtype == x.dtype
                same(ours.numpy(), theirs.numpy())


def test_integers_have_no_gradient(tf) -> None:
    x = tf.Variable([1.0, 2.0])
    for cast in (checked_cast, tf.cast):
        with tf.GradientTape(persistent=True) as tape:
            through = tf.reduce_sum(cast(cast(x, tf.int32), tf.float32))
            boolean = tf.reduce_sum(cast(cast(x - 1, tf.bool), tf.float32))
        assert tape.gradient(through, x) is None
        assert tape.gradient(boolean, x) is None


def test_it_checks_in_eager_code_and_in_graphs(tf) -> None:
    cast = tf.function(lambda x: checked_cast(x, tf.int8))
    for run in (lambda x: checked_cast(x, tf.int8), cast):
        assert run(tf.constant([1, -2])).numpy().tolist() == [1, -2]
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=r"int32 -> int8: 1 of 2 values does not fit \(first: \[1\] = 300",
        ):
            run(tf.constant([1, 300]))
    assert cast.get_concrete_function(
        tf.TensorSpec([None, 3], tf.int32)
    ).structured_outputs.shape.as_list() == [None, 3]
    assert (
        cast.get_concrete_function(tf.TensorSpec(None, tf.int32)).structured_outputs.shape.rank
        is None
    )


def test_tensors_without_numbers_are_refused(tf) -> None:
    for x, dtype in (
        (tf.constant(["a"]), tf.int32),
        (tf.constant([1]), tf.string),
        (tf.constant([1.0]), tf.dtypes.experimental.float8_e5m2),
    ):
        with pytest.raises(
            ValueError, match=r"checked_cast: .*: tensorferry does not check values of dtype"
        ):
            checked_cast(x, dtype)
    with pytest.raises(ValueError, match="casting has to be one of"):
        checked_cast(tf.constant([1]), tf.int8, casting="same_kind")


def test_the_same_dtype_is_the_same_tensor(tf) -> None:
    x = tf.constant([1, 2])
    assert checked_cast(x, tf.int32).numpy().tolist() == [1, 2]
    assert checked_cast([1, 2], "uint8").dtype == tf.uint8
    assert checked_cast(tf.Variable([1, 2]), np.int64).dtype == tf.int64


def test_a_large_tensor_is_converted_whole(tf) -> None:
    values = np.arange(3_000_000)
    assert np.array_equal(checked_cast(tf.constant(values), tf.int32), values)
    values[2_999_999] = 2**40
    with pytest.raises(tf.errors.InvalidArgumentError, match="2999999"):
        checked_cast(tf.constant(values), tf.int32)


def test_it_runs_in_a_tf_data_map(tf) -> None:
    real = tf.data.Dataset.from_tensor_slices(np.array([1, 300, 2])).map(
        lambda x: checked_cast(x, tf.uint8)
    )
    assert real.element_spec.dtype == tf.uint8
    assert [int(x) for x in real.ignore_errors()] == [1, 2]


class Narrow:
    """A Keras layer that casts. Keras is imported on use."""

    def __new__(cls, tf):
        class Layer(tf.keras.layers.Layer):
            def call(self, x):
                return checked_cast(x, tf.float32)

            def compute_output_spec(self, x):
                return tf.keras.KerasTensor(x.shape, dtype="float32")

        return Layer()


def test_a_keras_model_casts_and_learns_through_it(tf) -> None:
    def fitted(cast):
        tf.keras.utils.set_random_seed(0)
        inputs = tf.keras.Input((3,), dtype="float64")
        model = tf.keras.Sequential(
            [inputs, tf.keras.layers.Dense(2, dtype="float64"), cast, tf.keras.layers.Dense(1)]
        )
        model.compile("sgd", "mse")
        return model.fit(
            np.ones((8, 3)), np.zeros((8, 1)), epochs=2, shuffle=False, verbose=0
        ).history["loss"]

    expected = fitted(tf.keras.layers.Lambda(lambda x: tf.cast(x, tf.float32)))
    assert fitted(Narrow(tf)) == expected
    assert (
        fitted(
            tf.keras.layers.Lambda(
                lambda x: checked_cast(x, tf.float32), output_shape=lambda shape: shape
            )
        )
        == expected
    )
    assert expected[1] < expected[0]


def test_xla_reports_that_it_has_no_kernel(tf) -> None:
    compiled = tf.function(lambda x: checked_cast(x, tf.int8), jit_compile=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="TensorferryCast"):
        compiled(tf.constant([1, 2]))


def test_vectorized_map_calls_it_row_by_row(tf) -> None:
    rows = tf.constant([[1, 2], [3, 4]])
    assert tf.vectorized_map(lambda row: checked_cast(row, tf.int8), rows).numpy().tolist() == [
        [1, 2],
        [3, 4],
    ]
    with pytest.raises(ValueError, match="TensorferryCast"):
        tf.vectorized_map(
            lambda row: checked_cast(row, tf.int8), rows, fallback_to_while_loop=False
        )


@pytest.mark.slow
def test_it_runs_on_every_replica() -> None:
    script = """
    import tensorflow as tf
    from tensorferry.tensorflow import checked_cast

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    per_replica = tf.function(
        lambda: strategy.run(lambda: checked_cast(tf.constant([1, 2]), tf.int8))
    )()
    print([part.numpy().tolist() for part in strategy.experimental_local_results(per_replica)])
    with tf.device("CPU:1"):
        print(checked_cast(tf.constant([1, 2]), tf.int8).numpy().tolist())
    """
    assert run_python(script).splitlines() == ["[[1, 2], [1, 2]]", "[1, 2]"]
