"""Random plans against a model in plain Python: every epoch, every state, every shard."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest
import tensorferry as tfy
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.plan_model import Plan, child, left_over, order, random

SEEDS = st.sampled_from([0, 7, 2**63, 2**64 - 1])
EPOCHS = st.sampled_from([0, 1, 2, 5, 2**40])


def add(x):
    return 3 * x + 1


def keep(x):
    return x % 3 != 1


def low(x):
    return x % 7 != 6


def twice(x):
    return tfy.Dataset.from_tensors(x).repeat(2)


def minus(a, b):
    return a - b


BUILD: dict[str, Any] = {
    "range": lambda n: tfy.Dataset.range(n).with_format("numpy"),
    "shuffle": lambda d, seed, anew: d.shuffle(seed=seed, reshuffle_each_iteration=anew),
    "blocks": lambda d, seed, block, group: d.shuffle(block * group, seed=seed, block=block),
    "take": lambda d, n: d.take(n),
    "skip": lambda d, n: d.skip(n),
    "shard": lambda d, n, at: d.shard(n, at),
    "batch": lambda d, n, drop: d.batch(n, drop_remainder=drop),
    "unbatch": lambda d: d.unbatch(),
    "repeat": lambda d, n: d.repeat(n),
    "concatenate": lambda a, b: a.concatenate(b),
    "zip": lambda a, b: tfy.Dataset.zip(a, b).map(
        minus, output_signature=tfy.TensorSpec((), "int64")
    ),
    "map": lambda d: d.map(add, output_signature=tfy.TensorSpec((), "int64")),
    "filter": lambda d: d.filter(keep),
    "select": lambda d, at: d.select([i for i in at if -len(d) <= i < len(d)]),
    "slice": lambda d, *parts: d[slice(*parts)],
    "split": lambda d, share, seed, at: d.split(share / 10, seed=seed)[at],
    "sample": lambda d, draws, seed, anew: d.sample(
        draws if len(d) else 0, seed=seed, rerandomize_each_iteration=anew
    ),
    "filter_batched": lambda d: d.filter(keep, batched=True, batch_size=3),
    "take_while": lambda d: d.take_while(low),
    "twice": lambda d: d.flat_map(twice, output_signature=tfy.TensorSpec((), "int64")),
    "unique": lambda d: d.unique(),
    "cache": lambda d: d.cache(),
    "prefetch": lambda d: d.prefetch(2),
}


def built(plan: Plan):
    return BUILD[plan.name](*map(built, plan.inputs), *plan.given)


def listed(iterator) -> list:
    return [np.asarray(row).tolist() for row in iterator]


@st.composite
def plans(draw, most: int = 6, branches: int = 1) -> Plan:
    """Plans of single numbers."""
    plan = Plan("range", given=(draw(st.integers(0, 40)),))
    for _ in range(draw(st.integers(0, most))):
        names = [
            "take",
            "skip",
            "shard",
            "repeat",
            "batch",
            "map",
            "filter",
            "filter_batched",
            "take_while",
            "twice",
            "unique",
            "cache",
            "prefetch",
        ]
        if plan.indexed:
            names += ["shuffle"] * 6 + ["blocks"] * 2 + ["select", "slice", "sample"]
            names += ["split"] * (not varies(plan))
        if branches:
            names += ["concatenate", "zip"]
        name = draw(st.sampled_from(names))
        if name in ("take", "skip"):
            plan = Plan(name, [plan], (draw(st.integers(0, 20)),))
        elif name == "shard":
            count = draw(st.integers(1, 4))
            plan = Plan(name, [plan], (count, draw(st.integers(0, count - 1))))
        elif name == "repeat":
            plan = Plan(name, [plan], (draw(st.integers(0, 3)),))
        elif name == "batch":
            batches = Plan(name, [plan], (draw(st.integers(1, 5)), draw(st.booleans())))
            plan = Plan("unbatch", [_shuffled(draw, batches)])
        elif name == "shuffle":
            plan = Plan(name, [plan], (draw(SEEDS), draw(st.booleans())))
        elif name == "blocks":
            plan = Plan(
                name, [plan], (draw(SEEDS), draw(st.integers(1, 5)), draw(st.integers(1, 4)))
            )
        elif name == "select":
            plan = Plan(name, [plan], (draw(st.lists(st.integers(-40, 39), max_size=30)),))
        elif name == "slice":
            ends = st.none() | st.integers(-50, 50)
            step = st.none() | st.integers(-4, 4).filter(bool)
            plan = Plan(name, [plan], (draw(ends), draw(ends), draw(step)))
        elif name == "split":
            share, at = draw(st.integers(0, 10)), draw(st.integers(0, 1))
            plan = Plan(name, [plan], (share, draw(SEEDS), at))
        elif name == "sample":
            plan = Plan(name, [plan], (draw(st.integers(0, 30)), draw(SEEDS), draw(st.booleans())))
        elif name in ("concatenate", "zip"):
            plan = Plan(name, [plan, draw(plans(most=2, branches=0))])
        else:
            plan = Plan(name, [plan])
    return plan


def varies(plan: Plan) -> bool:
    """Whether elements or their order differ by epoch."""
    own = plan.name == "blocks" or (plan.name in ("shuffle", "sample") and plan.given[-1])
    return own or any(map(varies, plan.inputs))


def _shuffled(draw, plan: Plan) -> Plan:
    return (
        Plan("shuffle", [plan], (draw(SEEDS), True))
        if plan.indexed and draw(st.booleans())
        else plan
    )


@given(plans())
@settings(max_examples=150)
def test_every_epoch_equals_the_model(plan):
    dataset = built(plan)
    for epoch in range(3):
        assert listed(dataset.as_numpy_iterator()) == plan.rows(epoch), plan
    # In a copy, a pickle and a plan that is derived again.
    for again in (
        pickle.loads(pickle.dumps(dataset)),
        copy.copy(dataset),
        dataset.with_format("tensorferry"),
    ):
        again.set_epoch(1)
        assert listed(again.as_numpy_iterator()) == plan.rows(1)
    if plan.inputs:
        root = built(plan.inputs[0])
        rest = map(built, plan.inputs[1:])
        others = list(rest)
        for epoch in range(3):
            written = BUILD[plan.name](root, *others, *plan.given)
            assert listed(written.as_numpy_iterator()) == plan.rows(epoch), plan


@given(plans(), EPOCHS, st.data())
@settings(max_examples=150)
def test_every_state_resumes_like_the_model(plan, epoch, data):
    dataset, rows = built(plan), plan.rows(epoch)
    dataset.set_epoch(epoch)
    iterator = dataset.as_numpy_iterator()
    seen = []
    for _ in range(data.draw(st.integers(0, 3))):
        steps = data.draw(st.integers(0, 6))
        seen += [np.asarray(row).tolist() for _, row in zip(range(steps), iterator, strict=False)]
        state = json.loads(json.dumps(iterator.state_dict()))
        fresh = built(plan)
        iterator = fresh.as_numpy_iterator()
        iterator.load_state_dict(state)
    assert seen + listed(iterator) == rows
    if seen or epoch == 0:
        return
    assert listed(built(plan).as_numpy_iterator()) == plan.rows(0)


@given(plans(), st.integers(1, 4), EPOCHS)
@settings(max_examples=100)
def test_shards_equal_the_model_and_cover_all_rows(plan, count, epoch):
    parts = []
    for index in range(count):
        shard = Plan("shard", [plan], (count, index))
        dataset = pickle.loads(pickle.dumps(built(shard)))
        dataset.set_epoch(epoch)
        parts.append(listed(dataset.as_numpy_iterator()))
        assert parts[-1] == shard.rows(epoch)
    assert sorted(x for part in parts for x in part) == sorted(plan.rows(epoch))


@given(
    st.integers(0, 50),
    SEEDS,
    EPOCHS,
    st.integers(1, 4),
    st.lists(st.integers(0, 20), min_size=1, max_size=4),
    st.data(),
)
@settings(max_examples=150)
def test_runs_resumed_with_other_shards_yield_the_remaining_rows(n, seed, epoch, new, steps, data):
    plan = Plan("shuffle", [Plan("range", given=(n,))], (seed, True))
    size, rows, root = data.draw(st.integers(1, 3)), plan.rows(epoch), built(plan)
    root.set_epoch(epoch)
    states, positions = [], []
    for index, taken in enumerate(steps):
        iterator = root.shard(len(steps), index).batch(size).as_numpy_iterator()
        mine = [
            row for _, batch in zip(range(taken), iterator, strict=False) for row in batch.tolist()
        ]
        assert mine == rows[index :: len(steps)][: size * taken]
        states.append(iterator.state_dict())
        positions.append(len(mine))
    if new == len(steps):
        expected = [rows[index::new][positions[index] :] for index in range(new)]
    else:
        rest = left_over(rows, positions)
        expected = [rest[index::new] for index in range(new)]
    for index in range(new):
        iterator = built(plan).shard(new, index).batch(size).as_numpy_iterator()
        iterator.load_state_dict(states)
        assert [row for batch in iterator for row in batch.tolist()] == expected[index]


@pytest.mark.parametrize("n", [1, 2, 100, 4096, 4097, 5000])
def test_long_shuffles_equal_the_documented_program(n):
    dataset = tfy.Dataset.range(n).shuffle(seed=11).with_format("numpy")
    for epoch in range(2):
        get = order(n, random(11, epoch))
        assert listed(dataset.as_numpy_iterator()) == [get(at) for at in range(n)]


def test_repetitions_in_later_passes_equal_the_model():
    dataset = tfy.Dataset.range(9).shuffle(seed=3).repeat(3).with_format("numpy")
    plan = Plan("repeat", [Plan("shuffle", [Plan("range", given=(9,))], (3, True))], (3,))
    for epoch in range(3):
        assert listed(dataset.as_numpy_iterator()) == plan.rows(epoch)
    assert [child(0, 2), child(1, 0)] == [2, child(1, 0)]
