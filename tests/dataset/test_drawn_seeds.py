"""Drawn seeds: drawn once, when the stage is made, and the same in every copy, pickle, state and
process.
"""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
import tensorferry as tfy

IMAGES = np.arange(20 * 6 * 6).reshape(20, 6, 6)


def rows(n: int = 40):
    return tfy.Dataset.range(n).with_format("numpy")


def streamed(n: int = 40):
    return rows(n).filter(is_any)


def is_any(x) -> bool:
    return True


def shuffled_three(x):
    return rows(9).shuffle()


def mixed_three(x):
    return tfy.Dataset.sample_from_datasets([rows(4), rows(9).skip(4)])


def parity(x):
    return x % 2


def shuffled_window(key, window):
    return window.shuffle()


# Every stage that draws.
DRAWING = {
    "shuffle": lambda: rows().shuffle(),
    "shuffle of one order": lambda: rows().shuffle(reshuffle_each_iteration=False),
    "shuffle in a buffer": lambda: streamed().shuffle(7),
    "shuffle of what has no end": lambda: rows().repeat().shuffle(7).take(50),
    "shuffle in blocks": lambda: rows().shuffle(8, block=2),
    "random_crop": lambda: tfy.Dataset.from_tensor_slices(IMAGES).random_crop((2, 2)),
    "flip": lambda: tfy.Dataset.from_tensor_slices(IMAGES).flip(0),
    "random": lambda: tfy.Dataset.random().take(20),
    "random reseeded": lambda: tfy.Dataset.random(rerandomize_each_iteration=True).take(20),
    "sample_from_datasets": lambda: tfy.Dataset.sample_from_datasets([rows(20), rows(40).skip(20)]),
    "sample reseeded": lambda: tfy.Dataset.sample_from_datasets(
        [rows(20), rows(40).skip(20)], rerandomize_each_iteration=True
    ),
    "flat_map": lambda: rows(5).flat_map(shuffled_three),
    "flat_map of a mix": lambda: rows(5).flat_map(mixed_three),
    "interleave": lambda: rows(5).interleave(shuffled_three, cycle_length=3),
    "group_by_window": lambda: rows().group_by_window(parity, shuffled_window, window_size=7),
    "two of them": lambda: rows().shuffle().batch(4).shuffle(),
    "zip": lambda: tfy.Dataset.zip(rows().shuffle(), rows().shuffle()),
    "cache": lambda: streamed().shuffle(7).cache(),
}


def plain(dataset) -> list:
    return [
        np.asarray(part).tolist() if not isinstance(part, tuple) else [int(x) for x in part]
        for part in dataset.as_numpy_iterator()
    ]


@pytest.fixture(params=DRAWING)
def make(request):
    return DRAWING[request.param]


def test_two_stages_draw_independently(make):
    made = [plain(make()) for _ in range(4)]
    assert any(other != made[0] for other in made[1:])


@pytest.mark.parametrize("protocol", [2, 5])
def test_copies_and_pickles_agree_in_every_epoch(make, protocol):
    dataset = make()
    others = [
        pickle.loads(pickle.dumps(dataset, protocol)),
        pickle.loads(pickle.dumps(dataset, protocol)),
    ]
    others.append(pickle.loads(pickle.dumps(others[0], protocol)))
    expected = [plain(dataset) for _ in range(3)]
    for other in others:
        assert [plain(other) for _ in range(3)] == expected
    for other in (copy.copy(dataset), copy.deepcopy(dataset)):
        other.set_epoch(1)
        assert plain(other) == expected[1]


def test_plans_derived_from_copies_agree(make):
    dataset = make()
    copies = [pickle.loads(pickle.dumps(dataset)) for _ in range(2)]
    whole = plain(dataset)
    parts = [plain(each.shard(2, index)) for index, each in enumerate(copies)]
    assert parts[0] == whole[0::2]
    assert parts[1] == whole[1::2]


@pytest.mark.parametrize("elements", [0, 3, 10])
def test_a_state_carries_its_seeds_for_this_pass_and_later_ones(make, elements):
    old = make()
    plain(old)
    iterator = old.as_numpy_iterator()
    for _ in range(elements):
        next(iterator)
    state = json.loads(json.dumps(iterator.state_dict()))
    rest = [np.asarray(x).tolist() for x in iterator]
    later = [plain(old) for _ in range(2)]
    # An unpickled copy, and the plan of a restarted script.
    for new in (pickle.loads(pickle.dumps(old)), make()):
        resumed = new.as_numpy_iterator()
        resumed.load_state_dict(state)
        assert [np.asarray(x).tolist() for x in resumed] == rest
        assert [plain(new) for _ in range(2)] == later


def test_a_state_of_a_derived_plan_sets_the_seed_of_its_inputs():
    old, new = rows().shuffle(), rows().shuffle()
    iterator = old.batch(4).as_numpy_iterator()
    next(iterator)
    other = new.batch(8)
    under_way = other.as_numpy_iterator()
    head = next(under_way)
    new.batch(4).as_numpy_iterator().load_state_dict(iterator.state_dict())
    # Plans made before and after it, and pickles, but no running iterator.
    for dataset in (new, new.batch(8), other, pickle.loads(pickle.dumps(new))):
        dataset.set_epoch(5)
        old.set_epoch(5)
        assert sorted(plain(old)) == list(range(40))
        assert np.concatenate(
            [np.ravel(x) for x in dataset.as_numpy_iterator()]
        ).tolist() == plain_again(old)
    assert sorted(np.concatenate([head, *under_way]).tolist()) == list(range(40))


def plain_again(dataset) -> list:
    dataset.set_epoch(5)
    return plain(dataset)


def test_loading_a_state_keeps_a_cache():
    calls: list[int] = []

    def counted(x):
        calls.append(int(x))
        return x

    def make():
        return (
            tfy.Dataset.from_tensor_slices(np.arange(6))
            .with_format("numpy")
            .map(counted)
            .cache()
            .shuffle()
        )

    new, old = make(), make()
    calls.clear()
    assert sorted(plain(new)) == list(range(6))
    assert len(calls) == 6
    new.as_numpy_iterator().load_state_dict(old.as_numpy_iterator().state_dict())
    assert sorted(plain(new.batch(1).unbatch())) == list(range(6))
    assert len(calls) == 6


def test_given_seeds_keep_the_golden_orders():
    assert plain(rows(10).shuffle(seed=7)) == [0, 9, 4, 7, 8, 3, 1, 5, 6, 2]
    assert plain(tfy.Dataset.random(seed=7).take(2)) == [91078609, 1366299982]
    assert plain(rows(6).shuffle(2, seed=7, block=2)) == [2, 3, 4, 5, 1, 0]


def test_drawn_shuffles_are_unaffected_by_function_calls():
    fixed = rows(9).shuffle(reshuffle_each_iteration=False)
    zipped = tfy.Dataset.zip(rows(1).flat_map(lambda x: fixed), fixed)
    assert all(int(a) == int(b) for a, b in zipped.as_numpy_iterator())


def test_the_seed_of_tensorflow_applies_as_in_tf_data(tf, make):
    def run(seed):
        tf.random.set_seed(seed)
        made = [make() for _ in range(2)]
        return [[plain(dataset) for _ in range(2)] for dataset in made]

    try:
        first = run(5)
        assert run(5) == first
        assert run(6) != first
        assert first[0] != first[1] or run(7)[0] != run(7)[1], "each stage has a seed of its own"
        tf.keras.utils.set_random_seed(5)
        assert next(plain(make()) for _ in range(1)) == first[0][0]
        # A given seed is not affected.
        assert plain(rows(10).shuffle(seed=7)) == [0, 9, 4, 7, 8, 3, 1, 5, 6, 2]
    finally:
        unset_seed(tf)


def test_a_mix_of_one_dataset_keeps_its_seed(tf):
    shuffled = rows().shuffle()
    expected = [plain(shuffled) for _ in range(1)]
    try:
        tf.random.set_seed(1)
        only = tfy.Dataset.sample_from_datasets([shuffled])
        only.set_epoch(0)
        assert plain(only) == expected[0]
        assert plain(pickle.loads(pickle.dumps(only.repeat(1)))) == plain(only)
    finally:
        unset_seed(tf)


def unset_seed(tf) -> None:
    from tensorflow.python.eager import context

    context.context()._seed = None
    context.context()._rng = None
    assert tf.compat.v1.random.get_seed(None) == (None, None)
