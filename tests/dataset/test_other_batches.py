"""Runs that resume with another batch size, and with another number of ranks: what counts is the
rows that were handed out.
"""

from __future__ import annotations

import json
import random
import subprocess

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import checkpoint, errors

from tests.support.cli import COMMAND


def shuffled(n, seed=7):
    return tfy.Dataset.range(n).shuffle(seed=seed)


#: How rows become batches.
BATCHES = {
    "batch": lambda rows, size: rows.batch(size),
    "padded": lambda rows, size: rows.padded_batch(size),
    "enumerate": lambda rows, size: rows.enumerate().batch(size),
    "after": lambda rows, size: rows.batch(size).cast("int32").prefetch(2),
    "twice": lambda rows, size: rows.batch(size).batch(1),
}


def rows_of(batches):
    found = []
    for batch in batches:
        row = batch[1] if isinstance(batch, tuple) else batch
        found += np.asarray(row).reshape(-1).tolist()
    return found


def begin(dataset, state):
    iterator = iter(dataset.with_format("numpy"))
    if state is not None:
        iterator.load_state_dict(json.loads(json.dumps(state)))
    return iterator


def take(iterator, count):
    return [batch for _, batch in zip(range(count), iterator, strict=False)]


@pytest.mark.parametrize("how", BATCHES)
def test_the_order_is_the_same_with_batches_of_any_size(how):
    draw = random.Random(how)
    for _ in range(20):
        n = draw.randrange(100)
        expected = rows_of(shuffled(n).batch(1).with_format("numpy"))
        found, state = [], None
        for _ in range(draw.randrange(5)):
            batches = BATCHES[how](shuffled(n), draw.randrange(1, 12))
            iterator = begin(batches, state)
            found += rows_of(take(iterator, draw.randrange(5)))
            state = iterator.state_dict()
        found += rows_of(begin(BATCHES[how](shuffled(n), 3), state))
        assert found == expected


@pytest.mark.parametrize("how", BATCHES)
def test_each_row_comes_once_on_any_number_of_ranks(how):
    draw = random.Random(how)
    for _ in range(20):
        n = draw.randrange(150)
        found, state = [], None
        for _ in range(draw.randrange(1, 4)):
            world, size, states = draw.randrange(1, 6), draw.randrange(1, 12), []
            for rank in range(world):
                mine = shuffled(n).shard(world, rank)
                iterator = begin(BATCHES[how](mine, size), state)
                found += rows_of(take(iterator, draw.randrange(5)))
                states.append(iterator.state_dict())
            draw.shuffle(states)
            state = checkpoint.merge(states) if draw.random() < 0.5 else states
        # Without shards at last.
        found += rows_of(begin(BATCHES[how](shuffled(n), 7), state))
        assert sorted(found) == list(range(n))


def test_the_next_epoch_has_all_rows():
    def part(world, rank, size):
        return shuffled(50).shard(world, rank).batch(size).with_format("numpy")

    states = []
    for rank in range(2):
        iterator = iter(part(2, rank, 4))
        next(iterator)
        states.append(iterator.state_dict())
    merged = checkpoint.merge(states)
    resumed = [part(3, rank, 5) for rank in range(3)]
    for dataset in resumed:
        iterator = iter(dataset)
        iterator.load_state_dict(merged)
        assert iterator.state_dict()["epoch"] == 0
        list(iterator)
    again = [rows_of(dataset) for dataset in resumed]
    assert sorted(row for part in again for row in part) == list(range(50))
    reference = shuffled(50).shard(3, 1).batch(5).with_format("numpy")
    list(reference)  # epoch 0
    assert rows_of(reference) == again[1]


def test_a_changed_epoch_begins_with_all_rows():
    iterator = begin(shuffled(30).batch(4), None)
    next(iterator)
    smaller = begin(shuffled(30).batch(3), iterator.state_dict())
    state = smaller.state_dict() | {"epoch": 5, "position": 0}
    assert sorted(rows_of(begin(shuffled(30).batch(3), state))) == list(range(30))


def test_streams_resume_with_another_batch_size():
    def rows():
        return tfy.Dataset.range(60).filter(lambda row: row % 3 != 0).shuffle(8, seed=2)

    expected = rows_of(rows().batch(1).with_format("numpy"))
    for first, second in [(4, 7), (7, 4), (1, 20)]:
        iterator = begin(rows().batch(first), None)
        found = rows_of(take(iterator, 3))
        found += rows_of(begin(rows().batch(second), iterator.state_dict()))
        assert found == expected
    dropping = begin(rows().batch(4, drop_remainder=True), None)
    next(dropping)
    with pytest.raises(errors.InvalidArgumentError, match="drop_remainder"):
        begin(rows().batch(5), dropping.state_dict())


def test_what_is_refused_does_not_blame_the_shard():
    state = iter(shuffled(20).shard(2, 0).batch(4)).state_dict()
    for other, message in [
        (shuffled(21).shard(3, 0).batch(5), r"stage 1 was range\(0, 20.* is now range\(0, 21"),
        (shuffled(20, 8).shard(3, 0).batch(5), r"stage 2 was shuffle\(seed=7\)"),
        (shuffled(20).shard(3, 0).batch(5).take(1), r"stage 5 is now take\(1\)"),
        (shuffled(20).shard(3, 0).skip(1).batch(5), r"was batch\(4\) and is now skip\(1\)"),
    ]:
        with pytest.raises(errors.InvalidArgumentError, match=message):
            iter(other).load_state_dict(state)
    taken = shuffled(20).batch(4).take(2)
    with pytest.raises(errors.InvalidArgumentError, match=r"was batch\(4\) and is now batch\(5\)"):
        iter(shuffled(20).batch(5).take(2)).load_state_dict(iter(taken).state_dict())


def test_ranks_that_draw_their_own_seeds_are_not_merged():
    def state(rank):
        return iter(tfy.Dataset.range(9).shuffle().shard(2, rank).batch(2)).state_dict()

    with pytest.raises(errors.InvalidArgumentError, match="Give every shuffle a seed"):
        checkpoint.merge([state(0), state(1)])


def test_a_merged_state_is_small():
    def state(rank, position):
        mine = shuffled(10**9).shard(1000, rank).batch(512)
        return iter(mine).state_dict() | {"position": position}

    in_step = checkpoint.merge(state(rank, 900) for rank in range(1000))
    assert len(json.dumps(in_step)) < 1024
    apart = checkpoint.merge(state(rank, 900 + rank % 3) for rank in range(1000))
    resumed = iter(shuffled(10**9).shard(7, 6).batch(64).with_format("numpy"))
    resumed.load_state_dict(apart)
    assert len(next(resumed)) == 64


def test_the_command_merges_states(tmp_path):
    found, files = [], []
    for rank in range(3):
        iterator = begin(shuffled(40).shard(3, rank).batch(4), None)
        found += rows_of(take(iterator, rank))
        files.append(tmp_path / f"rank-{rank}.json")
        files[-1].write_text(json.dumps(iterator.state_dict()))
    done = subprocess.run([COMMAND, "merge", *files], capture_output=True, text=True, check=True)
    for rank in range(2):
        found += rows_of(begin(shuffled(40).shard(2, rank).batch(3), json.loads(done.stdout)))
    assert sorted(found) == list(range(40))
    # A file may have them all.
    (tmp_path / "all.json").write_text(json.dumps([json.loads(file.read_text()) for file in files]))
    again = subprocess.run(
        [COMMAND, "merge", tmp_path / "all.json"], capture_output=True, text=True
    )
    assert json.loads(again.stdout) == json.loads(done.stdout)


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("{", 1, "not the JSON of a state"),
        ("{}", 1, "version is not a whole number"),
        ('{"version": 1, "epoch": 0, "position": 0, "data": "!"}', 1, "its data are damaged"),
        ('{"version": 1, "epoch": 0, "position": 0, "data": "AAAA"}', 1, "too few"),
        ("[]", 1, "there are no states"),
        (None, 3, "No such file"),
    ],
)
def test_the_command_refuses_what_is_no_state(tmp_path, text, status, message):
    file = tmp_path / "state.json"
    if text is not None:
        file.write_text(text)
    done = subprocess.run([COMMAND, "merge", file], capture_output=True, text=True, check=False)
    assert (done.returncode, message in done.stderr) == (status, True), done
