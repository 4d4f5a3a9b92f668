"""Conversion to PyTorch tensors. Imported on first use."""

from __future__ import annotations

from tensorferry import _internal
from tensorferry._frameworks import installed
from tensorferry._internal import Tensor
from tensorferry._typing import Casting, DTypeLike, TensorLike

try:
    import torch
    import torch.utils.dlpack
except ModuleNotFoundError as error:
    raise installed.missing(error, "torch", "tensorferry.torch") from None

__all__ = ["convert_to_tensor", "from_tensor"]


def convert_to_tensor(
    value: TensorLike, dtype: DTypeLike | None = None, *, casting: Casting = "checked"
) -> torch.Tensor:
    """A ``torch.Tensor`` of the values, in memory of its own.

    PyTorch has no read-only tensors, and writing to a shared read-only mapping would crash the
    process. The values are therefore always copied, in the same pass that checks and converts them.
    To write through to the source, use ``torch.from_numpy``.

    Args:
        value: an array, or any value that :func:`tensorferry.tensor` takes.
        dtype: a ``torch.dtype``, ``numpy.dtype``, type or name; None keeps the source's.
        casting: ``"checked"``, ``"saturate"`` or ``"wrap"``.
    """
    return torch.utils.dlpack.from_dlpack(_internal.writable_capsule(value, dtype, casting))


def from_tensor(tensor: Tensor) -> torch.Tensor:
    """A ``torch.Tensor`` of a :class:`tensorferry.Tensor`, in memory of its own."""
    return convert_to_tensor(tensor)
