"""TensorFlow ops written in Rust, registered with the TensorFlow that is installed when the first is used."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import tensorflow as tf

from tensorferry import _internal, errors
from tensorferry._typing import Casting

__all__ = ["apply", "checked_cast"]

#: The versions whose C API the ops are known to work with.
OLDEST, NEWEST = (2, 16), (2, 21)


@functools.cache
def _registered() -> tuple[Any, Any, Any]:
    """TensorFlow's functions that add a node of an op to a graph, and that run it; and the current context."""
    version = tuple(int(part) for part in tf.__version__.split(".")[:2])
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
        raise errors.make("unsupported_tensorflow", f"TensorFlow {tf.__version__}: {error}") from error
    _internal.register_ops(str(library))
    return op_def_library.apply_op, execute.execute, context.context


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
    build, execute, context = _registered()
    if tf.executing_eagerly():
        attrs = tuple(part for pair in ((inferred or {}) | attributes).items() for part in pair)
        return list(execute(op.encode(), outputs, inputs=list(inputs.values()), attrs=attrs, ctx=context(), name=name))
    found = build(op, name=name, **inputs, **attributes)
    return list(found) if isinstance(found, list | tuple) else [found]


@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
def checked_cast(x: Any, dtype: Any, *, casting: Casting = "checked", name: str | None = None) -> tf.Tensor:
    """``tf.cast`` that checks every value: in eager code, inside ``tf.function``, in Keras models, on the CPU.

    Its gradient is ``tf.cast``'s: between floats and complex numbers the gradient is cast back, through integers there is none.

    Args:
        x: a tensor, or what ``tf.convert_to_tensor`` takes.
        dtype: the dtype to cast to.
        casting: what happens to values that the dtype cannot hold: ``"checked"`` raises, ``"saturate"`` clamps, ``"wrap"`` keeps the low bits.
        name: the name of the operation.

    Raises:
        tf.errors.InvalidArgumentError: values do not fit, or the cast has no meaning (complex to real).

    >>> import tensorflow as tf
    >>> from tensorferry.tensorflow import checked_cast
    >>> checked_cast(tf.constant([1, 2, 3], tf.int64), tf.uint8)
    <tf.Tensor: shape=(3,), dtype=uint8, numpy=array([1, 2, 3], dtype=uint8)>
    """
    target = tf.as_dtype(dtype).base_dtype
    x = tf.convert_to_tensor(x)
    if x.dtype == target:
        return tf.identity(x, name=name)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def cast(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor | None:
            differentiable = all(dtype.is_floating or dtype.is_complex for dtype in (x.dtype, target))
            return tf.cast(upstream, x.dtype) if differentiable else None

        with tf.device("CPU:0"):
            attributes = {"D": target.as_datatype_enum, "casting": casting}
            inferred = {"S": x.dtype.base_dtype.as_datatype_enum}
            return apply("TensorferryCast", {"x": x}, attributes, 1, inferred=inferred, name=name)[0], gradient

    return cast(x)
