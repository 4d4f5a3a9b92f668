"""C7: `checked_cast` against `tf.cast`, which checks nothing: int64 to int32, in eager code and in
a `tf.function`.

`tf.cast` uses all of TensorFlow's threads. The smallest tensor shows the overhead of a call.
"""

import numpy as np
import tensorflow as tf
from harness import interleave, medians
from peers import require_equal
from rows import Row
from tensorferry.tensorflow import checked_cast

MEMORY = 2 << 30
LENGTHS = (1_000, 100_000, 1 << 24)


def run(*, quick: bool) -> list[Row]:
    """A row for each length, in eager code and in a graph."""
    return [row for length in LENGTHS for row in _rows(length, repetitions=5 if quick else 9)]


def _rows(length: int, repetitions: int) -> list[Row]:
    values = np.arange(length)
    x = tf.constant(values)
    ours, theirs = (
        tf.function(lambda x, cast=cast: cast(x, tf.int32)) for cast in (checked_cast, tf.cast)
    )
    pairs = {
        "eager": (lambda: checked_cast(x, tf.int32), lambda: tf.cast(x, tf.int32)),
        "in a tf.function": (lambda: ours(x), lambda: theirs(x)),
    }
    statements = {
        f"{where}, {side}": call
        for where, pair in pairs.items()
        for side, call in zip("op", pair, strict=True)
    }
    samples = interleave(statements, repetitions=repetitions)
    for call in statements.values():
        require_equal(call(), values.astype(np.int32))
    times = medians(samples)
    return [
        Row(
            "C7",
            f"{length:,} int64 -> int32, checked_cast, {where}",
            times[f"{where}, o"],
            "tf.cast (unchecked)",
            times[f"{where}, p"],
            samples={"ours": samples[f"{where}, o"], "peer": samples[f"{where}, p"]},
        )
        for where in pairs
    ]
