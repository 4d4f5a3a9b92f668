"""Epochs: every pass over a plan is its next one, even if the plan is derived again."""

from __future__ import annotations

import copy
import functools
import pickle

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import errors

ROWS = np.arange(24)


def base():
    return tfy.Dataset.from_tensor_slices(ROWS).with_format("numpy").shuffle(seed=7)


def flat(dataset) -> list[int]:
    return np.concatenate([np.ravel(part) for part in dataset.as_numpy_iterator()] or [[]]).tolist()


def epoch_of(dataset) -> int:
    """The epoch of the next pass."""
    return iter(dataset).state_dict()["epoch"]


def plus(x, by=1):
    return x + by


def twice(x):
    return tfy.Dataset.from_tensors(x).repeat(2)


class Adder:
    def plus(self, x):
        return x + 1


ADDER = Adder()

# Plans that a loop over epochs may derive again in each turn.
WRITTEN_AGAIN = {
    "itself": lambda d: d,
    "batch": lambda d: d.batch(5),
    "batch, prefetch": lambda d: d.batch(5).prefetch(2),
    "map of a lambda": lambda d: d.map(lambda x: x + 1),
    "map of a function": lambda d: d.map(plus),
    "map of a partial": lambda d: d.map(functools.partial(plus, by=2)),
    "map of a method": lambda d: d.map(ADDER.plus),
    "map of a closure": lambda d: (lambda by: d.map(lambda x: x + by))(2.0 * 3),
    "filter": lambda d: d.filter(lambda x: x % 2 == 0),
    "take_while": lambda d: d.take_while(lambda x: x >= 0),
    "scan": lambda d: d.scan(np.int64(0), lambda s, x: (s + x, s + x)),
    "flat_map": lambda d: d.flat_map(twice),
    "flat_map of a lambda": lambda d: d.flat_map(lambda x: tfy.Dataset.from_tensors(x)),
    "interleave": lambda d: d.interleave(twice, cycle_length=2),
    "group_by_window": lambda d: d.group_by_window(
        lambda x: x % 2, lambda k, w: w.batch(2), window_size=2
    ),
    "buckets": lambda d: d.batch(3).bucket_by_sequence_length(lambda x: len(x), [2], [2, 2]),
    "zip with numbers": lambda d: tfy.Dataset.zip(tfy.Dataset.range(100), d).map(lambda i, x: x),
    "zip with a list": lambda d: tfy.Dataset.zip(d, tfy.Dataset.from_tensor_slices([1] * 24)).map(
        lambda x, w: x
    ),
    "concatenate": lambda d: d.concatenate(d.take(3)),
    "choose": lambda d: tfy.Dataset.choose_from_datasets(
        [d, d.skip(5)], tfy.Dataset.range(2).repeat(5)
    ),
    "sample": lambda d: tfy.Dataset.sample_from_datasets([d, d.skip(5)], seed=1),
    "window": lambda d: d.window(4).flat_map(lambda w: w.batch(4)),
    "repeat": lambda d: d.repeat(2),
    "shard": lambda d: d.shard(2, 1),
    "cast, scale": lambda d: d.cast("float32").scale(2.0),
    "format": lambda d: d.with_format("tensorferry"),
    "options": lambda d: d.with_options(tfy.Options(threads=1)),
    "buffered": lambda d: d.filter(lambda x: True).shuffle(9, seed=3),
    "blocks": lambda d: d.shuffle(9, seed=3, block=3),
    "crop, flip": lambda d: d.batch(4).random_crop(2, seed=1).flip(0, seed=2),
}


@pytest.mark.parametrize("name", WRITTEN_AGAIN)
def test_a_plan_that_is_derived_again_continues_with_its_next_epoch(name):
    derive = WRITTEN_AGAIN[name]
    # A plan that is made once counts the same epochs.
    once = derive(base())
    expected = [flat(once) for _ in range(3)]
    root = base()
    assert [flat(derive(root)) for _ in range(3)] == expected
    assert expected[0] != expected[1]


def test_different_plans_over_one_shuffle_count_separately():
    root = base()
    train, valid = (lambda: root.skip(6).batch(4)), (lambda: root.take(6).batch(4))
    for epoch in range(3):
        seen = flat(train())
        assert epoch_of(root.skip(6)) == epoch
        assert sorted(seen + flat(valid())) == ROWS.tolist(), (
            "a row of one split came into the other"
        )
    assert (epoch_of(root), epoch_of(train()), epoch_of(root.batch(4))) == (0, 3, 0)


def test_plans_over_other_arrays_and_functions_count_separately():
    assert [epoch_of(base()) for _ in range(3)] == [0, 0, 0]
    root = base()
    makers = [
        lambda by: root.map(lambda x: x + by),
        lambda by: root.map(functools.partial(plus, by=by)),
    ]
    for make in makers:
        assert [epoch_of(make(1)), epoch_of(make(2)), epoch_of(make(1))] == [0, 0, 1]
    assert epoch_of(root.map(lambda x: x * 2)) == 0
    mine = np.arange(24) * 10
    zipped = [
        epoch_of(tfy.Dataset.zip(root, tfy.Dataset.from_tensor_slices(other)))
        for other in (ROWS, mine, ROWS)
    ]
    assert zipped == [0, 0, 1]


def test_tracing_a_function_is_not_a_pass():
    root = base()
    for _ in range(3):
        root.map(lambda x: [x])
        root.scan(np.int64(0), lambda s, x: (s + x, x))
        root.group_by_window(lambda x: x % 2, lambda k, w: w.batch(2), window_size=2)
    assert epoch_of(root) == 0


def test_set_epoch_sets_the_next_epoch_of_all_derived_datasets():
    root = base()
    orders = [flat(root) for _ in range(6)]
    made_before = root.batch(5)
    assert flat(made_before) == orders[0]
    root.set_epoch(4)
    assert flat(made_before) == orders[4]
    assert flat(made_before) == orders[5]
    assert flat(root.batch(7)) == orders[4], "made after"
    assert flat(root.with_format("torch")) == orders[4]
    assert flat(root) == orders[4]
    made_before.set_epoch(2)
    assert flat(made_before) == orders[2]
    assert epoch_of(root) == 5, "what it is made of is left alone"
    train, valid = root.skip(4), root.take(4)
    train.set_epoch(0)
    assert flat(train) + flat(valid) == orders[0][4:] + orders[4][:4]


def test_set_epoch_reaches_combined_datasets():
    for make in (
        lambda a, b: tfy.Dataset.zip(a, b),
        lambda a, b: a.concatenate(b),
        lambda a, b: tfy.Dataset.sample_from_datasets([a, b], seed=1),
        lambda a, b: tfy.Dataset.zip({"x": b, "y": (a, b)}),
    ):
        first, second = base(), base()
        both = make(first, second)
        assert (epoch_of(both), epoch_of(both)) == (0, 1)
        second.set_epoch(5)
        assert (epoch_of(both), epoch_of(make(first, second)), epoch_of(first)) == (5, 6, 0)


def test_set_epoch_does_not_affect_running_iterators():
    dataset = base()
    expected = flat(base())
    iterator = dataset.as_numpy_iterator()
    head = [next(iterator) for _ in range(5)]
    dataset.set_epoch(9)
    assert [int(x) for x in head + list(iterator)] == expected
    assert epoch_of(dataset) == 9


@pytest.mark.parametrize("epoch", [-1, 2**63, 2**70])
def test_an_invalid_epoch_is_refused(epoch):
    with pytest.raises(errors.InvalidArgumentError, match="set_epoch: epoch has to be"):
        base().set_epoch(epoch)
    with pytest.raises(errors.InvalidTypeError, match="set_epoch"):
        base().set_epoch(1.5)


def test_set_epoch_takes_numpy_integers_and_large_ones():
    dataset = base()
    for epoch in (np.int32(3), np.uint8(0), 2**63 - 1):
        dataset.set_epoch(epoch)
        assert epoch_of(dataset) == int(epoch)


def test_a_pickle_starts_with_the_next_epoch_and_counts_separately():
    dataset = base().batch(5)
    orders = [flat(dataset) for _ in range(2)]
    copies = [pickle.loads(pickle.dumps(dataset)) for _ in range(2)]
    assert flat(copies[0]) == flat(copies[1]) == flat(dataset) != orders[1]
    assert flat(copies[0]) == flat(dataset)
    assert epoch_of(copies[1]) == 3
    # set_epoch reaches datasets that a worker derives from its copy.
    dataset.set_epoch(1)
    again = pickle.loads(pickle.dumps(dataset))
    assert flat(again.unbatch()) == orders[1]
    assert flat(again) == orders[1]
    passed = base()
    flat(passed)
    assert epoch_of(pickle.loads(pickle.dumps(passed)).batch(3)) == epoch_of(passed.batch(3)) == 0


def test_formats_options_and_copies_count_separately():
    root = base()
    orders = [flat(root) for _ in range(4)]
    for derive in (
        lambda: root.with_format("tensorferry"),
        lambda: root.with_options(tfy.Options(threads=1)),
    ):
        assert [flat(derive()) for _ in range(2)] == orders[:2], "from 0 on, and on"
        assert flat(derive().batch(4)) == orders[0]
    for duplicate in (copy.copy, copy.deepcopy):
        one, other = duplicate(root), duplicate(root)
        assert epoch_of(one) == 4, "what the original would be in next"
        assert (epoch_of(one), epoch_of(other), epoch_of(root.take(3))) == (
            5,
            4,
            0 if duplicate is copy.copy else 1,
        )
        assert (
            [flat(one.batch(4)) for _ in range(2)]
            == [flat(other.batch(4)) for _ in range(2)]
            == orders[:2]
        )
        one.set_epoch(1)
        assert (epoch_of(one), epoch_of(other.skip(2)), epoch_of(root.skip(3))) == (
            1,
            0,
            0 if duplicate is copy.copy else 1,
        )
    assert epoch_of(root) == 4


def test_a_loaded_state_makes_the_next_pass_the_one_after_it():
    root = base()
    orders = [flat(root.batch(4)) for _ in range(4)]
    fresh = base()
    iterator = fresh.batch(4).as_numpy_iterator()
    old = base().batch(4)
    list(old), list(old)
    under_way = old.as_numpy_iterator()
    head = [next(under_way) for _ in range(3)]
    iterator.load_state_dict(under_way.state_dict())
    assert np.concatenate(head + list(iterator)).tolist() == orders[2]
    assert flat(fresh.batch(4)) == orders[3]
    # Also in the process that saved it, where the count goes back.
    under_way.load_state_dict(under_way.state_dict())
    assert flat(old) == orders[3]


def test_windows_count_separately():
    windows = list(tfy.Dataset.range(9).with_format("numpy").window(3))
    for window in windows:
        shuffled = window.shuffle(seed=1)
        assert [epoch_of(shuffled), epoch_of(shuffled)] == [0, 1]


def test_thousands_of_other_plans_do_not_evict_a_count():
    root = base()
    kept = root.batch(5)
    assert epoch_of(kept) == 0
    for at in range(3000):
        iter(root.skip(at % 7).take(at))
    assert (epoch_of(kept), epoch_of(root.batch(5))) == (1, 2)


def test_to_tf_data_counts_with_the_dataset(tf):
    root = base()
    orders = [flat(base_) for base_ in [base()] for _ in range(6)]
    real = root.to_tf_data()
    assert [int(x) for x in real] == orders[0]
    assert flat(root) == orders[1]
    assert [int(x) for x in root.to_tf_data()] == orders[2]
    assert [int(x) for x in root.batch(5).unbatch().to_tf_data()] == orders[0], "another plan"
    root.set_epoch(5)
    assert [int(x) for x in real] == orders[5]
    streamed = [
        [int(x) for x in root.map(lambda x: x).shuffle(30, seed=1).to_tf_data()] for _ in range(2)
    ]
    assert streamed[0] != streamed[1]


def test_fit_continues_at_an_initial_epoch(tf):
    seen: list[list[int]] = []

    class Model(tf.keras.Model):
        def train_step(self, data):
            tf.py_function(lambda x: seen[-1].extend(x.numpy().tolist()), [data], [])
            return {"loss": tf.constant(0.0)}

    class Begin(tf.keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append([])

    def fit(dataset, **given):
        model = Model()
        model.compile(run_eagerly=True)
        model.fit(
            dataset.batch(6).to_tf_data(), callbacks=[Begin()], shuffle=False, verbose=0, **given
        )

    fit(base(), epochs=3)
    whole = list(seen)
    restarted = base()
    restarted.set_epoch(2)
    fit(restarted, epochs=3, initial_epoch=2)
    assert whole[2] == seen[3] != whole[1]
