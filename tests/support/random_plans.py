"""Random plans that every process of a job makes alike, from a number. No framework is imported.

The elements have the dtypes that all frameworks have.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorferry as tfy

#: How many plans a job reads.
COUNT = 24


def write_files(folder: Path) -> None:
    """The arrays of plans over files: two shards of 17 and 20 rows, and a saved dataset."""
    drawn = np.random.default_rng(7)
    for at, length in enumerate((17, 20)):
        np.save(folder / f"part-{at}.npy", drawn.standard_normal((length, 3)).astype(np.float32))
    _memory(folder).shuffle(seed=1).save(folder / "saved")


def _memory(folder: Path) -> tfy.Dataset:
    drawn = np.random.default_rng(8)
    return tfy.Dataset.from_tensor_slices(
        {
            "x": drawn.integers(0, 255, (41, 4), np.uint8),
            "y": (np.arange(41), drawn.standard_normal(41)),
            "z": drawn.integers(0, 2, 41).astype(bool),
        }
    )


def _saved(folder: Path) -> tfy.Dataset:
    return tfy.Dataset.load(folder / "saved")


def _files(folder: Path) -> tfy.Dataset:
    return tfy.Dataset.from_files([folder / "part-0.npy", folder / "part-1.npy"])


SOURCES: tuple[Callable[[Path], tfy.Dataset], ...] = (
    lambda folder: tfy.Dataset.range(5, 70, 2),
    _memory,
    _files,
    _saved,
)

Stage = Callable[[random.Random, tfy.Dataset], tfy.Dataset]
STAGES: tuple[Stage, ...] = (
    lambda draw, data: data.shuffle(seed=draw.getrandbits(70)),
    lambda draw, data: data.shuffle(seed=draw.getrandbits(9), reshuffle_each_iteration=False),
    lambda draw, data: data.shuffle(draw.randint(4, 20), draw.getrandbits(9), block=3),
    lambda draw, data: data.take(draw.randint(0, 40)),
    lambda draw, data: data.skip(draw.randint(0, 9)),
    lambda draw, data: data[:: draw.choice([-2, -1, 2])],
    lambda draw, data: data.repeat(draw.randint(1, 2)),
    lambda draw, data: data.concatenate(data.take(draw.randint(0, 9))),
    lambda draw, data: data.split(0.7, seed=draw.getrandbits(9))[draw.randint(0, 1)],
    lambda draw, data: data.sample(30, seed=draw.getrandbits(9)) if len(data) else data,
    lambda draw, data: data.select([0, -1, 0]) if len(data) else data,
    lambda draw, data: data.enumerate(draw.randint(0, 9)),
    lambda draw, data: tfy.Dataset.zip((data, data.skip(1))),
)


def plan(number: int, folder: Path) -> tuple[tfy.Dataset, int]:
    """A plan with random access, and the size of the batches that are made of it."""
    draw = random.Random(number)
    data = SOURCES[number % len(SOURCES)](folder).with_format("numpy")
    if data.element_spec == tfy.TensorSpec((3,), np.float32) and draw.random() < 0.5:
        data = data.flip(0, seed=draw.getrandbits(9)).scale(0.5, 1.0)
    for _ in range(draw.randint(1, 5)):
        stage = draw.choice(STAGES)
        # A split or a selection that depends on the epoch is refused.
        try:
            data = stage(draw, data)
        except tfy.errors.InvalidArgumentError:
            continue
    if draw.random() < 0.7:
        data = data.shuffle(seed=draw.getrandbits(9))
    return data, draw.randint(1, 6)


def is_in_memory(number: int) -> bool:
    """Whether a plan holds its rows, and not only which files have them."""
    return SOURCES[number % len(SOURCES)] is _memory


def digests(batches: Iterable[Any]) -> list[str]:
    """A digest of the bits, dtypes and shapes of each row of the batches, in order."""
    found = []
    for batch in batches:
        leaves = [np.asarray(leaf) for leaf in _leaves(batch)]
        for at in range(len(leaves[0])):
            row = hashlib.blake2b(digest_size=8)
            for leaf in leaves:
                row.update(f"{leaf.dtype} {leaf[at].shape}".encode() + leaf[at].tobytes())
            found.append(row.hexdigest())
    return found


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    if isinstance(value, list | tuple):
        return [leaf for part in value for leaf in _leaves(part)]
    return [value]
