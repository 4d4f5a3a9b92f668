"""W3: 10,000,000 rows of 400 bytes in an .npy file that is mapped and in the page cache, in a new
random order for each pass.

The idioms are timed twice: with a new order drawn in each pass, and with a given order, although
tensorferry draws its order in each pass.
"""

import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import tensorferry
import torch
from loaders import grain_batches, index_select_into, take_into, torch_batch_loader
from numpy.typing import NDArray
from rows import Row, quantity
from streams import Pass, beside, over, rates, require_rows, write_rows
from tensorferry import Dataset

MEMORY = 10 << 30
COUNT, QUICK_COUNT = 10_000_000, 1_000_000
SIZE = 1024
PREFETCH = 4
GRAIN_COUNT = 20 * SIZE

TAKE, SELECT = "permutation, np.take(out=)", "randperm, torch index_select(out=), 2 threads"
DRAWN_TAKE, DRAWN_SELECT = (
    "np.take(out=), order drawn before",
    "torch index_select(out=), 2 threads, order drawn before",
)
LOADER, GRAIN = "torch DataLoader, sampler of batches", "grain MapDataset"
IN_ORDER = "the same rows in order"
LEAST = 1.2


def run(*, quick: bool) -> list[Row]:
    """Rows against the idioms and against the frameworks' loaders."""
    count = QUICK_COUNT if quick else COUNT
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        write_rows(path, count)
        return _rows(path, count, repetitions=5)


def _rows(path: Path, count: int, repetitions: int) -> list[Row]:
    mapped = np.load(path, mmap_mode="r")
    rows = np.asarray(mapped)  # np.memmap's own indexing is slower
    tensor = _torch(rows)
    plan = (
        Dataset.from_tensor_slices(tensorferry.open_npy(path))
        .shuffle(seed=7)
        .batch(SIZE)
        .prefetch(PREFETCH)
    )
    ours = plan.with_format("numpy")
    order = np.random.default_rng(0).permutation(count)
    passes = {
        "ours": over(lambda: ours, count),
        TAKE: Pass(take_into(rows, SIZE), count),
        SELECT: Pass(index_select_into(tensor, SIZE), count),
        DRAWN_TAKE: Pass(take_into(rows, SIZE, order=order), count),
        DRAWN_SELECT: Pass(index_select_into(tensor, SIZE, order=torch.from_numpy(order)), count),
        IN_ORDER: Pass(take_into(rows, SIZE, order=np.arange(count)), count),
        LOADER: over(lambda: torch_batch_loader(tensor, SIZE, shuffle=True), count),
        GRAIN: over(grain_batches(rows, SIZE, GRAIN_COUNT // SIZE), GRAIN_COUNT),
    }
    found = rates(passes, repetitions=repetitions)
    require_rows(ours, count, shuffled=True, look_at_every=16)
    bound = (
        f"memory that is not in order: np.take of {IN_ORDER} reaches "
        f"{quantity(median(found[IN_ORDER]), 'rows/s')}"
    )
    peers = dict.fromkeys((TAKE, SELECT, DRAWN_TAKE, DRAWN_SELECT, LOADER, GRAIN), LEAST)
    return beside(
        found,
        "ours",
        peers,
        workload="W3",
        what=f"{count:,} mapped rows, batches of {SIZE:,}",
        bound=bound,
    )


def _torch(rows: NDArray) -> torch.Tensor:
    """A tensor on the same read-only memory. PyTorch warns about it; nothing here writes."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.from_numpy(rows)
