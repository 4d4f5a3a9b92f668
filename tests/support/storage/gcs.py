"""The stub of Google Cloud Storage, as the tests use it."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import quote

from tests.support.paths import ROOT
from tests.support.storage import process
from tests.support.storage.gcs_server import TOKEN
from tests.support.storage.store import Bucket


class Program(process.Program):
    name = "gcs"
    absent = "never: it is part of the tests"

    def installed(self) -> bool:
        return True

    def command(self, data: Path, ports: list[int]) -> list[str]:
        return [sys.executable, "-m", "tests.support.storage.gcs_server", str(ports[0])]

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(ROOT)}

    def answers(self, ports: list[int]) -> bool:
        return Gcs(ports[0], "probe").make()


class Gcs(Bucket):
    """A bucket of the stub."""

    scheme = "gs"

    @property
    def options(self) -> dict[str, str]:
        return {
            "google_base_url": self.endpoint,
            "google_bearer_token": TOKEN,
            "allow_http": "true",
        }

    def refused(self, name: str) -> tuple[str, dict[str, str]]:
        return self.url(name), self.options | {"google_bearer_token": "another"}

    def path(self, name: str) -> str:
        return f"/{self.bucket}/{quote(name, safe='')}" if name else f"/{self.bucket}"

    def signed(
        self, method: str, path: str, query: dict[str, str], headers: dict[str, str], length: int
    ) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKEN}"} | headers
