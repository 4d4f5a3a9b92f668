"""Megatron-LM's indexed datasets: a ``.bin`` file of tokens and an ``.idx`` file of rows.

Source: ``megatron/core/datasets/indexed_dataset.py`` of Megatron-LM, version 1 of the format.
"""

from __future__ import annotations

import os
import pathlib
import struct
from typing import Any

from tensorferry import _internal, errors
from tensorferry._files import opened
from tensorferry._typing import Path

_MAGIC = b"MMIDIDX\x00\x00"
#: Magic, version, code of the dtype, numbers of sequences and of documents; little-endian.
_HEADER = struct.Struct("<9sQBQQ")
_DTYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float64",
    7: "float32",
    8: "uint16",
}


def rows(path: Path) -> tuple[tuple[Any, bool], str, list[tuple[Any, bool]]]:
    """The rows, as ``_internal.from_ragged`` takes them."""
    base = pathlib.Path(os.fsdecode(path))
    if base.suffix in (".bin", ".idx"):
        base = base.with_suffix("")
    index, tokens = (base.with_name(base.name + suffix) for suffix in (".idx", ".bin"))
    dtype, sequences = _header(index)
    lengths = opened.open_raw(index, "<i4", [sequences], _HEADER.size)
    pointers = opened.open_raw(index, "<i8", [sequences], _HEADER.size + 4 * sequences)
    values = opened.open_raw(tokens, "<" + _letter(dtype))
    starts = pointers.numpy()
    size = _internal.numpy_dtype(dtype).itemsize
    if size > 1:
        if (starts % size).any():
            raise errors.make(
                "malformed", f"{index}: a sequence does not start at a whole {dtype} of {tokens}"
            )
        starts = starts // size
    return (values, True), "starts", [(starts, True), (lengths, True)]


def _letter(dtype: str) -> str:
    return _internal.numpy_dtype(dtype).str[1:]


def _header(index: pathlib.Path) -> tuple[str, int]:
    """The dtype of the tokens and the number of sequences."""
    with index.open("rb") as file:
        start = file.read(_HEADER.size)
        file.seek(0, os.SEEK_END)
        length = file.tell()
    if len(start) < _HEADER.size or not start.startswith(_MAGIC):
        raise errors.make(
            "malformed",
            f"{index}: not the .idx file of a Megatron dataset: it does not begin with {_MAGIC!r}",
        )
    _, version, code, sequences, documents = _HEADER.unpack(start)
    if version != 1 or code not in _DTYPES:
        raise errors.make(
            "malformed", f"{index}: version {version} with dtype code {code} is not known"
        )
    needed = _HEADER.size + 12 * sequences + 8 * documents
    if length < needed:
        raise errors.make(
            "wrong_length",
            f"{index}: {sequences} sequences and {documents} documents need "
            f"{needed} bytes; the file has {length}",
        )
    return _DTYPES[code], sequences
