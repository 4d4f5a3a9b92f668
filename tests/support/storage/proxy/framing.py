"""HTTP/1.1 messages on the wire: heads, and where bodies end."""

from __future__ import annotations

import re

END = b"\r\n\r\n"
LONGEST_HEAD = 64 << 10


class Malformed(Exception):
    """Bytes that are not HTTP/1.1."""


class Head:
    """The head of a request or a response, and questions about its headers."""

    __slots__ = ("lower", "raw")

    def __init__(self, raw: bytes):
        self.raw = raw
        self.lower = raw.lower()

    def get(self, name: bytes) -> bytes | None:
        """The value of a header; `name` is in lower case."""
        start = self.lower.find(b"\r\n" + name + b":")
        if start < 0:
            return None
        start += len(name) + 3
        return self.raw[start : self.raw.index(b"\r\n", start)].strip()

    def without(self, *names: bytes) -> Head:
        raw = self.raw
        for name in names:
            raw = re.sub(rb"(?i)\r\n" + name + rb":[^\r]*", b"", raw)
        return Head(raw)

    def replaced(self, name: bytes, value: bytes) -> Head:
        """With another value of a header that it has."""
        found = rb"(?i)(\r\n" + name + rb": *)[^\r]*"
        return Head(re.sub(found, lambda match: match[1] + value, self.raw, count=1))


class Fixed:
    """A body of known length."""

    __slots__ = ("left", "length")

    def __init__(self, length: int):
        self.length: int | None = length
        self.left = length

    @property
    def done(self) -> bool:
        return self.left == 0

    def take(self, data: bytes) -> int:
        """How many of these bytes belong to the body."""
        taken = min(len(data), self.left)
        self.left -= taken
        return taken


class UntilClosed:
    """A body that ends with its connection."""

    length = None
    done = False

    def take(self, data: bytes) -> int:
        return len(data)


class Chunked:
    """A body of chunks. The bytes are passed on as they are."""

    length = None

    def __init__(self) -> None:
        self.done = False
        self._line = b""  # the part of a line that has arrived
        self._left = 0  # bytes of the chunk, with its line end
        self._trailer = False

    def take(self, data: bytes) -> int:
        at = 0
        while at < len(data) and not self.done:
            if self._left:
                skipped = min(self._left, len(data) - at)
                self._left -= skipped
                at += skipped
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._line += data[at:]
                return len(data)
            self._end_of_line(self._line + data[at:end])
            self._line = b""
            at = end + 1
        return at

    def _end_of_line(self, line: bytes) -> None:
        line = line.strip()
        if self._trailer:
            self.done = not line
            return
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            raise Malformed(f"the size of a chunk is {line!r}") from None
        if size == 0:
            self._trailer = True
        else:
            self._left = size + 2


Body = Fixed | Chunked | UntilClosed


def request_body(head: Head) -> Body:
    if b"\r\ntransfer-encoding:" in head.lower:
        return Chunked()
    return Fixed(int(head.get(b"content-length") or 0))


def response_body(head: Head, method: str, status: int) -> Body:
    if method == "HEAD" or status in (204, 304):
        return Fixed(0)
    if b"\r\ntransfer-encoding:" in head.lower:
        return Chunked()
    length = head.get(b"content-length")
    return UntilClosed() if length is None else Fixed(int(length))


def closes(head: Head) -> bool:
    """Whether the connection ends after this message."""
    connection = (head.get(b"connection") or b"").lower()
    if b"HTTP/1.0" in head.raw[: head.raw.find(b"\r\n")]:
        return connection != b"keep-alive"
    return connection == b"close"
