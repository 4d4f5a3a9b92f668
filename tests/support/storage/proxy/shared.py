"""What the connections of the proxy share: the server, the plan, the limits and the counts."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from tests.support.storage.proxy.pacing import Link, Rate
from tests.support.storage.proxy.plan import Draws, Plan


class Shared:
    def __init__(self, target: str):
        split = urlsplit(target)
        self.host = split.hostname or "127.0.0.1"
        self.port = split.port or 80
        self.counts = Counts()
        self.set(Plan(), 0)

    def set(self, plan: Plan, seed: int) -> None:
        self.plan = plan
        self.draws = Draws(plan, seed)
        self.rate = Rate(plan.request_rate) if plan.request_rate else None
        self.down = Link(plan.bandwidth) if plan.bandwidth else None
        self.up = Link(plan.bandwidth) if plan.bandwidth else None


class Counts:
    """What happened; see `Proxy.counts`."""

    def __init__(self) -> None:
        self.under_way = 0
        self.reset()

    def reset(self) -> None:
        self.methods: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()
        self.sent = 0
        self.received = 0
        self.connections = 0
        self.most_under_way = self.under_way

    def began(self, method: str) -> None:
        self.methods[method] += 1
        self.under_way += 1
        if self.under_way > self.most_under_way:
            self.most_under_way = self.under_way

    def as_json(self) -> dict[str, Any]:
        return {"requests": self.methods.total(), **vars(self)}
