"""TensorFlow ops written in Rust, registered with the installed TensorFlow at first use."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple, get_args

from tensorferry import _internal, errors
from tensorferry._frameworks import installed
from tensorferry._typing import Casting, DTypeLike, TensorLike

try:
    import tensorflow as tf
except ModuleNotFoundError as error:
    raise installed.missing(error, "tensorflow", "a TensorFlow op") from None

__all__ = ["apply", "checked_cast", "register_ops"]

#: The range of TensorFlow versions that the ops are tested with.
OLDEST, NEWEST = (2, 16), (2, 21)

#: The dtypes that TensorFlow and tensorferry have in common.
_NUMBERS = frozenset(
    tf.as_dtype(name)
    for name in (
        "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 half bfloat16 float32 "
        "float64 complex64 complex128"
    ).split()
)


class _Runtime(NamedTuple):
    """The private parts of TensorFlow that ops need."""

    apply_op: Any
    execute: Any
    context: Any


@functools.cache
def _registered() -> _Runtime:
    """Registers the ops."""
    version = tuple(int(part) for part in tf.__version__.split(".")[:2] if part.isdecimal())
    if not OLDEST <= version <= NEWEST:
        raise errors.make(
            "unsupported_tensorflow",
            f"tensorferry's ops work with TensorFlow {OLDEST[0]}.{OLDEST[1]} to "
            f"{NEWEST[0]}.{NEWEST[1]} on Linux; this is {tf.__version__}. Iterating a Dataset and "
            "convert_to_tensor work with any.",
        )
    library = Path(tf.sysconfig.get_lib()) / "libtensorflow_framework.so.2"
    try:
        from tensorflow.python.eager import context, execute
        from tensorflow.python.framework import op_def_library
    except ImportError as error:
        raise errors.make(
            "unsupported_tensorflow", f"TensorFlow {tf.__version__}: {error}"
        ) from error
    _internal.register_ops(str(library))
    return _Runtime(op_def_library.apply_op, execute, context)


def register_ops() -> None:
    """Registers tensorferry's ops with TensorFlow. Call it before loading a graph that contains
    them, such as a SavedModel with ``checked_cast``.

    Functions that create these ops register them automatically.

    Raises:
        tensorferry.errors.Error: this version of TensorFlow is not supported.

    >>> import tensorferry.tensorflow
    >>> tensorferry.tensorflow.register_ops()
    """
    _registered()


@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
def apply(
    op: str,
    inputs: dict[str, Any],
    attributes: dict[str, Any],
    outputs: int,
    *,
    inferred: dict[str, Any] | None = None,
    name: str | None = None,
) -> list[tf.Tensor]:
    """The outputs of an op of tensorferry, run now or added to the current graph.

    Args:
        op: the name of the op.
        inputs: tensors by the names of the op's definition, in its order.
        attributes: attributes that do not follow from the inputs.
        outputs: the number of outputs.
        inferred: attributes that a graph infers from the inputs, and eager execution does not.
        name: the name of the node.
    """
    runtime = _registered()
    flat = list(inputs.values())
    attrs = tuple(part for pair in ((inferred or {}) | attributes).items() for part in pair)
    if tf.executing_eagerly():
        results = runtime.execute.execute(
            op.encode(), outputs, inputs=flat, attrs=attrs, ctx=runtime.context.context(), name=name
        )
    else:
        found = runtime.apply_op(op, name=name, **inputs, **attributes)
        results = found if isinstance(found, list | tuple) else [found]
    if runtime.execute.must_record_gradient():
        runtime.execute.record_gradient(op, flat, attrs, list(results))
    return list(results)


@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
def checked_cast(
    x: TensorLike, dtype: DTypeLike, *, casting: Casting = "checked", name: str | None = None
) -> tf.Tensor:
    """``tf.cast`` that checks every value: in eager code, inside ``tf.function`` and in Keras
    models, on the CPU.

    Its gradient is ``tf.cast``'s: between floats and complex numbers the gradient is cast back,
    through integers there is none. XLA has no kernel for it: inside ``jit_compile=True`` it is an
    error, in Keras too (pass ``jit_compile=False`` on a GPU).

    Args:
        x: a tensor, or any value that ``tf.convert_to_tensor`` takes.
        dtype: the target dtype.
        casting: for values that the dtype cannot hold, ``"checked"`` raises, ``"saturate"`` clamps
            and ``"wrap"`` keeps the low bits.
        name: the name of the operation.

    Raises:
        tf.errors.InvalidArgumentError: values do not fit, or the cast is not defined (complex to
            real).
        tensorferry.errors.InvalidArgumentError: a dtype that does not hold numbers, or an unknown
            ``casting``.

    >>> import tensorflow as tf
    >>> from tensorferry.tensorflow import checked_cast
    >>> checked_cast(tf.constant([1, 2, 3], tf.int64), tf.uint8)
    <tf.Tensor: shape=(3,), dtype=uint8, numpy=array([1, 2, 3], dtype=uint8)>
    """
    target = (
        dtype.base_dtype
        if isinstance(dtype, tf.DType)
        else tf.as_dtype(_internal.dtype_name(dtype))
    )
    source = tf.convert_to_tensor(x)
    for each in (source.dtype, target):
        if each.base_dtype not in _NUMBERS:
            raise errors.make(
                "unsupported_dtype",
                f"checked_cast: {source.dtype.name} -> {target.name}: tensorferry does not check "
                f"values of dtype {each.name}. Use tf.cast.",
            )
    if casting not in get_args(Casting):
        raise errors.make(
            "unknown_casting",
            f"checked_cast: casting has to be one of {get_args(Casting)}, not {casting!r}",
        )
    if source.dtype == target:
        return tf.identity(source, name=name)
    with tf.device("CPU:0"):
        attributes = {"D": target.as_datatype_enum, "casting": casting}
        inferred = {"S": source.dtype.base_dtype.as_datatype_enum}
        inputs = {"x": source}
        return apply("TensorferryCast", inputs, attributes, 1, inferred=inferred, name=name)[0]


@tf.RegisterGradient("TensorferryCast")  # type: ignore[untyped-decorator]
def _cast_gradient(op: Any, upstream: tf.Tensor) -> tf.Tensor | None:
    source = op.inputs[0].dtype.base_dtype
    differentiable = all(
        dtype.is_floating or dtype.is_complex for dtype in (source, upstream.dtype)
    )
    return tf.cast(upstream, source) if differentiable else None
