"""A dataset as a real ``tf.data.Dataset``: its elements come from the engine through TensorFlow ops of ours, without Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tensorferry import _internal, _ops, _spec, _structure, errors
from tensorferry._structure import Nested

if TYPE_CHECKING:
    from tensorferry.dataset import Dataset

INFINITE, UNKNOWN = -1, -2


class _Source:
    """What the functions that tf.data traces need of a dataset."""

    def __init__(self, dataset: Dataset) -> None:
        self.plan = dataset._plan
        self.structure = dataset._structure
        if any(isinstance(leaf, Nested) for leaf in _structure.flatten(self.structure)):
            raise errors.make(
                "argument",
                "to_tf_data: elements hold datasets, not tensors. Flatten them first: flat_map(lambda window: window.batch(n)).",
            )
        self.spec = _spec.element_spec(self.structure, self.plan.spec, tensorflow=True)
        self.leaves = [tf.TensorSpec(shape=dims, dtype=tf.as_dtype(name)) for name, dims in self.plan.spec]
        # The tensor's memory keeps the plan alive. It has too many elements for TensorFlow to copy them into a graph.
        self.handle = _internal.convert_to_tensor(self.plan.handle())

    def call(self, op: str, inputs: dict[str, Any]) -> Any:
        """The components of an element, nested, with their static shapes."""
        types = [spec.dtype.as_datatype_enum for spec in self.leaves]
        parts = _ops.apply(op, inputs, {"T": types}, len(types))
        for part, spec in zip(parts, self.leaves, strict=True):
            part.set_shape(spec.shape)
        return _structure.pack(self.structure, iter(parts))


def to_tf_data(dataset: Dataset) -> tf.data.Dataset:
    """See :meth:`tensorferry.Dataset.to_tf_data`."""
    source = _Source(dataset)
    return _indexed(source) if source.plan.is_indexed else _streamed(source)


def _indexed(source: _Source) -> tf.data.Dataset:
    """Element ``i`` of every pass is asked for by its index: in parallel, and from wherever a checkpoint says."""
    cardinality = source.plan.cardinality
    length = tf.int64.max if cardinality == INFINITE else cardinality
    # Functions of the user's run one element after the other; the rest of a plan on any thread.
    parallel = None if source.plan.is_sequential else tf.data.AUTOTUNE

    def elements(epoch: Any) -> tf.data.Dataset:
        def element(index: Any) -> Any:
            return source.call("TensorferryElement", {"handle": source.handle, "epoch": epoch, "index": index})

        element = tf.autograph.experimental.do_not_convert(element)
        return tf.data.Dataset.range(length).map(element, num_parallel_calls=parallel, deterministic=parallel and True)

    if not source.plan.depends_on_epoch:
        made = elements(tf.constant(0, tf.int64))
    else:

        def one_pass(_: Any) -> tf.data.Dataset:
            (epoch,) = _ops.apply("TensorferryEpoch", {"handle": source.handle}, {}, 1)
            epoch.set_shape([])
            return elements(epoch)

        made = tf.data.Dataset.from_tensors(0).flat_map(tf.autograph.experimental.do_not_convert(one_pass))
    return made.apply(tf.data.experimental.assert_cardinality(cardinality))


def _streamed(source: _Source) -> tf.data.Dataset:
    """A pass is opened, and asked for its next element until there is none: one call at a time, and not to be checkpointed."""
    try:
        from tensorflow.python.data.ops.from_generator_op import _GeneratorDataset
    except ImportError as error:
        raise errors.make("unsupported_tensorflow", f"TensorFlow {tf.__version__}: {error}") from error

    def begin(handle: Any) -> Any:
        (iterator,) = _ops.apply("TensorferryOpen", {"handle": handle}, {}, 1)
        iterator.set_shape(source.handle.shape)
        return iterator

    def advance(iterator: Any) -> Any:
        return source.call("TensorferryNext", {"iterator": iterator})

    def end(iterator: Any) -> Any:
        return tf.constant(0)  # the pass ends with the tensor that names it

    convert = tf.autograph.experimental.do_not_convert
    made = _GeneratorDataset(source.handle, convert(begin), convert(advance), convert(end), source.spec)
    cardinality = source.plan.cardinality
    return made if cardinality == UNKNOWN else made.apply(tf.data.experimental.assert_cardinality(cardinality))
