"""K1: one epoch of `model.fit` over 60,000 images of 784 float32 in memory, shuffled, with a small
dense model, on the CPU.

The model is the same object for all sides, compiled once. Its own time, without any input, is the
bound: fitting on one batch that is repeated.
"""

from collections.abc import Callable
from statistics import median

import keras
import numpy as np
import tensorflow as tf
from rows import Row, quantity
from streams import Pass, beside, rates
from tensorferry import Dataset

MEMORY = 2 << 30
COUNT, WIDTH, LABELS = 60_000, 784, 10
SIZES = (128, 1024)
TARGET = 1.3

NUMPY, TF_DATA = "fit(numpy arrays)", "tf.data from_tensor_slices.shuffle.batch.prefetch"
ALONE = "one batch, repeated"


def run(*, quick: bool) -> list[Row]:
    """Rows against fit on the arrays, and on tf.data."""
    draw = np.random.default_rng(0)
    x = draw.random((COUNT, WIDTH), dtype=np.float32)
    y = draw.integers(LABELS, size=COUNT)
    _require_each_row_once(x, y)
    model = _model()
    return [row for size in SIZES for row in _rows(model, x, y, size, 5 if quick else 9)]


def _rows(
    model: keras.Model, x: np.ndarray, y: np.ndarray, size: int, repetitions: int
) -> list[Row]:
    found = rates(_passes(model, x, y, size), repetitions=repetitions)
    bound = (
        "the training step: fitting one batch, repeated, runs at "
        f"{quantity(median(found[ALONE]), 'rows/s')}"
    )
    return beside(
        found,
        "ours",
        {NUMPY: TARGET, TF_DATA: TARGET},
        workload="K1",
        what=f"model.fit, one epoch of {COUNT:,} x {WIDTH}, batches of {size:,}",
        bound=bound,
    )


def _model() -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((WIDTH,)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(LABELS),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    return model


def _ours(x: np.ndarray, y: np.ndarray, size: int) -> tf.data.Dataset:
    rows = Dataset.from_tensor_slices((x, y)).shuffle(seed=7)
    return rows.batch(size).prefetch(4).to_tf_data()


def _passes(model: keras.Model, x: np.ndarray, y: np.ndarray, size: int) -> dict[str, Pass]:
    shuffled = (
        tf.data.Dataset.from_tensor_slices((x, y))
        .shuffle(COUNT)
        .batch(size)
        .prefetch(tf.data.AUTOTUNE)
    )
    steps = -(-COUNT // size)
    alone = tf.data.Dataset.from_tensors((x[:size], y[:size])).cache().repeat(steps)

    def over(data: object) -> Callable[[], object]:
        return lambda: model.fit(data, shuffle=False, verbose=0)

    return {
        "ours": Pass(over(_ours(x, y, size)), COUNT),
        NUMPY: Pass(lambda: model.fit(x, y, batch_size=size, verbose=0), COUNT),
        TF_DATA: Pass(over(shuffled), COUNT),
        ALONE: Pass(over(alone), steps * size),
    }


def _require_each_row_once(x: np.ndarray, y: np.ndarray) -> None:
    """Two epochs as fit receives them: every row once, in two orders."""
    data = _ours(x, y, SIZES[0])
    orders = []
    for _ in range(2):
        batches = [(images.numpy(), labels.numpy()) for images, labels in data]
        images = np.concatenate([images for images, _ in batches])
        # The first three numbers of a row identify it.
        order = np.lexsort(images[:, :3].T)
        source = np.lexsort(x[:, :3].T)
        labels = np.concatenate([labels for _, labels in batches])
        if not (
            np.array_equal(images[order], x[source]) and np.array_equal(labels[order], y[source])
        ):
            raise AssertionError("a row is missing, repeated or changed")
        orders.append(images[:, 0])
    if np.array_equal(*orders):
        raise AssertionError("both epochs have one order")
