"""Azurite, the Azure of the tests, of the npm package azurite (its blob service)."""

from __future__ import annotations

import base64
import hmac
import shutil
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

from tests.support.paths import ROOT
from tests.support.storage.process import Running
from tests.support.storage.store import Response, Store, request

# The account of every emulator, publicly known.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION = "2021-12-02"
MAIN = ROOT / ".servers" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


class Program:
    name = "azurite"
    ports = 1
    absent = "Azurite is not installed: make servers, which needs npm"

    def installed(self) -> bool:
        return MAIN.exists() and shutil.which("node") is not None

    def command(self, data: Path, ports: list[int]) -> list[str]:
        return [
            str(shutil.which("node")),
            "--max-old-space-size=512",
            str(MAIN),
            "--blobHost=127.0.0.1",
            f"--blobPort={ports[0]}",
            f"--location={data}",
            "--silent",
            "--disableTelemetry",
            "--skipApiVersionCheck",
        ]

    def environment(self) -> dict[str, str]:
        return {}

    def remains(self, ports: list[int]) -> list[str]:
        return []

    def answers(self, ports: list[int]) -> bool:
        return Azurite(ports[0], "probe").make_container()


class Azurite(Store):
    """A container of Azurite."""

    def __init__(self, port: int, container: str):
        super().__init__(f"http://127.0.0.1:{port}")
        self.container = container

    @classmethod
    def of(cls, running: Running, container: str) -> Azurite:
        store = cls(running.ports[0], container)
        if not store.make_container():
            raise RuntimeError(f"Azurite did not make the container {container}")
        return store

    @property
    def options(self) -> dict[str, str]:
        return {
            "azure_storage_endpoint": f"{self.endpoint}/{ACCOUNT}",
            "azure_allow_http": "true",
            "azure_storage_account_name": ACCOUNT,
            "azure_storage_account_key": KEY,
        }

    def url(self, name: str) -> str:
        return f"az://{self.container}/{self.prefix}{name}"

    def refused(self, name: str) -> tuple[str, dict[str, str]]:
        wrong = base64.b64encode(b"another").decode()
        return self.url(name), self.options | {"azure_storage_account_key": wrong}

    def put(self, name: str, data: bytes) -> None:
        self.call("PUT", self.prefix + name, None, data, {"x-ms-blob-type": "BlockBlob"}).checked()

    def get(self, name: str) -> bytes:
        response = self.call("GET", self.prefix + name)
        if response.status == 404:
            raise FileNotFoundError(self.url(name))
        return response.checked(200).body

    def delete(self, name: str) -> None:
        self.call("DELETE", self.prefix + name).checked()

    def names(self, prefix: str = "") -> list[str]:
        return self._shortened(self._listed(self.prefix + prefix, ""))

    def uploads(self) -> int:
        """The number of blobs with blocks that no block list has."""
        names = self._listed(self.prefix, "uncommittedblobs")
        return sum(self._has_loose_blocks(name) for name in names)

    def _has_loose_blocks(self, name: str) -> bool:
        query = {"comp": "blocklist", "blocklisttype": "uncommitted"}
        response = self.call("GET", name, query).checked(200, 404)
        if response.status == 404:
            return False
        return ElementTree.fromstring(response.body).find("UncommittedBlocks/Block") is not None

    def _listed(self, prefix: str, include: str) -> list[str]:
        names: list[str] = []
        query = {"restype": "container", "comp": "list", "prefix": prefix}
        if include:
            query["include"] = include
        while True:
            page = ElementTree.fromstring(self.call("GET", "", query).checked(200).body)
            names += [str(name.text) for name in page.iterfind("Blobs/Blob/Name")]
            marker = page.findtext("NextMarker")
            if not marker:
                return names
            query["marker"] = marker

    def make_container(self) -> bool:
        """Its blobs are public for the proxy, which breaks the signature of a request whose headers
        it changes.
        """
        public = {"x-ms-blob-public-access": "blob"}
        return self.call("PUT", "", {"restype": "container"}, headers=public).status in (201, 409)

    def call(
        self,
        method: str,
        name: str,
        query: dict[str, str] | None = None,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Response:
        """A request for a blob, or for the container if `name` is empty. The signature covers the
        headers that start with `x-ms-`, Range and If-Match; there can be no others.
        """
        path = f"/{ACCOUNT}/{self.container}"
        path += f"/{quote(name, safe='/-_.~')}" if name else ""
        headers = dict(headers or {})
        headers |= {"x-ms-date": formatdate(usegmt=True), "x-ms-version": VERSION}
        headers["Authorization"] = _shared_key(method, path, query or {}, headers, len(body))
        headers["Content-Length"] = str(len(body))
        return request(self.server, method, path, query, headers, body)


def _shared_key(
    method: str, path: str, query: dict[str, str], headers: dict[str, str], length: int
) -> str:
    standard = ["", "", str(length or ""), "", "", "", "", headers.get("If-Match", ""), "", ""]
    lines = [method, *standard, headers.get("Range", "")]
    lines += [f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("x-ms-")]
    lines.append(f"/{ACCOUNT}{path}")
    lines += [f"{name}:{query[name]}" for name in sorted(query)]
    signature = hmac.digest(base64.b64decode(KEY), "\n".join(lines).encode(), "sha256")
    return f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}"
