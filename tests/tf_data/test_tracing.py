"""Reading a dataset inside ``tf.function`` is refused: elements read while tracing would be the
same in every call.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import errors

ADVICE = r"to_tf_data\(\)"


def rows(n: int = 4):
    return tfy.Dataset.range(n)


def refused():
    return pytest.raises(errors.FailedPreconditionError, match=ADVICE)


# Calls that read a dataset or its iterator.
READING = {
    "a loop": lambda dataset, iterator: list(dataset),
    "iter": lambda dataset, iterator: iter(dataset),
    "next": lambda dataset, iterator: next(iterator),
    "a loop over an iterator": lambda dataset, iterator: list(iterator),
    "as_numpy_iterator": lambda dataset, iterator: dataset.as_numpy_iterator(),
    "reduce": lambda dataset, iterator: dataset.reduce(np.int64(0), lambda s, x: s + x),
    "progress": lambda dataset, iterator: next(iter(dataset.progress())),
    "enumerate": lambda dataset, iterator: list(enumerate(dataset)),
    "a derived one": lambda dataset, iterator: list(dataset.batch(2).map(lambda x: x)),
    "a window": lambda dataset, iterator: [list(window) for window in dataset.window(2)],
    "save": lambda dataset, iterator: dataset.save("never"),
    "NumPy": lambda dataset, iterator: next(iter(dataset.with_format("numpy"))),
}


@pytest.mark.parametrize("name", READING)
@pytest.mark.parametrize("autograph", [True, False])
def test_reading_while_tensorflow_traces_is_refused(tf, name, autograph):
    read, dataset, iterator = READING[name], rows(), iter(rows())

    @tf.function(autograph=autograph)
    def step(x):
        read(dataset, iterator)
        return x

    with refused():
        step(tf.constant(1))
    assert int(next(iterator)) == 0, "nothing was taken"


def test_a_loop_that_autograph_rewrites_is_refused(tf):
    dataset = rows()

    @tf.function
    def total(x):
        for element in dataset:
            x = x + element
        return x

    with refused():
        total(tf.constant(0, tf.int64))


def test_a_tf_data_map_and_a_keras_train_step_are_refused(tf):
    iterator = iter(rows().repeat())
    with refused():
        tf.data.Dataset.range(3).map(lambda x: x + next(iterator))
    with refused():
        tf.data.Dataset.range(3).flat_map(lambda x: tf.data.Dataset.from_tensors(next(iterator)))

    class Model(tf.keras.Model):
        def train_step(self, data):
            return {"loss": tf.cast(next(iterator), tf.float32)}

    model = Model()
    model.compile()
    with refused():
        model.fit(tf.data.Dataset.from_tensors([[1.0]]), shuffle=False, verbose=0)
    with refused():
        tf.function(lambda x: tf.while_loop(lambda i: i < 3, lambda i: i + next(iterator), [x]))(
            tf.constant(0, tf.int64)
        )
    assert int(next(iterator)) == 0


def test_eager_code_may_read(tf):
    iterator = iter(rows())

    @tf.function
    def step(x):
        by_function = tf.py_function(lambda: next(iterator), [], tf.int64)
        by_numpy = tf.numpy_function(lambda: next(rows().as_numpy_iterator()) + 5, [], tf.int64)
        return x + by_function, by_numpy

    assert [int(step(tf.constant(0, tf.int64))[0]) for _ in range(3)] == [0, 1, 2]
    assert int(step(tf.constant(0, tf.int64))[1]) == 5

    @tf.function
    def lifted(x):
        with tf.init_scope():
            first = next(iter(rows()))
        return x + first

    assert int(lifted(tf.constant(1, tf.int64))) == 1
    with tf.Graph().as_default():
        assert [int(x) for x in rows().as_numpy_iterator()] == [0, 1, 2, 3]
    tf.config.run_functions_eagerly(True)
    try:
        assert (
            int(tf.function(lambda x: x + sum(int(y) for y in rows()))(tf.constant(0, tf.int64)))
            == 6
        )
    finally:
        tf.config.run_functions_eagerly(False)


def test_to_tf_data_works_while_tracing(tf):
    dataset = rows().shuffle(seed=1)

    @tf.function
    def total():
        x = tf.constant(0, tf.int64)
        for element in dataset.map(lambda x: x + 1).to_tf_data():
            x = x + element
        return x

    assert [int(total()) for _ in range(2)] == [10, 10]


def test_functions_of_a_plan_may_read_other_datasets(tf):
    """They are called eagerly, also if TensorFlow traces them first."""
    table = rows().map(lambda x: x * 10)
    iterator = iter(table.repeat())
    dataset = rows().map(lambda x: x + tf.add_n(list(table)))
    assert [int(x) for x in dataset] == [60, 61, 62, 63]
    zipped = rows().map(
        lambda x: (x, next(iterator)), output_signature=(tfy.TensorSpec((), "int64"),) * 2
    )
    assert [int(y) for _, y in zipped] == [0, 10, 20, 30]
    flat = rows(2).flat_map(lambda x: tfy.Dataset.from_tensor_slices(tf.stack(list(table)) + x))
    assert [int(x) for x in flat] == [0, 10, 20, 30, 1, 11, 21, 31]
    kept = rows().filter(lambda x: x in [int(y) // 10 for y in table.take(2)])
    assert [int(x) for x in kept] == [0, 1]
    totals = (
        rows(3)
        .window(2)
        .map(
            lambda w: w.reduce(np.int64(0), lambda s, x: s + x),
            output_signature=tfy.TensorSpec((), "int64"),
        )
    )
    assert [int(x) for x in totals] == [1, 2]


def test_a_plan_can_be_made_while_tensorflow_traces(tf):
    @tf.function
    def step(x):
        made = (
            rows().with_format("numpy").map(lambda y: y + int(y))
        )  # called once to find its results
        for element in made.to_tf_data():
            x = x + element
        return x

    assert int(step(tf.constant(0, tf.int64))) == 12


@pytest.mark.parametrize(
    "convert", ["tensor", "can_convert", "value_range", "smallest_dtype", "slices"]
)
def test_symbolic_tensors_are_refused_by_name(tf, convert):
    functions = {
        "tensor": tfy.tensor,
        "can_convert": lambda x: tfy.can_convert(x, "int32"),
        "value_range": tfy.value_range,
        "smallest_dtype": tfy.smallest_dtype,
        "slices": tfy.Dataset.from_tensor_slices,
    }

    @tf.function(autograph=False)
    def step(x):
        functions[convert](x)
        return x

    with pytest.raises(Exception, match=r"symbolic|tf\.function|no values|graph") as raised:
        step(tf.constant([1, 2], tf.int64))
    assert isinstance(raised.value, errors.Error | TypeError | NotImplementedError), raised.value


def test_convert_to_tensor_leaves_symbolic_tensors_to_tensorflow(tf):
    @tf.function(autograph=False)
    def step(x):
        assert tfy.convert_to_tensor(x) is x
        return tfy.convert_to_tensor([x, x])

    assert step(tf.constant(3)).numpy().tolist() == [3, 3]
    assert step(tf.constant(4)).numpy().tolist() == [4, 4]
