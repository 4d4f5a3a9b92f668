"""Runs that are killed at drawn steps, and resumed on another number of ranks with batches of
another size: every row of the epoch comes once.

Ranks save their states at different steps. What a rank hands out after its last saved state is lost
with it, as the training of these rows is.
"""

from __future__ import annotations

import itertools
import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tensorferry as tfy
from tensorferry import checkpoint

from tests.support.ranks import without_job
from tests.support.saving_ranks import begun, merged, part

SEEDS = range(100)
#: Attempts of a run before the one that ends.
KILLED = 3


def shuffled(rows: int) -> tfy.Dataset:
    return tfy.Dataset.range(rows).shuffle(seed=rows)


def listed(batches) -> list[int]:
    return [int(row) for batch in batches for row in batch]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_row_comes_once_whatever_was_saved_when(seed) -> None:
    draw = random.Random(seed)
    rows, epoch = draw.randint(1, 300), draw.randint(0, 2)
    state, trained = None, []
    for _ in range(draw.randint(1, KILLED)):
        world, size, steps = draw.randint(1, 5), draw.randint(1, 9), draw.randint(0, 12)
        states = []
        for rank in range(world):
            iterator = begun(
                part(shuffled(rows), world, rank, size, draw.random() < 0.5), state, epoch
            )
            trained += listed(itertools.islice(iterator, max(0, steps - draw.randint(0, 2))))
            states.append(iterator.state_dict())
            lost = draw.randint(0, 2)
            listed(itertools.islice(iterator, lost))
        state = checkpoint.merge(json.loads(json.dumps(draw.sample(states, world))))
    world, size = draw.randint(1, 5), draw.randint(1, 9)
    after = []
    for rank in range(world):
        dataset = part(shuffled(rows), world, rank, size)
        trained += listed(begun(dataset, state, epoch))
        assert len(state["data"]) < 1024
        after += listed(dataset)
    assert sorted(trained) == list(range(rows))
    assert sorted(after) == list(range(rows))


# A rank, which kills itself at a step.
RANK = """
import json, os, signal, sys
from pathlib import Path
from tests.cluster.test_killed_ranks import shuffled
from tests.support.saving_ranks import SavingRank, begun, part

rows, world, rank, size, every, kill = map(int, sys.argv[1:7])
iterator = begun(part(shuffled(rows), world, rank, size), json.loads(sys.argv[8]), 0)
run = SavingRank(iterator, Path(sys.argv[7]) / f"{rank}.json")
print("begun", flush=True)
sys.stdin.readline()
for step in run.steps(every):
    if step == kill:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def attempt(folder: Path, rows: int, world: int, size: int, state, kill: dict[int, int], every):
    """Runs ranks, of which some kill themselves; then all others are killed too. Returns the state
    that they saved last, and the rows that they had trained on.
    """
    folder.mkdir()
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK]
            + [str(x) for x in (rows, world, rank, size, every, kill.get(rank, -1), folder)]
            + [json.dumps(state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=without_job(),
        )
        for rank in range(world)
    ]
    try:
        for rank in ranks:
            assert rank.stdout.readline() == b"begun\n"
        for rank in ranks:
            rank.stdin.write(b"\n")
            rank.stdin.flush()
        for number in kill or range(world):
            assert ranks[number].wait(120) == (-signal.SIGKILL if kill else 0)
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()
    return merged(folder / f"{rank}.json" for rank in range(world))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("seed", SEEDS[:10])
def test_processes_that_are_killed_lose_no_row_and_repeat_none(seed, tmp_path) -> None:
    draw = random.Random(seed)
    rows, world, size = draw.randint(400, 800), draw.randint(2, 3), draw.randint(4, 9)
    steps = rows // (world * size) // 2
    killed = {draw.randrange(world): draw.randrange(steps)}
    every = draw.randint(1, 4)
    state, trained = attempt(tmp_path / "killed", rows, world, size, None, killed, every)
    world, size = draw.choice([n for n in (1, 2, 3) if n != world]), draw.randint(1, 3)
    _, rest = attempt(tmp_path / "rest", rows, world, size, state, {}, every)
    assert sorted(trained + rest) == list(range(rows))
