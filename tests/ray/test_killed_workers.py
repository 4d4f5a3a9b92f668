"""Ranks in workers of Ray that are killed, alone or with their node, at drawn steps. The run
continues with another number of workers and another batch size: every row of the epoch comes once.

Workers that were not killed are used again, because the start of one takes half a second.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import tensorferry as tfy
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tests.support.saving_ranks import SavingRank, begun, merged, part

#: The most rows, ranks, and rows of a batch.
ROWS, WORLD, SIZE = 300, 4, 9
#: More than a run has, so that some start while others work.
WORKERS = 6


class Worker:
    """An actor, which is one rank after the other."""

    def process(self) -> int:
        return os.getpid()

    def train(self, rank: dict[str, Any], every: int, stop: int | None, end: str) -> None:
        """Trains until the step `stop`; without one, until the epoch ends. Before that step, it is
        left ("leave"), this process kills itself ("kill"), or is killed by others ("wait").
        """
        data = source(rank["kind"], rank["folder"], rank["rows"])
        batches = part(data, rank["world"], rank["rank"], rank["size"], rank["drop"])
        file: Path = rank["file"]
        for step in SavingRank(begun(batches, rank["state"], rank["epoch"]), file).steps(every):
            if step == stop and end == "leave":
                return
            if step == stop:
                file.with_suffix(".stopped").touch()
                if end == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(600)


def source(kind: str, folder: Path, rows: int) -> tfy.Dataset:
    """The first rows, each of which is its own number."""
    made = {
        "range": lambda: tfy.Dataset.range(ROWS),
        "npy": lambda: tfy.Dataset.from_npy(folder / "x.npy"),
        "saved": lambda: tfy.Dataset.load(folder / "saved"),
    }
    return made[kind]().take(rows).shuffle(seed=rows)


class Workers:
    """Those that wait for a rank. One that was killed is replaced."""

    def __init__(self) -> None:
        self._actor = ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0)(Worker)
        self.waiting: deque[Any] = deque()
        for _ in range(WORKERS):
            self.add()

    def add(self) -> None:
        self.waiting.append(self._actor.options(scheduling_strategy="SPREAD").remote())

    def on(self, node: Any) -> Any:
        """One on a node, when all others have their places."""
        ray.get([worker.process.remote() for worker in self.waiting])
        place = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
        made = self._actor.options(scheduling_strategy=place).remote()
        ray.get(made.process.remote())
        return made


@pytest.fixture(scope="module")
def workers(cluster) -> Iterator[Workers]:
    made = Workers()
    yield made
    for worker in made.waiting:
        ray.kill(worker)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("rows")
    np.save(made / "x.npy", np.arange(ROWS))
    tfy.Dataset.range(ROWS).save(made / "saved")
    return made


class Run:
    """The attempts to train on all rows of an epoch."""

    def __init__(self, seed: int, workers: Workers, folder: Path, files: Path) -> None:
        self.draw = draw = random.Random(seed)
        self.workers, self.files = workers, files
        self.rows = draw.randint(80, ROWS)
        self.common = {
            "kind": draw.choice(["range", "npy", "saved"]),
            "folder": folder,
            "rows": self.rows,
            "epoch": draw.randint(0, 2),
        }
        self.world, self.size = draw.randint(1, WORLD), draw.randint(1, SIZE)
        self.state: dict[str, Any] | None = None
        self.trained: list[int] = []

    def resize(self) -> None:
        """Another number of ranks, and another batch size."""
        self.world = self.draw.choice([n for n in range(1, WORLD + 1) if n != self.world])
        self.size = self.draw.choice([n for n in range(1, SIZE + 1) if n != self.size])

    def attempt(
        self, ranks: list[Any], ends: dict[int, str], cut_short: bool
    ) -> list[tuple[Path, Any]]:
        """Begins on all ranks. Returns the file of each, and what Ray says when it ends."""
        files = self.files / f"{len(list(self.files.iterdir()))}"
        files.mkdir()
        # No rank has fewer steps left.
        steps = (self.rows - len(self.trained)) // (self.world * self.size)
        begun = []
        for rank, worker in enumerate(ranks):
            file = files / f"{rank}.json"
            place = {"file": file, "rank": rank, "world": self.world, "size": self.size}
            place["drop"] = cut_short and self.draw.random() < 0.5
            stop = self.draw.randrange(steps) if cut_short else None
            every, end = self.draw.randint(1, 4), ends.get(rank, "leave")
            described = {**self.common, **place, "state": self.state}
            begun.append((file, worker.train.remote(described, every, stop, end)))
        return begun

    def end(self, files: list[Path]) -> None:
        """Takes what was saved."""
        self.state, trained = merged(files)
        self.trained += trained

    def kill_workers(self) -> None:
        """One rank or two are killed, by themselves or by this process."""
        ranks = [self.workers.waiting.popleft() for _ in range(self.world)]
        count = min(self.world, self.draw.choice([1, 1, 1, 2]))
        ends = {
            rank: self.draw.choice(["kill", "wait"])
            for rank in self.draw.sample(range(self.world), count)
        }
        processes = ray.get([worker.process.remote() for worker in ranks])
        begun = self.attempt(ranks, ends, cut_short=True)
        for rank, (file, done) in enumerate(begun):
            if rank not in ends:
                ray.get(done)
                self.workers.waiting.append(ranks[rank])
                continue
            if ends[rank] == "wait":
                wait_for(file.with_suffix(".stopped"))
                os.kill(processes[rank], signal.SIGKILL)
            with pytest.raises(ray.exceptions.RayActorError):
                ray.get(done)
            assert file.with_suffix(".stopped").exists()
            self.workers.add()
        self.end([file for file, _ in begun])

    def kill_node(self, cluster: Any) -> None:
        """A node is killed, with a rank on it."""
        lost = self.draw.randrange(self.world)
        node = cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
        try:
            ranks = [self.workers.waiting.popleft() for _ in range(self.world - 1)]
            ranks.insert(lost, self.workers.on(node))
            begun = self.attempt(ranks, {lost: "wait"}, cut_short=True)
            wait_for(begun[lost][0].with_suffix(".stopped"))
        finally:
            cluster.remove_node(node, allow_graceful=False)
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(begun[lost][1])
        ray.get([done for at, (_, done) in enumerate(begun) if at != lost])
        del ranks[lost]
        self.workers.waiting.extend(ranks)
        self.end([file for file, _ in begun])

    def finish(self) -> None:
        """Trains on the rest: every row of the epoch has come once."""
        ranks = [self.workers.waiting.popleft() for _ in range(self.world)]
        begun = self.attempt(ranks, {}, cut_short=False)
        ray.get([done for _, done in begun])
        self.workers.waiting.extend(ranks)
        self.end([file for file, _ in begun])
        assert sorted(self.trained) == list(range(self.rows))


def wait_for(file: Path) -> None:
    end = time.monotonic() + 120
    while not file.exists():
        assert time.monotonic() < end, f"{file} does not appear"
        time.sleep(0.002)


@pytest.mark.parametrize("seed", range(100))
def test_killed_workers_lose_no_row_and_repeat_none(seed, workers, folder, tmp_path) -> None:
    run = Run(seed, workers, folder, tmp_path)
    run.kill_workers()
    run.resize()
    if seed % 4 == 0 and run.rows - len(run.trained) >= run.world * run.size:
        run.kill_workers()
        run.resize()
    run.finish()


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_node_loses_no_row_and_repeats_none(
    seed, workers, cluster, folder, tmp_path
) -> None:
    run = Run(1000 + seed, workers, folder, tmp_path)
    run.kill_node(cluster)
    run.resize()
    run.finish()
