"""Conversion to TensorFlow tensors. Imported on first use by ``tensorferry.convert_to_tensor``."""

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
    """A ``tf.Tensor`` of a :class:`tensorferry.Tensor`, which shares its memory where TensorFlow
    can import it.
    """
    return _internal.convert_to_tensor(tensor)


def fast_road() -> tuple[Any, ...] | None:
    """Private parts of TensorFlow (2.16 to 2.21) that save microseconds; None where they differ."""
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
        only_device = devices if len(devices) == 1 else object()  # equals no list of devices
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
    """A TensorFlow tensor in a graph or a device scope, where ``fast_road`` does not apply."""
    if not tf.executing_eagerly():
        if copy is False:
            raise errors.make(
                "not_shareable",
                "cannot share without a copy: inside tf.function an array becomes a constant of "
                "the graph. Convert it outside, or allow a copy with copy=None.",
            )
        return tf.convert_to_tensor(tensor.numpy(), name=name)
    eager = tf.experimental.dlpack.from_dlpack(_internal.framework_capsule(tensor))
    # Moves to the device of the scope; on the same device it shares memory.
    return tf.identity(eager, name=name)


def convert_other(
    value: Any, dtype: Any, *, casting: str, copy: bool | None, name: str | None
) -> tf.Tensor:
    """Converts a value that is neither an array of a supported dtype nor a number. ``dtype`` is the
    name of a supported dtype, or a dtype that only TensorFlow has.
    """
    options: dict[str, Any] = {"casting": casting, "copy": copy, "name": name}
    if isinstance(value, np.generic):
        value = np.asarray(value)
        if value.dtype.kind not in "SUT":
            return _internal.convert_to_tensor(value, dtype, **options)
    if isinstance(value, np.ndarray):
        return _foreign_array(value, dtype, options)
    if not _is_tensorflows(value):
        numbers = _foreign_numbers(value, dtype, options)
        if numbers is not None:
            return numbers
    if not _is_tensorflows(value) and _is_array_like(value, dtype):
        return _array_like(value, dtype, options)
    return _theirs(value, dtype, options)


def _foreign_numbers(value: Any, dtype: Any, options: dict[str, Any]) -> tf.Tensor | None:
    """The tensor of a table, or of an array in another library's file; None for any other value."""
    target = None if dtype is None else tf.as_dtype(dtype)
    try:
        read = foreign.read(value, target and target.name, options["casting"], options["copy"])
    except errors.InvalidArgumentError as error:
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
    """The array of a column or table of strings, which TensorFlow converts; None for any other
    value.
    """
    array = np.asarray(value)
    if array.dtype.kind == "T":
        array = array.astype(object)
    texts = array.dtype.kind in "SU" or (
        array.dtype.kind == "O" and all(isinstance(text, str | bytes) for text in array.flat)
    )
    return array if texts else None


def _is_tensorflows(value: Any) -> bool:
    """Whether TensorFlow itself converts the value: tensors, variables, ragged, sparse, strings."""
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
    # TensorFlow converts strings and objects, unless the target dtype is numeric.
    return _is_checked(dtype) or getattr(getattr(value, "dtype", None), "kind", "i") not in "OSUT"


def _is_checked(dtype: Any) -> bool:
    return isinstance(dtype, str) and dtype in _CHECKED


#: The names of the dtypes whose values tensorferry checks.
_CHECKED = frozenset(
    (
        "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 float64 "
        "complex64 complex128"
    ).split()
)


def _array_like(value: Any, dtype: Any, options: dict[str, Any]) -> tf.Tensor:
    """A value with NumPy's protocols or DLPack: read, converted and copied in one pass."""
    tensor = _internal.tensor(value, dtype, casting=options["casting"], copy=options["copy"])
    # With copy=True the tensor is a copy already, with no other reference: share it.
    return _internal.convert_to_tensor(tensor, **options | {"copy": options["copy"] and None})


def _theirs(value: Any, dtype: Any, options: dict[str, Any]) -> tf.Tensor:
    """TensorFlow's conversion of a value that tensorferry does not read, or a tensorferry error in
    the place of its error.
    """
    if options["copy"] is False and not tf.is_tensor(value):
        raise errors.make(
            "not_shareable",
            f"cannot share without a copy: TensorFlow copies a {type(value).__name__}. Pass an "
            "array of numbers, or allow a copy with copy=None.",
        )
    try:
        return tf.convert_to_tensor(value, dtype, name=options["name"])
    except (ValueError, TypeError) as refused:
        if tf.is_tensor(value) and not isinstance(value, tf.__internal__.CompositeTensor):
            raise
        raise _explained(value, refused) from None


def _explained(value: Any, refused: Exception) -> Exception:
    """tensorferry's error for a value that TensorFlow refuses, of the same builtin class;
    TensorFlow's error if tensorferry reads the value.
    """
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
    """Arrays whose dtype, or target dtype, tensorferry does not check: strings, objects, float8 and
    int4, and dtypes that tensors do not have.
    """
    if array.dtype.kind in "OSUT":
        if _is_checked(dtype):
            raise kinds.error(array)
        return _theirs(array, dtype, options)
    target = None if dtype is None else tf.as_dtype(dtype)
    if (
        array.dtype.kind in "biufc"
        and array.dtype.isbuiltin == 1
        and array.dtype.itemsize <= 16
        and not _is_checked(dtype)
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
    # float32 holds all float8 and int4 values exactly, and its values are checked.
    return _internal.convert_to_tensor(array.astype(np.float32), dtype, **options)
