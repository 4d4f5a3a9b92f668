"""``train_iterator``: workers of Ray Train that are killed, nodes that are lost, and runs that
resume on another number of workers with another batch size train on each row of an epoch once.

The "model" of these runs is the list of rows that it was trained on.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.train
import tensorferry as tfy
from ray.train import Checkpoint, FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from tensorferry import Rank, errors
from tensorferry.ray import train_iterator
from tensorferry.ray._train import TrainIterator, _read

EPOCHS = 2
ROWS = 230


def shuffled(rows: int = ROWS) -> tfy.Dataset:
    return tfy.Dataset.range(rows).shuffle(seed=rows).with_format("numpy")


# ---- inside of Train


def train(config: dict[str, Any]) -> None:
    """Trains, and reports a checkpoint every few steps; kills something once, at a step."""
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    start = ray.train.get_checkpoint() or config.get("checkpoint")
    before = model(start) if start and rank == 0 else {"worlds": [], "rows": []}
    worlds, rows = [*before["worlds"], world], before["rows"]
    batches = train_iterator(
        shuffled(), batch_size=config["global_batch"] // world, checkpoint=config.get("checkpoint")
    )
    step = 0

    def report() -> None:
        folder = Path(config["folder"]) / f"{os.getpid()}-{batches.epoch}-{step}"
        folder.mkdir()
        batches.save(folder)
        saved = json.dumps({"worlds": worlds, "rows": rows})
        (folder / f"model-{rank}.json").write_text(saved)
        ray.train.report({"step": step}, Checkpoint.from_directory(str(folder)))

    for epoch in range(batches.epoch, EPOCHS):
        for batch in batches:
            if config.get("kill") and step == config["step"]:
                kill_once(config, rank)
            if batch is not None:
                rows += [[epoch, int(row)] for row in batch]
            step += 1
            if step % config["every"] == 0:
                report()
                if step == config.get("stop"):
                    return
        report()


def kill_once(config: dict[str, Any], rank: int) -> None:
    """Kills this worker, or its node, unless that is the node of the program. Once in a run."""
    if config["kill"] == "worker" and rank != config["rank"]:
        return
    here = ray.get_runtime_context().get_node_id()
    if config["kill"] == "node" and here == config["driver"]:
        return
    # It waits until Train has what was reported: else the workers would start from the beginning.
    assert ray.train.get_all_reported_checkpoints()
    try:
        (Path(config["folder"]) / "killed").touch(exist_ok=False)
    except FileExistsError:
        return
    if config["kill"] == "node":
        os.kill(os.getppid(), signal.SIGKILL)  # the raylet
    os.kill(os.getpid(), signal.SIGKILL)


def model(checkpoint: Checkpoint) -> dict[str, Any]:
    """What all ranks have trained on."""
    with checkpoint.as_directory() as folder:
        parts = [json.loads(file.read_text()) for file in sorted(Path(folder).glob("model-*"))]
    return {"worlds": parts[0]["worlds"], "rows": [row for part in parts for row in part["rows"]]}


def run(folder: Path, workers: Any, **config: Any) -> ray.train.Result:
    folder.mkdir()
    while ray.available_resources().get("CPU", 0) < 3:  # an earlier run still ends
        time.sleep(0.1)
    config = {"driver": ray.get_runtime_context().get_node_id(), "folder": str(folder), **config}
    trainer = DataParallelTrainer(
        train,
        train_loop_config=config,
        scaling_config=ScalingConfig(num_workers=workers),
        run_config=RunConfig(
            storage_path=str(folder / "storage"), failure_config=FailureConfig(max_failures=3)
        ),
    )
    result = trainer.fit()
    assert result.checkpoint is not None
    return result


def each_once() -> list[list[int]]:
    return [[epoch, row] for epoch in range(EPOCHS) for row in range(ROWS)]


def test_a_killed_worker_and_another_number_of_workers(tmp_path) -> None:
    draw = random.Random(5)
    killed = {"kill": "worker", "rank": draw.randrange(3), "step": draw.randint(4, 9)}
    first = run(tmp_path / "first", 3, global_batch=24, every=3, stop=12, **killed)
    assert (tmp_path / "first" / "killed").exists()
    seen = model(first.checkpoint)
    assert seen["worlds"] == [3, 3]
    assert ROWS < len(seen["rows"]) < EPOCHS * ROWS
    last = run(tmp_path / "last", 2, global_batch=26, every=4, checkpoint=first.checkpoint)
    seen = model(last.checkpoint)
    assert seen["worlds"] == [3, 3, 2]
    assert sorted(seen["rows"]) == each_once()


def test_an_elastic_run_that_loses_a_node(tmp_path, cluster) -> None:
    try:
        step = random.Random(6).randint(4, 9)
        lost = run(tmp_path / "run", (1, 3), global_batch=12, every=3, kill="node", step=step)
    finally:
        for node in list(cluster.worker_nodes):
            if node.dead_processes():
                cluster.remove_node(node)
                cluster.add_node(num_cpus=1, object_store_memory=200 << 20)
    assert (tmp_path / "run" / "killed").exists()
    seen = model(lost.checkpoint)
    assert seen["worlds"] == [3, 2]
    assert sorted(seen["rows"]) == each_once()


# ---- ranks without workers


def ranks(world: int, size: int, rows: int, *, drop: bool = False, start: Path | None = None):
    made = [
        TrainIterator(shuffled(rows), size, drop, Rank(rank, world, "Ray Train"))
        for rank in range(world)
    ]
    for rank in made if start else []:
        rank._resume(_read(Checkpoint.from_directory(str(start))))
    return made


def listed(batches: Iterable[Any]) -> list[int]:
    return [int(row) for batch in batches if batch is not None for row in batch]


@pytest.mark.parametrize("seed", range(60))
def test_all_workers_make_the_same_steps_and_every_row_comes_once(seed, tmp_path) -> None:
    draw = random.Random(seed)
    rows, start, seen = draw.randint(1, 120), None, []
    for attempt in range(4):
        together = ranks(draw.randint(1, 5), draw.randint(1, 9), rows, start=start)
        for _ in range(draw.randint(0, 4)):
            # At the end of the epoch, in all at the same step.
            step = [list(itertools.islice(rank, 1)) for rank in together]
            assert len(set(map(len, step))) == 1
            if not step[0]:
                break
            seen += listed([batch for [batch] in step])
        start = tmp_path / str(attempt)
        start.mkdir()
        for rank in together:
            rank.save(start)
    rest = ranks(3, 4, rows, start=start)
    steps = [list(rank) for rank in rest]
    assert len(set(map(len, steps))) == 1
    assert all(batch is not None for each in steps for batch in each[:-1])
    assert sorted(seen + listed(itertools.chain(*steps))) == list(range(rows))
    assert [rank.epoch for rank in rest] == [0] * 3
    assert sorted(listed(itertools.chain(*rest))) == list(range(rows))
    assert [rank.epoch for rank in rest] == [1] * 3


@pytest.mark.parametrize(("rows", "steps"), [(23, 2), (24, 3), (25, 3), (26, 3), (7, 0)])
def test_with_drop_remainder_all_workers_have_the_same_whole_batches(rows, steps) -> None:
    batches = [list(rank) for rank in ranks(2, 4, rows, drop=True)]
    assert [[len(batch) for batch in each] for each in batches] == [[4] * steps] * 2


def test_a_loop_that_is_left_early_is_continued_by_the_next() -> None:
    [rank] = ranks(1, 4, 20)
    first = list(itertools.islice(rank, 2))
    assert sorted(listed(first + list(rank))) == list(range(20))


def save(folder: Path, world: int, leave_out: int = -1) -> Checkpoint:
    for number, rank in enumerate(ranks(world, 4, 20)):
        if number != leave_out:
            rank.save(folder)
    return Checkpoint.from_directory(str(folder))


def test_states_that_are_missing_mixed_or_damaged_are_refused(tmp_path) -> None:
    (tmp_path / "model.pt").touch()
    with pytest.raises(errors.InvalidArgumentError, match="holds no states of train_iterator"):
        _read(Checkpoint.from_directory(str(tmp_path)))
    saved = save(tmp_path, 3, leave_out=1)
    with pytest.raises(errors.InvalidArgumentError, match="holds no state of rank 1 of 3"):
        _read(saved)
    save(tmp_path, 2)
    with pytest.raises(errors.InvalidArgumentError, match="with 2 and with 3 workers"):
        _read(saved)
    for file in tmp_path.glob("*-of-00003.json"):
        file.unlink()
    (tmp_path / "tensorferry-rank-00001-of-00002.json").write_text("{}")
    with pytest.raises(errors.InvalidArgumentError, match=r"rank-00001-of-00002\.json is damaged"):
        _read(saved)


def test_states_of_another_dataset_are_refused(tmp_path) -> None:
    saved = _read(save(tmp_path, 2))
    with pytest.raises(errors.InvalidArgumentError, match="another plan"):
        ranks(1, 4, 21)[0]._resume(saved)


AFTER_A_LOCAL_RUN = """
import os
import tensorferry as tfy
from ray.train import ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

def train():
    print(tfy.current_rank())

DataParallelTrainer(train, scaling_config=ScalingConfig(num_workers=0)).fit()
os.environ.update(RANK="1", WORLD_SIZE="2")
print(tfy.current_rank())
"""


def test_what_a_run_in_this_process_leaves_contradicts_no_other_source() -> None:
    """A process of its own: the context stays."""
    ran = subprocess.run(
        [sys.executable, "-c", AFTER_A_LOCAL_RUN], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["rank 0 of 1 (Ray Train)", "rank 1 of 2 (torchrun)"]


def test_outside_of_a_worker_it_is_refused() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="not a worker of Ray Train"):
        train_iterator(shuffled(), batch_size=4)


@pytest.mark.parametrize(
    "dataset", [shuffled().repeat(), tfy.Dataset.from_generator(lambda: iter(range(3)), "int64")]
)
def test_streams_and_endless_datasets_are_refused(dataset) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="no random access"):
        TrainIterator(dataset, 4, False, Rank(0, 1, "Ray Train"))
