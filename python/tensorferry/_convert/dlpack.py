"""How PyTorch deviates from the DLPack specification.

Limitations: the calling frame identifies the consumer. A library that wraps PyTorch's functions in
C, and names ``__dlpack__`` in Python, looks like one that respects the read-only flag.
"""

from __future__ import annotations

import sys
from typing import Any

from tensorferry import errors


def may_write() -> bool:
    """Whether the consumer of a capsule, which did not pass ``copy=``, may be PyTorch: it ignores
    the read-only flag.

    NumPy and JAX pass ``copy=``. PyTorch calls from its function ``from_dlpack``, or in C, from a
    frame that does not name ``__dlpack__``.
    """
    if "torch" not in sys.modules:
        return False
    frame = sys._getframe(1)
    module = str(frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] == "torch" or "__dlpack__" not in frame.f_code.co_names


def exportable(tensor: Any) -> Any:
    """A PyTorch tensor whose exporter gives the right numbers: lazy negation and conjugation are
    resolved.
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(tensor, torch.Tensor):
        return tensor
    if tensor.is_quantized:
        raise _refused(
            tensor,
            "is quantized",
            "dequantize() gives its numbers, int_repr() those that are stored",
        )
    if tensor.is_nested:
        raise _refused(tensor, "is nested", "torch.nested.to_padded_tensor makes one array of it")
    if tensor.layout is not torch.strided:
        raise _refused(tensor, f"has the layout {tensor.layout}", "to_dense() lays its numbers out")
    if tensor.device.type == "meta":
        raise _refused(
            tensor, "is on the device meta", "it has a shape and no numbers; make it on the CPU"
        )
    if tensor.requires_grad:
        tensor = tensor.detach()
    return tensor.resolve_conj().resolve_neg()


def _refused(tensor: Any, what: str, way: str) -> errors.Error:
    return errors.make("dlpack", f"a PyTorch tensor of {tensor.dtype} {what}: {way}.")
