"""A digits classifier on Ray Train. One of its workers is killed in the middle of an epoch, and
Train starts them again from the last checkpoint. The model is trained on each row of each epoch
once.

``ScalingConfig(num_workers=(1, 3))`` is elastic: without the killed worker's node, Train would
continue with two workers. ``--short`` trains less.
"""

import argparse
import json
import os
import signal
import tempfile
from pathlib import Path

import numpy as np
import ray
import ray.train.torch
import tensorferry as tfy
import torch
from ray.train import Checkpoint, FailureConfig, RunConfig, ScalingConfig
from sklearn.datasets import load_digits
from tensorferry.ray import train_iterator

WORKERS = 3
GLOBAL_BATCH = 48  # rows of a step in all workers, whatever their number
EVERY = 10  # steps between checkpoints
KILL_AT = 45  # a step
REQUIRED = 0.9


def write_rows(folder: Path) -> int:
    """Pixels, digits, and the number of each row."""
    digits = load_digits()
    rows = len(digits.target)
    pixels = digits.data.astype(np.uint8)
    np.savez(folder / "digits.npz", x=pixels, y=digits.target, number=np.arange(rows))
    return rows


def train(config: dict) -> None:
    """A worker: trains, or continues to train. Nothing here depends on which of them it is."""
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    torch.manual_seed(0)
    model = torch.nn.Linear(64, 10)
    seen: list[list[int]] = []  # epoch and number of rows
    if checkpoint := ray.train.get_checkpoint():
        with checkpoint.as_directory() as folder:
            model.load_state_dict(torch.load(f"{folder}/model.pt"))
            if rank == 0:
                seen = trained_on(Path(folder))
    together = ray.train.torch.prepare_model(model)  # averages the gradients of all workers
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    folder = Path(config["folder"])
    rows = tfy.Dataset.from_files(folder / "digits.npz").shuffle(seed=7).with_format("torch")
    batches = train_iterator(
        rows.scale(1 / 16, which={"x": True}), batch_size=GLOBAL_BATCH // world
    )
    step = 0
    for epoch in range(batches.epoch, config["epochs"]):
        for batch in batches:
            step += 1
            if step == KILL_AT and rank == 1 and not checkpoint:
                ray.train.get_all_reported_checkpoints()  # waits until Train has them
                os.kill(os.getpid(), signal.SIGKILL)
            if batch is None:  # no rows are left for this worker, and the others wait for it
                batch = {"x": torch.zeros(0, 64), "y": torch.zeros(0, dtype=torch.int64)}
            else:
                seen += [[epoch, number] for number in batch["number"].tolist()]
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(
                together(batch["x"]), batch["y"], reduction="sum"
            )
            (loss * world / GLOBAL_BATCH).backward()
            optimizer.step()
            if step % EVERY == 0:
                report(batches, model, seen, {"epoch": epoch, "workers": world})
    report(batches, model, seen, {"epoch": config["epochs"], "workers": world})


def report(batches, model, seen: list[list[int]], metrics: dict) -> None:
    """A checkpoint: the model, and of each worker the state and what it has seen."""
    rank = ray.train.get_context().get_world_rank()
    with tempfile.TemporaryDirectory() as folder:
        batches.save(folder)
        Path(folder, f"seen-{rank}.json").write_text(json.dumps(seen))
        if rank == 0:
            torch.save(model.state_dict(), f"{folder}/model.pt")
        ray.train.report(metrics, Checkpoint.from_directory(folder))


def trained_on(folder: Path) -> list[list[int]]:
    """The rows that the model of a checkpoint was trained on."""
    return [row for file in folder.glob("seen-*.json") for row in json.loads(file.read_text())]


def check(folder: Path, rows: int, epochs: int, checkpoint: Checkpoint) -> float:
    """The accuracy. Fails if a row is missing or repeated."""
    with checkpoint.as_directory() as saved:
        seen = trained_on(Path(saved))
        weights = list(torch.load(f"{saved}/model.pt").values())
    if sorted(seen) != [[epoch, row] for epoch in range(epochs) for row in range(rows)]:
        raise AssertionError("a row is missing or repeated")
    print(f"{epochs} epochs of {rows} rows, each row once in each")
    with np.load(folder / "digits.npz") as digits:
        x, y = torch.from_numpy(digits["x"] / np.float32(16)), torch.from_numpy(digits["y"])
    guessed = torch.nn.functional.linear(x, *weights).argmax(1)
    return float((guessed == y).float().mean())


def main() -> None:
    """Trains, and checks what the model was trained on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="train less")
    epochs = 3 if parser.parse_args().short else 10
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    ray.init("local", num_cpus=WORKERS, include_dashboard=False, **quiet)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = write_rows(folder)
        trainer = ray.train.torch.TorchTrainer(
            train,
            train_loop_config={"folder": name, "epochs": epochs},
            scaling_config=ScalingConfig(num_workers=(1, WORKERS)),
            run_config=RunConfig(
                storage_path=str(folder / "run"), failure_config=FailureConfig(max_failures=1)
            ),
        )
        result = trainer.fit()
        steps = [metrics["workers"] for _, metrics in result.best_checkpoints]
        accuracy = check(folder, rows, epochs, result.checkpoint)
    print(f"{len(steps)} checkpoints; a worker was killed at step {KILL_AT}")
    print(f"accuracy: {accuracy:.3f} (required: {REQUIRED})")
    if accuracy < REQUIRED:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
