"""W14: 20,000 images of 28 x 28 x 3 uint8, shuffled, as float32 scaled to 0 to 1, in batches of
128.

The NumPy idiom fills the same two arrays for each batch, so that its result stays in the cache.
Every other loader hands out batches that may be kept.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from peers import aligned
from rows import Row
from streams import Pass, beside, over, rates
from tensorferry import Dataset

MEMORY = 1 << 30
COUNT, SHAPE, SIZE = 20_000, (28, 28, 3), 128
FORMATS = {"numpy": "as numpy", "tensorflow": "as tf.Tensor"}
PREFETCH = 4
FACTOR = 1 / 255

IDIOM = "permutation, np.take(out=), np.multiply(out=)"
DEFAULT = "tf.data shuffle(20000).batch.map(cast, multiply).prefetch"
CAST = "tensorferry's cast alone, as numpy"
LEAST = 1.5


def run(*, quick: bool) -> list[Row]:
    """A row for each format, against the idiom and tf.data."""
    images = aligned(COUNT * int(np.prod(SHAPE)), np.uint8).reshape(COUNT, *SHAPE)
    images[...] = np.random.default_rng(14).integers(0, 256, images.shape, np.uint8)
    shuffled = Dataset.from_tensor_slices(images).shuffle(seed=7)
    plan = shuffled.scale(FACTOR).batch(SIZE).prefetch(PREFETCH)
    cast = shuffled.cast("float32").batch(SIZE).prefetch(PREFETCH).with_format("numpy")
    ours = {name: plan.with_format(name) for name in FORMATS}
    tf_data = _tf_data(images)
    passes = {
        name: over(lambda dataset=dataset: dataset, COUNT) for name, dataset in ours.items()
    } | {
        IDIOM: Pass(_idiom(images), COUNT),
        DEFAULT: over(lambda: tf_data, COUNT),
        CAST: over(lambda: cast, COUNT),
    }
    found = rates(passes, repetitions=5 if quick else 9)
    _require(ours["numpy"], images)
    peers: dict[str, dict[str, float | None]] = {
        "numpy": {IDIOM: LEAST, CAST: None},
        "tensorflow": {IDIOM: LEAST, DEFAULT: LEAST},
    }
    return [
        row
        for name, text in FORMATS.items()
        for row in beside(
            found,
            name,
            peers[name],
            workload="W14",
            what=f"scaled images, batches of {SIZE}, {text}",
            bound="moving the rows: the result, four bytes a value, leaves the cache",
        )
    ]


def _idiom(images: NDArray[np.uint8]) -> Callable[[], None]:
    taken = aligned(SIZE * int(np.prod(SHAPE)), np.uint8).reshape(SIZE, *SHAPE)
    scaled = aligned(taken.size, np.float32).reshape(taken.shape)
    random, factor = np.random.default_rng(0), np.float32(FACTOR)

    def run() -> None:
        order = random.permutation(COUNT)
        for start in range(0, COUNT, SIZE):
            rows = order[start : start + SIZE]
            np.take(images, rows, axis=0, out=taken[: len(rows)], mode="clip")
            np.multiply(taken[: len(rows)], factor, out=scaled[: len(rows)], casting="unsafe")

    return run


def _tf_data(images: NDArray[np.uint8]) -> tf.data.Dataset:
    dataset = tf.data.Dataset.from_tensor_slices(images).shuffle(COUNT).batch(SIZE)
    return dataset.map(
        lambda batch: tf.cast(batch, tf.float32) * np.float32(FACTOR),
        num_parallel_calls=tf.data.AUTOTUNE,
    ).prefetch(tf.data.AUTOTUNE)


def _require(dataset: Dataset, images: NDArray[np.uint8]) -> None:
    """Check that every image comes once, scaled."""
    scaled = np.concatenate(list(dataset)).reshape(COUNT, -1)
    expected = (images.astype(np.float32) * np.float32(FACTOR)).reshape(COUNT, -1)
    keys = (np.ascontiguousarray(rows).view(f"V{rows.shape[1] * 4}") for rows in (scaled, expected))
    first, second = (sorted(key.tobytes() for key in rows[:, 0]) for rows in keys)
    if first != second:
        raise AssertionError("an image is missing, repeated or not scaled")
