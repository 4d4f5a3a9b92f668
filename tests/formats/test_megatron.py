"""Megatron-LM's indexed datasets. The files are written here as its ``IndexedDatasetBuilder``
writes them.
"""

from __future__ import annotations

import struct

import numpy as np
import pytest
from tensorferry import errors

from tests.support.dataset_checks import plain

CODES = {"uint8": 1, "int8": 2, "int16": 3, "int32": 4, "int64": 5, "uint16": 8}
ROWS = [[1, 2, 3], [4], [], [5, 6, 7, 8]]


def write(path, dtype: str, rows=ROWS, version: int = 1) -> None:
    arrays = [np.array(row, dtype) for row in rows]
    (path.with_suffix(".bin")).write_bytes(b"".join(array.tobytes() for array in arrays))
    sizes = np.array([len(row) for row in rows], "<i4")
    pointers = np.concatenate([[0], np.cumsum(sizes[:-1] * np.dtype(dtype).itemsize)]).astype("<i8")
    header = struct.pack("<9sQBQQ", b"MMIDIDX\0\0", version, CODES[dtype], len(rows), 2)
    documents = np.array([0, len(rows)], "<i8")
    body = sizes.tobytes() + pointers[: len(rows)].tobytes() + documents.tobytes()
    (path.with_suffix(".idx")).write_bytes(header + body)


@pytest.mark.parametrize("dtype", CODES)
def test_sequences_are_rows(tmp_path, dtype, opener):
    write(tmp_path / "corpus", dtype)
    for path in (tmp_path / "corpus", tmp_path / "corpus.bin", str(tmp_path / "corpus.idx")):
        dataset = opener.from_megatron(path)
        assert plain(dataset) == ROWS
        assert dataset.element_spec.dtype.name == dtype


def test_a_damaged_index_is_an_error(tmp_path, opener):
    write(tmp_path / "corpus", "uint16", version=2)
    with pytest.raises(errors.FileFormatError, match="version 2"):
        opener.from_megatron(tmp_path / "corpus")
    write(tmp_path / "corpus", "uint16")
    whole = (tmp_path / "corpus.idx").read_bytes()
    for damaged, words in [
        (whole[:20], "not the .idx file"),
        (b"x" + whole[1:], "not the .idx file"),
        (whole[:-1], "need"),
        (whole.replace(struct.pack("<2i", 0, 4), struct.pack("<2i", 0, 5)), "row 3"),
        (whole.replace(struct.pack("<2q", 0, 6), struct.pack("<2q", 0, 7)), "whole uint16"),
    ]:
        (tmp_path / "corpus.idx").write_bytes(damaged)
        with pytest.raises(errors.Error, match=words):
            opener.from_megatron(tmp_path / "corpus")
    with pytest.raises(FileNotFoundError):
        opener.from_megatron(tmp_path / "missing")
