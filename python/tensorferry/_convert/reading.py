"""Values that tf.data takes, as arrays of numbers that ``_internal`` can read."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from tensorferry import _arguments, _internal, errors
from tensorferry._convert import foreign

#: The kinds of NumPy dtypes that are numbers; those of ml_dtypes are of kind V.
_NUMBERS = "biufcV"
_PLAIN = (bool, int, float, complex, list, tuple, range, np.generic)
_PROTOCOLS = ("__array__", "__array_interface__", "__dlpack__")


def source(value: Any, stage: str, exact: bool = False) -> tuple[Any, bool]:
    """An array of numbers that ``_internal`` can read, and whether nothing can change it.

    Python's numbers get the dtype that TensorFlow gives them. With ``exact``, because their dtype
    is known, they stay as they are.
    """
    if isinstance(value, _internal.Array | _internal.Tensor):
        return value, True
    if isinstance(value, np.ndarray):
        if value.dtype.kind in _NUMBERS and not value.dtype.names:
            return value, False
        return (value, False) if exact and value.dtype.kind == "O" else (_read(value, stage), True)
    if type(value).__name__ == "SparseTensorValue":
        raise errors.make(
            "wrong_type",
            f"{stage}: a SparseTensorValue is one sparse tensor, and tensorferry's datasets carry "
            "dense ones. Make it dense: tf.sparse.to_dense(tf.SparseTensor.from_value(x)); or "
            "keep it in tf.data.",
        )
    if isinstance(value, _PLAIN):
        return (value if exact else _read(value, stage)), True
    container = foreign.source(value)
    if container is not None:
        return container
    if not any(hasattr(value, protocol) for protocol in _PROTOCOLS):
        try:
            memoryview(value)
        except TypeError:
            return _read(value, stage), True
        return source(np.asarray(value), stage, exact)  # shares memory that others may write
    return value, is_immutable(value)


def sources(values: list[Any], names: list[str], stage: str) -> list[tuple[Any, bool]]:
    """:func:`source` of each part of a structure. Errors name the part."""
    if not names:
        return [source(value, stage) for value in values]
    return [
        source(value, f"{stage}: component {name}")
        for value, name in zip(values, names, strict=True)
    ]


def _read(value: Any, stage: str) -> _internal.Tensor:
    with _arguments.named(stage):
        return _internal.stacked(value, False)


def is_immutable(value: Any) -> bool:
    """Whether a framework promises that its tensor never changes."""
    tensorflow, jax = sys.modules.get("tensorflow"), sys.modules.get("jax")
    return bool(
        (tensorflow is not None and isinstance(value, tensorflow.Tensor))
        or (jax is not None and isinstance(value, jax.Array))
    )
