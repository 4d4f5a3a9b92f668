"""W15: a column of texts of 100 bytes on average in memory, beside a label, shuffled, in batches of
512: as `tf.string`, as `bytes`, and as a `tf.data.Dataset`.

Every string is an object of its own in Python, and an allocation of its own in TensorFlow if it has
more than 22 bytes. tf.data hands strings on without copying them.
"""

from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from rows import Row, quantity
from streams import Pass, beside, over, rates
from tensorferry import Dataset

MEMORY = 2 << 30
COUNT, QUICK_COUNT = 400_000, 50_000
SIZE = 512
PREFETCH = 4
MEAN = 100
LEAST = 1.2

IDIOM = "np.take of objects, tf.constant"
TF_DATA = "tf.data from_tensor_slices, shuffle, batch, prefetch"
TENSORS, BYTES, TAKEN = "as tf.string", "as bytes", "to_tf_data"
ALONE = "tf.constant alone"
KEPT, ONE_BY_ONE = "after a filter of batches", "after a filter of elements"


def run(*, quick: bool) -> list[Row]:
    """Rows against tf.data and NumPy's idiom."""
    count = QUICK_COUNT if quick else COUNT
    rows = {"text": _texts(count), "label": np.arange(count)}
    shuffled = Dataset.from_tensor_slices(rows).shuffle(seed=7).batch(SIZE).prefetch(PREFETCH)
    _check(shuffled, rows)
    found = rates(_passes(rows, shuffled), repetitions=5)
    what = f"{count:,} texts of {MEAN} bytes and labels, shuffled batches of {SIZE}, "
    alone = quantity(median(found[ALONE]), "rows/s")
    made = [
        row
        for name in (TENSORS, BYTES, TAKEN)
        for row in beside(
            found,
            name,
            {TF_DATA: LEAST, IDIOM: None if name == TAKEN else LEAST},
            workload="W15",
            what=what + name,
            bound=f"TensorFlow's own part: tf.constant of {SIZE} strings alone makes {alone}",
        )
    ]
    return made + beside(
        found, KEPT, {ONE_BY_ONE: LEAST}, workload="W15", what=f"{what}half of them, {KEPT}"
    )


def _texts(count: int) -> NDArray[np.object_]:
    random = np.random.default_rng(0)
    noise = random.integers(97, 123, 2 * MEAN, np.uint8).tobytes()
    texts = np.empty(count, object)
    texts[:] = [noise[:length] for length in random.integers(1, 2 * MEAN, count)]
    return texts


def _passes(rows: dict[str, NDArray[Any]], shuffled: Dataset) -> dict[str, Pass]:
    count = len(rows["label"])
    first = rows["text"][:SIZE].tolist()
    theirs = tf.data.Dataset.from_tensor_slices(
        {"text": tf.constant(rows["text"]), "label": rows["label"]}
    )
    theirs = theirs.shuffle(count).batch(SIZE).prefetch(PREFETCH)
    taken = shuffled.to_tf_data()
    every = Dataset.from_tensor_slices(rows).with_format("numpy")
    half = every.filter(lambda label: label % 2 == 0, batched=True, input_columns="label")
    slow = every.filter(lambda row: row["label"] % 2 == 0)
    return {
        TENSORS: over(lambda: shuffled, count),
        BYTES: over(lambda: shuffled.with_format("numpy"), count),
        TAKEN: over(lambda: taken, count),
        TF_DATA: over(lambda: theirs, count),
        IDIOM: Pass(_take(rows), count),
        ALONE: Pass(lambda: [tf.constant(first) for _ in range(-(-count // SIZE))], count),
        KEPT: over(lambda: half.batch(SIZE).prefetch(PREFETCH), count),
        ONE_BY_ONE: over(lambda: slow.batch(SIZE).prefetch(PREFETCH), count),
    }


def _take(rows: dict[str, NDArray[Any]]) -> Callable[[], None]:
    def batches() -> None:
        order = np.random.permutation(len(rows["label"]))
        for start in range(0, len(order), SIZE):
            chosen = order[start : start + SIZE]
            _ = tf.constant(rows["text"].take(chosen)), tf.constant(rows["label"].take(chosen))

    return batches


def _check(shuffled: Dataset, rows: dict[str, NDArray[Any]]) -> None:
    """Every row occurs once, beside its text."""
    batches: Iterable[dict[str, Any]] = list(shuffled.with_format("numpy"))
    order = np.concatenate([batch["label"] for batch in batches])
    if not np.array_equal(np.sort(order), np.arange(len(order))):
        raise AssertionError("rows are missing")
    texts = np.concatenate([batch["text"] for batch in batches])
    if texts.tolist() != rows["text"][order].tolist():
        raise AssertionError("a text lies beside another label")
