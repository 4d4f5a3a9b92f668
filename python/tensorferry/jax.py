"""Conversion to JAX arrays. Imported on first use."""

from __future__ import annotations

from typing import Any

from tensorferry import _internal, errors
from tensorferry._frameworks import installed
from tensorferry._internal import Tensor
from tensorferry._typing import Casting, DTypeLike, TensorLike

try:
    import jax
    import jax.dlpack
except ModuleNotFoundError as error:
    raise installed.missing(error, "jax", "tensorferry.jax") from None

__all__ = ["convert_to_tensor", "from_tensor", "from_tensors"]


def convert_to_tensor(
    value: TensorLike,
    dtype: DTypeLike | None = None,
    *,
    casting: Casting = "checked",
    copy: bool | None = None,
) -> jax.Array:
    """A ``jax.Array`` of the values, shared where that is sound, else converted in one pass.

    While ``jax_enable_x64`` is off, JAX has no 64-bit dtypes and wraps such values silently. Here
    they become the 32-bit dtype, as ``casting`` says.

    Args:
        value: an array, or any value that :func:`tensorferry.tensor` takes.
        dtype: a ``numpy.dtype``, type or name; None keeps the source's.
        casting: ``"checked"``, ``"saturate"`` or ``"wrap"``.
        copy: None shares memory that cannot change, False shares or raises, True copies.

    Raises:
        tensorferry.errors.ValueOverflowError: values do not fit.
        tensorferry.errors.NotShareableError: ``copy=False``, and a copy is needed: for a 32-bit
            dtype, for example.
    """
    kept = None if dtype is None else _kept(_internal.numpy_dtype(_internal.dtype_name(dtype)))
    tensor = _internal.tensor(value, kept, casting=casting, copy=copy)
    if kept is None:
        tensor = _narrowed(tensor, casting, copy)
    # With copy=True the tensor is a copy already, with no other reference: share it.
    return jax.dlpack.from_dlpack(_Shared(tensor, False if copy is False else None))


class _Shared:
    """Exports a tensor to JAX without the read-only flag, which is sound because JAX arrays are
    immutable.
    """

    def __init__(self, tensor: Tensor, copy: bool | None = None) -> None:
        self._tensor = tensor
        self._copy = copy

    def __dlpack__(self, **_: Any) -> Any:
        return _internal.framework_capsule(self._tensor, self._copy)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._tensor.__dlpack_device__()


def from_tensor(tensor: Tensor, casting: Casting = "checked") -> jax.Array:
    """A ``jax.Array`` of a :class:`tensorferry.Tensor`, which shares its memory where JAX can
    import it.

    While ``jax_enable_x64`` is off, a 64-bit tensor becomes the 32-bit dtype that JAX has for it,
    as ``casting`` says.
    """
    return jax.dlpack.from_dlpack(_Shared(_narrowed(tensor, casting, None)))


def from_tensors(tensors: list[Tensor]) -> list[jax.Array]:
    """As :func:`from_tensor`, of each. JAX takes many NumPy arrays at once in less time than as
    many DLPack capsules, and shares their memory too.
    """
    arrays = [_narrowed(tensor, "checked", None).numpy() for tensor in tensors]
    made: list[jax.Array] = jax.device_put(arrays, jax.local_devices(backend="cpu")[0])
    return made


def _kept(dtype: Any) -> Any:
    """The dtype that JAX uses in the place of a dtype."""
    return jax.dtypes.canonicalize_dtype(dtype)


def _narrowed(tensor: Tensor, casting: Casting, copy: bool | None) -> Tensor:
    """The tensor in a dtype that JAX has."""
    kept = _kept(tensor.dtype)
    if kept == tensor.dtype:
        return tensor
    if copy is False:
        raise errors.make(
            "not_shareable",
            f"cannot share without a copy: JAX has no {tensor.dtype} while jax_enable_x64 is off, "
            f"and {kept} is another dtype. Turn it on, or allow a copy with copy=None.",
        )
    return tensor.astype(kept, casting)
