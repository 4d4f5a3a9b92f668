"""One order, bit for bit, whatever reads a plan: random plans in this process, in processes of
PyTorch, JAX and ``tf.distribute``, in tasks of Ray, and in Grain. Each process reads all plans.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.random_plans import COUNT, digests, is_in_memory, plan, write_files
from tests.support.ranks import free_ports, run_together, tf_configs

EPOCHS = 2

# The digests of each epoch of each plan.
Orders = list[list[list[str]]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("rows")
    write_files(made)
    return made


@pytest.fixture(scope="module")
def local(folder) -> Orders:
    """The orders of iteration in this process."""
    found = []
    for number in range(COUNT):
        data, size = plan(number, folder)
        batches = data.batch(size)
        found.append([digests(batches) for _ in range(EPOCHS)])
    return found


def test_the_plans_are_worth_comparing(local, folder) -> None:
    """Plans of some length, of which most have another order in the second epoch."""
    assert sum(len(first) > 5 for first, _ in local) > 0.7 * COUNT
    assert sum(first != second for first, second in local) > 0.5 * COUNT
    assert all(plan(number, folder)[0]._plan.is_indexed for number in range(COUNT))


# The start of every process: `reader` makes, of its batches, the function that reads an epoch.
READ = """
import json
from pathlib import Path
from tests.support.random_plans import COUNT, digests, plan

def orders(folder, reader, count=COUNT):
    found = []
    for number in range(count):
        data, size = plan(number, Path(folder))
        read = reader(data.for_rank().batch(size))
        found.append([digests(read()) for _ in range(2)])
    return found
"""

TORCH = READ + """
import sys
import torch.distributed as dist
from tensorferry.torch import IterableDataset
from torch.utils.data import DataLoader

folder, place, world, rank = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
dist.init_process_group("gloo", init_method=f"file://{place}", world_size=world, rank=rank)

def reader(batches):
    loader = DataLoader(IterableDataset(batches), batch_size=None)
    return lambda: iter(loader)

found = orders(folder, reader)
dist.barrier()
dist.destroy_process_group()
print(json.dumps(found))
"""  # fmt: skip

JAX = READ + """
import sys
import jax

folder, port, world, rank = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
jax.distributed.initialize(f"127.0.0.1:{port}", world, rank)
# In NumPy's format: in "jax", 64-bit numbers would become 32-bit numbers.
print(json.dumps(orders(folder, lambda batches: lambda: iter(batches))))
"""  # fmt: skip

TENSORFLOW = READ + """
import sys
import tensorflow as tf

strategy = tf.distribute.MultiWorkerMirroredStrategy()

def reader(batches):
    dealt = strategy.distribute_datasets_from_function(lambda context: batches.to_tf_data())
    local = strategy.experimental_local_results
    return lambda: (
        tf.nest.map_structure(lambda leaf: leaf.numpy(), part)
        for batch in dealt
        for part in local(batch)
    )

print(json.dumps(orders(sys.argv[1], reader, int(sys.argv[2]))))
"""  # fmt: skip


def interleaved(parts: list[list[str]]) -> list[str]:
    """The sequence of which each part has every ``len(parts)``-th element."""
    rows: list[Any] = [None] * sum(map(len, parts))
    for rank, part in enumerate(parts):
        rows[rank :: len(parts)] = part
    return rows


def check(found: list[Orders], local: Orders) -> None:
    for number in range(len(local)):
        for epoch in range(EPOCHS):
            parts = [orders[number][epoch] for orders in found]
            assert interleaved(parts) == local[number][epoch], f"plan {number}, epoch {epoch}"


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 3])
def test_processes_of_torch(torch, folder, tmp_path, local, world) -> None:
    arguments = [[folder, tmp_path / "store", world, rank] for rank in range(world)]
    check(run_together(TORCH, arguments), local)


@pytest.mark.jax
@pytest.mark.slow
def test_processes_of_jax(jax, folder, local) -> None:
    (port,) = free_ports(1)
    check(run_together(JAX, [[folder, port, 2, rank] for rank in range(2)]), local)


@pytest.mark.slow
def test_workers_of_tf_distribute(tf, folder, local) -> None:
    # Each plan is a graph of its own, which takes a second.
    count = COUNT // 2
    found = run_together(TENSORFLOW, [[folder, count]] * 2, tf_configs(worker=2))
    check(found, local[:count])


def test_grain(grain, folder, local) -> None:
    from tensorferry.grain import source

    found = []
    for number in range(COUNT):
        data, size = plan(number, folder)
        epochs = []
        for epoch in range(EPOCHS):
            data.set_epoch(epoch)
            made = grain.MapDataset.source(source(data.batch(size)))
            epochs.append(digests(made.to_iter_dataset() if len(made) else []))
        found.append(epochs)
    check([found], local)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_tasks_of_ray(connected, folder, local, workers) -> None:
    from tensorferry.ray import read

    compared = 0
    for number in range(COUNT):
        if is_in_memory(number):  # tasks carry no rows
            continue
        data, size = plan(number, folder)
        for epoch in range(EPOCHS):
            # Five tasks run at a time on three processors, and there are more of them than workers.
            found = read(data, override_num_blocks=2 * workers, concurrency=workers, num_cpus=3 / 5)
            assert digests(found.iter_batches(batch_size=size)) == local[number][epoch], (
                f"plan {number}, epoch {epoch}"
            )
            compared += 1
    assert compared == 3 / 4 * COUNT * EPOCHS
