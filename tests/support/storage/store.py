"""What the servers of the tests have in common: objects by name, as a plain client sees them."""

from __future__ import annotations

import copy
import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlencode, urlsplit


@dataclass
class Response:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def checked(self, *expected: int) -> Self:
        if self.status not in (expected or (200, 201, 202, 204, 206)):
            raise RuntimeError(f"HTTP status {self.status}: {self.body[:1000]!r}")
        return self


def request(
    endpoint: str,
    method: str,
    path: str,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Response:
    """One request on a connection of its own. `path` is encoded already, `query` is not."""
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=60)
    try:
        target = f"{path}?{urlencode(query)}" if query else path
        connection.request(method, target, body or None, dict(headers or {}))
        response = connection.getresponse()
        return Response(response.status, response.headers, response.read())
    finally:
        connection.close()


class Store:
    """A bucket, a container or a folder, or what lies under a prefix of it.

    `put`, `get`, `delete`, `names` and `uploads` go straight to the server. `url` and `options` are
    for the code under test, which may be sent `through` a proxy instead.
    """

    writable = True  # whether the code under test can write there
    listable = True  # whether it can list names there

    def __init__(self, endpoint: str):
        self.endpoint = endpoint
        self.server = endpoint
        self.prefix = ""

    @property
    def options(self) -> dict[str, str]:
        """`storage_options`, in the keys of object_store."""
        raise NotImplementedError

    def url(self, name: str) -> str:
        """The URL of an object. `name` is neither decoded nor encoded, except in http and file."""
        raise NotImplementedError

    def refused(self, name: str) -> tuple[str, dict[str, str]]:
        """A URL and options that the server answers with 401 or 403."""
        raise NotImplementedError

    def put(self, name: str, data: bytes) -> None:
        raise NotImplementedError

    def get(self, name: str) -> bytes:
        """The bytes of an object. FileNotFoundError if there is none."""
        raise NotImplementedError

    def delete(self, name: str) -> None:
        raise NotImplementedError

    def names(self, prefix: str = "") -> list[str]:
        """The sorted names of all objects that start with `prefix`."""
        raise NotImplementedError

    def uploads(self) -> int:
        """The number of unfinished uploads: what an interrupted `save` may not leave behind."""
        raise NotImplementedError

    def call(
        self,
        method: str,
        name: str,
        query: dict[str, str] | None = None,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Response:
        """A request, signed as the server wants it. `name` includes the prefix; without a name, the
        request is for the bucket.
        """
        raise NotImplementedError

    def under(self, prefix: str) -> Self:
        """The objects whose names start with `prefix`, without it."""
        inner = copy.copy(self)
        inner.prefix = self.prefix + prefix
        return inner

    def through(self, endpoint: str) -> Self:
        """The same objects, with URLs and options that lead through the proxy at `endpoint`."""
        other = copy.copy(self)
        other.endpoint = endpoint
        return other

    def _shortened(self, names: list[str]) -> list[str]:
        return sorted(name.removeprefix(self.prefix) for name in names)
