"""A reverse proxy with faults: `Proxy(store.server, Plan(cut=0.1))`.

It runs in a process of its own, so that it does not compete for the GIL of the code under test, and
ends with the test process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from tests.support.paths import ROOT
from tests.support.storage.proxy.plan import Plan

__all__ = ["Plan", "Proxy"]


class Proxy:
    """The proxy in front of a server. `endpoint` is its URL: see `Store.through`."""

    def __init__(self, target: str, plan: Plan | None = None, *, seed: int = 0):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.storage.proxy", "--target", target, "--port=0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            start_new_session=True,  # Ctrl-C is for the tests
        )
        self.endpoint = f"http://127.0.0.1:{self._answer()['port']}"
        self.set(plan or Plan(), seed=seed)

    def set(self, plan: Plan, *, seed: int = 0) -> None:
        """Changes what befalls the requests from now on."""
        self._ask({"plan": asdict(plan), "seed": seed})

    def counts(self) -> dict[str, Any]:
        """What happened since the start or the last `reset`:

        * `requests`, `methods` and `statuses`: how many, by method, and by the status sent.
        * `faults`: how many of each kind befell a request.
        * `sent` and `received`: bytes of response and request bodies.
        * `under_way` and `most_under_way`: unanswered requests, now and at most.
        * `connections`: accepted ones.
        """
        counts: dict[str, Any] = self._ask({"counts": None})
        counts["statuses"] = {int(status): count for status, count in counts["statuses"].items()}
        return counts

    def reset(self) -> None:
        """Counts from zero."""
        self._ask({"reset": None})

    def close(self) -> None:
        """Ends the proxy and all its connections."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, command: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the proxy exited with status {self.process.wait()}")
        return json.loads(line)
