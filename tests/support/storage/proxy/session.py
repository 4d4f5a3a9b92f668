"""A connection of a client, with the connection to the server that belongs to it.

They live and die together, so a client sees its connection close when the server closes it. At
most one request is under way on a connection; what a client sends before the answer waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from tests.support.storage.proxy import answers, changes, framing
from tests.support.storage.proxy.flow import Flow
from tests.support.storage.proxy.framing import Body, Head
from tests.support.storage.proxy.pacing import Link
from tests.support.storage.proxy.shared import Shared

NO_LINGER = struct.pack("ii", 1, 0)
WRITE_BUFFER = 1 << 20
UNKNOWN_LENGTH = 64 << 10  # where in a body of unknown length a fault comes at the latest
IN_BODY = ("reset_in_body", "cut", "hung")
ANSWERS = {"throttled": 429, "unavailable": 503, "failed": 500}


class Session(asyncio.Protocol):
    """The client's side, and the state of the request under way."""

    client: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop, shared: Shared):
        self.loop = loop
        self.shared = shared
        self.counts = shared.counts
        self.server: asyncio.Transport | None = None
        self.connecting: asyncio.Task[object] | None = None
        self.unsent: list[bytes] = []  # for the server, until it is connected
        self.pending = b""  # of the client, not looked at
        self.partial = b""  # of the response's head
        self.over = False  # the client's connection is closed, or hangs
        self.broken = False  # the response is broken off by a fault
        self.held = [False, False]  # the server's side: by the pace, by a slow client
        self.busy = False

    # ---- the client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.client = transport
        transport.set_write_buffer_limits(WRITE_BUFFER)
        self.counts.connections += 1

    def data_received(self, data: bytes) -> None:
        if self.busy and self.request is not None:
            self._request_bytes(data)
            return
        self.pending = self.pending + data if self.pending else data
        if not self.busy:
            self._next_request()
        elif len(self.pending) > framing.LONGEST_HEAD:
            self.client.pause_reading()

    def pause_writing(self) -> None:
        self._hold_server(1, True)

    def resume_writing(self) -> None:
        self._hold_server(1, False)

    def connection_lost(self, error: Exception | None) -> None:
        self._end()
        if self.busy:
            self.busy = False
            self.counts.under_way -= 1
            self.down.stop()
            self.up.stop()

    # ---- a request

    def _next_request(self) -> None:
        end = self.pending.find(framing.END)
        if end < 0:
            if len(self.pending) > framing.LONGEST_HEAD:
                self._reset()
            return
        head = Head(self.pending[: end + 4])
        rest = self.pending[end + 4 :]
        self.pending = b""
        try:
            method, target, _ = head.raw[: head.raw.find(b"\r\n")].decode("latin-1").split(" ")
            self.request: Body | None = framing.request_body(head)
        except ValueError:
            self._reset()
            return
        self._begin(head, method, target)
        if not self.over:
            self._request_bytes(rest)

    def _begin(self, head: Head, method: str, target: str) -> None:
        shared = self.shared
        self.busy = True
        self.method = method
        self.counts.began(method)
        wanted = head.get(b"range")
        self.fate = shared.draws.fate(method, target, wanted.decode("latin-1") if wanted else "")
        self.due = self.loop.time() + self.fate.delay if self.fate.delay else 0.0
        self.closing = framing.closes(head)
        self.response: Body | None = None
        self.stop_after: int | None = None
        self.down = Flow(self.loop, self._links(shared.down), self.client.write, self._hold_down)
        self.up = Flow(self.loop, self._links(shared.up), self._to_server, self.hold_client)
        if self.fate.stalled:
            self.counts.faults["stalled"] += 1
        if self.fate.kind == "reset":
            self._fault_reset()
            return
        self.answer = self._own_answer(head)
        if self.answer is not None:
            self.closing = self.closing or b"\r\nexpect:" in head.lower
            if self.closing:
                self.request = framing.Fixed(0)
        else:
            self._forward(head)

    def _links(self, of_all: Link | None) -> list[Link]:
        rate = self.shared.plan.connection_bandwidth
        links = [Link(rate)] if rate else []
        return [*links, of_all] if of_all else links

    def _own_answer(self, head: Head) -> bytes | None:
        """The answer of the proxy, if the server does not get the request."""
        kind, plan = self.fate.kind, self.shared.plan
        if self.shared.rate is not None and not self.shared.rate.allows(self.loop.time()):
            self.counts.faults["slow_down"] += 1
            return self._counted(503)
        if kind in ANSWERS:
            self.counts.faults[kind] += 1
            return self._counted(ANSWERS[kind], plan.retry_after if kind == "throttled" else None)
        if kind == "changed_etag" and b"\r\nif-match:" in head.lower and not plan.ignore_if_match:
            self.counts.faults[kind] += 1
            return self._counted(412)
        return None

    def _counted(self, status: int, retry_after: int | None = None) -> bytes:
        self.counts.statuses[status] += 1
        return answers.answer(status, self.method, retry_after=retry_after)

    def _forward(self, head: Head) -> None:
        kind = self.fate.kind
        if self.method in ("GET", "HEAD"):
            head = changes.request_head(head, kind, self.shared.plan.ignore_if_match)
        if kind in ("ignored_range", "wrong_range"):
            self.counts.faults[kind] += 1
        self._to_server(head.raw)

    def _request_bytes(self, data: bytes) -> None:
        """Takes the body; what follows it belongs to the next request."""
        assert self.request is not None
        try:
            taken = self.request.take(data) if data else 0
        except framing.Malformed:
            self._reset()
            return
        if taken:
            self.counts.received += taken
            if self.answer is None:
                self.up.send(data if taken == len(data) else data[:taken])
        if self.request.done:
            self.request = None
            self.pending = data[taken:]
            if self.answer is not None:
                self._send_at_due(self.answer)
                self.down.then(self._done)

    # ---- the server

    def _to_server(self, data: bytes) -> None:
        if self.server is not None:
            self.server.write(data)
            return
        self.unsent.append(data)
        if self.connecting is None:
            self.connecting = self.loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await self.loop.create_connection(
                lambda: ServerSide(self), self.shared.host, self.shared.port
            )
        except OSError:
            self.counts.faults["unreachable"] += 1
            self._reset()

    def server_connected(self, transport: asyncio.Transport) -> None:
        self.connecting = None
        if self.over:
            transport.abort()
            return
        self.server = transport
        transport.set_write_buffer_limits(WRITE_BUFFER)
        transport.writelines(self.unsent)
        self.unsent.clear()

    def server_lost(self) -> None:
        self.server = None
        if self.over or self.broken:
            return
        if not self.busy:
            self.client.close()
        elif isinstance(self.response, framing.UntilClosed):
            self.closing = True
            self.down.then(self._done)
        elif self.response is not None and self.response.done:
            self.closing = True  # the rest of the body is still on its way to the client
        else:
            self.down.then(self.client.close)

    def from_server(self, data: bytes) -> None:
        if self.over or self.broken:
            return
        if not self.busy:
            self._reset()
            return
        try:
            if self.response is None:
                self._response_head(data)
            else:
                self._response_bytes(data)
        except (framing.Malformed, ValueError):
            self._reset()

    def _response_head(self, data: bytes) -> None:
        data = self.partial + data if self.partial else data
        end = data.find(framing.END)
        if end < 0:
            self.partial = data
            return
        self.partial = b""
        head, rest = Head(data[: end + 4]), data[end + 4 :]
        status = int(head.raw[9:12])
        if status < 200:  # such as 100 Continue; the response follows
            self.client.write(head.raw)
            if rest:
                self._response_head(rest)
            return
        if self.fate.kind == "lost":
            self._fault_reset()
            return
        self.counts.statuses[status] += 1
        self.response = framing.response_body(head, self.method, status)
        self.closing = self.closing or framing.closes(head)
        changed = changes.response_head(head, self.fate.kind)
        if changed is not head:
            self.counts.faults["changed_etag"] += 1
        self._place_fault()
        if changed is head and self.stop_after is None and self.response.take(rest) == len(rest):
            self.counts.sent += len(rest)
            self._send_at_due(data)
            if self.response.done:
                self.down.then(self._done)
            return
        self._send_at_due(changed.raw)
        self._response_bytes(rest)

    def _place_fault(self) -> None:
        assert self.response is not None
        if self.fate.kind in IN_BODY and not self.response.done:
            length = self.response.length
            known = UNKNOWN_LENGTH if length is None else length
            self.stop_after = int(self.fate.position * known)

    def _response_bytes(self, data: bytes) -> None:
        assert self.response is not None
        taken = self.response.take(data)
        if taken < len(data):
            raise framing.Malformed("bytes after a response")
        if self.stop_after is not None and taken > self.stop_after:
            data = data[: self.stop_after]
            self.counts.sent += len(data)
            self.down.send(data)
            self.broken = True
            self._drop_server()
            self.down.then(self._fault_in_body)
            return
        if self.stop_after is not None:
            self.stop_after -= taken
        self.counts.sent += taken
        if taken:
            self.down.send(data)
        if self.response.done:
            self.down.then(self._done)

    def _send_at_due(self, data: bytes) -> None:
        if self.due:
            self.down.wait_until(self.due)
        self.down.send(data)

    # ---- the end of a request, and of the connection

    def _done(self) -> None:
        self.busy = False
        self.counts.under_way -= 1
        if self.closing or self.request is not None:
            self.client.close()
            self._end()
        elif self.pending:
            self.client.resume_reading()
            self._next_request()

    def _fault_reset(self) -> None:
        assert self.fate.kind is not None
        self.counts.faults[self.fate.kind] += 1
        self._reset()

    def _fault_in_body(self) -> None:
        kind = self.fate.kind
        if kind == "reset_in_body":
            self._fault_reset()
            return
        assert kind is not None
        self.counts.faults[kind] += 1
        if kind == "cut":
            self.client.close()
            self._end()
        else:
            self.over = True  # until the client closes the connection

    def _reset(self) -> None:
        with contextlib.suppress(OSError):
            self.client.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER
            )
        self.client.abort()
        self._end()

    def _end(self) -> None:
        self.over = True
        self._drop_server()

    def _drop_server(self) -> None:
        if self.connecting is not None:
            self.connecting.cancel()
        if self.server is not None:
            self.server.abort()

    # ---- who waits for whom

    def _hold_down(self, hold: bool) -> None:
        self._hold_server(0, hold)

    def _hold_server(self, reason: int, hold: bool) -> None:
        self.held[reason] = hold
        if self.server is None:
            return
        if any(self.held):
            self.server.pause_reading()
        else:
            self.server.resume_reading()

    def hold_client(self, hold: bool) -> None:
        if hold:
            self.client.pause_reading()
        else:
            self.client.resume_reading()


class ServerSide(asyncio.Protocol):
    """The server's side, which has no state of its own."""

    def __init__(self, session: Session):
        self.session = session

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.session.server_connected(transport)

    def data_received(self, data: bytes) -> None:
        self.session.from_server(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.session.server_lost()

    def pause_writing(self) -> None:
        self.session.hold_client(True)

    def resume_writing(self) -> None:
        self.session.hold_client(False)
