"""Arrays of strings in ``.npy`` and ``.npz`` files and objects, read through NumPy."""

from __future__ import annotations

import ast
import io
import pathlib
import struct
import zipfile
import zlib
from typing import IO, Any

import numpy as np

from tensorferry import _internal, errors
from tensorferry._convert import records
from tensorferry._files.storage import Storage

_MAGIC = b"\x93NUMPY"
#: The length and the encoding of the header, in each version of ``.npy``.
_HEADERS = {1: ("<H", "latin-1"), 2: ("<I", "latin-1"), 3: ("<I", "utf-8")}
#: Bytes of a request.
_PIECE = 4 << 20


def column(paths: list[pathlib.Path | str], name: str, where: Storage) -> Any:
    """The strings of a field of structured ``.npy`` files, or of a member of ``.npz`` files, in one
    dimension; a dict of the fields of a structured member. None if they hold neither.
    """
    found = [part for path in paths if (part := _part(path, name, where)) is not None]
    if not found or any(part.dtype != found[0].dtype for part in found):
        return None
    array = found[0] if len(found) == 1 else np.concatenate(found)
    return records.fields(array) if records.is_structured(array) else array


def _part(path: pathlib.Path | str, name: str, where: Storage) -> Any:
    with _opened(path, where) as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            return _field(path, file, name)
        file.seek(0)
        array = _member(path, file, name)
    if records.is_structured(array):
        return array if array.ndim else None
    return array if _is_text(array) else None


def _is_text(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "SU" and array.ndim == 1


def _member(path: pathlib.Path | str, file: IO[bytes], name: str) -> Any:
    try:
        with np.load(file, allow_pickle=False) as archive:
            return archive[name]
    except (zipfile.BadZipFile, zlib.error) as error:
        raise errors.make("malformed", f"{path}: {name}: {error}") from None
    except (ValueError, KeyError):
        return None  # an object, or what the format's own reader explains


def _field(path: pathlib.Path | str, file: IO[bytes], name: str) -> Any:
    """A field of the records that follow the magic, without keeping the records in memory."""
    length, encoding = _HEADERS[file.read(2)[0]]
    (size,) = struct.unpack(length, file.read(struct.calcsize(length)))
    header = ast.literal_eval(file.read(size).decode(encoding))
    record = np.lib.format.descr_to_dtype(header["descr"])
    if record.hasobject or len(header["shape"]) != 1:
        return None
    try:
        found = _inner(np.empty(0, record), name)
    except (ValueError, KeyError):
        return None  # a name with a dot
    if not _is_text(found):
        return None
    found = np.empty(header["shape"], found.dtype)
    step = max(1, _PIECE // max(1, record.itemsize))
    for start in range(0, len(found), step):
        part = found[start : start + step]
        data = file.read(len(part) * record.itemsize)
        if len(data) < len(part) * record.itemsize:
            raise errors.make("short_read", f"{path}: it became shorter while it was read")
        part[:] = _inner(np.frombuffer(data, record), name)
    return found


def _inner(array: Any, name: str) -> Any:
    for field in name.split("."):
        array = array[field]
    return array


def _opened(path: pathlib.Path | str, where: Storage) -> IO[bytes]:
    if isinstance(path, pathlib.Path):
        return path.open("rb")
    return io.BufferedReader(_Object(_internal.Source(path, where)), _PIECE)


class _Object(io.RawIOBase):
    """An object of a store as a file."""

    def __init__(self, source: _internal.Source) -> None:
        self._source = source
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._source)}
        self._at = max(0, starts[whence] + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
