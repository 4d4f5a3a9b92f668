"""Azurite, the Azure of the tests, of the npm package azurite (its blob service)."""

from __future__ import annotations

import base64
import copy
import hmac
import shutil
from collections.abc import Mapping
from email.utils import formatdate
from pathlib import Path
from typing import ClassVar

from tests.support.paths import ROOT
from tests.support.storage import process
from tests.support.storage.store import Bucket

# The account of every emulator, publicly known.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION = "2021-12-02"
MAIN = ROOT / ".servers" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


class Program(process.Program):
    name = "azurite"
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

    def answers(self, ports: list[int]) -> bool:
        return Azurite(ports[0], "probe").make()


class Azurite(Bucket):
    """A container of Azurite."""

    scheme = "az"
    put_headers: ClassVar[Mapping[str, str]] = {"x-ms-blob-type": "BlockBlob"}

    @property
    def options(self) -> dict[str, str]:
        return {
            "azure_storage_endpoint": f"{self.endpoint}/{ACCOUNT}",
            "azure_allow_http": "true",
            "azure_storage_account_name": ACCOUNT,
            "azure_storage_account_key": KEY,
        }

    def refused(self, name: str) -> tuple[str, dict[str, str]]:
        """In a container of its own that is not public, with another key."""
        private = copy.copy(self)
        private.bucket = f"{self.bucket}-private"
        private.make(public=False)
        wrong = base64.b64encode(b"another").decode()
        return private.url(name), self.options | {"azure_storage_account_key": wrong}

    def names(self, prefix: str = "") -> list[str]:
        return self._shortened(self._blobs({"prefix": self.prefix + prefix}))

    def uploads(self) -> int:
        """The number of blobs with blocks that no block list has."""
        names = self._blobs({"prefix": self.prefix, "include": "uncommittedblobs"})
        return sum(self._has_loose_blocks(name) for name in names)

    def _has_loose_blocks(self, name: str) -> bool:
        query = {"comp": "blocklist", "blocklisttype": "uncommitted"}
        response = self.call("GET", name, query).checked(200, 404)
        return response.status == 200 and response.xml().find("UncommittedBlocks/Block") is not None

    def _blobs(self, query: dict[str, str]) -> list[str]:
        query = {"restype": "container", "comp": "list"} | query
        return self._listed(query, "Blobs/Blob/Name", "NextMarker", "marker")

    def make(self, public: bool = True) -> bool:
        """Its blobs are public for the proxy, which breaks the signature of a request whose headers
        it changes.
        """
        headers = {"x-ms-blob-public-access": "blob"} if public else {}
        return self.call("PUT", "", {"restype": "container"}, headers=headers).status in (201, 409)

    def path(self, name: str) -> str:
        return f"/{ACCOUNT}{super().path(name)}"

    def signed(
        self, method: str, path: str, query: dict[str, str], headers: dict[str, str], length: int
    ) -> dict[str, str]:
        """The signature covers the headers that start with `x-ms-`, Range and If-Match; there can
        be no others.
        """
        headers = headers | {"x-ms-date": formatdate(usegmt=True), "x-ms-version": VERSION}
        authorization = _shared_key(method, path, query, headers, length)
        return headers | {"Authorization": authorization, "Content-Length": str(length)}


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
