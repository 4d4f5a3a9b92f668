"""Strings of bytes, inside a TensorFlow graph."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def joined(values: Any, row_splits: Any = None) -> Any:
    """The string of these bytes; with ``row_splits``, the string of each row of them.

    TensorFlow has no op for it: each byte becomes a string, and these are joined.
    """
    table = tf.constant([bytes([byte]) for byte in range(256)])
    characters = tf.gather(table, tf.cast(values, tf.int32))
    if row_splits is None:
        return tf.strings.reduce_join(characters)
    rows = tf.shape(row_splits)[0] - 1
    numbers = tf.repeat(tf.range(rows), row_splits[1:] - row_splits[:-1])
    strings = tf.strings.unsorted_segment_join(characters, numbers, rows)
    length = row_splits.shape[0]
    strings.set_shape([None if length is None else length - 1])
    return strings
