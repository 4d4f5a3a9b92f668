"""States of iterations: exact resumption, with any number of threads and on other shards."""

from __future__ import annotations

import base64
import itertools
import json

import numpy as np
import pytest
import tensorferry as tfy
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorferry import errors

from tests.support import dataset_checks
from tests.support.dataset_checks import advanced

SCALAR = tfy.TensorSpec((), "int64")


def numbers(n: int):
    return tfy.Dataset.from_tensor_slices(np.arange(n)).with_format("numpy")


def generated(n: int):
    return tfy.Dataset.from_generator(range, args=(n,), output_signature=SCALAR).with_format(
        "numpy"
    )


def is_kept(x) -> bool:
    return bool(x % 3 != 1)


def double(x):
    return x * 2


def ones(x):
    return tfy.Dataset.from_tensor_slices(np.full(int(x) % 3, x)).with_format("numpy")


# Stages from numbers to numbers with random access.
INDEXED = {
    "take": lambda d, n: d.take(2 * n),
    "skip": lambda d, n: d.skip(n),
    "repeat": lambda d, n: d.repeat(n % 3),
    "shard": lambda d, n: d.shard(2, n % 2),
    "shuffle": lambda d, n: d.shuffle(seed=n) if d.cardinality() >= 0 else d.shuffle(n + 1, seed=n),
    "concatenate": lambda d, n: d.concatenate(numbers(n)),
    "map": lambda d, n: d.map(double, output_signature=SCALAR),
    "cast": lambda d, n: d.cast("float64").cast("int64"),
    "batch and unbatch": lambda d, n: d.batch(n + 1, drop_remainder=n % 2 == 0).unbatch(),
    "cache": lambda d, n: d.cache(),
    "prefetch": lambda d, n: d.prefetch(n),
}
STREAMED = {
    "filter": lambda d, n: d.filter(is_kept),
    "take_while": lambda d, n: d.take_while(lambda x: x < 3 * n),
    "unique": lambda d, n: d.unique(),
    "flat_map": lambda d, n: d.flat_map(ones, output_signature=SCALAR),
    "interleave": lambda d, n: d.interleave(ones, cycle_length=n + 1, output_signature=SCALAR),
    "scan": lambda d, n: d.scan(
        np.int64(0), lambda state, x: (state + x, state), output_signature=SCALAR
    ),
    "windows": lambda d, n: d.window(n + 1, shift=2).flat_map(
        lambda window: window, output_signature=SCALAR
    ),
    "mixed": lambda d, n: tfy.Dataset.sample_from_datasets([d, numbers(n)], seed=n),
}


def plans(stages):
    stage = st.tuples(st.sampled_from(sorted(stages)), st.integers(1, 4))
    return st.tuples(
        st.integers(0, 9),
        st.booleans() if stages is not INDEXED else st.just(False),
        st.lists(stage, max_size=4),
    )


def built(plan):
    """A new dataset of the same plan."""
    n, streamed, stages = plan
    dataset = generated(n) if streamed else numbers(n)
    for name, argument in stages:
        dataset = (INDEXED | STREAMED)[name](dataset, argument).take(40)
    return dataset


def values(iterator) -> list:
    return [np.asarray(x).tolist() for x in iterator]


def resumed(dataset, state):
    return dataset_checks.resumed(dataset, json.loads(json.dumps(state)))


def check_every_prefix(plan, most: int | None) -> None:
    expected = values(built(plan))
    for options in (tfy.Options(), tfy.Options(threads=2, read_ahead=3)):
        for steps in range(len(expected) + 1):
            iterator = advanced(built(plan).with_options(options), steps)
            state = iterator.state_dict()
            assert state["position"] == steps
            if most is not None:
                assert len(json.dumps(state)) < most
            for other in (tfy.Options(threads=4), tfy.Options(threads=1, read_ahead=2)):
                assert values(resumed(built(plan).with_options(other), state)) == expected[steps:]
            assert values(iterator) == expected[steps:]  # saving has no effect


@given(plans(INDEXED))
@settings(max_examples=25)
def test_every_prefix_of_an_indexed_plan_resumes_from_less_than_a_kibibyte(plan):
    check_every_prefix(plan, 1024 + 512)  # of JSON, with the description of the plan


@given(plans(INDEXED | STREAMED))
@settings(max_examples=40)
def test_every_prefix_of_any_plan_resumes(plan):
    check_every_prefix(plan, None)


def test_the_state_of_an_indexed_plan_does_not_grow_with_it():
    for n in (10, 10**12):
        dataset = tfy.Dataset.range(n).with_format("numpy").shuffle(seed=1).batch(2).repeat()
        assert len(json.dumps(advanced(dataset, 4).state_dict())) < 1024


# A state of another shard can be resumed.
WHOLE = {name: stage for name, stage in (INDEXED | STREAMED).items() if name != "shard"}


@given(plans(WHOLE), plans(WHOLE))
@settings(max_examples=40)
def test_a_state_of_another_plan_is_refused_with_the_difference(plan, other):
    mine, others = str(built(plan)._plan), str(built(other)._plan)
    state = iter(built(plan)).state_dict()
    if mine == others:
        # A generator's arguments are not part of its plan: the elements are those of `other`.
        assert values(resumed(built(other), state)) == values(built(other))
    else:
        with pytest.raises(errors.InvalidArgumentError, match="of another plan"):
            resumed(built(other), state)


STATE = advanced(generated(9).filter(is_kept).shuffle(4, seed=1).batch(2), 2).state_dict()


@given(st.data())
@settings(max_examples=200)
def test_damaged_states_are_errors(data):
    raw = bytearray(base64.b64decode(STATE["data"]))
    if data.draw(st.booleans(), "cut"):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] ^= 1 << data.draw(st.integers(0, 7))
    damaged = {**STATE, "data": base64.b64encode(bytes(raw)).decode()}
    with pytest.raises(errors.InvalidArgumentError, match="state_dict"):
        iter(generated(9).filter(is_kept).shuffle(4, seed=1).batch(2)).load_state_dict(damaged)


anything = (
    st.none()
    | st.integers()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.lists(st.integers(), max_size=2)
)


@given(
    st.dictionaries(st.sampled_from(["version", "epoch", "position", "data"]), anything) | anything
)
def test_other_values_are_not_states(state):
    with pytest.raises(errors.InvalidArgumentError, match="state_dict"):
        iter(numbers(3)).load_state_dict(state)


@given(
    st.integers(0, 60),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 4),
    st.booleans(),
    st.integers(0, 9),
)
@settings(max_examples=60)
def test_another_number_of_shards_yields_just_the_unseen_rows(
    n, old, new, size, drop_remainder, steps
):
    """All old shards must be equally far, or at their end."""

    def shard(count, index):
        return (
            numbers(n)
            .shuffle(seed=3)
            .shard(count, index)
            .batch(size, drop_remainder=drop_remainder)
        )

    seen, state = [], None
    for index in range(old):
        iterator = iter(shard(old, index))
        for batch in itertools.islice(iterator, steps):
            seen.extend(batch.tolist())
        if index == 0:  # the longest
            state = iterator.state_dict()
    rest = [
        x
        for index in range(new)
        for batch in resumed(shard(new, index), state)
        for x in batch.tolist()
    ]
    assert len(set(seen + rest)) == len(seen + rest)
    if not drop_remainder:
        assert sorted(seen + rest) == list(range(n))


def test_shards_of_several_epochs_resume_on_as_many_shards_only():
    """A resumed shard covers the rest of one epoch, not the next ones."""

    def shard(count, index, stages):
        return stages(numbers(20).shuffle(seed=3).shard(count, index))

    for stages in (
        lambda d: d.repeat(2),
        lambda d: d.batch(2).repeat(2),
        lambda d: d.repeat().batch(2),
    ):
        state = advanced(shard(2, 0, stages), 3).state_dict()
        with pytest.raises(errors.InvalidArgumentError, match="repeat"):
            resumed(shard(3, 0, stages), state)
    before = advanced(numbers(20).shuffle(seed=3).repeat(2).shard(2, 0).batch(2), 3).state_dict()
    rest = [
        x
        for index in range(3)
        for batch in resumed(numbers(20).shuffle(seed=3).repeat(2).shard(3, index).batch(2), before)
        for x in batch.tolist()
    ]
    assert len(rest) == 40 - 12


@given(plans(INDEXED | STREAMED))
@settings(max_examples=25)
def test_elements_are_the_same_in_any_number_of_threads_and_any_format(plan):
    expected = values(built(plan))
    for threads in (1, 2, 3, 4):
        assert (
            values(built(plan).with_options(tfy.Options(threads=threads, read_ahead=threads)))
            == expected
        )
    assert values(built(plan).prefetch(3).with_format("tensorflow")) == expected


def test_states_of_shards_at_different_positions_resume_together():
    def shard(count, index, size=4):
        return numbers(50).shuffle(seed=3).shard(count, index).batch(size)

    seen, states = [], []
    for index, steps in enumerate([3, 0, 1]):
        iterator = iter(shard(3, index))
        seen.extend(x for batch in itertools.islice(iterator, steps) for x in batch.tolist())
        states.append(json.loads(json.dumps(iterator.state_dict())))
    for given_ in (states, tuple(reversed(states))):
        for count in (1, 2, 4):
            rest = [
                x
                for index in range(count)
                for batch in resumed(shard(count, index), given_)
                for x in batch.tolist()
            ]
            assert sorted(seen + rest) == list(range(50))
    # With as many shards as before, each resumes from its own state in the list.
    for index in range(3):
        ours = [batch.tolist() for batch in resumed(shard(3, index), states)]
        assert ours == [batch.tolist() for batch in resumed(shard(3, index), states[index])]
    # A resumed run can be resumed again, and keeps its epoch.
    second = []
    for index, steps in enumerate([0, 2]):
        iterator = resumed(shard(2, index), states)
        seen.extend(x for batch in itertools.islice(iterator, steps) for x in batch.tolist())
        second.append(iterator.state_dict())
    assert sorted(
        seen + [x for batch in resumed(shard(1, 0), second) for x in batch.tolist()]
    ) == list(range(50))


def test_the_epoch_of_several_states_is_continued():
    datasets = [
        tfy.Dataset.range(6).with_format("numpy").shuffle(seed=3).shard(2, index)
        for index in range(2)
    ]
    for dataset in datasets:
        list(dataset)
    iterators = [iter(dataset) for dataset in datasets]
    seen = [int(next(iterators[0]))]
    one = tfy.Dataset.range(6).with_format("numpy").shuffle(seed=3).shard(1, 0)
    rest = iter(one)
    rest.load_state_dict([iterator.state_dict() for iterator in iterators])
    assert rest.state_dict()["epoch"] == 1
    assert sorted(seen + [int(x) for x in rest]) == list(range(6))
    assert iter(one).state_dict()["epoch"] == 2


def test_states_of_different_runs_are_refused():
    def state(count, index, n=20):
        return iter(numbers(n).shard(count, index).batch(2)).state_dict()

    for states, message in [
        ([], "there are no states"),
        ([state(2, 0)], "1 of 2 shards"),
        ([state(2, 0), state(2, 0)], "two states of shard 0"),
        ([state(2, 0), state(4, 1)], "plans differ"),
        ([state(2, 0), state(2, 1, 21)], "plans differ"),
        ([state(2, 0), None], "a dict, or a list of them"),
        ([[state(2, 0), state(2, 1)]], "a dict, or a list of them"),
        (state(2, 0)["data"], "a dict, or a list of them"),
    ]:
        iterator = iter(numbers(20).shard(3, 0).batch(2))
        with pytest.raises(errors.InvalidArgumentError, match=message):
            iterator.load_state_dict(states)
        assert [batch.tolist() for batch in iterator] == [
            batch.tolist() for batch in numbers(20).shard(3, 0).batch(2)
        ]
