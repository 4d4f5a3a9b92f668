"""The door to TensorFlow. Imported when first used; ``tensorferry.convert_to_tensor`` is the way
in."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorferry import _internal, errors
from tensorferry._convert import foreign, kinds
from tensorferry._frameworks import installed
from tensorferry._frameworks.ops import checked_cast, register_ops
from tensorferry._internal import Tensor

try:
    import tensorflow as tf
except ModuleNotFoundError as error:
    raise installed.missing(error, "tensorflow", "tensorferry.tensorflow") from None

__all__ = ["checked_cast", "from_tensor", "register_ops"]


def from_tensor(tensor: Tensor) -> tf.Tensor:
    """A ``tf.Tensor`` of a :class:`tensorferry.Tensor`, sharing its memory where TensorFlow can
    take it."""
    return _internal.convert_to_tensor(tensor)


def fast_road() -> tuple[Any, ...] | None:
    """The private parts of TensorFlow that save microseconds; None where they are not what we know
    (2.16 to 2.21)."""
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
        return (
            context,
            context._context,
            thread,
            only_device,
            graphs,
            context.EAGER_MODE,
            from_capsule,
            current._handle,
        )
    except (ImportError, AttributeError):
        return None


def place(tensor: Tensor, *, copy: bool | None, name: str | None) -> tf.Tensor:
    """Hands a tensor over where the fast road does not lead: in a graph, or in a device scope."""
    if not tf.executing_eagerly():
        if copy is False:
            raise errors.make(
                "not_shareable",
                "cannot share without a copy: inside tf.function an array becomes a constant of "
                "the graph. "
                "Convert it outside, or allow a copy with copy=None.",
            )
        return tf.convert_to_tensor(tensor.numpy(), name=name)
    eager = tf.experimental.dlpack.from_dlpack(_internal.framework_capsule(tensor))
    return tf.identity(
        eager, name=name
    )  # moves to the device of the scope; on the same device it shares


def convert_other(
    value: Any, dtype: Any, *, casting: str, copy: bool | None, name: str | None
) -> tf.Tensor:
    """Converts a value that is neither an array of a supported dtype nor a number. ``dtype`` names
    a supported dtype, or is one that only TensorFlow has."""
    options: dict[str, Any] = {"casting": casting, "copy": copy, "name": name}
    if isinstance(value, np.generic):
        value = np.asarray(value)
        if value.dtype.kind not in "SUT":
            return _internal.convert_to_tensor(value, dtype, **options)
    if isinstance(value, np.ndarray):
        return _foreign_array(value, dtype, options)
    if not _is_tensorflows(value):
        foreign = _foreign_numbers(value, dtype, options)
        if foreign is not None:
            return foreign
    if not _is_tensorflows(value) and _is_array_like(value, dtype):
        return _array_like(value, dtype, options)
    return _theirs(value, dtype, options)


def _foreign_numbers(value: Any, dtype: Any, options: dict[str, Any]) -> tf.Tensor | None:
    """What a table holds, or an array in another library's file; None of anything else."""
    target = None if dtype is None else tf.as_dtype(dtype)
    try:
        read = foreign.read(value, target and target.name, options["casting"], options["copy"])
    except errors.ValueError as error:
        texts = (
            _texts(value)
            if error.code == "unsupported_dtype" and target in (None, tf.string)
            else None
        )
        if texts is None:
            raise
        return tf.convert_to_tensor(texts, name=options["name"])
    return (
        None
        if read is None
        else _internal.convert_to_tensor(
            read, dtype, **options | {"copy": options["copy"] and None}
        )
    )


def _texts(value: Any) -> np.ndarray[Any, Any] | None:
    """The array that NumPy makes of a column or table of strings, which are TensorFlow's; None of
    anything else."""
    array = np.asarray(value)
    if array.dtype.kind == "T":
        array = array.astype(object)
    texts = array.dtype.kind in "SU" or (
        array.dtype.kind == "O" and all(isinstance(text, str | bytes) for text in array.flat)
    )
    return array if texts else None


def _is_tensorflows(value: Any) -> bool:
    """Whether TensorFlow has its own way with the value: tensors, variables, ragged, sparse,
    strings."""
    return (
        value is None
        or isinstance(
            value,
            str
            | bytes
            | list
            | tuple
            | tf.TensorShape
            | tf.DType
            | tf.__internal__.CompositeTensor,
        )
        or tf.is_tensor(value)
    )


def _is_array_like(value: Any, dtype: Any) -> bool:
    protocols = ("__array__", "__array_interface__", "__dlpack__")
    if not any(hasattr(value, protocol) for protocol in protocols):
        return False
    # Strings and objects in array clothing are TensorFlow's to judge, unless they are to be
    # numbers.
    return _is_ours(dtype) or getattr(getattr(value, "dtype", None), "kind", "i") not in "OSUT"


def _is_ours(dtype: Any) -> bool:
    return isinstance(dtype, str) and dtype in _OURS


#: The names of the dtypes that values are checked for.
_OURS = frozenset(
    (
        "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 float64 "
        "complex64 complex128"
    ).split()
)


def _array_like(value: Any, dtype: Any, options: dict[str, Any]) -> tf.Tensor:
    """What NumPy or DLPack make an array of: read, converted and copied in one pass."""
    tensor = _internal.tensor(value, dtype, casting=options["casting"], copy=options["copy"])
    # What was copied already, because copy=True asks for it, is nobody else's.
    return _internal.convert_to_tensor(tensor, **options | {"copy": options["copy"] and None})


def _theirs(value: Any, dtype: Any, options: dict[str, Any]) -> tf.Tensor:
    """What TensorFlow makes of a value that tensorferry does not read, or a tensorferry error in
    the place of its own."""
    if options["copy"] is False and not tf.is_tensor(value):
        raise errors.make(
            "not_shareable",
            f"cannot share without a copy: TensorFlow copies a {type(value).__name__}. Pass an array of numbers, or allow a copy.",
        )
    try:
        return tf.convert_to_tensor(value, dtype, name=options["name"])
    except (ValueError, TypeError) as refused:
        if tf.is_tensor(value) and not isinstance(value, tf.__internal__.CompositeTensor):
            raise
        raise _in_our_words(value, refused) from None


def _in_our_words(value: Any, refused: Exception) -> Exception:
    """Our error for a value that TensorFlow refuses, caught as its own is; its own if we would read
    the value."""
    try:
        _internal.tensor(value)
    except errors.Error as ours:
        kind = (
            "wrong_type"
            if isinstance(refused, TypeError) and not isinstance(ours, TypeError)
            else ours.code
        )
        return errors.make(kind, str(ours))
    return refused


def _foreign_array(array: np.ndarray[Any, Any], dtype: Any, options: dict[str, Any]) -> tf.Tensor:
    """Arrays whose dtype, or whose target's, is not ours: strings, objects, float8 and int4, and
    those no tensor has."""
    if array.dtype.kind in "OSUT":
        if _is_ours(dtype):
            raise kinds.error(array)
        return _theirs(array, dtype, options)
    target = None if dtype is None else tf.as_dtype(dtype)
    if (
        array.dtype.kind in "biufc"
        and array.dtype.isbuiltin == 1
        and array.dtype.itemsize <= 16
        and not _is_ours(dtype)
        and target
    ):
        raise errors.make(
            "unsupported_dtype",
            f"{array.dtype} -> {target.name}: tensorferry does not check values for this dtype. "
            "Convert with ml_dtypes' astype first.",
        )
    try:
        known = tf.as_dtype(array.dtype)
    except TypeError:
        raise kinds.error(array) from None
    if target is None or target == known:
        return _theirs(array, None, options)
    # float8 and int4 values are all exactly representable in float32, whence the check knows the
    # way.
    return _internal.convert_to_tensor(array.astype(np.float32), dtype, **options)
