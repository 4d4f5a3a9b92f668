"""DistributedDataParallel on two processes of one machine: each trains on its part of the rows, in
a new order each epoch.

``shuffle`` and ``shard`` make the parts: disjoint, together all rows, and the same number of
batches for each process. ``--short`` trains less.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
import tensorferry as tfy
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tensorferry.torch import IterableDataset
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

WORLD_SIZE = 2
ROWS, FEATURES = 20_000, 16
BATCH = 100
REQUIRED = 0.01  # mean squared error, of targets with variance 16


def write_rows(folder: Path) -> None:
    """Features, targets that depend on them, and the number of each row."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, FEATURES)).astype(np.float32)
    np.savez(folder / "rows.npz", x=x, y=x.sum(axis=1), number=np.arange(ROWS))


def part(folder: Path, rank: int) -> IterableDataset:
    """The batches of one process. All processes read one file."""
    rows = tfy.Dataset.from_files(folder / "rows.npz")
    equal = len(rows) // WORLD_SIZE * WORLD_SIZE  # each process has the same number of batches
    return IterableDataset(
        rows.shuffle(seed=7).take(equal).shard(WORLD_SIZE, rank).batch(BATCH).prefetch(2)
    )


def train(rank: int, folder: Path, epochs: int) -> None:
    """One process: trains, and writes what it has seen."""
    address = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=WORLD_SIZE)
    torch.manual_seed(rank)  # the processes begin with rank 0's weights all the same
    model = DistributedDataParallel(torch.nn.Linear(FEATURES, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = part(folder, rank)
    seen, loss = [], torch.tensor(float("nan"))
    for epoch in range(epochs):
        batches.set_epoch(epoch)
        numbers = []
        for rows in DataLoader(batches, batch_size=None):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(rows["x"])[:, 0], rows["y"])
            loss.backward()
            optimizer.step()
            numbers.append(rows["number"].numpy())
        seen.append(np.concatenate(numbers))
    weights = torch.cat([each.detach().flatten() for each in model.parameters()]).numpy()
    np.savez(folder / f"rank{rank}.npz", seen=np.stack(seen), loss=loss.item(), weights=weights)
    dist.destroy_process_group()


def check(folder: Path) -> float:
    """The last loss. Fails if a row is missing or repeated, or the processes have other weights."""
    ranks = [np.load(folder / f"rank{rank}.npz") for rank in range(WORLD_SIZE)]
    for epoch, parts in enumerate(zip(*(rank["seen"] for rank in ranks), strict=True)):
        every = np.concatenate(parts)
        if not np.array_equal(np.sort(every), np.arange(ROWS)):
            raise AssertionError(f"epoch {epoch}: a row is missing or repeated")
        print(f"epoch {epoch}: {' + '.join(str(len(part)) for part in parts)} rows, each once")
    if not all(np.array_equal(rank["weights"], ranks[0]["weights"]) for rank in ranks):
        raise AssertionError("the processes have other weights")
    return float(max(rank["loss"] for rank in ranks))


def main() -> None:
    """Trains, and checks what each process has seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="train less")
    epochs = 2 if parser.parse_args().short else 5
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder)
        mp.spawn(train, args=(folder, epochs), nprocs=WORLD_SIZE)
        loss = check(folder)
    print(f"mean squared error of the last batches: {loss:.2g} (required: {REQUIRED})")
    if loss > REQUIRED:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
