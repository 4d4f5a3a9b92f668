"""Iterators inside tf.data, saved by tf.train.Checkpoint and restored in other processes, datasets
and epochs.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorferry as tfy

from tests.support.processes import run_python

NUMBER = tfy.TensorSpec((), "int64")
PLANS = {
    "in order": lambda: tfy.Dataset.range(20).batch(3),
    "shuffled": lambda: tfy.Dataset.range(20).shuffle(seed=3).batch(3),
    "shuffled without a seed": lambda: tfy.Dataset.range(20).shuffle().batch(3),
    "rounds": lambda: tfy.Dataset.range(5).shuffle(seed=3).repeat(3),
    "function": lambda: (
        tfy.Dataset.range(20)
        .with_format("numpy")
        .map(lambda x: x, output_signature=NUMBER)
        .batch(3)
    ),
    "read ahead": lambda: tfy.Dataset.range(20).shuffle(seed=3).batch(3).prefetch(2),
}


def numbers(dataset) -> list:
    return [x.numpy().tolist() for x in dataset]


def saved(tf, iterator, folder, name="state") -> str:
    return tf.train.Checkpoint(iterator=iterator).save(str(folder / name))


def restored(tf, dataset, path):
    iterator = iter(dataset)
    tf.train.Checkpoint(iterator=iterator).restore(path).assert_consumed()
    return iterator


@pytest.mark.parametrize("name", sorted(PLANS))
def test_it_resumes_exactly_in_the_middle_of_any_epoch(tf, tmp_path, name) -> None:
    for epoch, position in ((0, 1), (1, 4), (2, 6)):
        real = PLANS[name]().to_tf_data()
        for _ in range(epoch):
            list(real)
        iterator = iter(real)
        for _ in range(position):
            next(iterator)
        path = saved(tf, iterator, tmp_path, f"{epoch}-{position}")
        left = numbers(iterator)
        assert left
        assert numbers(restored(tf, PLANS[name]().to_tf_data(), path)) == left


def test_epochs_after_a_restored_one_follow_it(tf, tmp_path) -> None:
    make = PLANS["shuffled"]
    real = make().to_tf_data()
    list(real)
    iterator = iter(real)
    next(iterator)
    path = saved(tf, iterator, tmp_path)
    following = [numbers(real) for _ in range(2)]
    again = make().to_tf_data()
    restored_iterator = restored(tf, again, path)
    next(restored_iterator)
    assert [numbers(again) for _ in range(2)] == following


def test_repetitions_by_tf_data_continue(tf, tmp_path) -> None:
    def make():
        return PLANS["shuffled"]().to_tf_data().repeat(3).prefetch(1)

    whole = numbers(make())
    assert len({json.dumps(whole[i : i + 7]) for i in (0, 7, 14)}) == 3
    for position in (3, 7, 10, 14, 20):
        iterator = iter(make())
        for _ in range(position):
            next(iterator)
        path = saved(tf, iterator, tmp_path, str(position))
        assert numbers(restored(tf, make(), path)) == whole[position:]


@pytest.mark.parametrize("source", [tfy.Dataset.range(20), tfy.Dataset.range(20).shuffle(seed=3)])
def test_a_state_of_another_plan_is_refused_with_the_difference(tf, tmp_path, source) -> None:
    iterator = iter(source.batch(3).to_tf_data())
    next(iterator)
    path = saved(tf, iterator, tmp_path)
    with pytest.raises(
        tf.errors.FailedPreconditionError,
        match=r"another plan: stage \d was batch\(3\) and is now batch\(4\)",
    ):
        next(restored(tf, source.batch(4).to_tf_data(), path))


def test_a_checkpoint_is_small_for_any_dataset(tf, tmp_path) -> None:
    iterator = iter(tfy.Dataset.range(1_000_000_000).shuffle(seed=3).to_tf_data())
    next(iterator)
    path = saved(tf, iterator, tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 20_000
    assert int(
        next(restored(tf, tfy.Dataset.range(1_000_000_000).shuffle(seed=3).to_tf_data(), path))
    ) == int(next(iterator))


def test_tf_data_reports_that_it_cannot_save_a_stream(tf, tmp_path) -> None:
    numbers = tfy.Dataset.range(20).with_format("numpy")
    streams = {
        "GeneratorDataset does not support checkpointing": numbers.filter(lambda x: x % 2 == 0),
        "TensorferryNext is stateful": numbers.scan(
            np.int64(0), lambda state, x: (state + 2, state)
        ),
    }
    for message, stream in streams.items():
        iterator = iter(stream.to_tf_data())
        next(iterator)
        with pytest.raises(
            (tf.errors.UnimplementedError, tf.errors.FailedPreconditionError), match=message
        ):
            saved(tf, iterator, tmp_path)
        assert int(next(iterator)) == 2


@pytest.mark.slow
def test_another_process_resumes(tf, tmp_path) -> None:
    array = tmp_path / "array.npy"
    np.save(array, np.arange(100))
    script = f"""
    import json, sys
    import tensorflow as tf, tensorferry as tfy
    step = sys.argv[1]
    real = tfy.Dataset.from_npy({str(array)!r}).shuffle().batch(7).to_tf_data()
    for _ in range(2 if step == "save" else 0):
        list(real)
    iterator = iter(real)
    checkpoint = tf.train.Checkpoint(iterator=iterator)
    if step == "save":
        next(iterator)
        checkpoint.write({str(tmp_path / "state")!r})
    else:
        checkpoint.read({str(tmp_path / "state")!r})
    print(json.dumps([x.numpy().tolist() for x in iterator]))
    """
    left, again = (json.loads(run_python(script, step)) for step in ("save", "restore"))
    assert left == again
    assert len(left) == 14


def symbolic(tf, dataset):
    options = tf.data.Options()
    options.experimental_symbolic_checkpoint = True
    return dataset.with_options(options)


@pytest.mark.parametrize("name", sorted(PLANS))
def test_a_symbolic_checkpoint_resumes_exactly_or_is_refused(tf, tmp_path, name) -> None:
    """It holds a position and restarts the pass. If the order differs, it yields nothing."""
    iterator = iter(symbolic(tf, PLANS[name]().to_tf_data()))
    for _ in range(3):
        next(iterator)
    path = saved(tf, iterator, tmp_path)
    left = numbers(iterator)
    resumed = iter(symbolic(tf, PLANS[name]().to_tf_data()))
    tf.train.Checkpoint(iterator=resumed).restore(path)
    if name in ("in order", "function"):
        assert numbers(resumed) == left
        return
    for _ in range(2):
        with pytest.raises(tf.errors.FailedPreconditionError, match="without that option"):
            next(resumed)


def test_a_symbolic_checkpoint_of_a_fixed_order_resumes_exactly(tf, tmp_path) -> None:
    def make():
        return symbolic(
            tf, tfy.Dataset.range(20).shuffle(seed=3, reshuffle_each_iteration=False).to_tf_data()
        )

    iterator = iter(make())
    assert len([next(iterator) for _ in range(3)]) == 3
    path = saved(tf, iterator, tmp_path)
    resumed = iter(make())
    tf.train.Checkpoint(iterator=resumed).restore(path)
    assert numbers(resumed) == numbers(iterator)


def test_a_new_pass_may_start_in_the_middle(tf) -> None:
    order = [int(x) for x in tfy.Dataset.range(20).shuffle(seed=3).with_format("numpy")]
    for part, expected in [
        (lambda real: real.skip(3), order[3:]),
        (lambda real: real.shard(2, 1), order[1::2]),
        (lambda real: real.take(5).skip(2), order[2:5]),
        (lambda real: real.skip(3).shard(2, 1).prefetch(2), order[4::2]),
        (lambda real: real.map(lambda x: x, num_parallel_calls=4).skip(3), order[3:]),
    ]:
        assert numbers(part(tfy.Dataset.range(20).shuffle(seed=3).to_tf_data())) == expected
