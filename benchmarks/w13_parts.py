"""W13: parts of an array in memory: the rows of one label, and random rows by their indices.

A filter is rated by the rows that it looks at, of which a tenth passes.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import torch
from loaders import index_select_into, take_into
from numpy.typing import NDArray
from peers import aligned
from rows import Row
from streams import Pass, beside, numbered_rows, over, rates, require_rows
from tensorferry import Dataset

MEMORY = 1 << 30
COUNT = 1_000_000
SLOW_COUNT = 5_000
"""Rows that the slowest peers look at."""
WANTED, LABELS = 3, 10
SIZE, SIZES = 1024, (32, 1024)
LEAST = 5e6
"""Rows per second that a filter by label has to look at."""

PLAIN, TF_DATA = "filter, element by element", "tf.data filter.batch"
IDIOM, TORCH_IDIOM = "flatnonzero(label == 3), np.take(out=)", "torch nonzero, index_select(out=)"
SHUFFLE, TAKE, SELECT = "shuffle", "np.take(out=)", "torch index_select(out=), 2 threads"


def run(*, quick: bool) -> list[Row]:
    """Rows for filters in two formats, and for selections in two batch sizes."""
    repetitions = 5 if quick else 9
    array = aligned(COUNT * 100, np.int32).reshape(COUNT, 100)
    array[...] = numbered_rows(COUNT)
    return _filters(array, repetitions) + [
        row for size in SIZES for row in _selections(array, size, repetitions)
    ]


def is_wanted(label):
    """The predicate, of one label or of many."""
    return label == WANTED


def _filters(array: NDArray[np.int32], repetitions: int) -> list[Row]:
    labels = np.random.default_rng(0).integers(0, LABELS, COUNT)
    source = Dataset.from_tensor_slices({"x": array, "label": labels})
    ours = {
        f"as {name}": source.with_format(name)
        .filter(is_wanted, batched=True, input_columns="label")
        .batch(SIZE)
        for name in ("numpy", "tensorflow")
    }
    plain = source.take(SLOW_COUNT).with_format("numpy")
    plain = plain.filter(is_wanted, input_columns="label").batch(SIZE)
    part = {"x": array[:SLOW_COUNT], "label": labels[:SLOW_COUNT]}
    tf_data = tf.data.Dataset.from_tensor_slices(part)
    tf_data = tf_data.filter(lambda row: row["label"] == WANTED).batch(SIZE)
    passes = {
        name: over(lambda dataset=dataset: dataset, COUNT) for name, dataset in ours.items()
    } | {
        IDIOM: Pass(_numpy_filter(array, labels), COUNT),
        TORCH_IDIOM: Pass(_torch_filter(array, labels), COUNT),
        PLAIN: over(lambda: plain, SLOW_COUNT),
        TF_DATA: over(lambda: tf_data, SLOW_COUNT),
    }
    found = rates(passes, repetitions=repetitions)
    for dataset in ours.values():
        rows = np.concatenate([np.asarray(batch["x"])[:, 0] for batch in dataset]) // 100
        if not np.array_equal(rows, np.flatnonzero(labels == WANTED)):
            raise AssertionError("the filter keeps other rows")
    return [
        row
        for name in ours
        for row in beside(
            found,
            name,
            dict.fromkeys((IDIOM, TORCH_IDIOM, PLAIN, TF_DATA)),
            workload="W13",
            what=f"filter by label, batches of {SIZE:,}, {name}",
            target_least=LEAST,
        )
    ]


def _numpy_filter(array: NDArray, labels: NDArray) -> Callable[[], None]:
    def batches() -> None:
        take_into(array, SIZE, order=np.flatnonzero(labels == WANTED))()

    return batches


def _torch_filter(array: NDArray, labels: NDArray) -> Callable[[], None]:
    tensor, kinds = torch.from_numpy(array), torch.from_numpy(labels)

    def batches() -> None:
        order = (kinds == WANTED).nonzero().flatten()
        index_select_into(tensor, SIZE, order=order)()

    return batches


def _selections(array: NDArray[np.int32], size: int, repetitions: int) -> list[Row]:
    count = COUNT // 10
    array = array[:count]
    order = np.random.default_rng(1).permutation(count)
    source = Dataset.from_tensor_slices(array).with_format("numpy")
    selected = source.select(order).batch(size)
    passes = {
        "select": over(lambda: selected, count),
        SHUFFLE: over(lambda: source.shuffle(seed=7).batch(size), count),
        TAKE: Pass(take_into(array, size, order=order), count),
        SELECT: Pass(
            index_select_into(torch.from_numpy(array), size, order=torch.from_numpy(order)), count
        ),
    }
    found = rates(passes, repetitions=repetitions)
    if not np.array_equal(require_rows(selected, count, shuffled=True), order):
        raise AssertionError("the selection has another order")
    return beside(
        found,
        "select",
        {SHUFFLE: 1.0, TAKE: None, SELECT: None},
        workload="W13",
        what=f"select of random rows, batches of {size:,}",
    )
