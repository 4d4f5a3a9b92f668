"""Arrays that other libraries read on request: of h5py, zarr, netCDF4, TensorStore, dask, and
similar ones.

Rationale: rows are requested a batch at a time, in order and without repetition, in the few
selections that the library reads fast. One thread at a time reads: the C library under h5py and
netCDF4 is not thread-safe, and others make no promise.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

from tensorferry import _internal, errors

#: Held while one of these arrays is read.
_lock = threading.RLock()


def _new_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)  # a thread of the parent may hold it

#: Libraries whose arrays take a list of increasing row numbers, and read each part once.
_LISTS = ("h5py", "zarr", "netCDF4", "dask")
#: Rows closer than this many bytes are read as one piece.
_GAP = 16 << 10
#: Up to this many pieces, each is read as a slice, which is faster than a list.
_PIECES = 8


def kind(value: Any) -> str:
    """The class of a value, as its library writes it."""
    return f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"


def _library(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def is_array_like(value: Any) -> bool:
    """Whether a value has a shape, a dtype and items, but no memory to share."""
    cls = type(value)
    if cls.__module__ == "builtins" or isinstance(
        value, np.ndarray | np.generic | _internal.Array | _internal.Tensor
    ):
        return False
    if not hasattr(cls, "__getitem__") or any(
        hasattr(cls, name)
        for name in (
            "__dlpack__",
            "__array_interface__",
            "__array_struct__",
            "__cuda_array_interface__",
        )
    ):
        return False
    shape = getattr(value, "shape", None)
    if not isinstance(shape, tuple) or not all(isinstance(dim, int | np.integer) for dim in shape):
        return False
    # A sparse matrix has items too, but is not an array of them.
    return _dtype(value) is not None and not hasattr(value, "nnz")


def _dtype(value: Any) -> np.dtype[Any] | None:
    dtype = getattr(value, "dtype", None)
    dtype = getattr(dtype, "numpy_dtype", dtype)  # TensorStore's
    if isinstance(dtype, str | type):
        try:
            return np.dtype(dtype)
        except TypeError:
            return None
    return dtype if isinstance(dtype, np.dtype) else None


def _name(value: Any) -> str:
    name = getattr(value, "name", None)
    return f"{kind(value)} {name!r}" if isinstance(name, str) and name else f"the {kind(value)}"


def whole(value: Any) -> Any:
    """The whole array in memory."""
    with _lock:
        read = (
            value[...] if _library(value) in ("h5py", "zarr", "netCDF4") else np.asanyarray(value)
        )
    array = _plain(value, read)
    if array.shape != tuple(value.shape):
        raise _changed(value, tuple(value.shape), array.shape)
    if array is not value and array.base is None:
        array.flags.writeable = False  # no other reference exists
    return array


def opened(value: Any) -> Any:
    """A :class:`tensorferry.Array` whose rows are read on request; the whole array in memory if it
    has no rows.
    """
    shape = tuple(int(dim) for dim in value.shape)
    if not shape:
        return whole(value)
    reader = _Reader(value, shape)
    return _internal.open_rows(reader.read, reader.dtype, shape)


class _Reader:
    """Reads rows of an array-like."""

    def __init__(self, value: Any, shape: tuple[int, ...]) -> None:
        self.value = value
        self.shape = shape
        self.dtype = self._found()
        self.row = int(np.prod(shape[1:], dtype=np.int64)) * self.dtype.itemsize

    def _found(self) -> np.dtype[Any]:
        """The dtype of the rows as they are read. netCDF4 scales numbers, and its dtype does not
        show that.
        """
        dtype = _dtype(self.value)
        if _library(self.value) not in ("h5py", "zarr") and self.shape[0]:
            with _lock:
                dtype = np.asanyarray(self.value[0:1]).dtype
        if dtype is None or (dtype.kind not in "biufc" and dtype.name != "bfloat16"):
            raise errors.make(
                "unsupported_dtype",
                f"{_name(self.value)} is of dtype {dtype}, which holds no numbers that tensors "
                "have. Read and encode it first.",
            )
        return dtype

    def read(self, rows: list[int]) -> Any:
        """The rows of these increasing numbers, as an ndarray."""
        with _lock:
            if tuple(self.value.shape) != self.shape:
                raise _changed(self.value, self.shape, tuple(self.value.shape))
            pieces = self._pieces(rows)
            if len(pieces) > _PIECES and _library(self.value) in _LISTS:
                return self._checked(self._list(np.asarray(rows)), len(rows))
            parts = [self._slice(piece) for piece in pieces]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _pieces(self, rows: list[int]) -> list[list[int]]:
        """The rows in groups of neighbours."""
        numbers = np.asarray(rows)
        near = 1 + _GAP // max(self.row, 1)
        ends = np.flatnonzero(np.diff(numbers) > near) + 1
        return [part.tolist() for part in np.split(numbers, ends)]

    def _slice(self, rows: list[int]) -> Any:
        first, last = rows[0], rows[-1]
        read = self._checked(self.value[first : last + 1], last + 1 - first)
        return read if len(read) == len(rows) else read[np.asarray(rows) - first]

    def _list(self, rows: np.ndarray[Any, Any]) -> Any:
        return self.value.oindex[rows] if hasattr(self.value, "oindex") else self.value[rows]

    def _checked(self, read: Any, count: int) -> Any:
        array = _plain(self.value, read)
        if array.shape != (count, *self.shape[1:]) or array.dtype != self.dtype:
            raise errors.make(
                "file_changed",
                f"{_name(self.value)}: {count} rows of {self.dtype} and shape "
                f"{self.shape[1:]} were requested, and {array.dtype} of shape {array.shape} "
                "came back. It has changed since the dataset was made. Make the dataset anew.",
            )
        return array


def _plain(value: Any, read: Any) -> Any:
    """The values read, as an ndarray; an error if any is masked."""
    if isinstance(read, np.ma.MaskedArray):
        if np.ma.is_masked(read):
            count = int(np.ma.getmaskarray(read).sum())
            raise errors.make(
                "masked_array",
                f"{_name(value)}: {count} of the values read are missing (masked), and a tensor "
                "has none missing. Fill them first, or read them unmasked: "
                "variable.set_auto_mask(False).",
            )
        return read.data
    return np.asarray(read)


def _changed(value: Any, was: tuple[int, ...], now: tuple[int, ...]) -> errors.Error:
    return errors.make(
        "file_changed",
        f"{_name(value)}: its shape was {was} when the dataset was made, and is {now} now. "
        "Make the dataset anew.",
    )
