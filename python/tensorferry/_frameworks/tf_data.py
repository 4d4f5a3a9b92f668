"""A dataset as a ``tf.data.Dataset`` of native TensorFlow ops."""

from __future__ import annotations

import importlib
import inspect
from typing import Any, TypeAlias

from tensorferry import _internal, errors
from tensorferry._arguments import INFINITE, UNKNOWN
from tensorferry._frameworks import installed, ops, strings
from tensorferry._nest import specs, structures
from tensorferry._nest.structures import Nested, Structure

try:
    import tensorflow as tf
except ModuleNotFoundError as error:
    raise installed.missing(error, "tensorflow", "to_tf_data()") from None

#: Threads, memory limit and readahead of an iteration; None for the default.
Limits: TypeAlias = tuple[int | None, int | None, int | None]


class Source:
    """A dataset as the functions that tf.data traces need it."""

    def __init__(self, plan: _internal.Plan, structure: Structure, limits: Limits) -> None:
        self.plan = plan
        self.structure = structure
        if any(isinstance(leaf, Nested) for leaf in structures.flatten(self.structure)):
            raise errors.make(
                "argument",
                "to_tf_data: elements hold datasets, not tensors. Flatten them first: "
                "flat_map(lambda window: window.batch(n)).",
            )
        self.spec = specs.element_spec(self.structure, self.plan.spec, tensorflow=True)
        self.leaves = [
            tf.TensorSpec(shape=dims, dtype=tf.as_dtype(name)) for name, dims in self.plan.spec
        ]
        self.handle = self._handle(limits)

    def _handle(self, limits: Limits) -> tf.Tensor:
        """A tensor whose memory keeps the plan alive. A graph captures it, because it has too many
        elements to be copied into a constant.
        """
        # Inside tf.function it would become a constant, a copy that does not keep the plan alive.
        with tf.init_scope():
            if not tf.executing_eagerly():
                raise errors.make(
                    "argument",
                    "to_tf_data: a tf.Graph has no place for a dataset's arrays. Call it in "
                    "eager code or inside tf.function.",
                )
            return _internal.convert_to_tensor(self.plan.handle(*limits))

    def call(self, op: str, inputs: dict[str, Any]) -> Any:
        """The components of an element, nested, with their static shapes."""
        types = [spec.dtype.as_datatype_enum for spec in self.leaves]
        parts = ops.apply(op, inputs, {"T": types}, len(types))
        for part, spec in zip(parts, self.leaves, strict=True):
            part.set_shape(spec.shape)
        return structures.pack(self.structure, iter(parts), strings.joined)

    def word(self, op: str, inputs: dict[str, Any], shape: list[int | None]) -> tf.Tensor:
        """The output of an op that has one."""
        (word,) = ops.apply(op, inputs, {}, 1)
        word.set_shape(shape)
        return word


def to_tf_data(plan: _internal.Plan, structure: Structure, limits: Limits) -> tf.data.Dataset:
    """See :meth:`tensorferry.Dataset.to_tf_data`."""
    ops.register_ops()  # an unsupported TensorFlow is an error here, not inside a traced function
    source = Source(plan, structure, limits)
    if source.plan.is_indexed:
        return _indexed(source)
    known = source.plan.cardinality != UNKNOWN and not source.plan.may_end_early
    return _stream_of_known_length(source) if known else _streamed(source)


def _indexed(source: Source) -> tf.data.Dataset:
    """Requests each element of a pass by its index, from the first or from a checkpoint's."""

    # The state of a pass is an element, not a value inside the function, so that a checkpoint
    # contains it.
    def state(_: tf.Tensor) -> tf.Tensor:
        return source.word("TensorferryEpoch", {"handle": source.handle}, [None])

    def begin(state: tf.Tensor) -> tf.Tensor:
        return source.word(
            "TensorferryBegin", {"handle": source.handle, "state": state}, source.handle.shape
        )

    def element(handle: tf.Tensor, index: tf.Tensor) -> Any:
        return source.call("TensorferryElement", {"handle": handle, "index": index})

    return _passes(source, tf.data.Dataset.from_tensors(0).map(untouched(state)), begin, element)


def _stream_of_known_length(source: Source) -> tf.data.Dataset:
    """Opens a pass and requests as many elements as it has, one call at a time. Cannot be
    checkpointed.
    """

    def begin(_: tf.Tensor) -> tf.Tensor:
        return source.word("TensorferryOpen", {"handle": source.handle}, source.handle.shape)

    def element(handle: tf.Tensor, index: tf.Tensor) -> Any:
        return source.call("TensorferryNext", {"iterator": handle})

    return _passes(source, tf.data.Dataset.from_tensors(0), begin, element)


def _passes(source: Source, starts: tf.data.Dataset, begin: Any, element: Any) -> tf.data.Dataset:
    """The elements of a pass for each of ``starts``, of which each iteration has one.

    The cardinality is asserted of the elements' numbers: of the elements, one that raises would be
    counted as missing.
    """
    cardinality = source.plan.cardinality
    numbers = tf.data.Dataset.range(tf.int64.max if cardinality == INFINITE else cardinality)

    def one_pass(start: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.zip((tf.data.Dataset.from_tensors(begin(start)).repeat(), numbers))

    numbered = starts.flat_map(untouched(one_pass)).apply(
        tf.data.experimental.assert_cardinality(cardinality)
    )
    return mapped(numbered, element)


def mapped(dataset: tf.data.Dataset, function: Any) -> tf.data.Dataset:
    """``dataset.map(function)``, in order, one element at a time, in the calling thread: one op
    needs no thread pool.
    """
    kind = _private("map_op", "_MapDataset")
    if "force_synchronous" in inspect.signature(kind.__init__).parameters:
        return kind(
            dataset, untouched(function), force_synchronous=True, use_inter_op_parallelism=False
        )
    # Before TensorFlow 2.18 only this keeps tf.data from calling the function concurrently.
    return dataset.map(untouched(function), num_parallel_calls=1, deterministic=True)


def _streamed(source: Source) -> tf.data.Dataset:
    """Opens a pass and requests elements until it ends, one call at a time. Cannot be
    checkpointed.
    """
    kind = _private("from_generator_op", "_GeneratorDataset")

    def begin(handle: tf.Tensor) -> tf.Tensor:
        return source.word("TensorferryOpen", {"handle": handle}, source.handle.shape)

    def advance(iterator: tf.Tensor) -> Any:
        return source.call("TensorferryNext", {"iterator": iterator})

    def end(iterator: tf.Tensor) -> tf.Tensor:
        return tf.constant(0)  # the pass ends when its tensor is destroyed

    return kind(source.handle, *map(untouched, (begin, advance, end)), source.spec)


def _private(module: str, name: str) -> Any:
    """A private class of tf.data."""
    try:
        return getattr(importlib.import_module(f"tensorflow.python.data.ops.{module}"), name)
    except (ImportError, AttributeError) as error:
        raise errors.make(
            "unsupported_tensorflow", f"TensorFlow {tf.__version__}: {error}"
        ) from error


def untouched(function: Any) -> Any:
    """A function that AutoGraph does not convert."""
    return tf.autograph.experimental.do_not_convert(function)
