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
        self.options = dataset._options
        self.structure = dataset._structure
        if any(isinstance(leaf, Nested) for leaf in _structure.flatten(self.structure)):
            raise errors.make(
                "argument",
                "to_tf_data: elements hold datasets, not tensors. Flatten them first: flat_map(lambda window: window.batch(n)).",
            )
        self.spec = _spec.element_spec(self.structure, self.plan.spec, tensorflow=True)
        self.leaves = [tf.TensorSpec(shape=dims, dtype=tf.as_dtype(name)) for name, dims in self.plan.spec]
        self.handle = self._handle()

    def _handle(self) -> tf.Tensor:
        """A tensor whose memory keeps the plan alive. A graph captures it: it has too many elements to be copied into one."""
        with tf.init_scope():  # also inside tf.function, where it would become a constant, a copy that keeps nothing alive
            if not tf.executing_eagerly():
                raise errors.make(
                    "argument",
                    "to_tf_data: a tf.Graph has no place for a dataset's arrays. Call it in eager code or inside tf.function.",
                )
            options = self.options
            return _internal.convert_to_tensor(self.plan.handle(options.threads, options.memory_limit, options.read_ahead))

    @property
    def read_ahead(self) -> int | None:
        """How many elements to compute ahead, -1 for as many as seems good."""
        return self.plan.read_ahead if self.options.read_ahead is None else self.options.read_ahead

    def call(self, op: str, inputs: dict[str, Any]) -> Any:
        """The components of an element, nested, with their static shapes."""
        types = [spec.dtype.as_datatype_enum for spec in self.leaves]
        parts = _ops.apply(op, inputs, {"T": types}, len(types))
        for part, spec in zip(parts, self.leaves, strict=True):
            part.set_shape(spec.shape)
        return _structure.pack(self.structure, iter(parts))

    def word(self, op: str, inputs: dict[str, Any], shape: list[int | None]) -> tf.Tensor:
        """What an op says that has one output."""
        (word,) = _ops.apply(op, inputs, {}, 1)
        word.set_shape(shape)
        return word


def to_tf_data(dataset: Dataset) -> tf.data.Dataset:
    """See :meth:`tensorferry.Dataset.to_tf_data`."""
    source = _Source(dataset)
    return _indexed(source) if source.plan.is_indexed else _streamed(source)


def _indexed(source: _Source) -> tf.data.Dataset:
    """Element ``i`` of every pass is asked for by its index: in parallel, and from wherever a checkpoint says."""
    if not source.plan.depends_on_epoch:
        return _elements(source, source.handle)

    # The state of a pass is an element, and not a value inside the function, so that a checkpoint holds it.
    def state(_: Any) -> tf.Tensor:
        return source.word("TensorferryEpoch", {"handle": source.handle}, [None])

    def one_pass(state: tf.Tensor) -> tf.data.Dataset:
        inputs = {"handle": source.handle, "state": state}
        return _elements(source, source.word("TensorferryBegin", inputs, source.handle.shape))

    states = tf.data.Dataset.from_tensors(0).map(_untouched(state))
    return _counted(source, states.flat_map(_untouched(one_pass)))


def _elements(source: _Source, handle: tf.Tensor) -> tf.data.Dataset:
    """The elements of a pass."""
    cardinality = source.plan.cardinality
    length = tf.int64.max if cardinality == INFINITE else cardinality

    def element(index: tf.Tensor) -> Any:
        return source.call("TensorferryElement", {"handle": handle, "index": index})

    # Functions of the user's run one element after the other: not without a number, for tf.data makes a map without one parallel.
    parallel = 1 if source.plan.is_sequential else source.options.threads or tf.data.AUTOTUNE
    made = tf.data.Dataset.range(length).map(_untouched(element), num_parallel_calls=parallel, deterministic=True)
    return made.prefetch(source.read_ahead) if source.read_ahead else made


def _counted(source: _Source, made: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset, knowing how many elements it has."""
    cardinality = source.plan.cardinality
    return made if cardinality == UNKNOWN else made.apply(tf.data.experimental.assert_cardinality(cardinality))


def _untouched(function: Any) -> Any:
    """A function that AutoGraph leaves as it is."""
    return tf.autograph.experimental.do_not_convert(function)


def _streamed(source: _Source) -> tf.data.Dataset:
    """A pass is opened, and asked for its next element until there is none: one call at a time, and not to be checkpointed."""
    try:
        from tensorflow.python.data.ops.from_generator_op import _GeneratorDataset
    except ImportError as error:
        raise errors.make("unsupported_tensorflow", f"TensorFlow {tf.__version__}: {error}") from error

    def begin(handle: tf.Tensor) -> tf.Tensor:
        return source.word("TensorferryOpen", {"handle": handle}, source.handle.shape)

    def advance(iterator: tf.Tensor) -> Any:
        return source.call("TensorferryNext", {"iterator": iterator})

    def end(iterator: tf.Tensor) -> tf.Tensor:
        return tf.constant(0)  # the pass ends with the tensor that names it

    functions = (_untouched(function) for function in (begin, advance, end))
    return _counted(source, _GeneratorDataset(source.handle, *functions, source.spec))
