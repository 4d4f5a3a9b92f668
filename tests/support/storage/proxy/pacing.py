"""Bandwidth and request rates."""

from __future__ import annotations

SLACK = 0.001  # seconds that a delay may be too short: the resolution of the event loop
CATCH_UP = 0.05  # seconds that bytes may be late and still have their place on the link


class Link:
    """Bytes take their turn, each `1 / rate` seconds."""

    def __init__(self, rate: float):
        self.rate = rate
        self._free = 0.0  # when all earlier bytes have passed

    def pass_by(self, count: int, now: float, *, follow: bool) -> float:
        """When the last of these bytes has passed. Bytes that follow others of their body make up
        for a processor that was busy.
        """
        self._free = max(self._free, now - CATCH_UP if follow else now) + count / self.rate
        return self._free


class Rate:
    """A token bucket that holds what comes in a tenth of a second."""

    def __init__(self, rate: float):
        self._rate = rate
        self._most = max(1.0, rate / 10)
        self._tokens = self._most
        self._time = 0.0

    def allows(self, now: float) -> bool:
        """Takes a token, if there is one."""
        self._tokens = min(self._most, self._tokens + (now - self._time) * self._rate)
        self._time = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
