"""The door to JAX. Imported when first used."""

from __future__ import annotations

from typing import Any

import jax
import jax.dlpack

from tensorferry import _internal
from tensorferry._internal import Tensor
from tensorferry._typing import Casting

__all__ = ["convert_to_tensor", "from_tensor"]


def convert_to_tensor(value: Any, dtype: Any = None, *, casting: Casting = "checked", copy: bool | None = None) -> jax.Array:
    """A ``jax.Array`` of the values, shared where that is sound, else converted in one pass.

    While ``jax_enable_x64`` is off JAX has no 64-bit dtypes and would wrap such values silently; here they become the 32-bit
    dtype, each value checked.

    Args:
        value: an array, or anything :func:`tensorferry.tensor` takes.
        dtype: a ``numpy.dtype``, type or name; None keeps the source's.
        casting: ``"checked"``, ``"saturate"`` or ``"wrap"``.
        copy: None shares what cannot change, False shares or raises, True copies.
    """
    return from_tensor(_internal.tensor(value, dtype, casting=casting, copy=copy))


class _Shared:
    """A tensor's memory as JAX takes it: JAX arrays are immutable, so a capsule without the read-only flag is sound."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __dlpack__(self, **_: Any) -> Any:
        return _internal.framework_capsule(self._tensor)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._tensor.__dlpack_device__()


def from_tensor(tensor: Tensor) -> jax.Array:
    """A ``jax.Array`` of a :class:`tensorferry.Tensor`, sharing its memory where JAX can take it.

    While ``jax_enable_x64`` is off, a 64-bit tensor becomes the 32-bit dtype that JAX has for it, each value checked.
    """
    kept = jax.dtypes.canonicalize_dtype(tensor.dtype)
    if kept != tensor.dtype:
        tensor = tensor.astype(kept)
    return jax.dlpack.from_dlpack(_Shared(tensor))
