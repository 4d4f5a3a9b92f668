"""``filter`` with ``batched`` and ``input_columns``: the same elements as without."""

from __future__ import annotations

import collections
import pickle
import signal
import threading
from typing import Any

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorferry import errors

RNG = np.random.default_rng(0)
X, LABEL = RNG.normal(size=(3000, 4)).astype(np.float32), RNG.integers(0, 10, 3000)
ROWS = {"x": X, "label": LABEL}
Pair = collections.namedtuple("Pair", "x label")


def rows(format: str = "numpy") -> tfy.Dataset:
    return tfy.Dataset.from_tensor_slices(ROWS).with_format(format)


def is_three(label):
    return label == 3


@pytest.mark.parametrize("format", ["tensorflow", "torch", "jax", "numpy", "tensorferry"])
def test_a_filter_by_label_keeps_its_rows_in_order(format: str) -> None:
    if format in ("torch", "jax"):
        pytest.importorskip(format)

    def wanted(label):
        kind = {"tensorflow": "EagerTensor", "jax": "ArrayImpl", "numpy": "ndarray"}
        assert type(label).__name__ == kind.get(format, "Tensor")
        assert tuple(label.shape) == (3000,)
        return (np.asarray(label) == 3) if format == "tensorferry" else label == 3

    kept = rows(format).filter(wanted, batched=True, input_columns="label")
    batches = [{key: np.asarray(part) for key, part in batch.items()} for batch in kept.batch(100)]
    assert np.concatenate([batch["x"] for batch in batches]).tolist() == X[LABEL == 3].tolist()
    assert [len(batch["x"]) for batch in batches[:-1]] == [100] * (len(batches) - 1)
    elements = list(kept)
    assert [np.asarray(one["x"]).tolist() for one in elements] == X[LABEL == 3].tolist()
    assert kept.cardinality() == tf.data.UNKNOWN_CARDINALITY


@pytest.mark.parametrize("batched", [True, False])
def test_columns_are_parts_of_any_structure(batched: bool) -> None:
    def agree(structure: Any, columns: Any, predicate: Any) -> None:
        dataset = tfy.Dataset.from_tensor_slices(structure).with_format("numpy")
        kept = dataset.filter(predicate, batched=batched, input_columns=columns)
        labels = [tf.nest.flatten(one)[-1] for one in kept]
        assert [int(x) for x in labels] == LABEL[LABEL == 3].tolist()

    agree((X, LABEL), 1, is_three)
    agree((X, LABEL), -1, is_three)
    agree(Pair(X, LABEL), "label", is_three)
    agree(Pair(X, LABEL), ["label", "x"], lambda label, x: label == 3)
    agree({"a": X, "z": {"b": LABEL}}, "z", lambda z: z["b"] == 3)
    agree({"a": (X, None), "z": LABEL}, ["z", "a"], lambda z, a: (z == 3) & (a[1] is None))


@pytest.mark.parametrize("columns", ["y", 0, [], ["label", "y"], 1.5, None, ()])
def test_columns_that_are_not_there_are_refused(columns: Any) -> None:
    if columns is None:
        dataset, columns = tfy.Dataset.range(3), "x"
    else:
        dataset = rows()
    with pytest.raises(errors.InvalidArgumentError, match="filter: input_columns"):
        dataset.filter(is_three, batched=True, input_columns=columns)


def test_only_the_rows_that_pass_are_computed_and_only_for_their_batch() -> None:
    calls: list[int] = []

    def costly(number):
        calls.append(int(number))
        return number

    labels = tfy.Dataset.from_tensor_slices(LABEL).with_format("numpy")
    costs = tfy.Dataset.range(3000).with_format("numpy")
    costs = costs.map(costly, output_signature=tfy.TensorSpec((), "int64"))
    kept = tfy.Dataset.zip(costs, labels).filter(is_three, batched=True, input_columns=1)
    numbers, _ = next(iter(kept.batch(50)))
    assert numbers.tolist() == calls == np.flatnonzero(LABEL == 3)[:50].tolist()


def test_errors_surface_at_their_elements_and_others_are_kept() -> None:
    def positive(x):
        if (x == 7).any():
            raise ZeroDivisionError("seven")
        return x % 2 == 1

    kept = tfy.Dataset.range(12).with_format("numpy").filter(positive, batched=True, batch_size=5)
    iterator, seen = iter(kept), []
    while True:
        try:
            seen.append(int(next(iterator)))
        except StopIteration:
            break
        except ZeroDivisionError as error:
            seen.append(str(error))
    assert seen == [1, 3, 5, "seven", 9, 11]


@pytest.mark.parametrize(
    "answer",
    [lambda x: True, lambda x: x, lambda x: [[True]] * len(x), lambda x: np.ones(len(x) + 1, bool)],
)
def test_answers_that_are_not_one_bool_each_are_refused(answer: Any) -> None:
    kept = tfy.Dataset.range(12).with_format("numpy").filter(answer, batched=True)
    with pytest.raises(errors.InvalidArgumentError, match="one bool for each"):
        list(kept)


def evens(x):
    return x % 2 == 0


def keeps(x):
    return x % 3 != 1


@st.composite
def plans(draw):
    """A dataset of numbers, streamed or indexed, and a filter of it in both forms."""
    dataset = tfy.Dataset.range(draw(st.integers(0, 60))).with_format("numpy")
    if draw(st.booleans()):
        dataset = dataset.shuffle(seed=draw(st.integers(0, 3)))
    if draw(st.booleans()):
        dataset = dataset.filter(evens)
    size = draw(st.sampled_from([1, 2, 7, 1024]))
    kept = dataset.filter(keeps, batched=True, batch_size=size), dataset.filter(keeps)
    ends = draw(
        st.sampled_from(
            [
                lambda d: d,
                lambda d: d.batch(4),
                lambda d: d.batch(4, drop_remainder=True),
                lambda d: d.batch(3).prefetch(2),
                lambda d: d.take(5).batch(2),
                lambda d: d.shuffle(8, seed=1).batch(2),
                lambda d: d.repeat(2).batch(4),
                lambda d: d.cache().batch(2),
            ]
        )
    )
    return tuple(ends(one) for one in kept)


def listed(iterator: Any) -> list[Any]:
    return [np.asarray(x).tolist() for x in iterator]


@given(plans())
@settings(max_examples=60, deadline=None)
def test_every_prefix_resumes_to_what_the_plain_filter_has(plans: Any) -> None:
    batched, plain = plans
    expected = listed(plain)
    assert listed(batched) == expected
    for position in range(len(expected) + 1):
        batched.set_epoch(0)
        iterator = iter(batched)
        seen = [np.asarray(next(iterator)).tolist() for _ in range(position)]
        resumed = iter(batched)
        resumed.load_state_dict(iterator.state_dict())
        assert seen + listed(resumed) == expected


def test_pickles_and_tf_data_have_the_same_elements() -> None:
    kept = tfy.Dataset.range(50).with_format("numpy").filter(keeps, batched=True).batch(4)
    expected = listed(kept)
    assert listed(pickle.loads(pickle.dumps(kept))) == expected
    assert listed(kept.to_tf_data().as_numpy_iterator()) == expected


def test_threads_share_one_iterator() -> None:
    iterator = iter(tfy.Dataset.range(5000).with_format("numpy").filter(keeps, batched=True))
    seen: list[int] = []
    threads = [
        threading.Thread(target=lambda: seen.extend(int(x) for x in iterator)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [x for x in range(5000) if x % 3 != 1]


def test_ctrl_c_interrupts_a_filter_that_keeps_nothing_and_it_continues() -> None:
    found = []

    def late(x):
        if x[0] > 10_000_000 and not found:
            found.append(True)
            signal.raise_signal(signal.SIGINT)
        return x == 20_000_000

    iterator = iter(tfy.Dataset.range(2**40).with_format("numpy").filter(late, batched=True))
    with pytest.raises(KeyboardInterrupt):
        next(iterator)
    assert next(iterator) == 20_000_000
