"""map, filter, take_while, scan and reduce: arguments, results, specifications and refusals, as in
the real tf.data.
"""

from __future__ import annotations

import collections
import inspect

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from tensorferry import errors

from tests.support.side_by_side import Run, assert_agree, run

Pair = collections.namedtuple("Pair", "a b")
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def plain_map(function):
    return lambda Dataset: Dataset.from_tensor_slices((ROWS, np.arange(4))).map(function)


def branches(row, label):
    if label > 1:  # symbolic in tf.data, which rewrites the function
        return row * 2
    return row


@pytest.mark.parametrize(
    "function",
    [
        lambda row, label: row[:2],
        lambda row, label: (label, {"r": row, "n": None}),
        lambda row, label: [label, [row, row]],
        lambda row, label: Pair(1, 2.5),
        lambda row, label: (True, 1 << 40, np.int8(3), np.zeros(2), "x" == "y"),
        lambda row, label: tf.range(label),
        lambda row, label: tf.reshape(row, [-1, 1]),
        lambda row, label: tf.boolean_mask(row, row > 4),
        lambda *element: element,
        branches,
    ],
)
def test_map_returns_the_function_results_and_knows_their_spec(function) -> None:
    assert_agree(plain_map(function))


def test_map_takes_tf_datas_arguments_in_their_order() -> None:
    # With parallel calls, tf.data orders nondeterministic maps arbitrarily.
    cases = [(2,), (tf.data.AUTOTUNE, True), (1, False)]
    if (
        "synchronous" in inspect.signature(tf.data.Dataset.map).parameters
    ):  # from TensorFlow 2.18 on
        cases += [(1, False, None), (None, None, True, False, "name")]
    for arguments in cases:
        assert_agree(
            lambda Dataset, arguments=arguments: Dataset.range(4).map(lambda x: x + 1, *arguments)
        )


def test_map_of_no_elements_knows_its_spec() -> None:
    assert_agree(lambda Dataset: Dataset.range(0).map(lambda x: (tf.cast(x, tf.float16), [x, x])))


def test_map_calls_a_function_that_needs_values_where_tf_data_cannot() -> None:
    def reads(x):
        return {3: 1.5}.get(int(x), 0.0)

    theirs = run(lambda Dataset: Dataset.range(5).map(reads), tf.data.Dataset)
    assert isinstance(theirs.refused, TypeError)
    ours = tfy.Dataset.range(5).map(reads)
    assert ours.element_spec == tf.TensorSpec((), tf.float32)
    assert [x.numpy() for x in ours] == [0.0, 0.0, 0.0, 1.5, 0.0]
    # Without elements, it is called with zeros.
    assert tfy.Dataset.range(0).map(reads).element_spec == tf.TensorSpec((), tf.float32)
    assert (
        list(tfy.Dataset.range(0).map(reads, output_signature=tf.TensorSpec((), tf.float32))) == []
    )


def test_map_fails_at_the_element_of_a_failing_operation() -> None:
    def small(x):
        with tf.control_dependencies([tf.debugging.assert_less(x, np.int64(2))]):
            return tf.identity(x)

    assert_agree(lambda Dataset: Dataset.range(4).map(small))
    assert_agree(
        lambda Dataset: Dataset.from_tensor_slices(ROWS).map(lambda row: tf.reshape(row, [2, 2]))
    )


@pytest.mark.parametrize("stage", ["filter", "take_while"])
@pytest.mark.parametrize(
    "predicate",
    [
        lambda row, label: label % 2 == 0,
        lambda row, label: True,
        lambda row, label: np.bool_(False),
        lambda row, label: tf.reduce_any(row > 4),
        lambda row, label: label,
        lambda row, label: row > 4,
        lambda row, label: None,
        lambda row, label: 1,
    ],
)
def test_a_predicate_returns_one_bool_or_is_refused(stage, predicate) -> None:
    assert_agree(
        lambda Dataset: getattr(Dataset.from_tensor_slices((ROWS, np.arange(4))), stage)(predicate)
    )
    assert_agree(
        lambda Dataset: getattr(Dataset.from_tensor_slices((ROWS, np.arange(4))), stage)(
            predicate, name="kept"
        )
    )


@pytest.mark.parametrize("stage", ["filter", "take_while"])
def test_a_function_without_a_bool_result_is_refused_when_the_stage_is_made(stage) -> None:
    with pytest.raises(
        errors.InvalidArgumentError, match=f"{stage}: the predicate has to return one bool"
    ):
        getattr(tfy.Dataset.range(3), stage)(lambda x: x)
    late = getattr(tfy.Dataset.range(3).with_format("numpy"), stage)(lambda x: x)
    with pytest.raises(errors.InvalidArgumentError, match="one bool"):
        list(late)


SCANS = {
    "a running sum": (np.int64(0), lambda state, x: (state + x, state)),
    "a Python number": (0, lambda state, x: (state + 1, tf.cast(state, tf.float32))),
    "a structure": (
        (np.int64(0), {"n": 0.5}),
        lambda state, x: ((state[0] + x, {"n": state[1]["n"] * 2}), state),
    ),
    "a shape that grows": (
        np.zeros(1, np.int64),
        lambda state, x: (tf.concat([state, [x]], 0), state),
    ),
    "more dimensions": (np.int64(0), lambda state, x: (tf.stack([state, state]), tf.size(state))),
    "nothing returned": (0, lambda state, x: (state, None)),
    "part of it None": (0, lambda state, x: (state, (x, None))),
    "one thing returned": (0, lambda state, x: state),
    "three things returned": (0, lambda state, x: (state, x, x)),
    "another dtype": (0, lambda state, x: (x, x)),
    "a list": (0, lambda state, x: [state + 1, x]),
}


@pytest.mark.parametrize("name", sorted(SCANS))
def test_scan_yields_elements_and_keeps_the_state(name) -> None:
    for n in (4, 0):
        assert_agree(lambda Dataset, n=n: Dataset.range(n).scan(*SCANS[name]))
    assert_agree(lambda Dataset: Dataset.range(3).scan(*SCANS[name], name="scanned"))


FOLDS = {
    "a sum": (np.int64(0), lambda state, x: state + x),
    "a Python number": (0, lambda state, x: state + 1),
    "a structure": ((0, {"n": 0.5}), lambda state, x: (state[0] + 1, {"n": state[1]["n"] * 2})),
    "a namedtuple": (Pair(np.int64(1), 2), lambda state, x: Pair(state.a * (x + 1), state.b)),
    "a shape that grows": (np.zeros(1, np.int64), lambda state, x: tf.concat([state, [x]], 0)),
    "more dimensions": (np.int64(0), lambda state, x: tf.stack([state, x])),
    "another dtype": (np.int64(0), lambda state, x: tf.cast(x, tf.int32)),
}


@pytest.mark.parametrize("name", sorted(FOLDS))
def test_reduce_folds_all_elements(name) -> None:
    assert_agree(lambda Dataset: Dataset.range(2).reduce(*FOLDS[name]))


@pytest.mark.parametrize("name", ["a sum", "a structure", "a shape that grows"])
def test_reduce_of_no_elements_is_the_initial_state(name) -> None:
    assert_agree(lambda Dataset: Dataset.range(0).reduce(*FOLDS[name], name="folded"))


def test_a_state_of_another_structure_is_a_type_error() -> None:
    """tf.data raises an InvalidArgumentError while iterating."""
    numbers = tfy.Dataset.range(3)
    with pytest.raises(errors.InvalidTypeError, match="structured"):
        numbers.scan(0, lambda state, x: ((state, state), x))
    with pytest.raises(TypeError, match="a tuple where a tensor is due"):
        numbers.reduce(0, lambda state, x: (state, state))
    with pytest.raises(errors.InvalidArgumentError, match="one bool"):
        numbers.filter(lambda x: (x > 2, x > 3))


NOTHING = {
    "map": lambda Dataset: Dataset.range(3).map(lambda x: {}),
    "map to None": lambda Dataset: Dataset.range(3).map(lambda x: (None, ())),
    "from_tensors": lambda Dataset: Dataset.from_tensors(()),
    "from_tensors of None": lambda Dataset: Dataset.from_tensors((None,)),
    "from_tensor_slices": lambda Dataset: Dataset.from_tensor_slices({}),
    "reduce": lambda Dataset: Dataset.range(3).reduce((), lambda state, x: state),
}


@pytest.mark.parametrize("name", sorted(NOTHING))
def test_elements_without_a_tensor_are_refused(name) -> None:
    assert_agree(NOTHING[name])


def test_reduce_does_not_unpack_elements() -> None:
    pairs = (ROWS, np.arange(4))
    assert_agree(
        lambda Dataset: Dataset.from_tensor_slices(pairs).reduce(
            np.int64(0), lambda state, x: state + x[1]
        )
    )


def test_a_state_outside_the_format_tensorflow_is_converted_and_checked() -> None:
    numbers = tfy.Dataset.range(3).with_format("numpy")
    assert numbers.reduce(0, lambda state, x: state + x).dtype == np.int32
    with pytest.raises(OverflowError):
        numbers.reduce(0, lambda state, x: x + 2**40)


def test_functions_that_fail_in_tf_data_fail_when_the_stage_is_made() -> None:
    def wrong(*element):
        raise KeyError("wrong")

    def built(stage, *arguments) -> list[Run]:
        return [
            run(lambda Dataset: getattr(Dataset.range(3), stage)(*arguments, wrong), d)
            for d in (tfy.Dataset, tf.data.Dataset)
        ]

    for stage, *arguments in (("map",), ("scan", 0), ("reduce", 0)):
        ours, theirs = built(stage, *arguments)
        assert isinstance(ours.refused, KeyError)
        assert isinstance(theirs.refused, KeyError)
