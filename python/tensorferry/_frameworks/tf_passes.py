"""A dataset as a ``tf.data.Dataset`` whose passes begin where they are told to."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tensorferry import _internal
from tensorferry._arguments import INFINITE
from tensorferry._frameworks import ops
from tensorferry._frameworks.tf_data import Limits, Source, mapped, untouched
from tensorferry._nest.structures import Structure

#: More elements than any pass reads.
_INFINITE = 2**62


class Passes:
    """``dataset`` has the elements of an indexed plan. A pass over it does not count an epoch: it
    reads, at its first element, what :meth:`begin` set last. All passes until the next call are
    equal, so that one which is opened and dropped changes nothing.
    """

    def __init__(self, plan: _internal.Plan, structure: Structure, limits: Limits) -> None:
        ops.register_ops()
        self._plan = plan
        self._source = Source(plan, structure, limits)
        with tf.init_scope(), tf.device("CPU:0"):
            empty = tf.zeros([0], tf.uint8)
            self._state = tf.Variable(empty, shape=[None], trainable=False)
            self._where = tf.Variable(tf.zeros([2], tf.int64), trainable=False)
            self._opened = tf.Variable(tf.zeros([], tf.int64), trainable=False)
        self.dataset: tf.data.Dataset = self._made()

    def begin(self, state: bytes, position: int, front: int) -> None:
        """Sets where passes begin. Each pass over a finite dataset has as many elements as the
        dataset: the last one is repeated at its end.

        Args:
            state: a saved iteration, which has the epoch and the seeds.
            position: the first element.
            front: how many elements without a meaning come before it.
        """
        self._state.assign(tf.constant(np.frombuffer(state, np.uint8)))
        self._where.assign([position, front])
        self._opened.assign(0)

    @property
    def opened(self) -> int:
        """The number of passes since ``begin``."""
        return int(self._opened.numpy())

    def _made(self) -> tf.data.Dataset:
        source, cardinality = self._source, self._plan.cardinality
        length = _INFINITE if cardinality == INFINITE else cardinality
        last = tf.int64.max if cardinality == INFINITE else cardinality - 1

        def begin(_: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            self._opened.assign_add(1)
            return self._state.read_value(), self._where.read_value()

        def one_pass(state: tf.Tensor, where: tf.Tensor) -> tf.data.Dataset:
            inputs = {"handle": source.handle, "state": state}
            handle = source.word("TensorferryBegin", inputs, source.handle.shape)
            position, front = tf.unstack(where)
            first = position - front
            numbers = tf.data.Dataset.range(first, first + length)
            begun = tf.data.Dataset.from_tensors((handle, position)).repeat()
            return tf.data.Dataset.zip((begun, numbers))

        def element(begun: tuple[tf.Tensor, tf.Tensor], number: tf.Tensor) -> Any:
            handle, position = begun
            index = tf.minimum(tf.maximum(number, position), last)
            return source.call("TensorferryElement", {"handle": handle, "index": index})

        starts = tf.data.Dataset.from_tensors(0).map(untouched(begin))
        numbered = starts.flat_map(untouched(one_pass)).apply(
            tf.data.experimental.assert_cardinality(cardinality)
        )
        return mapped(numbered, element)
