"""Training on a cluster that loses a node: Ray Train continues with fewer workers, and every row is
trained on exactly once in each epoch.

Three nodes of one CPU run on this machine. One is removed in the middle of the first epoch. The
checkpoint has the position of each worker, a few hundred bytes, and any number of workers continues
from them. ``--short`` trains less.
"""

import argparse
import json
import logging
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import ray
import ray.train
import tensorferry as tfy
import torch
from ray.cluster_utils import Cluster
from ray.train import Checkpoint, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, prepare_model
from sklearn.datasets import load_digits
from tensorferry.ray import train_iterator

ROWS, TOGETHER = 1440, 60  # rows of an epoch; rows of a step of all workers
EVERY = 8  # steps of a checkpoint
REQUIRED = 0.8  # of the other digits, known


def write_digits(folder: Path) -> None:
    images, labels = load_digits(return_X_y=True)
    numbers = np.arange(len(labels))
    np.savez(folder / "digits.npz", x=images.astype(np.float32) / 16, y=labels, number=numbers)


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))


def train(config: dict) -> None:
    """One worker."""
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    torch.manual_seed(0)
    model = prepare_model(network())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    rows = tfy.Dataset.from_files(config["digits"]).take(ROWS).shuffle(seed=7)
    # The batches of all workers have the same number of rows together, however many there are.
    batches = train_iterator(rows.with_format("torch"), batch_size=TOGETHER // world)
    seen, step, restored = [], 0, ray.train.get_checkpoint()
    if restored is not None:
        with restored.as_directory() as folder:
            model.load_state_dict(torch.load(Path(folder, "model.pt")))
            if rank == 0:
                for path in Path(folder).glob("seen-*.json"):
                    seen += json.loads(path.read_text())
    for epoch in range(batches.epoch, config["epochs"]):
        for batch in batches:
            loss = torch.nn.functional.cross_entropy(model(batch["x"]), batch["y"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += [[epoch, number] for number in batch["number"].tolist()]
            step += 1
            if step % EVERY:
                continue
            with tempfile.TemporaryDirectory() as folder:
                batches.save(folder)
                Path(folder, f"seen-{rank}.json").write_text(json.dumps(seen))
                if rank == 0:
                    torch.save(model.state_dict(), Path(folder, "model.pt"))
                checkpoint = Checkpoint.from_directory(folder)
                metrics = {"world": world, "epoch": epoch, "loss": loss.item()}
                ray.train.report(metrics, checkpoint=checkpoint)


def remove(cluster: Cluster, node, checkpoints: Path) -> None:
    """Removes a node once some steps are in checkpoints."""
    while len(list(checkpoints.glob("run/checkpoint_*"))) < 2:
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)
    print("a node is gone")


def check(checkpoint: Checkpoint, folder: Path, epochs: int) -> None:
    """Fails if a row is missing or repeated, or the model has not learned."""
    with checkpoint.as_directory() as last:
        seen = [
            pair for path in Path(last).glob("seen-*.json") for pair in json.loads(path.read_text())
        ]
        weights = torch.load(Path(last, "model.pt"))
        states = [path.stat().st_size for path in Path(last).glob("tensorferry-*")]
    if sorted(seen) != [[epoch, row] for epoch in range(epochs) for row in range(ROWS)]:
        raise AssertionError("a row is missing or repeated")
    print(f"{epochs} epochs of {ROWS} rows, each once; a position is {max(states)} bytes")
    model = network()
    model.load_state_dict({name.removeprefix("module."): value for name, value in weights.items()})
    with np.load(folder / "digits.npz") as digits, torch.no_grad():
        found = model(torch.from_numpy(digits["x"][ROWS:])).argmax(dim=1).numpy()
        known = float(np.mean(found == digits["y"][ROWS:]))
    print(f"{known:.1%} of the other digits are known")
    if known < REQUIRED:
        raise AssertionError(f"{REQUIRED:.0%} were expected")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="fewer epochs, for tests")
    epochs = 3 if parser.parse_args().short else 10
    # A node that is gone is still counted for a moment: how long to wait for one more worker.
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "15"
    cluster = Cluster()
    nodes = [cluster.add_node(num_cpus=1, include_dashboard=False) for _ in range(3)]
    ray.init(address=cluster.address, logging_level="FATAL", log_to_driver=False)
    logging.getLogger("ray").setLevel(logging.FATAL)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_digits(folder)
            threading.Thread(target=remove, args=(cluster, nodes[2], folder), daemon=True).start()
            result = TorchTrainer(
                train,
                train_loop_config={"digits": str(folder / "digits.npz"), "epochs": epochs},
                scaling_config=ScalingConfig(num_workers=(1, 3)),
                run_config=RunConfig(
                    storage_path=name, name="run", failure_config=FailureConfig(max_failures=3)
                ),
            ).fit()
            print(f"trained on {result.metrics['world']} workers at the end")
            if result.metrics["world"] != 2:
                raise AssertionError("it began with three workers, and lost one")
            check(result.checkpoint, folder, epochs)
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
