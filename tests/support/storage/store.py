"""What the servers of the tests have in common: objects by name, as a plain client sees them."""

from __future__ import annotations

import copy
import http.client
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree

from tests.support.storage.process import Running


@dataclass
class Response:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def checked(self, *expected: int) -> Self:
        if self.status not in (expected or (200, 201, 202, 204, 206)):
            raise RuntimeError(f"HTTP status {self.status}: {self.body[:1000]!r}")
        return self

    def xml(self) -> ElementTree.Element:
        """The body, whose names are without their namespace."""
        return ElementTree.fromstring(re.sub(rb' xmlns="[^"]*"', b"", self.body))


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
        response = self.call("GET", self.prefix + name)
        if response.status == 404:
            raise FileNotFoundError(self.url(name))
        return response.checked(200).body

    def delete(self, name: str) -> None:
        raise NotImplementedError

    def names(self, prefix: str = "") -> list[str]:
        """The sorted names of all objects that start with `prefix`."""
        raise NotImplementedError

    def uploads(self) -> int:
        """The number of unfinished uploads: what an interrupted `save` may not leave behind."""
        return 0

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
        path = self.path(name)
        signed = self.signed(method, path, query or {}, headers or {}, len(body))
        return request(self.server, method, path, query, signed, body)

    def path(self, name: str) -> str:
        """The path of an object in the URL of a request, encoded."""
        raise NotImplementedError

    def signed(
        self, method: str, path: str, query: dict[str, str], headers: dict[str, str], length: int
    ) -> dict[str, str]:
        """The headers of a request whose body has that length."""
        return headers

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


class Bucket(Store):
    """A bucket or a container of a server."""

    scheme: str
    put_headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, port: int, bucket: str):
        super().__init__(f"http://127.0.0.1:{port}")
        self.bucket = bucket

    @classmethod
    def of(cls, running: Running, bucket: str) -> Self:
        """A new bucket. The last port is that of the service."""
        store = cls(running.ports[-1], bucket)
        if not store.make():
            raise RuntimeError(f"{cls.__name__} did not make the bucket {bucket}")
        return store

    def make(self) -> bool:
        """Makes the bucket on the server, and says whether it is there."""
        return self.call("PUT", "").status in (200, 409)

    def url(self, name: str) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}{name}"

    def put(self, name: str, data: bytes) -> None:
        self.call("PUT", self.prefix + name, None, data, dict(self.put_headers)).checked()

    def delete(self, name: str) -> None:
        self.call("DELETE", self.prefix + name).checked()

    def names(self, prefix: str = "") -> list[str]:
        query = {"list-type": "2", "prefix": self.prefix + prefix}
        return self._shortened(
            self._listed(query, "Contents/Key", "NextContinuationToken", "continuation-token")
        )

    def uploads(self) -> int:
        page = self.call("GET", "", {"uploads": ""}).checked(200).xml()
        keys = [key.text or "" for key in page.iterfind("Upload/Key")]
        return sum(key.startswith(self.prefix) for key in keys)

    def path(self, name: str) -> str:
        return f"/{self.bucket}/{quote(name, safe='/-_.~')}" if name else f"/{self.bucket}"

    def _listed(self, query: dict[str, str], found: str, mark: str, go_on: str) -> list[str]:
        """All pages of a list: texts of the elements `found`. The text of `mark` in one page is the
        parameter `go_on` of the next.
        """
        names: list[str] = []
        while True:
            page = self.call("GET", "", query).checked(200).xml()
            names += [str(name.text) for name in page.iterfind(found)]
            if not (text := page.findtext(mark)):
                return names
            query = query | {go_on: text}
