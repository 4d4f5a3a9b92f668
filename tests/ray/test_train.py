"""``tensorferry.ray.train_iterator``: each row once in an epoch, whatever becomes of workers."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import pytest
import ray
import ray.train
import tensorferry as tfy
from ray.train import Checkpoint, FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from tensorferry.ray import train_iterator

ROWS, EPOCHS = 72, 2


def _train(config: dict) -> None:
    """Records its rows in each checkpoint; does once, at a step, what the test wants."""
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    rows = tfy.Dataset.range(ROWS).shuffle(seed=7).with_format("numpy")
    batches = train_iterator(rows, batch_size=12 // world)
    seen, step, done = [], 0, Path(config["done"])
    restored = ray.train.get_checkpoint()
    if restored is not None and rank == 0:
        with restored.as_directory() as folder:
            for path in Path(folder).glob("seen-*.json"):
                seen += json.loads(path.read_text())
    for epoch in range(batches.epoch, EPOCHS):
        for batch in batches:
            seen += [(epoch, int(row)) for row in batch]
            step += 1
            here = config.get("node", context.get_world_rank() == world - 1)
            if step == config["step"] and here in (True, _node()) and not done.exists():
                done.touch()
                config["then"]()
            with tempfile.TemporaryDirectory() as folder:
                batches.save(folder)
                Path(folder, f"seen-{rank}.json").write_text(json.dumps(seen))
                ray.train.report(
                    {"epoch": epoch, "world": world}, checkpoint=Checkpoint.from_directory(folder)
                )


def _node() -> str:
    return ray.get_runtime_context().get_node_id()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fit(folder, workers, then=signal.pause, step=0, **config):
    trainer = DataParallelTrainer(
        _train,
        train_loop_config={"then": then, "step": step, "done": str(folder / "done"), **config},
        scaling_config=ScalingConfig(num_workers=workers),
        run_config=RunConfig(
            storage_path=str(folder), name="run", failure_config=FailureConfig(max_failures=3)
        ),
    )
    result = trainer.fit()
    seen = []
    with result.checkpoint.as_directory() as last:
        for path in Path(last).glob("seen-*.json"):
            seen += [tuple(pair) for pair in json.loads(path.read_text())]
    return result, seen


def _each_once(seen) -> bool:
    return sorted(seen) == [(epoch, row) for epoch in range(EPOCHS) for row in range(ROWS)]


def test_workers_read_their_parts_and_write_small_states(cluster, tmp_path):
    result, seen = _fit(tmp_path, 2)
    assert result.metrics == {"epoch": 1, "world": 2}
    assert _each_once(seen)
    with result.checkpoint.as_directory() as last:
        states = sorted(Path(last).glob("tensorferry-*"))
        assert [path.name for path in states] == [
            "tensorferry-train-0-of-2.json",
            "tensorferry-train-1-of-2.json",
        ]
        assert all(path.stat().st_size <= 1024 for path in states)


@pytest.mark.parametrize("step", [1, 9])
def test_a_killed_worker_leaves_every_row_once(cluster, tmp_path, step):
    _, seen = _fit(tmp_path, 3, _die, step)
    assert _each_once(seen)


def test_a_lost_node_leaves_fewer_workers_and_every_row_once(cluster, tmp_path):
    node = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    waits = tmp_path / "done"
    removed = []

    def remove() -> None:
        end = time.monotonic() + 120
        while not waits.exists() and time.monotonic() < end:
            time.sleep(0.05)
        cluster.remove_node(node, allow_graceful=False)
        removed.append(waits.exists())

    remover = threading.Thread(target=remove)
    remover.start()
    result, seen = _fit(tmp_path, (1, 4), step=3, node=node.node_id)
    remover.join()
    assert removed == [True]
    assert result.metrics["world"] == 3
    assert _each_once(seen)


def test_without_train_it_is_the_only_worker(tmp_path):
    rows = tfy.Dataset.range(10).shuffle(seed=7).with_format("numpy")
    expected = [batch.tolist() for _ in range(2) for batch in rows.__copy__().batch(4)]
    batches = train_iterator(rows, batch_size=4)
    first = [batch.tolist() for _, batch in zip(range(2), batches, strict=False)]
    batches.save(tmp_path)
    resumed = train_iterator(rows.__copy__(), batch_size=4)
    resumed.load(tmp_path)
    assert resumed.epoch == 0
    assert first + [batch.tolist() for batch in resumed] == expected[:3]
    assert resumed.epoch == 1


def test_what_cannot_be_resumed_is_refused(tmp_path):
    rows = tfy.Dataset.range(10).shuffle(seed=7)
    with pytest.raises(tfy.Error, match="has no state of 'train'"):
        train_iterator(rows).load(tmp_path)
    train_iterator(rows).save(tmp_path)
    with pytest.raises(tfy.Error):
        train_iterator(rows.take(5)).load(tmp_path)
    with pytest.raises(tfy.Error, match="name has letters"):
        train_iterator(rows, name="a/b")
