"""Edited states, and states of part of a run."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import errors

from tests.support.dataset_checks import advanced, resumed


def rows(n: int = 12):
    return tfy.Dataset.range(n).with_format("numpy")


INDEXED = {
    "range": lambda: rows(),
    "shuffle": lambda: rows().shuffle(seed=3),
    "unseeded": lambda: rows().shuffle(),
    "batch": lambda: rows().shuffle(seed=3).batch(2),
    "repeat": lambda: rows().shuffle(seed=3).repeat(),
    "map": lambda: rows().map(lambda x: x + 1),
    "prefetch": lambda: rows().shuffle(seed=3).prefetch(2),
    "shard": lambda: rows().shuffle(seed=3).shard(2, 1),
}
STREAMED = {
    "filter": lambda: rows().shuffle(seed=3).filter(lambda x: x > 3),
    "generator": lambda: tfy.Dataset.from_generator(
        range, args=(12,), output_signature=tfy.TensorSpec((), "int64")
    ),
    "buffer": lambda: rows().repeat(2).filter(lambda x: True).shuffle(4, seed=1),
    "prefetch": lambda: rows().filter(lambda x: True).prefetch(2),
    "flat_map": lambda: rows().flat_map(lambda x: tfy.Dataset.from_tensors(x)),
    "unique": lambda: rows().unique(),
}


def listed(iterator) -> list:
    return [np.asarray(x).tolist() for x in itertools.islice(iterator, 40)]


@pytest.mark.parametrize("name", INDEXED)
def test_a_changed_position_or_epoch_is_obeyed_where_possible(name):
    dataset = INDEXED[name]()
    passes = [listed(dataset.as_numpy_iterator()) for _ in range(3)]
    state = advanced(dataset, 2).state_dict()
    assert (state["epoch"], state["position"]) == (3, 2)
    for epoch, position in [(0, 2), (1, 0), (2, 5), (1, np.int64(3))]:
        changed = {**state, "epoch": epoch, "position": position}
        iterator = resumed(dataset, changed)
        seen = iterator.state_dict()
        assert (seen["epoch"], seen["position"]) == (epoch, position)
        rest = listed(iterator)
        assert rest[: 40 - position] == passes[epoch][position:]
        # The following pass is the next epoch.
        assert dataset.as_numpy_iterator().state_dict()["epoch"] == epoch + 1


@pytest.mark.parametrize("name", STREAMED)
@pytest.mark.parametrize(
    "change", [{"position": 1}, {"position": 3}, {"epoch": 5}, {"epoch": 0, "position": 0}]
)
def test_a_changed_position_that_cannot_be_obeyed_is_refused(name, change):
    dataset = STREAMED[name]()
    iter(dataset)
    iterator = advanced(dataset, 2)
    state = iterator.state_dict()
    with pytest.raises(errors.InvalidArgumentError, match="cannot be moved"):
        resumed(dataset, {**state, **change})
    assert listed(resumed(dataset, dict(state))) == listed(iterator)


@pytest.mark.parametrize("make", [INDEXED["shuffle"], STREAMED["filter"]])
@pytest.mark.parametrize("name", ["position", "epoch"])
@pytest.mark.parametrize("value", [-1, 2**64, 1.5, "1", None, True, [1], np.float64(2)])
def test_a_position_or_epoch_must_be_an_integer(make, name, value):
    state = advanced(make(), 2).state_dict()
    with pytest.raises(errors.InvalidArgumentError, match=f"{name} has to be a whole number"):
        resumed(make(), {**state, name: value})
    del state[name]
    with pytest.raises(
        errors.InvalidArgumentError,
        match=f"{name} has to be a whole number of at least 0, and is missing",
    ):
        resumed(make(), state)


def test_a_position_past_the_end_is_refused_and_the_iterator_is_unchanged():
    dataset = rows(5)
    state = advanced(dataset, 2).state_dict()
    iterator = dataset.as_numpy_iterator()
    with pytest.raises(errors.InvalidArgumentError, match=r"element 6 of 5"):
        iterator.load_state_dict({**state, "position": 6})
    assert listed(iterator) == [0, 1, 2, 3, 4]
    assert listed(resumed(dataset, {**state, "position": 5})) == []


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_is_refused(version):
    state = advanced(rows(), 2).state_dict()
    with pytest.raises(errors.InvalidArgumentError, match="version"):
        resumed(rows(), {**state, "version": version})


def test_a_changed_position_counts_in_a_list_of_states_too():
    parts = [advanced(rows(10).shard(2, index), 1).state_dict() for index in range(2)]
    moved = [{**parts[0], "position": 3}, parts[1]]
    assert sorted(listed(resumed(rows(10).shard(1, 0), moved))) == [
        *[3, 5, 6, 7, 8, 9][:0],
        3,
        5,
        6,
        7,
        8,
        9,
    ]


# States of a run whose shards have different lengths.


def shard(n: int, count: int, index: int, stages):
    return stages(rows(n).shard(count, index))


STAGES = {
    "plain": lambda d: d,
    "map": lambda d: d.map(lambda x: x, output_signature=tfy.TensorSpec((), "int64")),
    "batch": lambda d: d.batch(2),
    "dropping batch": lambda d: d.batch(2, drop_remainder=True),
    "prefetch": lambda d: d.prefetch(2),
}


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("n", range(1, 15))
def test_one_state_of_many_shards_never_repeats_a_row(name, n):
    stages = STAGES[name]
    for old, new in [(3, 1), (3, 2), (2, 3), (4, 1)]:
        for steps in range(6):
            iterators = [shard(n, old, index, stages).as_numpy_iterator() for index in range(old)]
            seen = [
                int(x)
                for it in iterators
                for part in itertools.islice(it, steps)
                for x in np.ravel(part)
            ]
            states = [iterator.state_dict() for iterator in iterators]
            for state in [*states, states]:
                try:
                    iterators = [
                        resumed(shard(n, new, index, stages), state) for index in range(new)
                    ]
                except errors.InvalidArgumentError as error:
                    refused = str(error)
                    assert state is not states
                    assert "Load the list of the states of all shards" in refused
                    continue
                rest = [
                    int(x) for iterator in iterators for part in iterator for x in np.ravel(part)
                ]
                assert len(set(seen + rest)) == len(seen + rest), (old, new, steps)
                if name != "dropping batch":
                    assert sorted(seen + rest) == list(range(n))


def test_rows_of_ended_shards_are_not_repeated():
    def ended(index):
        iterator = rows(7).shard(3, index).as_numpy_iterator()
        list(iterator)
        return iterator.state_dict()

    for index in (1, 2):
        with pytest.raises(
            errors.InvalidArgumentError,
            match=r"shard \d of 3 had ended after 2 elements, and shard 0 has more",
        ):
            resumed(rows(7).shard(1, 0), ended(index))
    assert listed(resumed(rows(7).shard(1, 0), ended(0))) == []
    assert listed(resumed(rows(7).shard(1, 0), [ended(index) for index in range(3)])) == []
