"""Ranks on hosts of their own, whose network is cut while they read from a server: a cut that ends
is not noticed, and one that stays is an error in time. No row is lost or repeated after it.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import checkpoint, errors

from tests.support.hosts import Hosts, absent

ROWS, WIDTH = 3000, 1000
HOSTS = 3
SIZE = 10
#: Of a rank.
STEPS = ROWS // HOSTS // SIZE
#: Seconds without a byte after which a read fails.
DEADLINE = 4

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(absent()), reason=str(absent()))]


@pytest.fixture
def hosts(tmp_path) -> Iterator[Hosts]:
    www = tmp_path / "www"
    www.mkdir()
    rows = np.repeat(np.arange(ROWS, dtype="i4")[:, None], WIDTH, axis=1)
    for number, part in enumerate(np.array_split(rows, 3)):
        np.save(www / f"part-{number}.npy", part)
    with Hosts(HOSTS, tmp_path) as made:
        yield made


def batches(url: str, world: int, rank: int, size: int) -> tfy.Dataset:
    """The rows of a rank. Blocks and groups are small, so that a rank keeps reading."""
    urls = [f"{url}/part-{number}.npy" for number in range(3)]
    options = {"allow_http": "true", "deadline": f"{DEADLINE}s"}
    rows = tfy.Dataset.from_tensor_slices(tfy.open(urls, storage_options=options))
    shuffled = rows.shuffle(seed=5, block=10, buffer_size=100)
    return shuffled.for_rank(rank, world, contiguous=True).batch(size).with_format("numpy")


def train(url: str, world: str, rank: str, size: str, file: str, state: str, pause: str) -> None:
    """What a rank does: it saves its state, with the rows that it has trained on, at each step. At
    the step `pause`, it waits for a line.
    """
    iterator = iter(batches(url, int(world), int(rank), int(size)))
    if saved := json.loads(state):
        iterator.load_state_dict(saved)
    trained: list[int] = []
    place = Path(file)

    def save() -> None:
        place.with_suffix(".new").write_text(
            json.dumps({"state": iterator.state_dict(), "trained": trained})
        )
        place.with_suffix(".new").replace(place)

    save()
    try:
        for step, batch in enumerate(iterator):
            trained += batch[:, 0].tolist()
            save()
            if step == int(pause):
                say("paused")
                sys.stdin.readline()
    except errors.Error as error:
        say(json.dumps([error.code, str(error)]))
    except OSError as error:
        say(json.dumps([type(error).__name__, str(error)]))
    else:
        say(json.dumps(None))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


RANK = "import sys; from tests.cluster.test_network_cuts import train; train(*sys.argv[1:])"


class Run:
    """Ranks on the first hosts, one on each."""

    def __init__(
        self,
        hosts: Hosts,
        url: str,
        world: int,
        size: int,
        folder: Path,
        *,
        state: Any = None,
        pauses: dict[int, int] | None = None,
    ):
        folder.mkdir()
        self.files = [folder / f"{rank}.json" for rank in range(world)]
        pauses = pauses or {}
        self.ranks = [
            hosts.start(
                rank + 1,
                RANK,
                [url, world, rank, size, file, json.dumps(state), pauses.get(rank, -1)],
            )
            for rank, file in enumerate(self.files)
        ]
        for rank in pauses:
            assert self.ranks[rank].stdout.readline() == b"paused\n"

    def go_on(self, rank: int) -> None:
        self.ranks[rank].stdin.write(b"\n")
        self.ranks[rank].stdin.flush()

    def saved(self, rank: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.files[rank].read_text())
        return found

    def end(self, rank: int, timeout: float) -> list[str] | None:
        """The error that a rank printed at its end."""
        printed, _ = self.ranks[rank].communicate(timeout=timeout)
        found: list[str] | None = json.loads(printed)
        return found

    def trained(self) -> list[int]:
        return list(itertools.chain.from_iterable(self.saved(r)["trained"] for r in self.all()))

    def states(self) -> list[dict[str, Any]]:
        return [self.saved(rank)["state"] for rank in self.all()]

    def all(self) -> range:
        return range(len(self.ranks))


@pytest.mark.parametrize("seed", range(2))
def test_a_cut_that_ends_is_not_noticed(hosts, tmp_path, seed) -> None:
    draw = random.Random(seed)
    cut = draw.sample(range(HOSTS), 2)
    pauses = {rank: draw.randrange(STEPS // 3) for rank in cut}
    run = Run(hosts, hosts.serve(), HOSTS, SIZE, tmp_path / "run", pauses=pauses)
    for rank in cut:
        hosts.cut(rank + 1)
        run.go_on(rank)
    time.sleep(draw.uniform(0.2, DEADLINE / 3))
    for rank in cut:
        hosts.mend(rank + 1)
    assert [run.end(rank, 60) for rank in run.all()] == [None] * HOSTS
    assert sorted(run.trained()) == list(range(ROWS))


@pytest.mark.parametrize("seed", range(3))
def test_the_others_take_the_rows_of_a_host_that_is_lost(hosts, tmp_path, seed) -> None:
    draw = random.Random(seed)
    url, lost = hosts.serve(), draw.randrange(HOSTS)
    pauses = {rank: draw.randrange(STEPS // 3) for rank in range(HOSTS)}
    run = Run(hosts, url, HOSTS, SIZE, tmp_path / "run", pauses=pauses)
    hosts.cut(lost + 1)
    began = time.monotonic()
    run.go_on(lost)
    error = run.end(lost, 60)
    assert error is not None
    # A read fails after the deadline, and not once for each thread that waits for it.
    assert time.monotonic() - began < 3 * DEADLINE, error
    assert "nothing was received for" in error[1], error
    for rank in run.all():
        run.ranks[rank].kill()
        run.ranks[rank].wait()
    hosts.mend(lost + 1)
    state = checkpoint.merge(run.states())
    world, size = draw.choice([1, 2]), draw.randint(5, 30)
    rest = Run(hosts, url, world, size, tmp_path / "rest", state=state)
    assert [rest.end(rank, 60) for rank in rest.all()] == [None] * world
    assert sorted(run.trained() + rest.trained()) == list(range(ROWS))
