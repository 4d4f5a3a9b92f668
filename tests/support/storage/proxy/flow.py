"""Bytes on their way through the proxy, in order, each at its time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from tests.support.storage.proxy.pacing import SLACK, Link

SMALLEST_PIECE = 4096
PIECE_SECONDS = 0.005  # a piece takes no longer on the slowest link


class Flow:
    """One direction of a connection.

    `hold(True)` asks the source to stop while bytes wait, `hold(False)` to continue.
    """

    __slots__ = (
        "_follow",
        "_hold",
        "_links",
        "_loop",
        "_piece",
        "_ready",
        "_timer",
        "_waiting",
        "_write",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        links: list[Link],
        write: Callable[[bytes], None],
        hold: Callable[[bool], None],
    ):
        self._loop = loop
        self._links = links
        self._write = write
        self._hold = hold
        # Bytes to write, times to wait for, and functions to call.
        self._waiting: deque[bytes | float | Callable[[], None]] = deque()
        self._ready: float | None = None  # when the first bytes have passed the links
        self._follow = False
        self._timer: asyncio.TimerHandle | None = None
        slowest = min((link.rate for link in links), default=0.0)
        self._piece = max(SMALLEST_PIECE, int(slowest * PIECE_SECONDS))

    def send(self, data: bytes) -> None:
        if self._links:
            for start in range(0, len(data), self._piece):
                self._waiting.append(data[start : start + self._piece])
            self._advance()
        elif self._waiting:
            self._waiting.append(data)
        else:
            self._write(data)

    def wait_until(self, time: float) -> None:
        """What follows is not sent before this time."""
        self._waiting.append(time)
        self._advance()

    def then(self, function: Callable[[], None]) -> None:
        """Calls the function when all before it is written."""
        if self._waiting:
            self._waiting.append(function)
        else:
            function()

    def stop(self) -> None:
        """Forgets what waits."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _advance(self) -> None:
        if self._timer is None:
            self._resume()

    def _wake(self) -> None:
        self._timer = None
        self._resume()
        if self._timer is None:
            self._hold(False)

    def _resume(self) -> None:
        waiting = self._waiting
        while waiting:
            item = waiting[0]
            if isinstance(item, bytes):
                if self._ready is None:
                    now = self._loop.time()
                    passed = [
                        link.pass_by(len(item), now, follow=self._follow) for link in self._links
                    ]
                    self._ready = max(passed, default=now)
                    self._follow = True
                if self._sleeps(self._ready):
                    return
                self._ready = None
                waiting.popleft()
                self._write(item)
            elif isinstance(item, float):
                if self._sleeps(item):
                    return
                waiting.popleft()
            else:
                waiting.popleft()
                item()

    def _sleeps(self, until: float) -> bool:
        if until - self._loop.time() < SLACK:
            return False
        self._hold(True)
        self._timer = self._loop.call_at(until, self._wake)
        return True
