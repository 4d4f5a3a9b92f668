"""The stub of Google Cloud Storage, as the tests use it."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

from tests.support.paths import ROOT
from tests.support.storage.gcs_server import TOKEN
from tests.support.storage.process import Running
from tests.support.storage.store import Response, Store, request


class Program:
    name = "gcs"
    ports = 1
    absent = "never: it is part of the tests"

    def installed(self) -> bool:
        return True

    def command(self, data: Path, ports: list[int]) -> list[str]:
        return [sys.executable, "-m", "tests.support.storage.gcs_server", str(ports[0])]

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(ROOT)}

    def remains(self, ports: list[int]) -> list[str]:
        return []

    def answers(self, ports: list[int]) -> bool:
        return Gcs(ports[0], "probe").make_bucket()


class Gcs(Store):
    """A bucket of the stub."""

    def __init__(self, port: int, bucket: str):
        super().__init__(f"http://127.0.0.1:{port}")
        self.bucket = bucket

    @classmethod
    def of(cls, running: Running, bucket: str) -> Gcs:
        store = cls(running.ports[0], bucket)
        if not store.make_bucket():
            raise RuntimeError(f"the stub of GCS did not make the bucket {bucket}")
        return store

    @property
    def options(self) -> dict[str, str]:
        return {
            "google_base_url": self.endpoint,
            "google_bearer_token": TOKEN,
            "allow_http": "true",
        }

    def url(self, name: str) -> str:
        return f"gs://{self.bucket}/{self.prefix}{name}"

    def refused(self, name: str) -> tuple[str, dict[str, str]]:
        return self.url(name), self.options | {"google_bearer_token": "another"}

    def put(self, name: str, data: bytes) -> None:
        self.call("PUT", self.prefix + name, body=data).checked()

    def get(self, name: str) -> bytes:
        response = self.call("GET", self.prefix + name)
        if response.status == 404:
            raise FileNotFoundError(self.url(name))
        return response.checked(200).body

    def delete(self, name: str) -> None:
        self.call("DELETE", self.prefix + name).checked()

    def names(self, prefix: str = "") -> list[str]:
        names: list[str] = []
        query = {"list-type": "2", "prefix": self.prefix + prefix}
        while True:
            page = ElementTree.fromstring(self.call("GET", "", query).checked(200).body)
            names += [str(key.text) for key in page.iterfind("Contents/Key")]
            token = page.findtext("NextContinuationToken")
            if not token:
                return self._shortened(names)
            query["continuation-token"] = token

    def uploads(self) -> int:
        page = ElementTree.fromstring(self.call("GET", "", {"uploads": ""}).checked(200).body)
        keys = [str(key.text) for key in page.iterfind("Upload/Key")]
        return sum(key.startswith(self.prefix) for key in keys)

    def make_bucket(self) -> bool:
        return self.call("PUT", "").status == 200

    def call(
        self,
        method: str,
        name: str,
        query: dict[str, str] | None = None,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Response:
        """A request for an object, or for the bucket if `name` is empty."""
        path = f"/{self.bucket}/{quote(name, safe='')}" if name else f"/{self.bucket}"
        authorized = {"Authorization": f"Bearer {TOKEN}"} | (headers or {})
        return request(self.server, method, path, query, authorized, body)
