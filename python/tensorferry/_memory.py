"""``aligned_memory``: NumPy arrays that can always be shared."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Any

from tensorferry import _internal


class aligned_memory(contextlib.ContextDecorator):
    """A context in which NumPy allocates arrays aligned to 64 bytes, in recycled, huge-page-backed
    memory. Also a decorator.

    TensorFlow can share such arrays without a copy, and large ones avoid the cost of fresh pages.
    It is a NumPy memory handler (NEP 49). Like ``numpy.errstate`` it applies to the current
    :mod:`contextvars` context, and nests; arrays made inside stay valid after it.

    >>> import numpy as np, tensorferry
    >>> with tensorferry.aligned_memory():
    ...     array = np.arange(1000)
    >>> array.ctypes.data % 64
    0
    """

    __module__ = "tensorferry"

    def __init__(self) -> None:
        self._before: list[Any] = []

    def _recreate_cm(self) -> aligned_memory:
        return aligned_memory()  # each call of a decorated function has a context of its own

    def __enter__(self) -> None:
        self._before.append(_internal.set_memory_handler(None))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _internal.set_memory_handler(self._before.pop())
