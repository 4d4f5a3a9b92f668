"""Errors inside tf.data: TensorFlow's class, tensorferry's message, raised at the failing element;
iteration continues.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import _internal, errors
from tensorferry._frameworks import ops
from tensorferry.tensorflow import checked_cast, register_ops

NUMBER = tfy.TensorSpec((), "int64")


def walk(real) -> list:
    """The elements, with an error in place of each that failed."""
    elements, iterator = [], iter(real)
    while True:
        try:
            elements.append(next(iterator).numpy().tolist())
        except StopIteration:
            return elements
        except Exception as error:
            elements.append(error)


def failing(error: BaseException):
    """Fails at element 2 of 0 to 3."""

    def function(x):
        if int(x) == 2:
            raise error
        return x

    return function


def indexed(function):
    return tfy.Dataset.range(4).with_format("numpy").map(function, output_signature=NUMBER)


def streamed(function):
    return (
        tfy.Dataset.range(4)
        .with_format("numpy")
        .filter(lambda x: True)
        .map(function, output_signature=NUMBER)
    )


NATIVE = {
    "cast": (
        lambda d: d.cast("uint8"),
        [1, 300, 2],
        "cast: element 1: int64 -> uint8: 1 of 1 value does not fit",
    ),
    "one_hot": (
        lambda d: d.one_hot(3, dtype="int64"),
        [1, 5, 2],
        r"one_hot: element 1: 5 is not in 0\.\.3",
    ),
    "lookup": (
        lambda d: d.lookup(np.arange(3)),
        [1, 5, 2],
        r"lookup: element 1: 5 is not in 0\.\.3",
    ),
    "in a stream": (
        lambda d: d.with_format("numpy").filter(lambda x: True).lookup(np.arange(3)),
        [1, 5, 2],
        r"lookup: element 1: 5 is not in 0\.\.3",
    ),
}


@pytest.mark.parametrize("name", sorted(NATIVE))
def test_a_wrong_value_is_an_error_at_its_element_only(tf, name) -> None:
    change, values, message = NATIVE[name]
    first, error, last = walk(change(tfy.Dataset.from_tensor_slices(np.array(values))).to_tf_data())
    right = change(tfy.Dataset.from_tensor_slices(np.array([1, 2])))
    assert [first, last] == [x.tolist() for x in right.as_numpy_iterator()]
    assert isinstance(error, tf.errors.InvalidArgumentError)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        raise error


@pytest.mark.parametrize("plan", [indexed, streamed])
def test_an_exception_of_a_function_has_the_class_of_tensorflow_and_a_traceback(tf, plan) -> None:
    classes = {
        ValueError("two"): tf.errors.InvalidArgumentError,
        TypeError("two"): tf.errors.InvalidArgumentError,
        MemoryError("two"): tf.errors.ResourceExhaustedError,
        NotImplementedError("two"): tf.errors.UnimplementedError,
        FileNotFoundError(2, "two"): tf.errors.NotFoundError,
        PermissionError(1, "two"): tf.errors.PermissionDeniedError,
        OSError(5, "two"): tf.errors.DataLossError,
        KeyError("two"): tf.errors.UnknownError,
        tf.errors.AbortedError(None, None, "two"): tf.errors.AbortedError,
        # Neither may end the dataset as if it were exhausted.
        StopIteration("two"): tf.errors.UnknownError,
        tf.errors.OutOfRangeError(None, None, "two"): tf.errors.InvalidArgumentError,
    }
    for raised, expected in classes.items():
        *before, error, after = walk(plan(failing(raised)).to_tf_data())
        assert (before, after) == ([0, 1], 3)
        assert type(error) is expected, raised
        assert f"map: element 2: {type(raised).__name__}: " in str(error)
        assert 'test_errors.py", line' in str(error)
        assert "raise error" in str(error)


def test_tf_data_can_ignore_errors(tf) -> None:
    for plan in (indexed, streamed):
        assert [int(x) for x in plan(failing(ValueError())).to_tf_data().ignore_errors()] == [
            0,
            1,
            3,
        ]
    numbers = tfy.Dataset.from_tensor_slices(np.array([1, 300, 2])).cast("uint8")
    sums = numbers.with_format("numpy").scan(np.int64(0), lambda state, x: (state + x, state + x))
    for plan, left in (
        (numbers.batch(1), 2),
        (numbers.shuffle(seed=1), 2),
        (sums, 2),
        (sums.repeat(2).take(6), 4),
    ):
        real = plan.to_tf_data()
        # The cardinality counts errors: tf.data compares it at the end.
        assert len(real) == len(plan)
        for _ in range(2):
            assert sum(1 for _ in real.ignore_errors()) == left


def test_a_generator_that_violates_its_signature_is_an_error(tf) -> None:
    def wrong():
        yield 1
        yield 300

    real = tfy.Dataset.from_generator(
        wrong, output_signature=tfy.TensorSpec((), "uint8")
    ).to_tf_data()
    first, error = walk(real)
    assert first == 1
    assert isinstance(error, tf.errors.InvalidArgumentError)
    assert (
        "from_generator: element 1: ValueOverflowError: int64 -> uint8: 1 of 1 value does not fit"
        in str(error)
    )


def test_a_changed_file_is_a_data_loss_error(tf, tmp_path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00")
    *_, error, last = walk(indexed(lambda x: tfy.open_npy(path) if x == 2 else x).to_tf_data())
    assert isinstance(error, tf.errors.DataLossError)
    assert last == 3


def handle(dataset):
    return _internal.convert_to_tensor(dataset._plan.handle())


def begun(handle):
    """A pass as an op names it after a checkpoint, which may start with any element."""
    (state,) = ops.apply("TensorferryEpoch", {"handle": handle}, {}, 1)
    for _ in range(2):
        (pass_,) = ops.apply("TensorferryBegin", {"handle": handle, "state": state}, {}, 1)
    return pass_


def test_a_dangling_handle_is_an_error(tf) -> None:
    calls = {
        "TensorferryElement": ("handle", {"index": tf.constant(0, tf.int64)}, {"T": [9]}),
        "TensorferryEpoch": ("handle", {}, {}),
        "TensorferryBegin": ("handle", {"state": tf.constant([1, 2, 3], tf.uint8)}, {}),
        "TensorferryOpen": ("handle", {}, {}),
        "TensorferryNext": ("iterator", {}, {"T": [9]}),
    }
    rng = np.random.default_rng(0)
    for op, (name, inputs, attributes) in calls.items():
        for forged in ([0], [-1], [2**63 - 1], rng.integers(-(2**63), 2**63 - 1, 256, np.int64)):
            with pytest.raises(
                tf.errors.FailedPreconditionError, match="is not in this process, or is gone"
            ):
                ops.apply(op, {name: tf.constant(forged, tf.int64), **inputs}, attributes, 1)
        with pytest.raises(tf.errors.InvalidArgumentError, match="an int64 tensor was expected"):
            ops.apply(op, {name: tf.zeros([0], tf.int64), **inputs}, attributes, 1)


def test_a_handle_of_another_kind_or_an_element_of_another_form_is_an_error(tf) -> None:
    plan, mixed = handle(tfy.Dataset.range(3)), handle(tfy.Dataset.range(3).shuffle(seed=1))
    numbers, rows = begun(plan), begun(handle(tfy.Dataset.range(3).batch(2)))

    def element(handle, index=0, types=(9,)):
        inputs = {"handle": handle, "index": tf.constant(index, tf.int64)}
        return (
            ops.apply("TensorferryElement", inputs, {"T": list(types)}, len(types))[0]
            .numpy()
            .tolist()
        )

    # In any order, repeatedly, and from the middle.
    assert [element(numbers, index) for index in (2, 0, 1, 2, 2)] == [2, 0, 1, 2, 2]
    assert element(rows, 1) == [2]
    for index in (-1, 3, 2**62):
        with pytest.raises(
            tf.errors.OutOfRangeError, match=f"element {index} of a dataset whose length is 3"
        ):
            element(numbers, index)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="the handle names a dataset, not an epoch of one"
    ):
        element(plan)
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match="output 0 is int64, but the graph expects another dtype",
    ):
        element(numbers, types=[1])
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="1 components, and the graph expects 2"
    ):
        element(numbers, types=[9, 9])
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="the handle names a dataset, not a pass"
    ):
        ops.apply("TensorferryNext", {"iterator": plan}, {"T": [9]}, 1)
    epoch = begun(mixed)
    assert sorted(element(epoch, i) for i in range(3)) == [0, 1, 2]
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match="the handle names an epoch of a dataset, not a dataset",
    ):
        ops.apply("TensorferryOpen", {"handle": epoch}, {}, 1)


def test_the_op_may_be_called_in_parallel_and_in_any_order(tf) -> None:
    for plan in (
        tfy.Dataset.range(500).shuffle(seed=1).batch(3),
        tfy.Dataset.range(500).batch(3).prefetch(4),
    ):
        pass_ = begun(handle(plan))

        def element(index, pass_=pass_):
            return ops.apply(
                "TensorferryElement", {"handle": pass_, "index": index}, {"T": [9]}, 1
            )[0]

        expected = [x.tolist() for x in plan.with_format("numpy")]  # its first epoch, too
        for order in (range(167), reversed(range(167))):
            indices = tf.data.Dataset.from_tensor_slices(np.array(list(order)))
            asked = indices.map(
                tf.autograph.experimental.do_not_convert(element), num_parallel_calls=8
            )
            found = [x.numpy().tolist() for x in asked]
            assert found == (expected if order == range(167) else expected[::-1])


def test_an_edited_state_is_an_error(tf) -> None:
    mixed = handle(tfy.Dataset.range(1000).shuffle(seed=1).batch(7))
    (state,) = ops.apply("TensorferryEpoch", {"handle": mixed}, {}, 1)
    whole = state.numpy()
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = whole[: rng.integers(len(whole) + 1)].copy()
        if len(damaged):
            damaged[rng.integers(len(damaged))] ^= rng.integers(1, 256, dtype=np.uint8)
        try:
            ops.apply(
                "TensorferryBegin",
                {"handle": mixed, "state": tf.constant(damaged, tf.uint8)},
                {},
                1,
            )
        except (
            tf.errors.FailedPreconditionError,
            tf.errors.InvalidArgumentError,
            tf.errors.DataLossError,
        ):
            continue
        assert len(damaged) == len(whole)  # an edited epoch or position


@pytest.mark.parametrize(
    "version", ["1.15.5", "2.15.1", "2.22.0", "2.22.0-rc1", "2.100.0", "3.0.0", "main"]
)
def test_other_versions_of_tensorflow_are_refused_and_the_rest_works_with_them(
    tf, monkeypatch, version
) -> None:
    monkeypatch.setattr(tf, "__version__", version)
    monkeypatch.setattr(
        ops, "_registered", ops._registered.__wrapped__
    )  # as before the first use of the ops
    dataset = tfy.Dataset.range(3)
    calls = {
        "to_tf_data": dataset.to_tf_data,
        "of a stream": tfy.Dataset.from_tensor_slices([1, 2, 1]).unique().to_tf_data,
        "traced": tf.function(
            lambda: dataset.to_tf_data().reduce(np.int64(0), lambda state, x: state + x)
        ),
        "checked_cast": lambda: checked_cast(tf.constant([1]), tf.uint8),
        "register_ops": register_ops,
    }
    for name, call in calls.items():
        with pytest.raises(
            errors.Error,
            match=rf"ops work with TensorFlow 2\.16 to 2\.21 on Linux; this is {version}",
        ) as refused:
            call()
        assert (
            name == "traced" or refused.value.code == "unsupported_tensorflow"
        )  # AutoGraph rebuilds the error from its message
    assert [int(x) for x in dataset] == [0, 1, 2]
    assert tfy.convert_to_tensor(np.array([1, 2]), "uint8").dtype == tf.uint8


@pytest.mark.parametrize(
    "version", ["2.16.0", "2.16.2", "2.21.0", "2.21.0-rc0", "2.20.0-dev20250101"]
)
def test_these_versions_are_not_refused(tf, monkeypatch, version) -> None:
    monkeypatch.setattr(tf, "__version__", version)
    monkeypatch.setattr(ops, "_registered", ops._registered.__wrapped__)
    assert [int(x) for x in tfy.Dataset.range(3).to_tf_data()] == [0, 1, 2]
