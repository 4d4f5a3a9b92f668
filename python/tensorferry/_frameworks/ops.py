"""TensorFlow ops written in Rust, registered with the TensorFlow that is installed when the first
is used."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple, get_args

from tensorferry import _internal, errors
from tensorferry._frameworks import installed
from tensorferry._typing import Casting

try:
    import tensorflow as tf
except ModuleNotFoundError as error:
    raise installed.missing(error, "tensorflow", "a TensorFlow op") from None

__all__ = ["apply", "checked_cast", "register_ops"]

#: The versions whose C API the ops are known to work with.
OLDEST, NEWEST = (2, 16), (2, 21)


#: The dtypes that are TensorFlow's and ours.
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
            f"tensorferry's ops work with TensorFlow {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]} on Linux; "
            f"this is {tf.__version__}. Iterating a Dataset and convert_to_tensor work with any.",
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
    """Tells TensorFlow of the ops of tensorferry: before a graph is loaded that has them, such as a
    SavedModel with ``checked_cast``.

    Whatever makes such an op registers them by itself.

    Raises:
        tensorferry.errors.Error: this TensorFlow is none whose ops can be extended.

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
    """The outputs of one of our ops, run now or added to the graph that is being built.

    Args:
        op: its name.
        inputs: tensors by the names of the op's definition, in its order.
        attributes: what the inputs do not tell.
        outputs: how many there are.
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
    x: Any, dtype: Any, *, casting: Casting = "checked", name: str | None = None
) -> tf.Tensor:
    """``tf.cast`` that checks every value: in eager code, inside ``tf.function``, in Keras models,
    on the CPU.

    Its gradient is ``tf.cast``'s: between floats and complex numbers the gradient is cast back,
    through integers there is none. XLA has no kernel for it: inside ``jit_compile=True`` it is an
    error, in Keras too (pass ``jit_compile=False`` on a GPU).

    Args:
        x: a tensor, or what ``tf.convert_to_tensor`` takes.
        dtype: the dtype to cast to.
        casting: what happens to values that the dtype cannot hold: ``"checked"`` raises, ``"saturate"`` clamps, ``"wrap"`` keeps the low bits.
        name: the name of the operation.

    Raises:
        tf.errors.InvalidArgumentError: values do not fit, or the cast has no meaning (complex to real).
        tensorferry.errors.ValueError: a dtype that is no number's, or no casting of these names.

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
    x = tf.convert_to_tensor(x)
    for each in (x.dtype, target):
        if each.base_dtype not in _NUMBERS:
            raise errors.make(
                "unsupported_dtype",
                f"checked_cast: {x.dtype.name} -> {target.name}: {each.name} is no dtype of ours",
            )
    if casting not in get_args(Casting):
        raise errors.make(
            "unknown_casting",
            f"checked_cast: casting has to be one of {get_args(Casting)}, not {casting!r}",
        )
    if x.dtype == target:
        return tf.identity(x, name=name)
    with tf.device("CPU:0"):
        attributes = {"D": target.as_datatype_enum, "casting": casting}
        inferred = {"S": x.dtype.base_dtype.as_datatype_enum}
        return apply("TensorferryCast", {"x": x}, attributes, 1, inferred=inferred, name=name)[0]


@tf.RegisterGradient("TensorferryCast")  # type: ignore[untyped-decorator]
def _cast_gradient(op: Any, upstream: tf.Tensor) -> tf.Tensor | None:
    source = op.inputs[0].dtype.base_dtype
    differentiable = all(
        dtype.is_floating or dtype.is_complex for dtype in (source, upstream.dtype)
    )
    return tf.cast(upstream, source) if differentiable else None
