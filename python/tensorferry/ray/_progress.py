"""``progress``: what all workers have read, in the driver; and the same as metrics of Ray.

A worker counts for itself and reports now and then to an actor, which the driver asks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import sys
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import ray
from ray.data.block import Block, BlockAccessor

from tensorferry import _arguments, errors

#: The name of the actor, in the namespace of the job.
_NAME = "tensorferry-progress"
#: Seconds between the reports of a worker.
_INTERVAL = 0.5


@dataclasses.dataclass
class WorkerProgress:
    """What one worker has done, as :class:`Progress` lists it."""

    __module__ = "tensorferry.ray"

    #: "read" or "train_iterator".
    operation: str
    #: Its node, the start of the node's id in Ray, and its process; in Train also its rank.
    worker: str
    #: Rows that it has handed out. Those of a task that is done again count again.
    rows: int = 0
    #: Their bytes; an estimate where shapes vary.
    bytes: int = 0
    #: Seconds in which it read and transformed rows.
    reading: float = 0.0
    #: Seconds in which others had the rows: Ray, which stores blocks and waits for consumers, or
    #: the step of a training.
    outside: float = 0.0

    def _add(self, other: WorkerProgress) -> None:
        self.rows, self.bytes = self.rows + other.rows, self.bytes + other.bytes
        self.reading, self.outside = self.reading + other.reading, self.outside + other.outside


class _Board:
    """The actor: the sums of each worker."""

    def __init__(self) -> None:
        self._workers: dict[tuple[str, str], WorkerProgress] = {}

    def add(self, part: WorkerProgress) -> None:
        key = part.operation, part.worker
        self._workers.setdefault(key, WorkerProgress(*key))._add(part)

    def workers(self) -> list[WorkerProgress]:
        return [self._workers[key] for key in sorted(self._workers)]


class Progress:
    """What the workers of this program have read since it was made, by :func:`progress`.

    Printed, it is a table.
    """

    __module__ = "tensorferry.ray"

    def __init__(self, every: float | None) -> None:
        self._began = time.monotonic()
        self._ended: float | None = None
        self._last: list[WorkerProgress] = []
        # The actor takes no processor that tasks wait for, and lives as long as the program.
        board = ray.remote(num_cpus=0, max_restarts=0)(_Board)
        try:
            self._board = board.options(name=_NAME).remote()
        except ValueError:
            raise errors.make(
                "argument", "ray.progress: another progress is open. Close it first."
            ) from None
        ray.get(self._board.workers.remote())
        self._stop = threading.Event()
        self._printer: threading.Thread | None = None
        if every is not None:
            self._printer = threading.Thread(target=self._print, args=(every,), daemon=True)
            self._printer.start()

    def workers(self) -> list[WorkerProgress]:
        """A line for each worker and operation; the last known after :meth:`close`."""
        if self._ended is None:
            self._last = ray.get(self._board.workers.remote())
        return self._last

    def totals(self) -> dict[str, WorkerProgress]:
        """The sums of all workers, for each operation."""
        found: dict[str, WorkerProgress] = {}
        workers = self.workers()
        for each in workers:
            count = sum(other.operation == each.operation for other in workers)
            total = WorkerProgress(each.operation, f"{count} worker{'s'[: count != 1]}")
            found.setdefault(each.operation, total)._add(each)
        return found

    def close(self) -> None:
        """Stops counting. Workers that still run are not disturbed."""
        if self._ended is not None:
            return
        self._stop.set()
        if self._printer is not None:
            self._printer.join()
        with contextlib.suppress(ray.exceptions.RayError):
            self.workers()
        self._ended = time.monotonic()
        ray.kill(self._board)

    def __str__(self) -> str:
        totals = self.totals()
        seconds = max((self._ended or time.monotonic()) - self._began, 1e-9)
        lines = [_LINE.format("", "rows", "rows/s", "bytes", "reading", "outside")]
        for operation, total in totals.items():
            lines.append(_line(operation, total, seconds))
            lines += [
                _line(f"  {each.worker}", each, seconds)
                for each in self.workers()
                if each.operation == operation
            ]
        return "\n".join(lines)

    def _print(self, every: float) -> None:
        while not self._stop.wait(every):
            with contextlib.suppress(ray.exceptions.RayError):
                for total in self.totals().values():
                    line = _short(total, time.monotonic() - self._began)
                    print(line, file=sys.stderr)  # noqa: T201

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def progress(every: float | None = None) -> Progress:
    """A view of all workers that read, in the driver: rows, bytes, and where the time goes.

    It counts the tasks of datasets that :func:`read` returns after this, and the iterators that
    :func:`train_iterator` makes after this. The same numbers are metrics of Ray, with or without a
    view: ``tensorferry_rows``, ``tensorferry_bytes``, ``tensorferry_reading_seconds`` and
    ``tensorferry_outside_seconds``, each with the tag ``operation``.

    Args:
        every: seconds between lines on stderr; None for no lines.

    Raises:
        tensorferry.errors.InvalidArgumentError: another view is open in this program.

    >>> import numpy as np, os, tempfile, tensorferry as tfy
    >>> from tensorferry.ray import progress, read
    >>> path = os.path.join(tempfile.mkdtemp(), "x.npy")
    >>> np.save(path, np.zeros((10, 4), np.float32))
    >>> with progress() as view:
    ...     batches = list(read(path).iter_batches())
    >>> total = view.totals()["read"]
    >>> total.rows, total.bytes
    (10, 160)
    """
    if every is not None and _arguments.number(every, "ray.progress", "every") <= 0:
        raise errors.make("argument", f"ray.progress: every has to be positive, not {every!r}")
    if not ray.is_initialized():
        ray.init()
    return Progress(every)


_LINE = "{:<28} {:>13} {:>11} {:>9} {:>8} {:>8}"


def _line(name: str, part: WorkerProgress, seconds: float) -> str:
    reading, outside = _shares(part)
    return _LINE.format(
        name, f"{part.rows:,}", f"{part.rows / seconds:,.0f}", _size(part.bytes), reading, outside
    )


def _short(part: WorkerProgress, seconds: float) -> str:
    reading, outside = _shares(part)
    return (
        f"{part.operation}: {part.rows:,} rows, {_size(part.bytes)}, "
        f"{part.rows / seconds:,.0f} rows/s by {part.worker}; {reading} reading, {outside} outside"
    )


def _shares(part: WorkerProgress) -> tuple[str, str]:
    whole = part.reading + part.outside or 1.0
    return f"{part.reading / whole:.0%}", f"{part.outside / whole:.0%}"


def _size(count: float) -> str:
    units = ["B", "KB", "MB", "GB", "TB"]
    while count >= 1000 and len(units) > 1:
        count /= 1000
        units.pop(0)
    return f"{count:.{1 if units[0] != 'B' else 0}f} {units[0]}"


# ---- in workers


def board() -> Any:
    """The actor of an open view of this job; None without one."""
    try:
        return ray.get_actor(_NAME)
    except ValueError:
        return None


class Meter:
    """Counts what this worker does, and reports it."""

    def __init__(self, operation: str, board: Any, rank: str = "") -> None:
        self._board, self._operation = board, operation
        node = ray.get_runtime_context().get_node_id()[:8]
        self._worker = f"{rank}{node}:{os.getpid()}"
        self._part = WorkerProgress(operation, self._worker)
        self._sent = time.monotonic()

    def add(self, rows: int, size: int, reading: float, outside: float) -> None:
        # Once for each batch of a training: nothing is made here.
        part = self._part
        part.rows += rows
        part.bytes += size
        part.reading += reading
        part.outside += outside
        if time.monotonic() - self._sent >= _INTERVAL:
            self.report()

    def report(self, *, wait: bool = False) -> None:
        """Reports what was counted since the last time. With ``wait``, it has arrived then."""
        part, self._part = self._part, WorkerProgress(self._operation, self._worker)
        self._sent = time.monotonic()
        values = part.rows, part.bytes, part.reading, part.outside
        for metric, value in zip(_metrics(), values, strict=True):
            if value > 0:
                metric.inc(value, {"operation": self._operation})
        if self._board is None:
            return
        try:
            sent = self._board.add.remote(part)
            if wait:
                ray.get(sent)
        except ray.exceptions.RayError:  # the view was closed
            self._board = None


@functools.cache
def _metrics() -> list[Any]:
    from ray.util.metrics import Counter

    described = {
        "rows": "Rows that were handed out.",
        "bytes": "Bytes of these rows.",
        "reading_seconds": "Seconds in which rows were read and transformed.",
        "outside_seconds": "Seconds in which Ray, or the training, had the rows.",
    }
    return [
        Counter(f"tensorferry_{name}", description, ("operation",))
        for name, description in described.items()
    ]


def metered(blocks: Iterator[Block], row_bytes: int | None, watched: bool) -> Iterator[Block]:
    """The blocks of a read task, counted; ``row_bytes`` is None where shapes vary."""
    meter = Meter("read", board() if watched else None)
    begun = time.perf_counter()
    for block in blocks:
        read = time.perf_counter()
        accessor = BlockAccessor.for_block(block)
        rows = accessor.num_rows()
        size = accessor.size_bytes() if row_bytes is None else rows * row_bytes
        yield block
        done = time.perf_counter()
        meter.add(rows, size, read - begun, done - read)
        begun = done
    meter.report(wait=True)
