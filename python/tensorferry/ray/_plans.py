"""Plans as tasks carry them: a few hundred bytes, pickled once, and opened once in each process."""

from __future__ import annotations

import functools
import io
import pickle
import threading
from typing import Any, TypeAlias

import numpy as np
import ray
import ray.cloudpickle

from tensorferry import errors
from tensorferry._internal import Tensor
from tensorferry.dataset import Dataset
from tensorferry.dataset._options import Options
from tensorferry.ray._columns import Columns, Elements

#: A pickled plan; or, if it is longer than :data:`_IN_TASK`, its place in Ray's object store.
Carried: TypeAlias = "bytes | ray.ObjectRef[bytes]"

#: The most bytes of a plan inside a task, which has 1 KiB in all.
_IN_TASK = 768
#: The most bytes of arrays in memory that a plan carries: constants of stages, never rows.
_MOST_IN_MEMORY = 256
#: The most bytes of a plan.
_MOST = 1 << 20
#: How many plans a process keeps open.
_OPEN = 8

#: ``set_epoch`` and the iteration that follows it are one step.
_lock = threading.Lock()


def carried(dataset: Dataset) -> Carried:
    """A plan for tasks.

    Raises:
        tensorferry.errors.InvalidTypeError: it cannot be pickled, or holds rows in memory.
    """
    pickled = io.BytesIO()
    pickler = _Pickler(pickled)
    pickler.dump(dataset)
    data = pickled.getvalue()
    if pickler.in_memory > _MOST_IN_MEMORY or len(data) > _MOST:
        size = max(pickler.in_memory, len(data))
        raise errors.make(
            "not_picklable",
            f"ray.read: the plan holds arrays in memory ({size} bytes), and tasks carry no rows. "
            "Write them to a file that all nodes reach, with tensorferry.save(path, array) or "
            "dataset.save(path), and read that: tensorferry.open(path), Dataset.load(path).",
        )
    return data if len(data) <= _IN_TASK else ray.put(data)


class _Pickler(ray.cloudpickle.CloudPickler):  # type: ignore[misc]
    """Counts the bytes of arrays in memory. Cloudpickle takes functions of ``__main__`` along."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.in_memory = 0

    def persistent_id(self, value: Any) -> None:
        if isinstance(value, np.ndarray | Tensor):
            self.in_memory += value.nbytes
        elif isinstance(value, list) and value and isinstance(value[0], int | float | list | bytes):
            self.in_memory += 8 * len(value)


def elements(plan: Carried, epoch: int, part: range, rows: int, threads: int) -> Elements:
    """The elements of a range of positions, in the order of an epoch."""
    dataset, columns = _opened(plan if isinstance(plan, bytes) else ray.get(plan))
    if dataset.options().threads is None:
        dataset = dataset.with_options(Options(threads=threads))
    wanted = dataset.skip(part.start).take(len(part))
    with _lock:
        dataset.set_epoch(epoch)
        return Elements(columns, wanted, rows)


@functools.lru_cache(_OPEN)
def _opened(data: bytes) -> tuple[Dataset, Columns]:
    dataset: Dataset = pickle.loads(data)
    return dataset, Columns.of(dataset)
