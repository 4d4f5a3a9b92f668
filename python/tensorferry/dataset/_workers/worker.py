"""The worker process: answers requests until the parent ends."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import numpy as np

from tensorferry import _internal, errors
from tensorferry.dataset._base import Base, packer
from tensorferry.dataset._functions import calls
from tensorferry.dataset._workers.payload import PickledPlan
from tensorferry.dataset._workers.shared import Area, Arrays, create, packed, places

#: Files for results that the parent's tensors are views of. Further results are copied there.
MOST_AREAS = 16
#: Results of fewer bytes are copied: that takes less time than tracking a view.
LEAST_SHARED = 1 << 16
#: Seconds between checks whether the parent still exists.
_INTERVAL = 2.0
#: The number of the file whose results the parent copies at once.
COPIED = 0


def main(connection: Connection, payload: bytes, plan: PickledPlan | None) -> None:
    """Calls the function in ``payload`` for each request. Never returns."""
    # Ctrl-C reaches all processes of a terminal: the parent handles it, and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status, parent = 0, os.getppid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        _serve(connection, payload, plan, parent)
    except (EOFError, OSError):
        pass  # the parent has ended, or has closed the pipe
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)  # not waiting for what the function may have started


def _end_with(parent: int) -> None:
    """Ends this process after its parent, also during a call: a killed parent cannot do it."""
    while os.getppid() == parent:
        time.sleep(_INTERVAL)
    os._exit(1)


def _serve(connection: Connection, payload: bytes, plan: PickledPlan | None, parent: int) -> None:
    try:
        work = _Work(payload, plan)
    except BaseException as error:
        connection.send_bytes(pickle.dumps(("unreadable", *_pickled(error))))
        return
    connection.send_bytes(pickle.dumps(("ready", work.reads)))
    requests: Area | None = None
    while True:
        request = pickle.loads(connection.recv_bytes())
        if request is None:
            return
        kind, *rest, free = request
        work.free(free)
        if kind == "read":
            answer, file = work.answer_from(*rest)
        else:
            is_new, where, each = rest
            if is_new:
                requests = Area(reduction.recv_handle(connection), writable=False)
            assert requests is not None
            answer, file = work.answer_at(requests, kind, where, each)
        # An argument that the function kept must not change: the parent takes another file.
        is_kept = requests is not None and requests.is_in_use()
        connection.send_bytes(pickle.dumps((*answer, is_kept)))
        if file is not None:
            reduction.send_handle(connection, file, parent)
            os.close(file)


#: What is sent, and a new file that results are in, if any.
_Answer: TypeAlias = tuple[tuple[Any, ...], int | None]


class _Work:
    """The function, and the files for its results."""

    def __init__(self, payload: bytes, plan: PickledPlan | None) -> None:
        function, structure, format, self._result, self._names = pickle.loads(payload)
        self._flat = calls.flattener(function, self._result, "map")
        self._packer = packer(Base, structure, format)
        self._dtypes = Dtypes()
        self._areas: list[Area] = []
        self._free: set[int] = set()
        read = _unpickled(plan)
        try:
            self.map = self._map(read)
        except Exception:
            read, self.map = None, self._map(None)
        self.reads = read is not None

    def _map(self, plan: Any) -> _internal.MapApart:
        spec, names = self._result[1], self._names
        return _internal.MapApart(self._flat, self._packer, spec, names, plan)

    def free(self, numbers: list[int]) -> None:
        """The parent no longer uses the results in these files."""
        self._free.update(numbers)

    def answer_at(self, requests: Area, kind: str, where: list[Any], each: int) -> _Answer:
        """The results for the arguments at ``where``: of one call, or of several that have ``each``
        arrays.
        """

        def work() -> _Answer:
            views = requests.views(where, self._dtypes)
            if kind == "call":
                return self._put(self._call(views))
            parts = [views[at : at + each] for at in range(0, len(views), each or 1)]
            return self.many(self.map.apply(parts))

        return self.answer(work)

    def answer_from(self, epoch: int, seeds: list[int], indices: list[int]) -> _Answer:
        """The results for elements of the plan."""
        return self.answer(lambda: self.many(self.map.read(epoch, seeds, indices)))

    def answer(self, work: Callable[[], _Answer]) -> _Answer:
        """What ``work`` returns, or the exception that it raises."""
        try:
            return work()
        except BaseException as error:
            return ("raised", *_pickled(error)), None

    def _call(self, views: list[Any]) -> Arrays:
        element = self._packer.pack(views)
        values = self._flat(*element) if type(element) is tuple else self._flat(element)
        found: Arrays = []
        for at, (value, (name, _)) in enumerate(zip(values, self._result[1], strict=True)):
            with _component(self._names, at):
                array = _internal.tensor(value, name).numpy()
            found.append((name, packed(array)))
        return found

    def many(self, results: Any) -> _Answer:
        """The results of several calls."""
        failed, stacked, alone = results
        spec = self._result[1]
        tensors = stacked if stacked is not None else [part for each in alone for part in each]
        names = [name for name, _ in spec] * (1 if stacked is not None else len(alone))
        arrays = [(name, packed(part.numpy())) for name, part in zip(names, tensors, strict=True)]
        raised = {at: error and _pickled(error) for at, error in failed.items()}
        each = None if stacked is not None else len(spec)
        (_, *placed), file = self._put(arrays)
        return ("many", raised, each, *placed), file

    def _put(self, arrays: Arrays) -> tuple[tuple[Any, ...], int | None]:
        where, size = places(arrays)
        number, file = self._area(size)
        self._areas[number].put(arrays, where)
        return ("done", number, where, file is not None), file

    def _area(self, size: int) -> tuple[int, int | None]:
        """The number of a file for a result of this size, and its descriptor if it is new."""
        if not self._areas:
            return self._renew(COPIED, size)
        if size >= LEAST_SHARED:
            fits = [number for number in self._free if self._areas[number].size >= size]
            number = min(fits, default=0, key=lambda number: self._areas[number].size)
            if number:
                self._free.remove(number)
                return number, None
            if self._free:
                return self._renew(self._free.pop(), size)
            if len(self._areas) <= MOST_AREAS:
                return self._renew(len(self._areas), size)
        if self._areas[COPIED].size < size:
            return self._renew(COPIED, size)
        return COPIED, None

    def _renew(self, number: int, size: int) -> tuple[int, int]:
        file = create(size)
        area = Area(os.dup(file), writable=True)
        self._areas[number : number + 1] = [area]
        return number, file


def _unpickled(plan: PickledPlan | None) -> Any:
    """The plan, the size of its batches and its description; None if this process lacks what the
    plan reads.
    """
    if plan is None:
        return None
    pickled, batch_size, description = plan
    with contextlib.suppress(Exception):
        return pickle.loads(pickled)._plan, batch_size, description
    return None


class Dtypes(dict[str, "np.dtype[Any]"]):
    """The NumPy dtype of each name."""

    def __missing__(self, name: str) -> np.dtype[Any]:
        return self.setdefault(name, _internal.numpy_dtype(name))


@contextlib.contextmanager
def _component(names: list[str], at: int) -> Any:
    """Adds a component's name to errors of this library."""
    try:
        yield
    except errors.Error as error:
        if not names:
            raise
        raise errors.make(error.code, f"component {names[at]}: {error}") from None


def _pickled(error: BaseException) -> tuple[bytes | None, str, str]:
    """The exception if it can be pickled, its class and message, and its traceback."""
    text = "".join(traceback.format_exception(error))
    words = "".join(traceback.format_exception_only(error)).strip()
    try:
        pickled = pickle.dumps(error.with_traceback(None))
        pickle.loads(pickled)
    except Exception:  # a class of its own that pickle cannot make again
        return None, words, text
    return pickled, words, text
