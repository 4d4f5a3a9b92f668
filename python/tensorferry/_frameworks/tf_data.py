"""A dataset as a real ``tf.data.Dataset``: its elements come from the engine through TensorFlow ops
of ours, without Python.
"""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

from tensorferry import _internal, errors
from tensorferry._frameworks import installed, ops
from tensorferry._nest import specs, structures
from tensorferry._nest.structures import Nested

try:
    import tensorflow as tf
except ModuleNotFoundError as error:
    raise installed.missing(error, "tensorflow", "to_tf_data()") from None

if TYPE_CHECKING:
    from tensorferry.dataset import Dataset

INFINITE, UNKNOWN = -1, -2


class _Source:
    """What the functions that tf.data traces need of a dataset."""

    def __init__(self, dataset: Dataset) -> None:
        self.plan = dataset._plan
        self.options = dataset._options
        self.structure = dataset._structure
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
        self.handle = self._handle()

    def _handle(self) -> tf.Tensor:
        """A tensor whose memory keeps the plan alive. A graph captures it: it has too many elements
        to be copied into one.
        """
        # also inside tf.function, where it would become a constant, a copy that keeps nothing alive
        with tf.init_scope():
            if not tf.executing_eagerly():
                raise errors.make(
                    "argument",
                    "to_tf_data: a tf.Graph has no place for a dataset's arrays. Call it in "
                    "eager code or inside tf.function.",
                )
            options = self.options
            return _internal.convert_to_tensor(
                self.plan.handle(options.threads, options.memory_limit, options.read_ahead)
            )

    def call(self, op: str, inputs: dict[str, Any]) -> Any:
        """The components of an element, nested, with their static shapes."""
        types = [spec.dtype.as_datatype_enum for spec in self.leaves]
        parts = ops.apply(op, inputs, {"T": types}, len(types))
        for part, spec in zip(parts, self.leaves, strict=True):
            part.set_shape(spec.shape)
        return structures.pack(self.structure, iter(parts))

    def word(self, op: str, inputs: dict[str, Any], shape: list[int | None]) -> tf.Tensor:
        """What an op says that has one output."""
        (word,) = ops.apply(op, inputs, {}, 1)
        word.set_shape(shape)
        return word


def to_tf_data(dataset: Dataset) -> tf.data.Dataset:
    """See :meth:`tensorferry.Dataset.to_tf_data`."""
    ops.register_ops()  # refused here rather than in what tf.data traces
    source = _Source(dataset)
    if source.plan.is_indexed:
        return _indexed(source)
    known = source.plan.cardinality != UNKNOWN and not source.plan.may_end_early
    return _stream_of_known_length(source) if known else _streamed(source)


def _indexed(source: _Source) -> tf.data.Dataset:
    """Element ``i`` of a pass is asked for by its index: from the first on, or from where a
    checkpoint says.
    """

    # The state of a pass is an element, and not a value inside the function, so that a checkpoint
    # holds it.
    def state(_: tf.Tensor) -> tf.Tensor:
        return source.word("TensorferryEpoch", {"handle": source.handle}, [None])

    def begin(state: tf.Tensor) -> tf.Tensor:
        return source.word(
            "TensorferryBegin", {"handle": source.handle, "state": state}, source.handle.shape
        )

    def element(handle: tf.Tensor, index: tf.Tensor) -> Any:
        return source.call("TensorferryElement", {"handle": handle, "index": index})

    return _passes(source, tf.data.Dataset.from_tensors(0).map(_untouched(state)), begin, element)


def _stream_of_known_length(source: _Source) -> tf.data.Dataset:
    """A pass is opened, and asked for as many elements as it has: one call at a time, and not to be
    checkpointed.
    """

    def begin(_: tf.Tensor) -> tf.Tensor:
        return source.word("TensorferryOpen", {"handle": source.handle}, source.handle.shape)

    def element(handle: tf.Tensor, index: tf.Tensor) -> Any:
        return source.call("TensorferryNext", {"iterator": handle})

    return _passes(source, tf.data.Dataset.from_tensors(0), begin, element)


def _passes(source: _Source, starts: tf.data.Dataset, begin: Any, element: Any) -> tf.data.Dataset:
    """The elements of a pass for each of ``starts``, of which there is one each time the dataset is
    iterated.

    That there are so many is asserted of their numbers, and not of the elements: one that is an
    error would be missing.
    """
    cardinality = source.plan.cardinality
    numbers = tf.data.Dataset.range(tf.int64.max if cardinality == INFINITE else cardinality)

    def one_pass(start: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.zip((tf.data.Dataset.from_tensors(begin(start)).repeat(), numbers))

    numbered = starts.flat_map(_untouched(one_pass)).apply(
        tf.data.experimental.assert_cardinality(cardinality)
    )
    return _mapped(numbered, element)


def _mapped(dataset: tf.data.Dataset, function: Any) -> tf.data.Dataset:
    """What ``function`` makes of the elements, in order, one at a time, in the thread that asks:
    one op needs no pool of threads.
    """
    kind = _private("map_op", "_MapDataset")
    if "force_synchronous" in inspect.signature(kind.__init__).parameters:
        return kind(
            dataset, _untouched(function), force_synchronous=True, use_inter_op_parallelism=False
        )
    # Before TensorFlow 2.18 this alone kept tf.data from calling the function for several elements
    # at once.
    return dataset.map(_untouched(function), num_parallel_calls=1, deterministic=True)


def _streamed(source: _Source) -> tf.data.Dataset:
    """A pass is opened, and asked for its next element until there is none: one call at a time, and
    not to be checkpointed.
    """
    kind = _private("from_generator_op", "_GeneratorDataset")

    def begin(handle: tf.Tensor) -> tf.Tensor:
        return source.word("TensorferryOpen", {"handle": handle}, source.handle.shape)

    def advance(iterator: tf.Tensor) -> Any:
        return source.call("TensorferryNext", {"iterator": iterator})

    def end(iterator: tf.Tensor) -> tf.Tensor:
        return tf.constant(0)  # the pass ends with the tensor that names it

    return kind(source.handle, *map(_untouched, (begin, advance, end)), source.spec)


def _private(module: str, name: str) -> Any:
    """A class that tf.data has for itself."""
    try:
        return getattr(importlib.import_module(f"tensorflow.python.data.ops.{module}"), name)
    except (ImportError, AttributeError) as error:
        raise errors.make(
            "unsupported_tensorflow", f"TensorFlow {tf.__version__}: {error}"
        ) from error


def _untouched(function: Any) -> Any:
    """A function that AutoGraph leaves as it is."""
    return tf.autograph.experimental.do_not_convert(function)
