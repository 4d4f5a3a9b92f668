"""W9: token rows of different lengths (mean 200) in memory, padded into batches of 32, in order and
shuffled.
"""

from collections.abc import Callable, Iterator

import numpy as np
import tensorferry
import tensorflow as tf
from numpy.typing import NDArray
from rows import Row
from streams import beside, over, rates
from tensorferry import Dataset

MEMORY = 2 << 30
COUNT, QUICK_COUNT = 200_000, 50_000
SIZE = 32
MEAN = 200
FEW = 4_000
"""Rows of a pass of the slow loaders."""

MASK = "NumPy: values through a mask"
TF_DATA = "tf.data: ragged_batch, to_tensor"
GENERATOR = "tensorferry: from_generator"
LEAST = 1.2


def run(*, quick: bool) -> list[Row]:
    """Rows against the idiom of NumPy, tf.data and a generator, in order and shuffled."""
    count = QUICK_COUNT if quick else COUNT
    random = np.random.default_rng(0)
    lengths = random.gamma(2.0, MEAN / 2, count).astype(np.int64)
    splits = np.concatenate([[0], np.cumsum(lengths)])
    values = random.integers(1, 50_000, splits[-1], dtype=np.int32)
    values.flags.writeable = False
    found = []
    for shuffled in (False, True):
        found += _rows(values, splits, shuffled, repetitions=5 if quick else 7)
    return found


def _rows(values: NDArray, splits: NDArray, shuffled: bool, repetitions: int) -> list[Row]:
    count = len(splits) - 1
    rows = Dataset.from_ragged(values, splits)
    ours = (rows.shuffle(seed=7) if shuffled else rows).padded_batch(SIZE).with_format("numpy")
    passes = {
        "ours": over(lambda: ours, count),
        MASK: over(lambda: _mask(values, splits, _order(count, shuffled)), count),
        GENERATOR: over(lambda: _generated(values, splits), FEW),
    }
    peers: dict[str, float | None] = {MASK: LEAST, GENERATOR: None}
    if not shuffled:
        passes[TF_DATA] = over(_tf_data(values, splits), FEW)
        peers[TF_DATA] = None
    found = rates(passes, repetitions=repetitions)
    _check(ours, values, splits, shuffled)
    what = f"{count:,} rows of {MEAN} int32 on average, {SIZE} padded, "
    what += "shuffled" if shuffled else "in order"
    return beside(found, "ours", peers, workload="W9", what=what)


def _order(count: int, shuffled: bool) -> NDArray[np.int64]:
    return np.random.permutation(count) if shuffled else np.arange(count)


def _mask(values: NDArray, splits: NDArray, order: NDArray) -> Iterator[NDArray]:
    """The values of a batch go through a mask of the places that are not padding."""
    starts, lengths = splits[:-1], np.diff(splits)
    for at in range(0, len(order), SIZE):
        rows = order[at : at + SIZE]
        lens = lengths[rows]
        ends = np.cumsum(lens)
        places = np.repeat(starts[rows] - (ends - lens), lens) + np.arange(ends[-1])
        batch = np.zeros((len(rows), lens.max()), values.dtype)
        batch[np.arange(batch.shape[1]) < lens[:, None]] = values[places]
        yield batch


def _generated(values: NDArray, splits: NDArray) -> Dataset:
    def rows() -> Iterator[NDArray]:
        return (values[splits[at] : splits[at + 1]] for at in range(FEW))

    spec = tensorferry.TensorSpec((None,), "int32")
    made = Dataset.from_generator(rows, output_signature=spec).padded_batch(SIZE)
    return made.with_format("numpy")


def _tf_data(values: NDArray, splits: NDArray) -> Callable[[], tf.data.Dataset]:
    few = splits[: FEW + 1]
    tensor = tf.RaggedTensor.from_row_splits(values[: few[-1]], few)
    batches = tf.data.Dataset.from_tensor_slices(tensor).ragged_batch(SIZE)
    padded = batches.map(lambda batch: batch.to_tensor(), num_parallel_calls=2)
    return lambda: padded


def _check(batches: Dataset, values: NDArray, splits: NDArray, shuffled: bool) -> None:
    if shuffled:
        total = sum(int(batch.sum(dtype=np.int64)) for batch in batches)
        if total != int(values.sum(dtype=np.int64)):
            raise AssertionError("values are missing")
        return
    expected = _mask(values, splits, np.arange(len(splits) - 1))
    for ours, other in zip(batches, expected, strict=True):
        if not np.array_equal(ours, other):
            raise AssertionError("a batch differs")
