"""Plans as tasks carry them: a few hundred bytes, pickled once, and opened once in each process,
which checks that the files are those of the driver.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import pickle
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import ray
import ray.cloudpickle

from tensorferry import _internal, errors
from tensorferry._files import opened
from tensorferry._files.opened import Arrays
from tensorferry._files.storage import storage
from tensorferry._internal import Array, Tensor
from tensorferry._nest import structures
from tensorferry._nest.ragged import Ragged
from tensorferry._typing import StorageOptions
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
    pickler.dump((dataset, _state(dataset), _state(dataset, objects=True)))
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
    dataset, columns, planned = _opened(plan if isinstance(plan, bytes) else ray.get(plan))
    # A file may change while this process has it open, and reads of objects notice it.
    _check(dataset, _state(dataset) == planned)
    if dataset.options().threads is None:
        dataset = dataset.with_options(Options(threads=threads))
    wanted = dataset.skip(part.start).take(len(part))
    with _lock:
        dataset.set_epoch(epoch)
        return Elements(columns, wanted, rows)


@functools.lru_cache(_OPEN)
def _opened(data: bytes) -> tuple[Dataset, Columns, bytes]:
    dataset, files, objects = pickle.loads(data)
    _check(dataset, _state(dataset, objects=True) == objects)
    return dataset, Columns.of(dataset), files


def _check(dataset: Dataset, is_same: bool) -> None:
    if is_same:
        return
    found = [str(path) for paths, _ in _sources(dataset) for path in paths]
    more = f" and {len(found) - 3} more" if found[3:] else ""
    raise errors.make(
        "file_changed",
        f"ray.read: {', '.join(found[:3])}{more}: a file is not as it was when ray.read planned "
        "(the version of an object; the length, or the time of the last change, of a file). Call "
        "read again; if nodes have copies, give them the same times: cp -p.",
    )


def _state(dataset: Dataset, *, objects: bool = False) -> bytes:
    """A digest of the state of all local files, or of all objects, and of what they hold."""
    known: list[Any] = [dataset._plan.cardinality, dataset._plan.spec]
    for paths, versions in _sources(dataset):
        known.append(len(paths))
        known += versions() if objects else map(_status, filter(_is_local, paths))
    return hashlib.blake2b(repr(known).encode(), digest_size=8).digest()


def _is_local(path: Any) -> bool:
    return not _internal.is_remote(path)


def _status(path: Any) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


#: The files and objects that a call opens, and a function that tells the versions of the objects;
#: or the length of a dataset.
_Source: TypeAlias = "tuple[list[Any], Callable[[], list[Any]]]"


def _sources(dataset: Dataset) -> list[_Source]:
    found: list[_Source] = []
    seen: set[int] = set()
    left: list[Any] = [dataset]
    while left:
        value = left.pop()
        if isinstance(value, Dataset):
            if id(value) in seen:
                continue
            seen.add(id(value))
            # What the driver has opened may be older than the state of a file.
            found.append(([], functools.partial(list, (value._plan.cardinality,))))
            name, args, kwargs = value._recipe
            if name == "load":
                found.append(_saved(*args, **kwargs))
            else:
                whole = value._opened
                given = (*args, *kwargs.values()) if whole is None else (whole,)
                left += structures.flatten(given)
        elif isinstance(value, Ragged):
            left += [value.values, value.row_splits]
        elif isinstance(value, Array | Arrays):
            found.append((value.paths, functools.partial(opened.versions, value)))
        elif isinstance(value, list):
            left += value
        elif isinstance(value, np.memmap) and value.filename is not None:
            found.append(([value.filename], list))
    return found


def _saved(path: Any, *_: Any, storage_options: StorageOptions | None = None, **__: Any) -> _Source:
    """The manifest of a saved dataset, which names its other files and is replaced with them."""
    folder = os.fsdecode(path)
    if _is_local(folder):
        return [os.path.join(folder, "dataset.json")], list
    manifest = f"{folder.rstrip('/')}/dataset.json"
    where = storage("load", storage_options)
    return [manifest], lambda: [_internal.Source(manifest, where).version()]
