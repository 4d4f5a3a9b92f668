"""What each process of a job receives from object storage: docs/guides/beyond-one-machine.md."""

from __future__ import annotations

import io
import uuid

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import _internal

WORLD = 4
MIB = 1 << 20


@pytest.fixture
def bucket(s3):
    return s3.under(f"{uuid.uuid4().hex[:12]}/")


def put(bucket, array: np.ndarray) -> None:
    out = io.BytesIO()
    np.save(out, array)
    bucket.put("x.npy", out.getvalue())


def opened(bucket) -> tfy.Dataset:
    """The rows, opened anew, as in a process that holds nothing of another one's reads."""
    found = tfy.open(bucket.url("x.npy"), storage_options=bucket.options)
    return tfy.Dataset.from_tensor_slices(found).with_format("numpy")


def received(dataset: tfy.Dataset) -> tuple[list[int], int]:
    """The first column of the rows, and the bytes that were received for them."""
    before = _internal.request_counts()["bytes"]
    rows = [int(row) for batch in dataset for row in batch[:, 0]]
    return rows, _internal.request_counts()["bytes"] - before


def small(count: int = 8192) -> np.ndarray:
    """Rows of 1 KiB."""
    return np.repeat(np.arange(count, dtype=np.int64)[:, None], 128, axis=1)


def test_a_process_receives_only_its_rows_if_each_is_a_block(bucket) -> None:
    array = np.repeat(np.arange(16, dtype=np.int64)[:, None], MIB // 8, axis=1)
    put(bucket, array)
    seen = []
    for rank in range(WORLD):
        rows = opened(bucket)
        part, count = received(rows.shuffle(seed=3).for_rank(rank, WORLD).batch(2))
        assert count == array.nbytes // WORLD
        seen += part
    assert sorted(seen) == list(range(16))


def test_a_process_receives_only_a_contiguous_part(bucket) -> None:
    array = small()
    put(bucket, array)
    seen = []
    for rank in range(WORLD):
        rows = opened(bucket)
        start, end = (len(rows) * at // WORLD for at in (rank, rank + 1))
        part, count = received(rows[start:end].shuffle(seed=3).batch(256))
        assert count == array.nbytes // WORLD
        seen += part
    assert sorted(seen) == list(range(len(array)))


def test_a_process_receives_the_blocks_of_all_once_for_its_small_rows(bucket) -> None:
    array = small()
    put(bucket, array)
    seen = []
    for rank in range(WORLD):
        rows = opened(bucket)
        part, count = received(rows.shuffle(seed=3).for_rank(rank, WORLD).batch(256))
        assert count <= 1.1 * array.nbytes
        seen += part
    assert sorted(seen) == list(range(len(array)))
