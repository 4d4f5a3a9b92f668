"""Ray Data over plans: tasks carry which elements to read, never rows. Importing this module
imports Ray (``pip install 'ray[data]'``).

>>> import numpy as np, os, tempfile, tensorferry as tfy
>>> from tensorferry.ray import read
>>> path = os.path.join(tempfile.mkdtemp(), "x.npy")
>>> np.save(path, np.arange(6))
>>> shuffled = tfy.Dataset.from_files(path).shuffle(seed=7)
>>> [int(x) for x in shuffled.as_numpy_iterator()]
[0, 2, 4, 5, 1, 3]
>>> shuffled.set_epoch(0)
>>> [int(row["data"]) for row in read(shuffled).iter_rows()]
[0, 2, 4, 5, 1, 3]
"""

from __future__ import annotations

import importlib

from tensorferry._frameworks import installed

try:
    importlib.import_module("ray.data")
except ModuleNotFoundError as error:
    raise installed.missing(error, "ray", "tensorferry.ray") from None

from tensorferry.ray._batches import iter_batches
from tensorferry.ray._convert import convert
from tensorferry.ray._progress import Progress, WorkerProgress, progress
from tensorferry.ray._read import read
from tensorferry.ray._train import TrainIterator, train_iterator
from tensorferry.ray._write import write

__all__ = [
    "Progress",
    "TrainIterator",
    "WorkerProgress",
    "convert",
    "iter_batches",
    "progress",
    "read",
    "train_iterator",
    "write",
]
