"""Batches without tensorferry: by the frameworks' loaders, and by hand-written loops."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grain
import numpy as np
import torch
from numpy.typing import NDArray

THREADS = 2
"""Threads of PyTorch within one call. The targets were measured on two cores."""

torch.set_num_threads(THREADS)


def _as_is(batch: Any) -> Any:
    return batch


class TorchRows(torch.utils.data.Dataset):
    """A tensor's rows for a `DataLoader`, many at a time by `__getitems__`."""

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> torch.Tensor:
        return torch.index_select(self.rows, 0, torch.tensor(indices))

    def __getitem__(self, indices: torch.Tensor) -> torch.Tensor:
        return torch.index_select(self.rows, 0, indices)


class TorchOrder:
    """A sampler of whole batches of indices, which avoids a Python integer per row."""

    def __init__(self, count: int, size: int, *, shuffle: bool) -> None:
        self.count, self.size, self.shuffle = count, size, shuffle

    def __len__(self) -> int:
        return -(-self.count // self.size)

    def __iter__(self) -> Iterator[torch.Tensor]:
        order = torch.randperm(self.count) if self.shuffle else torch.arange(self.count)
        return iter(order.split(self.size))


def torch_loader(rows: torch.Tensor, size: int, *, shuffle: bool) -> Iterable[torch.Tensor]:
    """`DataLoader(..., batch_size=size)` over rows fetched many at a time."""
    return torch.utils.data.DataLoader(
        TorchRows(rows), batch_size=size, shuffle=shuffle, collate_fn=_as_is
    )


def torch_batch_loader(rows: torch.Tensor, size: int, *, shuffle: bool) -> Iterable[torch.Tensor]:
    """The same with a sampler of whole batches: the fastest known `DataLoader`."""
    order = TorchOrder(len(rows), size, shuffle=shuffle)
    return torch.utils.data.DataLoader(
        TorchRows(rows), sampler=order, batch_size=None, collate_fn=_as_is
    )


def grain_batches(rows: NDArray, size: int, count: int) -> Callable[[], Iterable[NDArray]]:
    """The first `count` batches of `MapDataset.source(rows).shuffle(seed).batch(size)`, with
    another seed for each pass."""
    seeds = iter(range(1 << 30))

    def batches() -> Iterable[NDArray]:
        dataset = grain.MapDataset.source(rows).shuffle(seed=next(seeds)).batch(size)
        return (dataset[i] for i in range(count))

    return batches


def take_into(
    rows: NDArray, size: int, *, order: NDArray[np.int64] | None = None
) -> Callable[[], None]:
    """A pass of `np.take` into memory that each batch overwrites. The pass draws the order unless
    it is given.
    """
    random = np.random.default_rng(0)
    out = np.empty((size, *rows.shape[1:]), rows.dtype)

    def run() -> None:
        indices = random.permutation(len(rows)) if order is None else order
        for start in range(0, len(rows), size):
            part = indices[start : start + size]
            # Without a mode other than "raise", np.take copies `out` first.
            np.take(rows, part, axis=0, out=out[: len(part)], mode="clip")

    return run


def index_select_into(
    rows: torch.Tensor, size: int, *, order: torch.Tensor | None = None
) -> Callable[[], None]:
    """The same with `torch.index_select`, which uses `THREADS` threads."""
    out = torch.empty((size, *rows.shape[1:]), dtype=rows.dtype)

    def run() -> None:
        indices = torch.randperm(len(rows)) if order is None else order
        for part in indices.split(size):
            torch.index_select(rows, 0, part, out=out[: len(part)])

    return run
