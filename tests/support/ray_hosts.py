"""A cluster of Ray with a node of one processor on each host. The head is on the first."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.support.hosts import NETWORK, Hosts, sweep

#: When a node is lost, with some patience, because machines are busy. The head looks after it every
#: half second: three looks in a row had no answer within two. A program that waits for a task on it
#: asks the worker every two seconds, not every five minutes: there was no answer within six.
PATIENCE = {
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_grpc_client_keepalive_time_ms": "2000",
    "RAY_grpc_client_keepalive_timeout_ms": "6000",
}

RAY = "from ray.scripts.scripts import main; main()"


def address(host: int) -> str:
    return f"{NETWORK}.{host + 1}"


class RayHosts:
    """The nodes; `start` runs a program on the host of the head, whose `ray.init` finds them."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        # A short name, because those of sockets may not be long.
        self.folder = Path(tempfile.mkdtemp(prefix="tf-"))
        self.environment = {
            "RAY_ADDRESS": f"{address(1)}:6379",
            "RAY_USAGE_STATS_ENABLED": "0",
            # A token for this cluster, whatever this machine has for others.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": uuid.uuid4().hex,
            **PATIENCE,
        }
        try:
            ended(self._node(1, "--head", "--port=6379", "--include-dashboard=false"))
            others = range(2, hosts.count + 1)
            for node in [self._node(host, f"--address={address(1)}:6379") for host in others]:
                ended(node)
        except BaseException:
            self.close()
            raise

    def _node(self, host: int, *options: str) -> Any:
        place = [f"--node-ip-address={address(host)}", f"--temp-dir={self.folder}/{host}"]
        size = ["--num-cpus=1", "--num-gpus=0", f"--object-store-memory={80 << 20}"]
        return self.hosts.start(host, RAY, ["start", *options, *place, *size], self.environment)

    def start(self, code: str, arguments: Sequence[object] = ()) -> Any:
        return self.hosts.start(1, code, arguments, self.environment)

    def close(self) -> None:
        sweep(self.hosts.namespaces)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ended(process: subprocess.Popen[bytes]) -> str:
    """What a process printed, when it has ended well."""
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed.decode()
    return printed.decode()
