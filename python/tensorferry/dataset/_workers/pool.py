"""The worker processes of a map, and what an iteration takes of them."""

from __future__ import annotations

import _thread
import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from tensorferry import _internal
from tensorferry.dataset._base import Base
from tensorferry.dataset._workers import payload
from tensorferry.dataset._workers.process import Ended, Results, Worker
from tensorferry.dataset._workers.shared import Arrays, packed

_T = TypeVar("_T")
_log = logging.getLogger("tensorferry")
#: How often an element is tried when its worker is killed.
_ATTEMPTS = 2
#: Seconds after which an idle worker ends.
IDLE = 60.0
#: Seconds that a call may take after its iteration has ended; then its worker is killed.
GRACE = 1.0
#: Seconds between checks for such workers.
_INTERVAL = 0.25

#: Nothing reads a result, or an error, that comes later.
_OVER = "the iteration has ended"

_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
#: The processes in which a thread ends workers: a forked one has none.
_reaping: set[int] = set()


@atexit.register
def _close_all() -> None:
    # This runs before the handler of multiprocessing, which ends processes that calls wait for.
    for pool in list(_pools):
        pool.close()


class _Own:
    """The workers of one process. A forked process leaves its parent's alone."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.closed = False
        #: Idle workers, and since when.
        self.idle: list[tuple[Worker, float]] = []
        self.busy: set[Worker] = set()
        #: Workers of iterations that have ended, and when they are killed.
        self.late: dict[Worker, float] = {}


class Pool:
    """Worker processes that call a function. They start when calls need them, serve one iteration
    after another, and end when they are idle for long, or with the map.
    """

    def __init__(
        self,
        function: bytes,
        dataset: Base,
        source: tuple[Base, int | None] | None,
        name: str,
    ) -> None:
        self.function, self.name = function, name
        self.dtypes = [name for name, _ in dataset._plan.spec]
        self._source = source
        self._owned = {os.getpid(): _Own()}
        _pools.add(self)

    def __call__(self) -> Session:
        """Begins an iteration."""
        return Session(self)

    def _own(self) -> _Own:
        return self._owned.setdefault(os.getpid(), _Own())

    def is_closed(self) -> bool:
        """Whether the workers have ended for good."""
        return self._own().closed

    def take(self) -> Worker:
        """A worker that no other thread uses."""
        own = self._own()
        while True:
            with own.lock:
                if own.closed:
                    raise RuntimeError(_OVER)
                worker = own.idle.pop()[0] if own.idle else None
                if worker is not None:
                    own.busy.add(worker)
            if worker is None:
                return self._started(own)
            if not worker.has_ended():
                return worker
            self.discard(worker)

    def _started(self, own: _Own) -> Worker:
        plan = None if self._source is None else payload.plan(*self._source)
        worker = Worker(self.function, plan, self.name)
        with own.lock:
            if not own.closed:
                own.busy.add(worker)
                return worker
        self.discard(worker)
        raise RuntimeError(_OVER)

    def give_back(self, worker: Worker) -> None:
        """Keeps a worker for other calls."""
        own = self._own()
        with own.lock:
            own.busy.discard(worker)
            own.late.pop(worker, None)
            if not own.closed:
                own.idle.append((worker, time.monotonic()))
                return
        worker.dismiss()

    def discard(self, worker: Worker) -> str:
        """Ends a worker, and says how it ended."""
        own = self._own()
        worker.process.kill()
        worker.connection.close()
        with own.lock:
            own.busy.discard(worker)
            own.late.pop(worker, None)
        return worker.ended()

    def leave(self, workers: set[Worker]) -> None:
        """Ends these workers if their calls take long: nothing waits for the results."""
        own = self._own()
        with own.lock:
            if own.closed:
                return
            end = time.monotonic() + GRACE
            own.late.update((worker, end) for worker in workers & own.busy)
        _reap()

    def reap(self) -> bool:
        """Ends workers that are idle or late. Returns whether there are others to watch."""
        own, now = self._own(), time.monotonic()
        with own.lock:
            idle = [worker for worker, since in own.idle if now - since > IDLE]
            own.idle = [kept for kept in own.idle if kept[0] not in idle]
            late = [worker for worker, end in own.late.items() if now > end]
            watched = bool(own.idle or len(own.late) > len(late))
        for worker in idle:
            worker.dismiss()
            worker.ended()
        for worker in late:
            worker.process.kill()  # the thread that waits for it closes the pipe
        return watched

    def close(self) -> None:
        """Ends all workers, also those that are calling the function."""
        own = self._own()
        with own.lock:
            own.closed = True
            idle, own.idle = [worker for worker, _ in own.idle], []
            busy = set(own.busy)
        for worker in idle:
            worker.dismiss()
        for worker in busy:
            worker.process.kill()
        for worker in (*idle, *busy):
            worker.ended()

    def __del__(self) -> None:
        self.close()


def _reap() -> None:
    """Starts the thread that ends workers, if there is none. This waits for nothing: an iteration
    may end while the interpreter exits.
    """
    if os.getpid() not in _reaping:
        _reaping.add(os.getpid())
        _thread.start_new_thread(_reap_all, ())


def _reap_all() -> None:
    while True:
        time.sleep(_INTERVAL)
        _reaping.discard(os.getpid())
        watched = [pool.reap() for pool in list(_pools)]
        if not any(watched) or os.getpid() in _reaping:
            return
        _reaping.add(os.getpid())


class Session:
    """What one iteration calls: the workers of a pool, one for each call at a time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._process = os.getpid()
        self._using: set[Worker] = set()
        self._closed = False

    def __call__(self, tensors: list[_internal.Tensor]) -> list[Any]:
        """The components of the function's result for an element of these."""
        arrays, how = self._arrays(tensors), ""
        for _ in range(_ATTEMPTS):
            try:
                return self._raised(self._use(lambda worker: worker.call(arrays)))
            except _Lost as lost:
                how = lost.how
                _log.warning("map: a worker process %s. Its element is computed again.", how)
        raise RuntimeError(
            f"map: a worker process {how} while it called {self._pool.name}, and so did another "
            "one for the same element. Call the function for this element in this process to see "
            "why; a process that needs more memory than there is gets killed. If it happens for "
            "the first element of a script, put the code that iterates under "
            '`if __name__ == "__main__":`, because workers import the script.'
        )

    def call_many(self, elements: list[list[_internal.Tensor]]) -> Results:
        """The results for several elements."""
        if not elements:
            return {}, None, []
        arrays = [self._arrays(tensors) for tensors in elements]
        return self._many(lambda worker: worker.call_many(arrays), len(elements))

    def read(self, epoch: int, seeds: list[int], indices: list[int]) -> Results | None:
        """The results for elements of the plan; None if the worker cannot read it."""

        def read(worker: Worker) -> Results | BaseException | None:
            return worker.read(epoch, seeds, indices) if worker.reads() else None

        return self._many(read, len(indices))

    def _many(self, call: Callable[[Worker], _T | BaseException], count: int) -> _T | Results:
        try:
            return self._raised(self._use(call))
        except _Lost as lost:
            _log.warning(
                "map: a worker process %s. Its %d elements are computed again.", lost.how, count
            )
            return dict.fromkeys(range(count)), None, []

    def _arrays(self, tensors: list[_internal.Tensor]) -> Arrays:
        named = zip(self._pool.dtypes, tensors, strict=True)
        return [(name, packed(tensor.numpy())) for name, tensor in named]

    def _raised(self, result: _T | BaseException) -> _T:
        if isinstance(result, BaseException):
            raise result
        return result

    def _use(self, call: Callable[[Worker], _T]) -> _T:
        """What ``call`` returns, called with a worker."""
        self._check_open()
        worker = self._pool.take()
        self._using.add(worker)
        try:
            result = call(worker)
        except Ended:
            how = self._pool.discard(worker)
            self._check_open()
            raise _Lost(how) from None
        except BaseException:  # the pipe may hold half of a message
            self._pool.discard(worker)
            raise
        else:
            self._pool.give_back(worker)
        finally:
            self._using.discard(worker)
        return result

    def _check_open(self) -> None:
        if self._closed or self._pool.is_closed():
            raise RuntimeError(_OVER)

    def close(self) -> None:
        """Ends the iteration. Calls in progress have little time to end."""
        if not self._closed and os.getpid() == self._process:
            self._closed = True
            self._pool.leave(set(self._using))

    def __del__(self) -> None:
        self.close()


class _Lost(Exception):
    """A worker ended during a call."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how
