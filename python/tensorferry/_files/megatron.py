"""Megatron-LM's indexed datasets: a ``.bin`` file of tokens and an ``.idx`` file of rows.

Source: ``megatron/core/datasets/indexed_dataset.py`` of Megatron-LM, version 1 of the format.
"""

from __future__ import annotations

import os
import struct
from typing import Any

import numpy as np

from tensorferry import _internal, errors
from tensorferry._files import opened, storage
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


def rows(
    path: Path, where: storage.Storage = None
) -> tuple[tuple[Any, bool], str, list[tuple[Any, bool]]]:
    """The rows, as ``_internal.from_ragged`` takes them."""
    base = os.fsdecode(path)
    base = base.removesuffix(".bin") if base.endswith(".bin") else base.removesuffix(".idx")
    index, tokens = base + ".idx", base + ".bin"
    dtype, sequences = _header(index, where)
    start = _HEADER.size
    lengths = opened.raw([index], "<i4", [sequences], start, "auto", where)
    pointers = opened.raw([index], "<i8", [sequences], start + 4 * sequences, "auto", where)
    values = opened.raw([tokens], "<" + _letter(dtype), None, 0, "auto", where)
    starts = np.asarray(pointers)
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


def _header(index: str, where: storage.Storage) -> tuple[str, int]:
    """The dtype of the tokens and the number of sequences."""
    source = _internal.Source(index, where)
    start, length = source.read(0, _HEADER.size), len(source)
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
