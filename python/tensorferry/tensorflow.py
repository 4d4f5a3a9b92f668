"""The door to TensorFlow. Imported when first used; ``tensorferry.convert_to_tensor`` is the way in."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorferry import _foreign, _frameworks, _internal, errors
from tensorferry._internal import Tensor
from tensorferry._ops import checked_cast, register_ops

try:
    import tensorflow as tf
except ModuleNotFoundError as error:
    raise _frameworks.missing(error, "tensorflow", "tensorferry.tensorflow") from None

__all__ = ["checked_cast", "from_tensor", "register_ops"]


def from_tensor(tensor: Tensor) -> tf.Tensor:
    """A ``tf.Tensor`` of a :class:`tensorferry.Tensor`, sharing its memory where TensorFlow can take it."""
    return _internal.convert_to_tensor(tensor)


def fast_road() -> tuple[Any, ...] | None:
    """The private parts of TensorFlow that save microseconds; None where they are not what we know (2.16 to 2.21)."""
    try:
        from tensorflow.python import pywrap_tfe
        from tensorflow.python.eager import context
        from tensorflow.python.framework import ops

        current = context.context()
        current.ensure_initialized()
        thread = current._thread_local_data
        graphs = ops._default_graph_stack
        _ = (thread.device_name, graphs.stack, context.default_execution_mode)
        devices = current._logical_devices
        only_device = devices if len(devices) == 1 else object()  # is no list of theirs
        from_capsule = pywrap_tfe.TFE_FromDlpackCapsule
        return context, context._context, thread, only_device, graphs, context.EAGER_MODE, from_capsule, current._handle
    except (ImportError, AttributeError):
        return None


def place(tensor: Tensor, *, copy: bool | None, name: str | None) -> tf.Tensor:
    """Hands a tensor over where the fast road does not lead: in a graph, or in a device scope."""
    if not tf.executing_eagerly():
        if copy is False:
            raise errors.make(
                "not_shareable",
                "cannot share without a copy: inside tf.function an array becomes a constant of the graph. "
                "Convert it outside, or allow a copy with copy=None.",
            )
        return tf.convert_to_tensor(tensor.numpy(), name=name)
    eager = tf.experimental.dlpack.from_dlpack(_internal.framework_capsule(tensor))
    return tf.identity(eager, name=name)  # moves to the device of the scope; on the same device it shares


def convert_other(value: Any, dtype: Any, *, casting: str, copy: bool | None, name: str | None) -> tf.Tensor:
    """Converts what is not an array of a dtype of ours."""
    options: dict[str, Any] = {"casting": casting, "copy": copy, "name": name}
    if isinstance(value, np.ndarray):
        return _foreign_array(value, dtype, options)
    if isinstance(value, np.generic):
        return _internal.convert_to_tensor(np.asarray(value), dtype, **options)
    if _is_tensorflows(value):
        return tf.convert_to_tensor(value, dtype, name=name)
    if isinstance(value, bool | int | float | complex | list | tuple | range):
        return _python_numbers(value, dtype, options)
    foreign = _foreign_numbers(value, dtype, options)
    if foreign is not None:
        return foreign
    if _is_array_like(value):
        return _array_like(value, dtype, options)
    return tf.convert_to_tensor(value, dtype, name=name)


def _foreign_numbers(value: Any, dtype: Any, options: dict[str, Any]) -> tf.Tensor | None:
    """What a table holds, or an array in another library's file; None of anything else."""
    target = None if dtype is None else tf.as_dtype(dtype)
    try:
        read = _foreign.read(value, target and target.name, options["casting"], options["copy"])
    except errors.ValueError as error:
        texts = _texts(value) if error.code == "unsupported_dtype" and target in (None, tf.string) else None
        if texts is None:
            raise
        return tf.convert_to_tensor(texts, name=options["name"])
    return None if read is None else _internal.convert_to_tensor(read, dtype, **options | {"copy": options["copy"] and None})


def _texts(value: Any) -> np.ndarray[Any, Any] | None:
    """The array that NumPy makes of a column or table of strings, which are TensorFlow's; None of anything else."""
    array = np.asarray(value)
    if array.dtype.kind == "T":
        array = array.astype(object)
    texts = array.dtype.kind in "SU" or (array.dtype.kind == "O" and all(isinstance(text, str | bytes) for text in array.flat))
    return array if texts else None


def _is_tensorflows(value: Any) -> bool:
    """Whether TensorFlow has its own way with the value: tensors, variables, ragged, sparse, strings."""
    return (
        value is None
        or isinstance(value, str | bytes | tf.TensorShape | tf.DType | tf.__internal__.CompositeTensor)
        or tf.is_tensor(value)
    )


def _is_array_like(value: Any) -> bool:
    protocols = ("__array__", "__array_interface__", "__dlpack__")
    if not any(hasattr(value, protocol) for protocol in protocols):
        return False
    # Strings and objects in array clothing are TensorFlow's to judge.
    return getattr(getattr(value, "dtype", None), "kind", "i") not in "OSUT"


def _array_like(value: Any, dtype: Any, options: dict[str, Any]) -> tf.Tensor:
    """What NumPy or DLPack make an array of: read, converted and copied in one pass."""
    target = None if dtype is None else tf.as_dtype(dtype)  # `float` is float32 to TensorFlow
    tensor = _internal.tensor(value, target, casting=options["casting"], copy=options["copy"])
    # What was copied already, because copy=True asks for it, is nobody else's.
    return _internal.convert_to_tensor(tensor, **options | {"copy": options["copy"] and None})


def _python_numbers(value: Any, dtype: Any, options: dict[str, Any]) -> tf.Tensor:
    """Python numbers and sequences: TensorFlow infers the dtype, and we check the values against one that is given."""
    flat = tf.nest.flatten(value) if isinstance(value, list | tuple) else [value]
    if any(_is_tensorflows(part) for part in flat):
        return tf.convert_to_tensor(value, dtype, name=options["name"])
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):  # ragged or beyond any integer: TensorFlow says so in its own words
        tensor = tf.convert_to_tensor(value, dtype, name=options["name"])
        if tensor.shape.num_elements() == len(flat):
            return tensor
        # It looks at the first row alone: of [[], [1]] it would drop the 1.
        raise errors.make(
            "argument", f"{value!r:.80} has rows of different lengths. Make them equal, or use tf.ragged.constant."
        ) from None
    if array.dtype.kind not in "biufc":
        return tf.convert_to_tensor(value, dtype, name=options["name"])
    if options["copy"] is False:
        raise errors.make(
            "not_shareable",
            "cannot share without a copy: Python numbers are no array. Pass a NumPy array, or allow a copy.",
        )
    if dtype is not None:
        return _internal.convert_to_tensor(array, dtype, **options)
    inferred = tf.convert_to_tensor(value, name=options["name"])
    narrowed = inferred.dtype.as_numpy_dtype
    if array.dtype.kind in "iu" and array.size and not _internal.can_convert(array, narrowed):
        return _internal.convert_to_tensor(array, narrowed, **options)  # raises, naming the value that TensorFlow wrapped
    return inferred


def _foreign_array(array: np.ndarray[Any, Any], dtype: Any, options: dict[str, Any]) -> tf.Tensor:
    """Arrays whose dtype, or whose target's, is not ours: strings, objects, float8 and int4, and those no tensor has."""
    if array.dtype.kind in "OSUT":
        return tf.convert_to_tensor(array, dtype, name=options["name"])
    target = None if dtype is None else tf.as_dtype(dtype)
    if array.dtype.kind in "biufc" and array.dtype.isbuiltin == 1 and array.dtype.itemsize <= 16 and target is not None:
        raise errors.make(
            "unsupported_dtype",
            f"{array.dtype} -> {target.name}: tensorferry does not check values for this dtype. "
            "Convert with ml_dtypes' astype first.",
        )
    try:
        known = tf.as_dtype(array.dtype)
    except TypeError:
        raise errors.make(
            "unsupported_dtype",
            f"dtype {array.dtype} has no TensorFlow equivalent. Convert it with NumPy's astype first.",
        ) from None
    if target is None or target == known:
        return tf.convert_to_tensor(array, name=options["name"])
    # float8 and int4 values are all exactly representable in float32, whence the check knows the way.
    return _internal.convert_to_tensor(array.astype(np.float32), dtype, **options)
