"""`python -m tests.support.storage.proxy --target URL [--port PORT]`, controlled by lines of JSON.

It writes `{"port": ...}`. Then it reads a command on each line of stdin, and answers on a line:
`{"plan": {...}, "seed": ...}`, `{"counts": null}` or `{"reset": null}`. It ends when stdin does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import resource
import sys
from typing import Any

from tests.support.storage.proxy.plan import plan_of
from tests.support.storage.proxy.session import Session
from tests.support.storage.proxy.shared import Shared

BACKLOG = 1024


def obey(shared: Shared, command: dict[str, Any]) -> Any:
    if "plan" in command:
        shared.set(plan_of(command["plan"]), command.get("seed", 0))
    elif "counts" in command:
        return shared.counts.as_json()
    elif "reset" in command:
        shared.counts.reset()
    else:
        raise ValueError(f"unknown command {command}")
    return {}


def say(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def serve(target: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    shared = Shared(target)
    server = await loop.create_server(
        lambda: Session(loop, shared), "127.0.0.1", port, backlog=BACKLOG
    )
    commands = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    say({"port": server.sockets[0].getsockname()[1]})
    while line := await commands.readline():
        say(obey(shared, json.loads(line)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="proxy", description=__doc__)
    parser.add_argument("--target", required=True, help="the URL of the server")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    arguments = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.freeze()
    asyncio.run(serve(arguments.target, arguments.port))


if __name__ == "__main__":
    main()
