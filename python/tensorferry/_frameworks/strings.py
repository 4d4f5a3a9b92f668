"""Strings of bytes, inside a TensorFlow graph.

TensorFlow has no op that makes strings of bytes. It has one that serialises a tensor, whose bytes
are then the end of a string, and one that parses a ``TensorProto`` of strings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

#: The start of a ``TensorProto``: dtype ``DT_STRING``, and a shape of one dimension, whose length
#: follows as a varint of five bytes.
_START = [0x08, 0x07, 0x12, 0x08, 0x12, 0x06, 0x08]
#: The field ``string_val``, before the length of each string.
_STRING = 0x42


def joined(values: Any, row_splits: Any = None) -> Any:
    """The string of these bytes; with ``row_splits``, the string of each row of them."""
    if row_splits is None:
        return _string(values)
    *outer, splits = row_splits.shape.as_list()
    shape = [*outer, None if splits is None else splits - 1]
    if not outer:
        return tf.ensure_shape(_parsed(values, row_splits), shape)
    lengths = row_splits[:, 1:] - row_splits[:, :-1]
    flat = tf.concat([tf.zeros(1, tf.int64), tf.cumsum(tf.reshape(lengths, [-1]))], 0)
    return tf.ensure_shape(tf.reshape(_parsed(values, flat), tf.shape(lengths)), shape)


def _string(values: Any) -> Any:
    """The bytes as one string: the end of the serialised tensor."""
    count = tf.size(values)
    return tf.strings.substr(tf.io.serialize_tensor(values), -count, count)


def _parsed(values: Any, row_splits: Any) -> Any:
    """The strings, without control flow: tf.data calls this in one thread, which allows none."""
    lengths = row_splits[1:] - row_splits[:-1]
    count = tf.shape(lengths, tf.int64)
    heads = tf.concat(
        [tf.fill([count[0], 1], tf.constant(_STRING, tf.uint8)), _varints(lengths)], 1
    )
    proto = [tf.constant(_START, tf.uint8), _varints(count)[0]]
    proto.append(_interleaved(heads, values, row_splits, count[0]))
    return tf.io.parse_tensor(_string(tf.concat(proto, 0)), tf.string)


def _interleaved(heads: Any, values: Any, row_splits: Any, count: Any) -> Any:
    """Each row of ``heads`` followed by the row of values of the same number."""
    each = tf.range(count)
    width = heads.shape[1]
    splits = tf.concat([each * width, count * width + row_splits], 0)
    return tf.raw_ops.RaggedGather(
        params_nested_splits=[splits],
        params_dense_values=tf.concat([tf.reshape(heads, [-1]), values], 0),
        indices=tf.reshape(tf.stack([each, count + each], 1), [-1]),
        OUTPUT_RAGGED_RANK=1,
    ).output_dense_values


def _varints(numbers: Any) -> Any:
    """Numbers of less than 2^35 as Protocol Buffers write them, each in five bytes."""
    shifts = tf.constant([0, 7, 14, 21, 28], tf.int64)
    low = tf.bitwise.right_shift(numbers[:, None], shifts) & 127
    more = tf.constant([128, 128, 128, 128, 0], np.uint8)
    return tf.cast(low, tf.uint8) | more
