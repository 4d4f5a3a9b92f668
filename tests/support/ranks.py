"""Processes of one job on this machine, which meet on the loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.paths import ROOT

#: Variables that would put a process into a job of the machine that runs the tests.
JOB = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "TF_CONFIG")


def without_job() -> dict[str, str]:
    """The environment, outside of any job; `tests` can be imported in it."""
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    kept = {name: value for name, value in os.environ.items() if name not in JOB}
    return {**kept, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"}


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that were free a moment ago."""
    places = [socket.socket() for _ in range(count)]
    for place in places:
        place.bind(("127.0.0.1", 0))
    ports = [place.getsockname()[1] for place in places]
    for place in places:
        place.close()
    return ports


def tf_configs(**members: int) -> list[dict[str, str]]:
    """The variables of each process of a cluster, given the number of members of each kind."""
    ports = iter(free_ports(sum(members.values())))
    cluster = {
        kind: [f"127.0.0.1:{next(ports)}" for _ in range(count)] for kind, count in members.items()
    }
    return [
        {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}
        for kind, count in members.items()
        for index in range(count)
    ]


def run_together(
    code: str,
    arguments: Sequence[Sequence[object]],
    environments: Sequence[Mapping[str, str]] | None = None,
    timeout: float = 240,
) -> list[Any]:
    """Runs the code in a process for each list of arguments, all at the same time, and returns the
    JSON that each printed last.
    """
    extra = environments or [{}] * len(arguments)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), *map(str, given)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**without_job(), **variables},
        )
        for given, variables in zip(arguments, extra, strict=True)
    ]
    try:
        printed = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    status = [process.returncode for process in processes]
    assert set(status) == {0}, f"exit statuses {status}\n" + "\n".join(
        err[-3000:] for _, err in printed
    )
    return [json.loads(out.splitlines()[-1]) for out, _ in printed]
