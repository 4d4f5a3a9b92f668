"""What befalls requests, and the draws that decide which."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

# The faults of which a request gets one at most, in the order in which their shares are added up.
KINDS = (
    "throttled",
    "unavailable",
    "failed",
    "reset",
    "lost",
    "reset_in_body",
    "cut",
    "hung",
    "ignored_range",
    "wrong_range",
    "changed_etag",
)


_DRAWN = re.compile(r"uploadId=[^&]*")


@dataclass(frozen=True)
class Plan:
    """What befalls requests. A share is that of all requests, from 0 to 1.

    The draws depend on the seed, the method, the file name, the range, and how often these were
    seen before: neither on time nor on the order of different requests, nor on the folder.
    """

    # Times, in seconds.
    first_byte: float = 0.0  # from the head of a request to that of its response, at least
    first_byte_more: float = 0.0  # the mean of an exponential distribution, added to it
    stalled: float = 0.0  # the share of requests to which `stall` is added too
    stall: float = 1.0

    # Limits, of each direction.
    connection_bandwidth: float | None = None  # bytes per second
    bandwidth: float | None = None  # of all connections
    request_rate: float | None = None  # per second; more are answered with 503, SlowDown

    # Shares. The first three are answers of the proxy.
    throttled: float = 0.0  # 429, with Retry-After
    retry_after: int = 1
    unavailable: float = 0.0  # 503, SlowDown
    failed: float = 0.0  # 500
    reset: float = 0.0  # the connection, before the server sees the request
    lost: float = 0.0  # the connection is reset when the server has answered
    reset_in_body: float = 0.0
    cut: float = 0.0  # the connection is closed in the body
    hung: float = 0.0  # the body stops, and the connection stays open
    ignored_range: float = 0.0  # 200 with the whole body
    wrong_range: float = 0.0  # other bytes, and the Content-Range that belongs to them
    changed_etag: float = 0.0  # 412 if the request has If-Match, else another ETag

    ignore_if_match: bool = False  # the server never sees If-Match

    # Which requests may have a fault.
    methods: tuple[str, ...] = ()  # all, if empty
    after: int = 0  # not the first ones
    most: int | None = None  # the largest number of requests with one


@dataclass(frozen=True)
class Fate:
    """What befalls one request."""

    delay: float = 0.0
    kind: str | None = None
    position: float = 0.0  # of the fault in the body, from 0 to 1
    stalled: bool = False


class Draws:
    """The fates of requests under a plan."""

    def __init__(self, plan: Plan, seed: int):
        self.plan = plan
        self._seed = seed
        self._shares = [(kind, getattr(plan, kind)) for kind in KINDS]
        drawn = [*(share for _, share in self._shares), plan.stalled, plan.first_byte_more]
        self._random = any(drawn)
        self._fixed = Fate(plan.first_byte)
        self._seen: Counter[tuple[str, str, str]] = Counter()
        self._requests = 0
        self._faults = 0

    def fate(self, method: str, target: str, wanted: str) -> Fate:
        """`wanted` is the Range header, or empty."""
        if not self._random:
            return self._fixed
        plan = self.plan
        key = (method, _file_name(target), wanted)
        self._seen[key] += 1
        draw = random.Random(f"{self._seed} {key} {self._seen[key]}")
        share, position, stall = draw.random(), draw.random(), draw.random()
        delay = plan.first_byte
        if plan.first_byte_more:
            delay += draw.expovariate(1 / plan.first_byte_more)
        stalled = stall < plan.stalled
        kind = self._kind(share, method, wanted) if self._open_to_faults(method) else None
        self._faults += kind is not None
        return Fate(delay + plan.stall * stalled, kind, position, stalled)

    def _kind(self, share: float, method: str, wanted: str) -> str | None:
        for kind, of_all in self._shares:
            if share < of_all:
                return kind if _applies(kind, method, wanted) else None
            share -= of_all
        return None

    def _open_to_faults(self, method: str) -> bool:
        plan = self.plan
        if plan.methods and method not in plan.methods:
            return False
        self._requests += 1
        return self._requests > plan.after and (plan.most is None or self._faults < plan.most)


def _applies(kind: str, method: str, wanted: str) -> bool:
    match kind:
        case "ignored_range" | "wrong_range":
            return method == "GET" and bool(wanted)
        case "changed_etag":
            return method in ("GET", "HEAD")
        case "reset_in_body" | "cut" | "hung":
            return method == "GET"
    return True


def _file_name(target: str) -> str:
    """The end of the path and the query, without the ids that servers draw."""
    return _DRAWN.sub("", unquote(target)).rpartition("/")[2]


def plan_of(values: dict[str, Any]) -> Plan:
    """The plan of a decoded JSON object."""
    return Plan(**values | {"methods": tuple(values.get("methods", ()))})
