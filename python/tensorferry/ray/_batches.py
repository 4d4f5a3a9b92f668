"""``iter_batches``: batches that are slices of Ray's blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from tensorferry import _arguments

if TYPE_CHECKING:
    import ray.data


def iter_batches(
    dataset: ray.data.Dataset | ray.data.DataIterator,
    *,
    batch_size: SupportsIndex,
    drop_remainder: bool = False,
    prefetch_blocks: SupportsIndex = 1,
) -> Iterator[dict[str, Any]]:
    """The batches of ``dataset.iter_batches``, as NumPy arrays, for a fraction of its time.

    Ray cuts and converts each batch on its own. Here a block is converted once, and batches are
    read-only slices of it. Only a batch with rows of two blocks is a copy: with the ``batch_size``
    of :func:`read`, there is none. Slices keep the alignment of blocks, 64 bytes, if the bytes of
    a batch are a multiple of that. Such batches reach each framework without a copy.

    Args:
        dataset: any dataset of Ray, or what ``ray.train.get_dataset_shard`` returns.
        batch_size: the rows of a batch.
        drop_remainder: whether a last batch with fewer rows is left out.
        prefetch_blocks: how many blocks are fetched before they are needed.

    >>> import numpy as np, os, tempfile, tensorferry as tfy
    >>> from tensorferry.ray import iter_batches, read
    >>> path = os.path.join(tempfile.mkdtemp(), "x.npy")
    >>> np.save(path, np.arange(6))
    >>> shuffled = tfy.Dataset.from_files(path).shuffle(seed=7)
    >>> rows = read(shuffled, batch_size=4)
    >>> [batch["data"].tolist() for batch in iter_batches(rows, batch_size=4)]
    [[0, 2, 4, 5], [1, 3]]
    """
    size = _arguments.positive(batch_size, "ray.iter_batches", "batch_size")
    ahead = _arguments.whole(prefetch_blocks, "ray.iter_batches", "prefetch_blocks")
    blocks = dataset.iter_batches(
        batch_size=None, batch_format="numpy", prefetch_batches=max(0, ahead)
    )
    return _cut(iter(blocks), size, drop_remainder)


def _cut(blocks: Iterator[dict[str, Any]], size: int, drop: bool) -> Iterator[dict[str, Any]]:
    held: list[dict[str, Any]] = []
    count = 0
    for block in blocks:
        rows = len(next(iter(block.values()), ()))
        start = 0
        if held:
            start = min(size - count, rows)
            held.append(_part(block, 0, start))
            count += start
            if count < size:
                continue
            yield _joined(held)
            held = []
        while start + size <= rows:
            yield _part(block, start, start + size)
            start += size
        count = rows - start
        if count:
            held = [_part(block, start, rows)]
    if held and not drop:
        yield _joined(held)


def _part(block: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
    return {name: column[start:stop] for name, column in block.items()}


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
