"""Arrays in memory that processes share."""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

#: Frameworks share memory of this alignment.
ALIGNMENT = 64
#: The least size of a file.
_LEAST = 1 << 16

#: The dtype's name, the shape and the place of an array in shared memory.
Place: TypeAlias = tuple[str, tuple[int, ...], int]
#: Arrays as their dtype's names, and their native, contiguous values.
Arrays: TypeAlias = list[tuple[str, npt.NDArray[Any]]]


def places(arrays: Arrays) -> tuple[list[Place], int]:
    """Where the arrays go, each aligned, and how many bytes they take."""
    end, found = 0, []
    for name, array in arrays:
        start = -(-end // ALIGNMENT) * ALIGNMENT
        found.append((name, array.shape, start))
        end = start + array.nbytes
    return found, end


def packed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array with native, contiguous values."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return array if array.flags.c_contiguous else array.copy()


def create(size: int) -> int:
    """The descriptor of a new file without a name, of at least this size."""
    size = max(_LEAST, 1 << (size - 1).bit_length())
    if sys.platform == "linux":
        file = os.memfd_create("tensorferry", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as temporary:
            file = os.dup(temporary.fileno())
    try:
        os.ftruncate(file, size)
    except BaseException:
        os.close(file)
        raise
    return file


class Area:
    """A file in memory, of which arrays are views. They keep the memory alive."""

    __slots__ = ("_map", "size")

    def __init__(self, file: int, *, writable: bool) -> None:
        """Takes the file over. Frameworks share what is not ``writable``."""
        try:
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self._map = mmap.mmap(file, 0, access=access)
        finally:
            os.close(file)
        self.size = len(self._map)

    def is_in_use(self) -> bool:
        """Whether an array over it exists."""
        return sys.getrefcount(self._map) > 2

    def put(self, arrays: Arrays, places: Sequence[Place]) -> None:
        """Copies arrays to their places."""
        memory = np.frombuffer(self._map, np.uint8)
        for (_, array), (_, _, start) in zip(arrays, places, strict=True):
            memory[start : start + array.nbytes] = array.reshape(-1).view(np.uint8)

    def views(self, places: Sequence[Place], dtypes: dict[str, np.dtype[Any]]) -> list[Any]:
        """The arrays at these places."""
        return [np.ndarray(shape, dtypes[name], self._map, start) for name, shape, start in places]
