"""Worker processes, in each start method: every drawing stage yields each row exactly once."""

from __future__ import annotations

import collections
import multiprocessing
import subprocess
import sys

import numpy as np
import pytest
import tensorferry as tfy

from tests.support.paths import ROOT

COUNT = 48
METHODS = ["fork", "spawn", "forkserver"]
# The tests fork beside threads of other libraries. Python 3.12 warns of that.
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"
    ),
]


def rows():
    return tfy.Dataset.range(COUNT).with_format("numpy")


def halves():
    return rows().split(0.5)


def is_any(x) -> bool:
    return True


def shuffled_sixes(x):
    return tfy.Dataset.range(6 * x, 6 * x + 6).with_format("numpy").shuffle()


def mixed_sixes(x):
    halves = [
        tfy.Dataset.range(6 * x + a, 6 * x + b).with_format("numpy") for a, b in ((0, 3), (3, 6))
    ]
    return tfy.Dataset.sample_from_datasets(halves)


def shuffled_window(key, window):
    return window.shuffle()


def remainder(x):
    return x % 3


# Stages that draw over the numbers below COUNT. Each yields a permutation of them.
DRAWING = {
    "shuffle": lambda: rows().shuffle(),
    "shuffle of one order": lambda: rows().shuffle(reshuffle_each_iteration=False),
    "shuffle in a buffer": lambda: rows().filter(is_any).shuffle(11),
    "shuffle in blocks": lambda: rows().shuffle(16, block=4),
    "sample_from_datasets": lambda: tfy.Dataset.sample_from_datasets(
        [rows().take(20), rows().skip(20)]
    ),
    "sample reseeded": lambda: tfy.Dataset.sample_from_datasets(
        [rows().take(20), rows().skip(20)], rerandomize_each_iteration=True
    ),
    "flat_map": lambda: rows().take(8).flat_map(shuffled_sixes),
    "flat_map of mixes": lambda: rows().take(8).shuffle().flat_map(mixed_sixes),
    "interleave": lambda: rows().take(8).interleave(shuffled_sixes, cycle_length=3, block_length=2),
    "group_by_window": lambda: rows().group_by_window(remainder, shuffled_window, window_size=5),
    "random_crop": lambda: rows().batch(COUNT).random_crop(COUNT).unbatch().shuffle(),
    "flip": lambda: rows().batch(2).flip(0).unbatch(),
    "several": lambda: rows().shuffle().batch(6).shuffle().unbatch(),
    "repeat": lambda: rows().shuffle().repeat(2),
    "select": lambda: rows().select(range(COUNT - 1, -1, -1)).shuffle(),
    "select of a shuffle": lambda: rows().shuffle().select(np.arange(COUNT)),
    "split": lambda: halves()[0].shuffle().concatenate(halves()[1].shuffle()),
}
# Stages that draw values instead of an order: workers must draw the same ones.
VALUES = {
    "random": lambda: tfy.Dataset.random().take(COUNT),
    "random reseeded": lambda: tfy.Dataset.random(rerandomize_each_iteration=True).take(COUNT),
    "sample": lambda: rows().sample(),
    "sample of weights": lambda: rows().sample(weights=np.arange(COUNT)),
    "crops": lambda: (
        tfy.Dataset.from_tensor_slices(np.arange(COUNT * 9).reshape(COUNT, 9))
        .random_crop(1)
        .unbatch()
    ),
}
ALL = DRAWING | VALUES


def part(dataset, count: int, index: int, epochs: int) -> list[list[int]]:
    """The share of one worker: its shard of each epoch."""
    mine = dataset.shard(count, index)
    return [[int(x) for x in mine.as_numpy_iterator()] for _ in range(epochs)]


def work(queue, datasets, count, index, epochs) -> None:
    """The main function of a worker process."""
    try:
        queue.put(
            (
                index,
                {name: part(dataset, count, index, epochs) for name, dataset in datasets.items()},
            )
        )
    except BaseException as error:
        queue.put((index, repr(error)))
        raise


def shares(method: str, datasets, count: int, epochs: int) -> list[dict[str, list[list[int]]]]:
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    workers = [
        context.Process(target=work, args=(queue, datasets, count, index, epochs))
        for index in range(count)
    ]
    for worker in workers:
        worker.start()
    found = dict(queue.get(timeout=300) for _ in workers)
    for worker in workers:
        worker.join(timeout=60)
        assert worker.exitcode == 0
    return [found[index] for index in range(count)]


@pytest.mark.parametrize("method", METHODS)
def test_workers_see_every_row_once_in_every_epoch(method):
    datasets = {name: make() for name, make in ALL.items()}
    parts = shares(method, datasets, 2, 2)
    for name, dataset in datasets.items():
        orders = []
        for epoch in range(2):
            whole = [int(x) for x in dataset.as_numpy_iterator()]
            orders.append(whole)
            assert [share[name][epoch] for share in parts] == [whole[0::2], whole[1::2]], (
                name,
                epoch,
            )
            if name in DRAWING:
                times = 2 if name == "repeat" else 1
                seen = collections.Counter(x for share in parts for x in share[name][epoch])
                assert seen == dict.fromkeys(range(COUNT), times), (name, epoch)
        if name not in ("shuffle of one order", "sample_from_datasets", "random", "random_crop"):
            assert orders[0] != orders[1], name


@pytest.mark.parametrize("method", METHODS)
def test_workers_begin_at_the_given_epoch(method):
    """The parent counts the epochs and starts new workers for each."""
    dataset = {"shuffle": DRAWING["shuffle"]()}
    expected = [[int(x) for x in dataset["shuffle"].as_numpy_iterator()] for _ in range(3)]
    for epoch in (2, 1):
        dataset["shuffle"].set_epoch(epoch)
        parts = shares(method, dataset, 3, 1)
        whole = expected[epoch]
        assert [share["shuffle"][0] for share in parts] == [whole[0::3], whole[1::3], whole[2::3]]


def test_a_restarted_worker_resumes_from_its_state():
    """A restarted process derives the plan again and loads a state. Others are unaffected."""
    program = """
import json, sys
import tensorferry as tfy
from tests_workers import DRAWING
name, state, index = json.load(sys.stdin)
mine = DRAWING[name]().shard(2, index).as_numpy_iterator()
mine.load_state_dict(state)
print(json.dumps([int(x) for x in mine]))
"""
    import json

    for name in ("shuffle", "flat_map", "shuffle in a buffer"):
        parts = [DRAWING[name]() for _ in range(1)]
        old = parts[0].shard(2, 1).as_numpy_iterator()
        head = [int(next(old)) for _ in range(7)]
        other = [int(x) for x in parts[0].shard(2, 0).as_numpy_iterator()]
        source = program.replace(
            "from tests_workers", f"sys.path.insert(0, {str(ROOT)!r})\nfrom {__name__}"
        )
        given = json.dumps([name, old.state_dict(), 1])
        ran = subprocess.run(
            [sys.executable, "-c", source], input=given, capture_output=True, text=True, timeout=300
        )
        assert ran.returncode == 0, ran.stderr
        rest = json.loads(ran.stdout.splitlines()[-1])
        assert rest == [int(x) for x in old]
        assert sorted(head + rest + other) == list(range(COUNT)), name
