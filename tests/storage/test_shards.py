"""Parts of rows that are shuffled in blocks from object storage: each rank receives its part of the
blocks, and no row is lost or repeated, whatever resumes.
"""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import _internal, checkpoint, errors

MIB = 1 << 20
ROWS, WIDTH = 24_000, 256
#: Rows of a block of 1 MiB, and of a group of four blocks.
BLOCK = MIB // (4 * WIDTH)
GROUP = 4 * BLOCK
BATCH = 200


@pytest.fixture(scope="module")
def place(s3):
    """Two objects, whose rows hold their number."""
    store = s3.under("parts/")
    numbers = np.arange(ROWS, dtype="i4")
    for name, part in zip("ab", np.split(numbers, [ROWS // 3]), strict=True):
        out = io.BytesIO()
        np.save(out, np.repeat(part[:, None], WIDTH, axis=1))
        store.put(f"{name}.npy", out.getvalue())
    return store


def shuffled(place, **options) -> tfy.Dataset:
    x = tfy.open([place.url("a.npy"), place.url("b.npy")], storage_options=place.options)
    rows = tfy.Dataset.from_tensor_slices(x).with_format("numpy")
    return rows.shuffle(seed=7, **{"buffer_size": GROUP, **options})


def numbers(batches) -> list[int]:
    return [int(row) for batch in batches for row in batch[:, 0]]


def received(read) -> tuple[list[int], dict[str, int]]:
    before = _internal.request_counts()
    found = numbers(read())
    now = _internal.request_counts()
    return found, {name: now[name] - before[name] for name in now}


@pytest.mark.parametrize("world", [2, 5])
def test_each_rank_receives_its_part(place, world) -> None:
    order = numbers(shuffled(place).batch(BATCH))
    share = ROWS * WIDTH * 4 / world
    ends = [-(-ROWS * rank // world) for rank in range(world + 1)]
    for rank, (start, end) in enumerate(itertools.pairwise(ends)):
        mine = shuffled(place).for_rank(rank, world).batch(BATCH)
        found, counts = received(lambda mine=mine: mine)
        assert found == order[start:end], rank
        # Groups that the part is in: those at both ends are shared with neighbours.
        groups = (end - 1) // GROUP - start // GROUP + 1
        assert counts["bytes"] <= (groups + 1) * 4 * MIB, (rank, counts)
        assert counts["bytes"] < share + 8 * MIB, (rank, counts)
        assert counts["requests"] < 1.2 * counts["bytes"] / MIB + 10, (rank, counts)


@pytest.mark.parametrize("take", [ROWS - 1, ROWS // 2 + 77])
def test_stages_around_a_shuffle_keep_parts_contiguous(place, take) -> None:
    rows = shuffled(place).take(take).map(lambda x: x * 2).prefetch(2)
    order = numbers(rows.batch(BATCH))
    parts = [rows.shard(3, rank).batch(BATCH) for rank in range(3)]
    assert [x for part in parts for x in numbers(part)] == order
    batches = shuffled(place).batch(BATCH)
    parts = [batches.shard(3, rank) for rank in range(3)]
    assert [x for part in parts for x in numbers(part)] == numbers(batches)


def test_repeat_and_a_choice_keep_parts_strided(place) -> None:
    order = numbers(shuffled(place).batch(BATCH))
    strided = shuffled(place).shard(3, 1, contiguous=False).batch(BATCH)
    assert numbers(strided.take(4)) == order[1::3][: 4 * BATCH]
    explicit = shuffled(place, block=BLOCK)
    assert numbers(explicit.shard(3, 1).batch(BATCH).take(4)) == order[1::3][: 4 * BATCH]
    twice = shuffled(place).take(300).repeat(2).shard(3, 1).batch(BATCH)
    assert numbers(twice)[:100] == order[1:300:3]
    in_order = tfy.Dataset.range(10).with_format("numpy")
    assert [int(x) for x in in_order.shard(3, 1, contiguous=True)] == [4, 5, 6]
    with pytest.raises(errors.InvalidArgumentError, match="known length"):
        in_order.repeat().shard(3, 1, contiguous=True)


@pytest.mark.parametrize("seed", range(6))
def test_any_number_of_ranks_resumes_with_any_batch_size(place, seed) -> None:
    """Ranks that stop at different steps, three times; then all rows were handed out once."""
    random = np.random.default_rng(seed)
    found: list[int] = []
    states: list[dict] | None = None
    for run in range(4):
        world, size = int(random.integers(1, 6)), int(random.integers(100, 900))
        # The choice may differ between runs too.
        contiguous = [None, None, True, False][int(random.integers(4))]
        new = []
        for rank in range(world):
            mine = shuffled(place)
            if world > 1 or contiguous is not None:
                mine = mine.shard(world, rank, contiguous=contiguous)
            iterator = iter(mine.batch(size))
            if states is not None:
                merged = checkpoint.merge(states) if random.integers(2) else states
                iterator.load_state_dict(merged)
            steps = None if run == 3 else int(random.integers(0, ROWS // size // world // 3 + 2))
            found += numbers(itertools.islice(iterator, steps))
            new.append(iterator.state_dict())
        states = new
    assert sorted(found) == list(range(ROWS))


def test_states_of_different_parts_are_not_one_run(place) -> None:
    states = []
    for rank, contiguous in enumerate([True, False]):
        iterator = iter(shuffled(place).shard(2, rank, contiguous=contiguous).batch(BATCH))
        next(iterator)
        states.append(iterator.state_dict())
    with pytest.raises(errors.InvalidArgumentError, match="contiguous"):
        iter(shuffled(place).batch(BATCH)).load_state_dict(states)
