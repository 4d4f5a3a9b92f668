"""The parent's side of worker processes."""

from __future__ import annotations

import atexit
import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import threading
import weakref
from collections.abc import Callable
from multiprocessing import reduction
from typing import Any

from tensorferry import _internal, errors
from tensorferry.dataset._workers.shared import Area, Arrays, Place, create, packed, places
from tensorferry.dataset._workers.worker import COPIED, Dtypes, main

_log = logging.getLogger("tensorferry")
#: Seconds that a worker has to end by itself.
_PATIENCE = 0.5
#: How often an element is tried when its worker is killed.
_ATTEMPTS = 2


#: All sessions, which end before the interpreter does.
_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    # This runs before the handler of multiprocessing, which ends processes that calls wait for.
    for session in list(_sessions):
        session.close()


class RemoteTraceback(Exception):
    """The traceback of an exception in a worker process, as its cause."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'in a worker process:\n"""\n{self.text}"""'


def payload(function: Callable[..., Any], *rest: Any) -> bytes:
    """The function and what it is called with, for workers. Cloudpickle, where it is installed,
    pickles functions that pickle cannot.
    """
    # Functions of a notebook or an interactive session exist in no module that a worker imports.
    main_module = __import__("__main__")
    here = getattr(function, "__module__", None) == "__main__" and not hasattr(
        main_module, "__file__"
    )
    problem: Exception | None = None
    if not here:
        try:
            return pickle.dumps((function, *rest))
        except Exception as error:
            problem = error
    try:
        import cloudpickle
    except ModuleNotFoundError:
        why = problem or "it is defined in an interactive session"
        raise errors.make(
            "not_picklable",
            f"map: the function cannot be sent to worker processes ({why}). Define it with def at "
            "the top of a module, or install cloudpickle.",
        ) from problem
    try:
        return bytes(cloudpickle.dumps((function, *rest)))
    except Exception as error:
        raise errors.make(
            "not_picklable",
            f"map: the function cannot be sent to worker processes ({error}). Open files and locks "
            "inside it.",
        ) from error


#: Nothing reads a result, or an error, that comes later.
_OVER = "the iteration has ended"


class _Ended(Exception):
    """A worker ended during a call."""


class _Worker:
    """A process, and what it shares with this one. Used by one thread at a time."""

    def __init__(self, context: Any, payload: bytes, name: str) -> None:
        self.connection, other = context.Pipe(duplex=True)
        self.process = context.Process(
            target=main, args=(other, payload), name="tensorferry-worker", daemon=True
        )
        try:
            self.process.start()
        except BaseException:
            self.connection.close()
            raise
        finally:
            other.close()
        self._name = name
        self._is_ready = False
        self._requests: Area | None = None
        self._areas: dict[int, Area] = {}
        self._lent: set[int] = set()
        self._dtypes = Dtypes()

    def call(self, arrays: Arrays) -> list[Any] | BaseException:
        """The components of the function's result for these, or what it raised.

        Raises:
            _Ended: the process ended.
        """
        try:
            if not self._is_ready:
                self._begin()
            self._send(arrays)
            kind, *answer, is_kept = pickle.loads(self.connection.recv_bytes())
            if is_kept:  # by the function: the next arguments go elsewhere
                self._requests = None
            return self._views(*answer) if kind == "done" else _exception(*answer)
        except (EOFError, ConnectionError) as error:
            raise _Ended from error

    def _begin(self) -> None:
        kind, *error = pickle.loads(self.connection.recv_bytes())
        if kind == "unreadable":
            raise errors.make(
                "not_picklable",
                f"map: a worker process cannot unpickle the function {self._name} ({error[1]}). "
                "Define it with def at the top of a module that workers can import.",
            ) from RemoteTraceback(error[2])
        self._is_ready = True

    def _send(self, arrays: Arrays) -> None:
        where, size = places(arrays)
        file = None
        if self._requests is None or self._requests.size < size:
            file = create(size)
            self._requests = Area(os.dup(file), writable=True)
        self._requests.put(arrays, where)
        free = [number for number in self._lent if not self._areas[number].is_in_use()]
        self._lent.difference_update(free)
        try:
            self.connection.send_bytes(pickle.dumps((file is not None, where, free)))
            if file is not None:
                reduction.send_handle(self.connection, file, self.process.pid)
        finally:
            if file is not None:
                os.close(file)

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

    def dismiss(self) -> None:
        """Asks an idle worker to end."""
        with contextlib.suppress(OSError):
            self.connection.send_bytes(pickle.dumps(None))
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


def _exception(pickled: bytes | None, words: str, text: str) -> BaseException:
    """An exception of the function, with the traceback of the worker as its cause."""
    error: BaseException = RuntimeError(words)
    if pickled is not None:
        with contextlib.suppress(Exception):
            error = pickle.loads(pickled)
    error.__cause__ = RemoteTraceback(text)
    return error


class Session:
    """The worker processes of one iteration. They start when calls need them, one for each call at
    a time.
    """

    def __init__(self, payload: bytes, name: str, dtypes: list[str]) -> None:
        self._payload, self._name, self._dtypes = payload, name, dtypes
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._all: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._closed = False
        _sessions.add(self)

    def __call__(self, tensors: list[_internal.Tensor]) -> list[Any]:
        """The components of the function's result for an element of these."""
        arrays = [
            (name, packed(tensor.numpy()))
            for name, tensor in zip(self._dtypes, tensors, strict=True)
        ]
        how = ""
        for _ in range(_ATTEMPTS):
            worker = self._take()
            try:
                result = worker.call(arrays)
            except _Ended:
                how = self._discard(worker)
                self._check_open()
                _log.warning("map: a worker process %s. Its element is computed again.", how)
                continue
            except BaseException:  # the pipe may hold half of a message
                self._discard(worker)
                raise
            self._give_back(worker)
            if isinstance(result, BaseException):
                raise result
            return result
        raise RuntimeError(
            f"map: a worker process {how} while it called {self._name}, and so did another one for "
            "the same element. Call the function for this element in this process to see why; a "
            "process that needs more memory than there is gets killed. If it happens for the first "
            "element of a script, put the code that iterates under "
            '`if __name__ == "__main__":`, because workers import the script.'
        )

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError(_OVER)

    def _take(self) -> _Worker:
        with self._lock:
            self._check_open()
            if self._idle:
                return self._idle.pop()
        worker = _Worker(_context(), self._payload, self._name)
        with self._lock:
            if not self._closed:
                self._all.add(worker)
                return worker
        self._discard(worker)
        raise RuntimeError(_OVER)

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(worker)
                return
        worker.dismiss()

    def _discard(self, worker: _Worker) -> str:
        worker.process.kill()
        worker.connection.close()
        with self._lock:
            self._all.discard(worker)
        return worker.ended()

    def close(self) -> None:
        """Ends the workers, also those that are calling the function."""
        if self._closed or os.getpid() != self._process:
            return  # a forked process leaves its parent's workers alone
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            workers, self._all = self._all, set()
        for worker in idle:
            worker.dismiss()
        for worker in workers.difference(idle):
            worker.process.kill()  # the thread that waits for it closes the pipe
        for worker in workers:
            worker.ended()

    def __del__(self) -> None:
        self.close()


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
