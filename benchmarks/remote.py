"""Arrays behind a proxy that has the latency and the bandwidth of a network, and plain clients.

Rationale: nginx answers S3's GET requests for objects of a folder without looking at their
signatures. So the clients do all of their work, and the server little of what this machine can do.
A client of plain sockets shows what the machine, the server and the proxy bring together.

Limitations: all of them share the processors, so that the link can be slower than the plan says.
"""

import re
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from streams import WIDTH, write_rows

# The servers of the tests.
sys.path.append(str(Path(__file__).parents[1]))

from tests.support.storage import nginx, process
from tests.support.storage.proxy import Plan, Proxy

FIRST_BYTE, CONNECTION, LINK, CAP = 0.03, 100e6, 1e9, 5_500
PLAN = Plan(first_byte=FIRST_BYTE, connection_bandwidth=CONNECTION, bandwidth=LINK)
CAPPED = Plan(
    first_byte=FIRST_BYTE, connection_bandwidth=CONNECTION, bandwidth=LINK, request_rate=CAP
)
STALLING = Plan(
    first_byte=FIRST_BYTE, connection_bandwidth=CONNECTION, bandwidth=LINK, stalled=0.01, stall=1.0
)
BUCKET, NAME, SPARSE = "bucket", "rows.npy", "sparse.npy"
KEY, SECRET, REGION = "key", "secret", "us-east-1"

ROW = 4 * WIDTH
START = 128
"""Bytes of the header of an .npy file, before the rows."""
PIECE = 8 << 20
SPARSE_COUNT = 1 << 29
"""Rows of a file without data, 215 GB long: no two rows of a batch lie near each other."""

RETRIED = (429, 500, 503)
PAUSE = 0.05
"""Seconds before a plain client repeats a refused request."""

Span = tuple[int, int]


@dataclass(frozen=True)
class Remote:
    """Two objects of a bucket, behind the proxy: `NAME` and `SPARSE`."""

    path: Path
    """`NAME` as a local file."""
    count: int
    """Its number of rows."""
    proxy: Proxy

    @property
    def options(self) -> dict[str, str]:
        """Options for `tensorferry.open`."""
        return {
            "aws_endpoint": self.proxy.endpoint,
            "aws_allow_http": "true",
            "aws_access_key_id": KEY,
            "aws_secret_access_key": SECRET,
            "aws_region": REGION,
        }

    def url(self, name: str) -> str:
        """The URL for `tensorferry.open`."""
        return f"s3://{BUCKET}/{name}"

    @property
    def port(self) -> int:
        """The port of the proxy."""
        port = urlsplit(self.proxy.endpoint).port
        assert port is not None
        return port


@contextmanager
def remote(count: int) -> Iterator[Remote]:
    """The objects of a server that ends with the block. `NAME` has this many rows."""
    program = nginx.Program()
    if not program.installed():
        raise SystemExit(f"W16: {program.absent}")
    with TemporaryDirectory() as folder:
        running = process.use(program, Path(folder))
        try:
            path = running.data / "www" / BUCKET / NAME
            path.parent.mkdir()
            write_rows(path, count)
            _write_sparse(path.with_name(SPARSE))
            with Proxy(f"http://127.0.0.1:{running.ports[0]}", PLAN) as proxy:
                yield Remote(path, count, proxy)
        finally:
            running.close()


def _write_sparse(path: Path) -> None:
    head = {"descr": "<i4", "fortran_order": False, "shape": (SPARSE_COUNT, WIDTH)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, head)
        file.truncate(START + SPARSE_COUNT * ROW)


def pieces(count: int) -> list[Span]:
    """The bytes of as many rows of an object, in pieces of up to 8 MiB with whole rows."""
    step = PIECE // ROW * ROW
    end = START + count * ROW
    return [(start, min(start + step, end)) for start in range(START, end, step)]


def spans(rows: Iterable[int]) -> list[Span]:
    """The bytes of each of these rows."""
    return [(START + int(row) * ROW, START + (int(row) + 1) * ROW) for row in rows]


# ---- a client of plain sockets


def plain(found: Remote, name: str, wanted: Sequence[Span], connections: int) -> None:
    """Receives bytes of an object and drops them."""
    with ThreadPoolExecutor(connections) as pool:
        shares = [wanted[first::connections] for first in range(connections)]
        list(pool.map(lambda share: _on_one_connection(found.port, name, share), shares))


def _on_one_connection(port: int, name: str, wanted: Sequence[Span]) -> None:
    buffer = memoryview(bytearray(256 << 10))
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for start, end in wanted:
            head = f"GET /{BUCKET}/{name} HTTP/1.1\r\nHost: plain\r\nRange: bytes={start}-{end - 1}"
            while _status(connection, head.encode() + b"\r\n\r\n", buffer) in RETRIED:
                time.sleep(PAUSE)


def _status(connection: socket.socket, head: bytes, buffer: memoryview) -> int:
    """The status of a request, whose response is received to its end."""
    connection.sendall(head)
    answer = b""
    while (split := answer.find(b"\r\n\r\n")) < 0:
        part = connection.recv(16 << 10)
        if not part:
            raise ConnectionError("the proxy closed a connection")
        answer += part
    length = re.search(rb"(?i)content-length: *(\d+)", answer[:split])
    assert length is not None
    left = int(length[1]) - (len(answer) - split - 4)
    while left > 0:
        received = connection.recv_into(buffer[:left])
        if not received:
            raise ConnectionError("the proxy closed a connection")
        left -= received
    return int(answer.split(b" ", 2)[1])


# ---- obstore and NumPy


class Obstore:
    """What an expert writes by hand with obstore."""

    def __init__(self, found: Remote):
        from obstore.store import S3Store

        self._store = S3Store(
            BUCKET,
            endpoint=found.proxy.endpoint,
            access_key_id=KEY,
            secret_access_key=SECRET,
            region=REGION,
            client_options={"allow_http": True},
        )

    def one(self, name: str, span: Span) -> NDArray[np.int32]:
        """Rows of one request, without a copy."""
        import obstore

        received = obstore.get_range(self._store, name, start=span[0], end=span[1])
        return np.frombuffer(received, np.int32).reshape(-1, WIDTH)

    def together(self, name: str, wanted: Sequence[Span]) -> list[NDArray[np.int32]]:
        """Rows of one call, which has ten requests at a time. It joins adjacent ranges."""
        import obstore

        starts, ends = zip(*wanted, strict=True)
        received = obstore.get_ranges(self._store, name, starts=starts, ends=ends, coalesce=0)
        return [np.frombuffer(part, np.int32).reshape(-1, WIDTH) for part in received]

    def batches(self, name: str, wanted: Sequence[Span], size: int, pool: ThreadPoolExecutor):
        """Batches of rows in order. All requests are in the queue of the pool."""
        rest = np.empty((0, WIDTH), np.int32)
        for piece in pool.map(lambda span: self.one(name, span), wanted):
            rows = np.concatenate([rest, piece]) if len(rest) else piece
            whole = len(rows) // size * size
            yield from (rows[start : start + size] for start in range(0, whole, size))
            rest = rows[whole:]
        if len(rest):
            yield rest


# ---- measures


def processor_seconds(
    calls: Mapping[str, Callable[[], int]], *, repetitions: int
) -> dict[str, list[float]]:
    """This process's processor time per request. A call returns its number of requests."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for repetition in range(repetitions + 1):
        for name, call in calls.items():
            before = time.process_time()
            requests = call()
            taken = (time.process_time() - before) / requests
            if repetition > 0:  # the first is the warm-up
                found[name].append(taken)
    return found


def waits(batches: Iterable[object]) -> list[int]:
    """Nanoseconds until each batch came, sorted."""
    taken = []
    source = iter(batches)
    while True:
        start = time.perf_counter_ns()
        if next(source, None) is None:
            return sorted(taken)
        taken.append(time.perf_counter_ns() - start)
