"""Random plans over rows of different lengths and strings, against a model in plain Python."""

from __future__ import annotations

import itertools
import json
import pickle

import numpy as np
import tensorferry as tfy
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dataset.test_pack import naive
from tests.dataset.test_plan_model import BUILD, EPOCHS, SEEDS, varies
from tests.support.plan_model import Plan

LENGTHS = [at * 7 % 11 for at in range(40)]
TEXTS = [f"{'é' * (at % 3)}{at}" for at in range(40)]
PACKED = ("tokens", "segment_ids", "positions")


def tokens(row: int) -> list[int]:
    return list(range(100 * row + 1, 100 * row + 1 + LENGTHS[row]))


def ragged(n: int) -> tfy.Ragged:
    values = np.array([token for row in range(n) for token in tokens(row)], np.int32)
    return tfy.Ragged(values, np.cumsum([0, *LENGTHS[:n]]))


#: The columns of the rows below n.
SOURCES = {
    "numbers and strings": lambda n: {"row": np.arange(n), "text": np.array(TEXTS[:n], "U9")},
    "tokens": ragged,
    "numbers and tokens": lambda n: (np.arange(n), ragged(n)),
}


def made(plan: Plan, columns: str) -> tfy.Dataset:
    """The plan over the columns."""
    if plan.name == "range":
        parts = SOURCES[columns](*plan.given)
        return tfy.Dataset.from_tensor_slices(parts).with_format("numpy")
    return BUILD[plan.name](*(made(each, columns) for each in plan.inputs), *plan.given)


@st.composite
def plans(draw, branches: int = 1) -> Plan:
    """Plans of rows. The model knows them by their numbers."""
    plan = Plan("range", given=(draw(st.integers(0, 40)),))
    for _ in range(draw(st.integers(0, 4))):
        names = ["take", "skip", "shard", "repeat", "cache", "prefetch"]
        if plan.indexed:
            names += ["shuffle"] * 4 + ["blocks", "select", "slice", "sample"]
            names += ["split"] * (not varies(plan))
        name = draw(st.sampled_from(names + ["concatenate"] * branches))
        given: dict[str, st.SearchStrategy] = {
            "take": st.tuples(st.integers(0, 20)),
            "skip": st.tuples(st.integers(0, 20)),
            "shard": st.sampled_from([(1, 0), (2, 1), (3, 0)]),
            "repeat": st.tuples(st.integers(0, 3)),
            "shuffle": st.tuples(SEEDS, st.booleans()),
            "blocks": st.tuples(SEEDS, st.integers(1, 5), st.integers(1, 4)),
            "select": st.tuples(st.lists(st.integers(-40, 39), max_size=30)),
            "slice": st.tuples(*[st.none() | st.integers(-50, 50)] * 2, st.sampled_from([1, -2])),
            "split": st.tuples(st.integers(0, 10), SEEDS, st.integers(0, 1)),
            "sample": st.tuples(st.integers(0, 30), SEEDS, st.booleans()),
        }
        others = [draw(plans(branches=0))] if name == "concatenate" else []
        plan = Plan(name, [plan, *others], draw(given.get(name, st.just(()))))
    return plan


def batches(numbers: list[int], size: int) -> list[list[int]]:
    return [numbers[at : at + size] for at in range(0, len(numbers), size)]


def padded(numbers: list[int]) -> list:
    width = max(LENGTHS[row] for row in numbers)
    return [numbers, [tokens(row) + [-1] * (width - LENGTHS[row]) for row in numbers]]


PADDING = {"padded_shapes": ((), (None,)), "padding_values": (np.int64(0), np.int32(-1))}


def lists(value) -> list | dict:
    """Arrays as lists."""
    if isinstance(value, dict):
        return {key: lists(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [lists(part) for part in value]
    return np.asarray(value).tolist()


def ragged_lists(batch) -> list:
    numbers, (values, splits) = batch
    parts = itertools.pairwise(splits.tolist())
    return [numbers.tolist(), [values[a:b].tolist() for a, b in parts]]


def check(make, show, plan: Plan, expected, data, epoch: int) -> None:
    """The dataset has the expected elements, from every drawn state too, and in a pickle."""
    dataset = pickle.loads(pickle.dumps(make(plan)))
    dataset.set_epoch(epoch)
    wanted = expected(plan.rows(epoch))
    iterator, seen = dataset.as_numpy_iterator(), []
    for steps in data.draw(st.lists(st.integers(0, 4), max_size=3)):
        seen += [show(one) for _, one in zip(range(steps), iterator, strict=False)]
        state = json.loads(json.dumps(iterator.state_dict()))
        iterator = make(plan).as_numpy_iterator()
        iterator.load_state_dict(state)
    assert seen + [show(one) for one in iterator] == wanted, plan


def length(number, row):
    return len(row)


@given(plans(), st.integers(1, 7), EPOCHS, st.data())
@settings(max_examples=60)
def test_batches_of_strings(plan, size, epoch, data):
    check(
        lambda plan: made(plan, "numbers and strings").batch(size),
        lists,
        plan,
        lambda rows: [
            {"row": batch, "text": [TEXTS[row].encode() for row in batch]}
            for batch in batches(rows, size)
        ],
        data,
        epoch,
    )


@given(plans(), st.integers(1, 7), EPOCHS, st.data())
@settings(max_examples=80)
def test_padded_batches(plan, size, epoch, data):
    check(
        lambda plan: made(plan, "numbers and tokens").padded_batch(size, **PADDING),
        lists,
        plan,
        lambda rows: [padded(batch) for batch in batches(rows, size)],
        data,
        epoch,
    )


@given(plans(), st.integers(1, 7), EPOCHS, st.data())
@settings(max_examples=60)
def test_ragged_batches(plan, size, epoch, data):
    check(
        lambda plan: made(plan, "numbers and tokens").ragged_batch(size),
        ragged_lists,
        plan,
        lambda rows: [[batch, list(map(tokens, batch))] for batch in batches(rows, size)],
        data,
        epoch,
    )


def bucketed(rows: list[int], bounds: list[int], size: int) -> list:
    """Batches as in tf.data: each bucket's when it is full, then what is left, by bucket."""
    held: dict[int, list[int]] = {}
    full = []
    for row in rows:
        bucket = sum(LENGTHS[row] >= bound for bound in bounds)
        held.setdefault(bucket, []).append(row)
        if len(held[bucket]) == size:
            full.append(held.pop(bucket))
    return [padded(batch) for batch in full + [held[bucket] for bucket in sorted(held)]]


@given(plans(), st.integers(1, 4), EPOCHS, st.data())
@settings(max_examples=60)
def test_buckets(plan, size, epoch, data):
    bounds, sizes = [3, 8], [size] * 3
    check(
        lambda plan: made(plan, "numbers and tokens").bucket_by_sequence_length(
            length, bounds, sizes, **PADDING
        ),
        lists,
        plan,
        lambda rows: bucketed(rows, bounds, size),
        data,
        epoch,
    )


def packed_lists(window) -> tuple[list[int], ...]:
    return tuple(window[key].tolist() for key in PACKED)


@given(plans(), st.integers(1, 12), st.none() | st.just(0), EPOCHS, st.data())
@settings(max_examples=100)
def test_packed_rows(plan, length, eos, epoch, data):
    check(
        lambda plan: made(plan, "tokens").pack(length, eos=eos),
        packed_lists,
        plan,
        lambda rows: naive(list(map(tokens, rows)), length, eos),
        data,
        epoch,
    )


@given(plans(), st.integers(1, 12), EPOCHS, st.data())
@settings(max_examples=60)
def test_rows_packed_where_they_fit(plan, length, epoch, data):
    """The windows are the same, whether they have an index or follow from the rows in order."""

    def expected(rows):
        arrays = [np.array(tokens(row), np.int32) for row in rows]
        spec = tfy.TensorSpec((None,), "int32")
        streamed = tfy.Dataset.from_generator(lambda: iter(arrays), output_signature=spec)
        packed = streamed.pack(length, strategy="best_fit")
        return list(map(packed_lists, packed.as_numpy_iterator()))

    check(
        lambda plan: made(plan, "tokens").pack(length, strategy="best_fit"),
        packed_lists,
        plan,
        expected,
        data,
        epoch,
    )
