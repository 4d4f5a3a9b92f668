"""Arrays of strings in ``.npy`` and ``.npz`` files, read through NumPy."""

from __future__ import annotations

import pathlib
import zipfile
from typing import Any

import numpy as np

from tensorferry import errors
from tensorferry._convert import records


def column(paths: list[pathlib.Path | str], name: str) -> Any:
    """The strings of a field of structured ``.npy`` files, or of a member of ``.npz`` files, in one
    dimension; a dict of the fields of a structured member. None if they hold neither.
    """
    found = [part for path in paths if (part := _part(path, name)) is not None]
    if not found or any(part.dtype != found[0].dtype for part in found):
        return None
    array = found[0] if len(found) == 1 else np.concatenate(found)
    return records.fields(array) if records.is_structured(array) else array


def _part(path: pathlib.Path | str, name: str) -> Any:
    if isinstance(path, str):
        return None  # NumPy reads no URLs
    try:
        array = _read(path, name)
    except zipfile.BadZipFile as error:
        raise errors.make("malformed", f"{path}: {error}") from None
    except (OSError, ValueError, KeyError):
        return None  # an object, or what the format's own reader explains
    if records.is_structured(array):
        return array if array.ndim else None
    if isinstance(array, np.ndarray) and array.dtype.kind in "SU" and array.ndim == 1:
        return array
    return None


def _read(path: pathlib.Path, name: str) -> Any:
    with path.open("rb") as file:
        is_npy = file.read(6) == b"\x93NUMPY"
    if not is_npy:
        with np.load(path, allow_pickle=False) as archive:
            return archive[name]
    array: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    for field in name.split("."):
        array = array[field]
    return array
