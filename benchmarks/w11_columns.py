"""W11: forty columns in memory, a number in each row, shuffled, in batches of 512: in every format,
and as a `tf.data.Dataset` in a Python loop and inside a `tf.function`.

TensorFlow hands a batch of many components to a Python loop one by one. Batches of nothing (one
batch, repeated) show what that costs alone.
"""

from collections.abc import Callable
from statistics import median

import jax.numpy as jnp
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from rows import Row, quantity
from streams import Pass, beside, over, rates
from tensorferry import Dataset

MEMORY = 1 << 30
COLUMNS = 40
COUNT, QUICK_COUNT = 1_000_000, 200_000
SIZE = 512
PREFETCH = 4

IDIOM = "np.take of each column"
JAX_IDIOM = "np.take and jnp.asarray of each column"
PLAIN = "as tensorflow"
LOOP, FUNCTION = "to_tf_data, taken by a loop", "to_tf_data, in a tf.function"
ALONE = {LOOP: "one batch, taken by a loop", FUNCTION: "one batch, in a tf.function"}
FORMATS = ("tensorflow", "numpy", "tensorferry", "torch", "jax")
LEAST = 1.2
LEAST_TF_DATA = 1 / 1.5
"""Of plain iteration."""


def run(*, quick: bool) -> list[Row]:
    """Rows against `np.take` of each column, and of `to_tf_data` against plain iteration."""
    count = QUICK_COUNT if quick else COUNT
    columns = {
        f"c{at}": np.arange(count, dtype=np.float32 if at % 2 else np.int64)
        for at in range(COLUMNS)
    }
    shuffled = Dataset.from_tensor_slices(columns).shuffle(seed=7).batch(SIZE).prefetch(PREFETCH)
    found = rates(_passes(columns, shuffled), repetitions=5 if quick else 7)
    _check(shuffled, count)
    what = f"{COLUMNS} columns, shuffled batches of {SIZE}, "
    rows = [
        row
        for name in FORMATS
        for row in beside(
            found,
            f"as {name}",
            {JAX_IDIOM: LEAST, IDIOM: None} if name == "jax" else {IDIOM: LEAST},
            workload="W11",
            what=f"{what}as {name}",
        )
    ]
    for name, alone in ALONE.items():
        cost = quantity(SIZE / median(found[alone]), "s")
        rows += beside(
            found,
            name,
            {PLAIN: LEAST_TF_DATA, IDIOM: None},
            workload="W11",
            what=what + name,
            bound=f"tf.data's own part: a batch that is only repeated costs {cost}",
        )
    return rows


def _passes(columns: dict[str, NDArray], shuffled: Dataset) -> dict[str, Pass]:
    count = len(columns["c0"])
    first = {name: tf.constant(column[:SIZE]) for name, column in columns.items()}
    repeated = tf.data.Dataset.from_tensors(first).repeat(-(-count // SIZE))
    taken = shuffled.to_tf_data()

    @tf.function
    def inside(dataset: tf.data.Dataset) -> tf.Tensor:
        return dataset.reduce(0, lambda total, batch: total + 1)

    ours = {f"as {name}": shuffled.with_format(name) for name in FORMATS}
    return {
        name: over(lambda dataset=dataset: dataset, count) for name, dataset in ours.items()
    } | {
        IDIOM: Pass(_take(columns, np.take), count),
        JAX_IDIOM: Pass(
            _take(columns, lambda column, rows, axis: jnp.asarray(np.take(column, rows, axis))),
            count,
        ),
        LOOP: over(lambda: taken, count),
        FUNCTION: Pass(lambda: inside(taken), count),
        ALONE[LOOP]: over(lambda: repeated, count),
        ALONE[FUNCTION]: Pass(lambda: inside(repeated), count),
    }


def _take(columns: dict[str, NDArray], take: Callable[..., object]) -> Callable[[], None]:
    def batches() -> None:
        order = np.random.permutation(len(columns["c0"]))
        for start in range(0, len(order), SIZE):
            rows = order[start : start + SIZE]
            _ = {name: take(column, rows, 0) for name, column in columns.items()}

    return batches


def _check(shuffled: Dataset, count: int) -> None:
    """Every row occurs once, and its columns stay together."""
    batches = list(shuffled.with_format("numpy"))
    order = np.concatenate([batch["c0"] for batch in batches])
    if not np.array_equal(np.sort(order), np.arange(count)):
        raise AssertionError("rows are missing")
    for at in range(COLUMNS):
        if not np.array_equal(np.concatenate([batch[f"c{at}"] for batch in batches]), order):
            raise AssertionError("a column has another order")
