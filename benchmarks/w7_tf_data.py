"""W7: shuffled batches of 1,024 int32 rows of 400 bytes as a `tf.data.Dataset`, taken by a Python
loop and inside a `tf.function`.

The array holds 1,000,000 rows, so that the start of a pass of tf.data is negligible. The slowest
peer is timed on fewer. Whole batches in a file (FixedLengthRecord) are not shuffled: that peer
shows the cost of reading alone.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from peers import aligned
from rows import Row, quantity
from streams import WIDTH, Pass, beside, numbered_rows, over, rates, require_rows
from tensorferry import Dataset

MEMORY = 4 << 30
COUNT = 1_000_000
SIZE = 1024
FEW = 100_000
"""Rows of a pass of tf.data's shuffle."""
TARGET = 15e6

SLICES = f"from_tensor_slices.shuffle({FEW:,}).batch"
INDICES = "range.shuffle.batch.map(tf.gather)"
COMPUTED = "range.map(index_shuffle, tf.gather)"
GENERATOR = "from_generator, permutation and np.take"
RECORDS = "FixedLengthRecord of whole batches, unshuffled"
ALONE, MAPPED = "range alone", "range.map(identity)"
LOOPS = {"taken by a loop": "", "taken inside a tf.function": ", in a tf.function"}


def run(*, quick: bool) -> list[Row]:
    """Rows against tf.data's default and against tuned tf.data pipelines, for each way to take
    batches.
    """
    array = aligned(COUNT * WIDTH, np.int32).reshape(COUNT, WIDTH)
    array[...] = numbered_rows(COUNT)
    with tempfile.TemporaryDirectory() as folder:
        made = datasets(array, Path(folder) / "batches")
        found = rates(_passes(made), repetitions=5 if quick else 9)
        for name, dataset in made.items():
            if name not in (ALONE, MAPPED):
                require_rows(dataset, _count(name), shuffled=name != RECORDS, look_at_every=10)
    return [row for what, loop in LOOPS.items() for row in _rows(found, what, loop)]


def datasets(array: NDArray[np.int32], path: Path) -> dict[str, tf.data.Dataset]:
    """The datasets of tensorferry and of the peers, ready for iteration."""
    few, tensor = array[:FEW], tf.constant(array)
    array[: COUNT // SIZE * SIZE].tofile(path)
    batches = -(-COUNT // SIZE)
    return {
        "ours": Dataset.from_tensor_slices(array)
        .shuffle(seed=7)
        .batch(SIZE)
        .prefetch(2)
        .to_tf_data(),
        SLICES: tf.data.Dataset.from_tensor_slices(few)
        .shuffle(FEW)
        .batch(SIZE)
        .prefetch(tf.data.AUTOTUNE),
        INDICES: tf.data.Dataset.range(COUNT)
        .shuffle(COUNT)
        .batch(SIZE)
        .map(lambda rows: tf.gather(tensor, rows))
        .prefetch(2),
        COMPUTED: tf.data.Dataset.range(batches)
        .map(_computed(tensor), num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(2),
        GENERATOR: tf.data.Dataset.from_generator(
            _generator(array), output_signature=tf.TensorSpec([None, WIDTH], tf.int32)
        ),
        RECORDS: tf.data.FixedLengthRecordDataset(str(path), SIZE * WIDTH * 4)
        .map(_decoded)
        .prefetch(2),
        ALONE: tf.data.Dataset.range(batches),
        MAPPED: tf.data.Dataset.range(batches).map(tf.identity),
    }


def _computed(tensor: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
    """A batch of rows by a keyed permutation, like tensorferry's order."""

    def batch(number: tf.Tensor) -> tf.Tensor:
        positions = tf.range(number * SIZE, tf.minimum((number + 1) * SIZE, COUNT))
        rows = tf.random.experimental.index_shuffle(positions, seed=[1, 2], max_index=COUNT - 1)
        return tf.gather(tensor, rows)

    return batch


def _generator(array: NDArray[np.int32]) -> Callable[[], Iterator[NDArray[np.int32]]]:
    def batches() -> Iterator[NDArray[np.int32]]:
        order = np.random.permutation(COUNT)
        for start in range(0, COUNT, SIZE):
            yield np.take(array, order[start : start + SIZE], axis=0)

    return batches


def _decoded(record: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.io.decode_raw(record, tf.int32), [SIZE, WIDTH])


def _count(name: str) -> int:
    return {SLICES: FEW, RECORDS: COUNT // SIZE * SIZE}.get(name, COUNT)


def _passes(made: dict[str, tf.data.Dataset]) -> dict[str, Pass]:
    @tf.function
    def taken(dataset: tf.data.Dataset) -> tf.Tensor:
        return dataset.reduce(0, lambda count, batch: count + 1)

    def inside(dataset: tf.data.Dataset, count: int) -> Pass:
        return Pass(lambda: taken(dataset), count)

    passes = {}
    for name, dataset in made.items():
        passes[name] = over(lambda dataset=dataset: dataset, _count(name))
        passes[name + ", in a tf.function"] = inside(dataset, _count(name))
    return passes


def _rows(found: dict[str, list[float]], what: str, loop: str) -> list[Row]:
    alone, mapped = (quantity(SIZE / median(found[name + loop]), "s") for name in (ALONE, MAPPED))
    bound = (
        f"tf.data's own part: a batch of nothing costs {alone} (range alone), through a map that "
        f"does nothing {mapped}"
    )
    peers = dict.fromkeys(name + loop for name in (SLICES, INDICES, COMPUTED, GENERATOR, RECORDS))
    return beside(
        found,
        "ours" + loop,
        peers,
        workload="W7",
        what=f"shuffled batches of {SIZE:,}, {what}",
        target_least=TARGET,
        bound=bound,
    )
