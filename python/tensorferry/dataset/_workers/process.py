"""A worker process, as the parent sees it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
from multiprocessing import process, reduction
from typing import Any, TypeAlias

from tensorferry import _internal, errors
from tensorferry.dataset._workers.payload import PickledPlan
from tensorferry.dataset._workers.shared import Area, Arrays, Place, create, places
from tensorferry.dataset._workers.worker import COPIED, Dtypes, main

#: Seconds that a worker has to end by itself.
_PATIENCE = 0.5

#: The results of several calls, as `_internal` takes them: exceptions by number, None for an
#: element that was not computed; the others' results stacked, or each.
Results: TypeAlias = tuple[
    dict[int, BaseException | None], list[_internal.Tensor] | None, list[list[Any]]
]


class RemoteTraceback(Exception):
    """The traceback of an exception in a worker process, as its cause."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'in a worker process:\n"""\n{self.text}"""'


class Ended(Exception):
    """A worker ended during a call."""


class Worker:
    """A process, and what it shares with this one. Used by one thread at a time."""

    def __init__(self, payload: bytes, plan: PickledPlan | None, name: str) -> None:
        context = _context()
        self.connection, other = context.Pipe(duplex=True)
        self.process = context.Process(
            target=main, args=(other, payload, plan), name="tensorferry-worker", daemon=True
        )
        try:
            self.process.start()
        except BaseException:
            self.connection.close()
            raise
        finally:
            other.close()
        # Otherwise a forked process kills it at its exit. This process ends it by itself.
        process._children.discard(self.process)  # type: ignore[attr-defined]
        self._name = name
        self._is_ready = False
        self._reads = False
        self._requests: Area | None = None
        self._areas: dict[int, Area] = {}
        self._lent: set[int] = set()
        self._dtypes = Dtypes()

    def call(self, arrays: Arrays) -> list[Any] | BaseException:
        """The components of the function's result for these, or what it raised.

        Raises:
            Ended: the process ended.
        """
        with _ending():
            self._begin()
            self._send("call", arrays, len(arrays))
            kind, *answer, is_kept = self._receive()
            self._forget(is_kept)
            return self._views(*answer) if kind == "done" else _exception(*answer)

    def call_many(self, elements: list[Arrays]) -> Results | BaseException:
        """As :meth:`call`, for several elements."""
        with _ending():
            self._begin()
            flat = [array for arrays in elements for array in arrays]
            self._send("many", flat, len(elements[0]))
            return self._results()

    def read(self, epoch: int, seeds: list[int], indices: list[int]) -> Results | BaseException:
        """As :meth:`call_many`, for elements that the worker reads."""
        with _ending():
            self._begin()
            message = ("read", epoch, seeds, indices, self._free())
            self.connection.send_bytes(pickle.dumps(message))
            return self._results()

    def reads(self) -> bool:
        """Whether it can read elements itself.

        Raises:
            Ended: the process ended.
        """
        with _ending():
            self._begin()
        return self._reads

    def _begin(self) -> None:
        if self._is_ready:
            return
        kind, *rest = self._receive()
        if kind == "unreadable":
            raise errors.make(
                "not_picklable",
                f"map: a worker process cannot unpickle the function {self._name} ({rest[1]}). "
                "Define it with def at the top of a module that workers can import.",
            ) from RemoteTraceback(rest[2])
        (self._reads,) = rest
        self._is_ready = True

    def _receive(self) -> Any:
        return pickle.loads(self.connection.recv_bytes())

    def _send(self, kind: str, arrays: Arrays, each: int) -> None:
        """Sends the arrays of elements that have ``each`` arrays."""
        where, size = places(arrays)
        file = None
        if self._requests is None or self._requests.size < size:
            file = create(size)
            self._requests = Area(os.dup(file), writable=True)
        self._requests.put(arrays, where)
        try:
            message = (kind, file is not None, where, each, self._free())
            self.connection.send_bytes(pickle.dumps(message))
            if file is not None:
                reduction.send_handle(self.connection, file, self.process.pid)
        finally:
            if file is not None:
                os.close(file)

    def _free(self) -> list[int]:
        """The files of results that are no longer used."""
        free = [number for number in self._lent if not self._areas[number].is_in_use()]
        self._lent.difference_update(free)
        return free

    def _forget(self, is_kept: bool) -> None:
        if is_kept:  # by the function: the next arguments go elsewhere
            self._requests = None

    def _results(self) -> Results | BaseException:
        kind, *answer, is_kept = self._receive()
        self._forget(is_kept)
        if kind == "raised":
            return _exception(*answer)
        failed, each, number, where, is_new = answer
        views = self._views(number, where, is_new)
        raised = {at: error and _exception(*error) for at, error in failed.items()}
        if each is None:
            return raised, views, []
        return raised, None, [views[at : at + each] for at in range(0, len(views), each or 1)]

    def _views(self, number: int, where: list[Place], is_new: bool) -> list[Any]:
        is_copied = number == COPIED
        if is_new:
            # Frameworks share only what cannot change: a writable map has them copy.
            file = reduction.recv_handle(self.connection)
            self._areas[number] = Area(file, writable=is_copied)
        views = self._areas[number].views(where, self._dtypes)
        if is_copied:
            # Before another thread calls this worker, which then writes there again.
            return [_internal.tensor(view) for view in views]
        self._lent.add(number)
        return views

    def has_ended(self) -> bool:
        """Whether the process no longer runs."""
        return self.process.exitcode is not None

    def dismiss(self) -> None:
        """Asks an idle worker to end."""
        with contextlib.suppress(OSError):
            self.connection.send_bytes(pickle.dumps(None))
        with contextlib.suppress(OSError):
            self.connection.close()

    def ended(self) -> str:
        """How the process ended: it is killed if it has not."""
        self.process.join(_PATIENCE)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join(_PATIENCE)
        status = self.process.exitcode
        if status is None or status >= 0:
            return f"ended with status {status}"
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-status).name}"
        return f"was killed by signal {-status}"


@contextlib.contextmanager
def _ending() -> Any:
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise Ended from error


def _exception(pickled: bytes | None, words: str, text: str) -> BaseException:
    """An exception of the function, with the traceback of the worker as its cause."""
    error: BaseException = RuntimeError(words)
    if pickled is not None:
        with contextlib.suppress(Exception):
            error = pickle.loads(pickled)
    error.__cause__ = RemoteTraceback(text)
    return error


def _context() -> Any:
    """How workers start: by ``forkserver`` if the program chose that, else by ``spawn``.

    Never by ``fork``, which can hang beside threads, as TensorFlow has them. It is also what
    multiprocessing reports for a program that chose nothing.
    """
    if multiprocessing.current_process().daemon:
        raise errors.make(
            "argument",
            "map: worker processes cannot start in a daemonic process, as are the workers of a "
            "multiprocessing.Pool or a DataLoader. Leave workers out: their processes already run "
            "side by side.",
        )
    chosen = multiprocessing.get_start_method(allow_none=True)
    return multiprocessing.get_context("forkserver" if chosen == "forkserver" else "spawn")
