"""W2: all rows of the array of W1 in a new random order per pass, drawn as part of the pass."""

from statistics import median

import numpy as np
import tensorflow as tf
import torch
from loaders import grain_batches, index_select_into, take_into, torch_batch_loader, torch_loader
from peers import aligned
from rows import Row, quantity
from streams import Pass, beside, numbered_rows, over, rates, require_rows
from tensorferry import Dataset

MEMORY = 1 << 30
COUNT = 100_000
SIZES = (32, 1024)
FORMATS = {"numpy": "as numpy", "tensorflow": "as tf.Tensor"}
PREFETCH = 4
GRAIN_COUNT = 10_000
"""Rows of a pass of grain, the slowest peer."""

TAKE, SELECT = "permutation, np.take(out=)", "randperm, torch index_select(out=), 2 threads"
DEFAULT = "tf.data shuffle(100000).batch"
LOADER, BATCH_LOADER, GRAIN = (
    "torch DataLoader, __getitems__",
    "torch DataLoader, sampler of batches",
    "grain MapDataset",
)
DRAWN_TAKE, DRAWN_SELECT = "np.take alone", "index_select alone"
LEAST = 1.2


def run(*, quick: bool) -> list[Row]:
    """Rows for each batch size and format, against the idioms and the frameworks' loaders."""
    return [row for size in SIZES for row in _rows(size, repetitions=5 if quick else 9)]


def _rows(size: int, repetitions: int) -> list[Row]:
    array = aligned(COUNT * 100, np.int32).reshape(COUNT, 100)
    array[...] = numbered_rows(COUNT)
    tensor = torch.from_numpy(array)
    plan = Dataset.from_tensor_slices(array).shuffle(seed=7).batch(size).prefetch(PREFETCH)
    ours = {name: plan.with_format(name) for name in FORMATS}
    tf_data = tf.data.Dataset.from_tensor_slices(array).shuffle(COUNT).batch(size)
    order = np.random.default_rng(0).permutation(COUNT)
    passes = {
        name: over(lambda dataset=dataset: dataset, COUNT) for name, dataset in ours.items()
    } | {
        TAKE: Pass(take_into(array, size), COUNT),
        SELECT: Pass(index_select_into(tensor, size), COUNT),
        DEFAULT: over(lambda: tf_data, COUNT),
        LOADER: over(lambda: torch_loader(tensor, size, shuffle=True), COUNT),
        BATCH_LOADER: over(lambda: torch_batch_loader(tensor, size, shuffle=True), COUNT),
        GRAIN: over(grain_batches(array, size, GRAIN_COUNT // size), GRAIN_COUNT // size * size),
        DRAWN_TAKE: Pass(take_into(array, size, order=order), COUNT),
        DRAWN_SELECT: Pass(index_select_into(tensor, size, order=torch.from_numpy(order)), COUNT),
    }
    found = rates(passes, repetitions=repetitions)
    for dataset in ours.values():
        first, second = (require_rows(dataset, COUNT, shuffled=True) for _ in range(2))
        if np.array_equal(first, second):
            raise AssertionError("both passes have one order")
    drawn = [
        f"{name} {quantity(median(found[name]), 'rows/s')}" for name in (DRAWN_TAKE, DRAWN_SELECT)
    ]
    bound = f"moving the rows: with an order drawn beforehand {' and '.join(drawn)}"
    peers = {
        "numpy": (TAKE, SELECT, GRAIN),
        "tensorflow": (TAKE, SELECT, DEFAULT, LOADER, BATCH_LOADER),
    }
    return [
        row
        for name, text in FORMATS.items()
        for row in beside(
            found,
            name,
            dict.fromkeys(peers[name], LEAST),
            workload="W2",
            what=f"batches of {size:,}, {text}",
            bound=bound,
        )
    ]
