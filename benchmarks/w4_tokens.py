"""W4: windows of 1,024 at random places of 10^9 uint16 tokens in a file in the page cache: x and y
as int64, 32 in a batch.

The idioms do the same work: x and y are separate, C-contiguous arrays. A row without a target times
the idiom with x and y as views of one array, which costs half as much and is not contiguous.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import tensorferry
import torch
from numpy.lib.format import open_memmap
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from rows import Row, quantity
from streams import Pass, beside, over, rates
from tensorferry import Dataset

MEMORY = 6 << 30
COUNT, QUICK_COUNT = 1_000_000_000, 100_000_000
LENGTH = 1024
SIZE = 32
VOCABULARY = 50_257
PREFETCH = 4
BATCHES = {"fast": 4000, "slow": 200}
"""Batches of a pass. nanoGPT's loader is twenty times slower than the others."""

NANO = "nanoGPT: torch.stack of astype(np.int64)"
WINDOWS, VIEWS = (
    "sliding_window_view[idx].astype",
    "sliding_window_view[idx].astype, y a view beside x",
)
INTO, SLICES = "sliding_window_view[idx] into reused int64", "slices into reused int64"
WIDEN = "np.copyto of a batch's windows that are in cache"
LEAST = 1.2


def run(*, quick: bool) -> list[Row]:
    """Rows against nanoGPT's loader and against the idioms of NumPy."""
    count = QUICK_COUNT if quick else COUNT
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.npy"
        _write(path, count)
        return _rows(path, count, repetitions=5 if quick else 7)


def _rows(path: Path, count: int, repetitions: int) -> list[Row]:
    tokens = np.asarray(np.load(path, mmap_mode="r"))
    plan = (
        Dataset.token_windows(tensorferry.open_npy(path), LENGTH, stride=1)
        .shuffle(seed=7)
        .batch(SIZE)
    )
    ours = plan.take(BATCHES["fast"]).prefetch(PREFETCH).with_format("numpy")
    passes = {
        "ours": over(lambda: ours, BATCHES["fast"]),
        NANO: _times(_nano_gpt(tokens), BATCHES["slow"]),
        **{name: _times(call, BATCHES["fast"]) for name, call in _idioms(tokens).items()},
        WIDEN: _times(_widen(tokens), BATCHES["fast"]),
    }
    found = rates(passes, repetitions=repetitions)
    _check(ours)
    bound = (
        f"widening alone: {WIDEN} reaches {quantity(median(found[WIDEN]), 'batches/s')} on one "
        "thread"
    )
    peers = {NANO: LEAST, WINDOWS: LEAST, INTO: LEAST, SLICES: LEAST, VIEWS: None}
    what = f"{count:,} tokens, {SIZE} windows of {LENGTH:,}"
    return beside(found, "ours", peers, workload="W4", what=what, unit="batches/s", bound=bound)


def _times(call: Callable[[], object], count: int) -> Pass:
    def run() -> None:
        for _ in range(count):
            call()

    return Pass(run, count)


def _nano_gpt(tokens: NDArray) -> Callable[[], object]:
    """`get_batch` of nanoGPT's train.py, except that the map is opened once instead of for every
    batch.
    """

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        places = torch.randint(len(tokens) - LENGTH, (SIZE,))
        x = torch.stack([torch.from_numpy(tokens[i : i + LENGTH].astype(np.int64)) for i in places])
        y = torch.stack(
            [torch.from_numpy(tokens[i + 1 : i + 1 + LENGTH].astype(np.int64)) for i in places]
        )
        return x, y

    return batch


def _idioms(tokens: NDArray) -> dict[str, Callable[[], object]]:
    random = np.random.default_rng(0)
    windows, longer = sliding_window_view(tokens, LENGTH), sliding_window_view(tokens, LENGTH + 1)
    x, y = np.empty((SIZE, LENGTH), np.int64), np.empty((SIZE, LENGTH), np.int64)

    def places() -> NDArray[np.int64]:
        return random.integers(0, len(tokens) - LENGTH, SIZE)

    def new() -> tuple[NDArray, NDArray]:
        at = places()
        return windows[at].astype(np.int64), windows[at + 1].astype(np.int64)

    def views() -> tuple[NDArray, NDArray]:
        both = longer[places()].astype(np.int64)
        return both[:, :-1], both[:, 1:]

    def into() -> None:
        both = longer[places()]
        x[...] = both[:, :-1]
        y[...] = both[:, 1:]

    def slices() -> None:
        for row, at in enumerate(places().tolist()):
            x[row] = tokens[at : at + LENGTH]
            y[row] = tokens[at + 1 : at + 1 + LENGTH]

    return {WINDOWS: new, VIEWS: views, INTO: into, SLICES: slices}


def _widen(tokens: NDArray) -> Callable[[], object]:
    near = tokens[: SIZE * LENGTH].reshape(SIZE, LENGTH).copy()
    x, y = np.empty(near.shape, np.int64), np.empty(near.shape, np.int64)

    def both() -> None:
        np.copyto(x, near)
        np.copyto(y, near)

    return both


def _write(path: Path, count: int) -> None:
    """Tokens that count up and wrap at the vocabulary's end, so that a window can be checked."""
    file = open_memmap(path, mode="w+", dtype=np.uint16, shape=(count,))
    part = np.resize(np.arange(VOCABULARY, dtype=np.uint16), 200 * VOCABULARY)
    for start in range(0, count, len(part)):
        file[start : start + len(part)] = part[: count - start]
    del file


def _check(batches: Dataset) -> None:
    starts = []
    for x, y in batches.take(200):
        if x.dtype != np.int64 or y.dtype != np.int64 or x.shape != (SIZE, LENGTH):
            raise AssertionError(f"batches of {x.shape} {x.dtype}")
        expected = (x[:, :1] + np.arange(LENGTH + 1)) % VOCABULARY
        if not (np.array_equal(x, expected[:, :-1]) and np.array_equal(y, expected[:, 1:])):
            raise AssertionError("the values differ")
        starts.append(x[:, 0])
    if len(np.unique(np.concatenate(starts))) < len(starts) * SIZE // 2:
        raise AssertionError("the windows are not at random places")
