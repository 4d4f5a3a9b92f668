"""Files of every format with the same two arrays, and functions to open and compare them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorferry as tfy

from tests.support.arrays import same

ROWS = 40
X = (np.arange(ROWS * 50).reshape(ROWS, 50) % 251).astype(np.uint8)
Y = np.arange(ROWS, dtype=np.int64) * 7 - 3

# File names, and whether a checksum covers every byte of an array.
FORMATS = {
    "a.npy": False,
    "stored.npz": False,
    "deflated.npz": True,
    "a.safetensors": False,
    "a.tfrecord": True,
    "a.bin": False,
}

Read = dict[str, np.ndarray]


def write(path: Path) -> Read:
    """Writes a file of that name, and returns its content."""
    arrays: Read = {"x": X, "y": Y}
    if path.suffix in (".npy", ".bin"):
        tfy.save(path, X)
        return {"x": X}
    tfy.save(path, arrays, compress=path.name == "deflated.npz")
    return arrays


def open_all(path: Path, mode: Any) -> dict[str, tfy.Array]:
    """The arrays of a file, opened."""
    if path.suffix == ".bin":
        return {"x": tfy.open_raw(path, "uint8", (-1, 50), mode=mode)}
    opened = tfy.open(path, mode=mode)
    return {"x": opened} if isinstance(opened, tfy.Array) else dict(opened.items())


def read(opened: dict[str, tfy.Array], order: np.random.Generator | None = None) -> Read:
    """All rows of each array. With `order`, they are read in batches of random order."""
    if order is None:
        return {name: array[:].numpy() for name, array in opened.items()}
    found = {}
    for name, array in opened.items():
        if array.ndim == 0:
            found[name] = array[()].numpy()
            continue
        rows = order.permutation(len(array))
        shuffled = [array[part].numpy() for part in np.array_split(rows, 4)]
        found[name] = np.concatenate(shuffled)[np.argsort(rows)] if len(rows) else array[:].numpy()
    return found


def equal(found: Read, expected: Read) -> bool:
    """Whether the arrays are equal, with their dtypes."""
    try:
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            same(found[name], array)
    except AssertionError:
        return False
    return True


def prefix(found: Read, expected: Read) -> bool:
    """Whether the arrays are the first rows of the expected ones."""
    lengths = {len(array) for array in found.values()}
    return len(lengths) == 1 and equal(
        found, {name: expected[name][: min(lengths)] for name in found}
    )


def check(arrays, expected) -> None:
    """Checks opened arrays, by name and in order."""
    assert set(arrays) == set(expected)
    assert len(arrays) == len(expected)
    for name, value in expected.items():
        assert name in arrays
        same(np.asarray(arrays[name]), value)
    for name, array in arrays.items():
        same(np.asarray(array), expected[name])
    arrays.verify()


def write_records(tf, path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
