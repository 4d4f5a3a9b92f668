"""A stub of Google Cloud Storage: `python -m tests.support.storage.gcs_server PORT`.

It serves what object_store sends: objects and lists of the XML API, conditions, copies and
multipart uploads. No server that can be installed takes these uploads.
"""

from __future__ import annotations

import re
import sys
import threading
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.support.storage.gcs_bucket import Bucket, Refusal, Stored

TOKEN = "the-token-of-the-tests"
MOST_KEYS = 1000


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int):
        super().__init__(("127.0.0.1", port), Handler)
        self.buckets: dict[str, Bucket] = {}
        self.lock = threading.Lock()

    def bucket(self, name: str, create: bool) -> Bucket:
        with self.lock:
            if create:
                self.buckets.setdefault(name, Bucket())
            if name not in self.buckets:
                raise Refusal(404, "NoSuchBucket")
            return self.buckets[name]


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the head and the body are sent one after the other

    def do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        split = urlsplit(self.path)
        query = dict(parse_qsl(split.query, keep_blank_values=True))
        bucket, _, name = split.path.lstrip("/").partition("/")
        try:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Refusal(401, "AuthenticationRequired")
            create = self.command == "PUT" and not name
            objects = self.server.bucket(unquote(bucket), create)
            if name:
                self.of_object(objects, unquote(name), query, body)
            else:
                self.of_bucket(objects, query)
        except Refusal as refusal:
            self.send(refusal.status, xml("Error", f"<Code>{refusal.code}</Code>"))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do

    def of_bucket(self, bucket: Bucket, query: dict[str, str]) -> None:
        if self.command == "PUT":
            self.send(200)
        elif "uploads" in query:
            uploads = "".join(
                f"<Upload><Key>{escape(name)}</Key><UploadId>{identity}</UploadId></Upload>"
                for name, identity in bucket.uploads()
            )
            self.send(200, xml("ListMultipartUploadsResult", uploads))
        else:
            self.send(200, listing(bucket, query))

    def of_object(self, bucket: Bucket, name: str, query: dict[str, str], body: bytes) -> None:
        content_type = self.headers.get("Content-Type", "application/octet-stream")
        upload = query.get("uploadId")
        match self.command:
            case "GET" | "HEAD":
                self.send_object(bucket.get(name), query.get("generation"))
            case "PUT" if upload is not None:
                etag = bucket.put_part(upload, int(query["partNumber"]), body)
                self.send(200, headers={"ETag": etag})
            case "PUT":
                if "x-goog-copy-source" in self.headers:
                    body = self.copied()
                condition = self.headers.get("x-goog-if-generation-match")
                stored = bucket.put(name, body, content_type, condition)
                self.send(200, headers=described(stored))
            case "POST" if upload is not None:
                stored = bucket.complete_upload(upload, parts(body))
                etag = f"<ETag>{escape(stored.etag)}</ETag>"
                self.send(200, xml("CompleteMultipartUploadResult", etag), described(stored))
            case "POST":
                identity = bucket.start_upload(name, content_type)
                identity = f"<UploadId>{identity}</UploadId>"
                self.send(200, xml("InitiateMultipartUploadResult", identity))
            case _ if upload is not None:
                bucket.abort_upload(upload)
                self.send(204)
            case _:
                bucket.delete(name)
                self.send(204)

    def copied(self) -> bytes:
        source = unquote(self.headers["x-goog-copy-source"]).lstrip("/")
        bucket, _, name = source.partition("/")
        return self.server.bucket(bucket, create=False).get(name).data

    def send_object(self, stored: Stored, generation: str | None) -> None:
        if generation is not None and int(generation) != stored.generation:
            raise Refusal(404, "NoSuchKey")
        if not matches(self.headers.get("If-Match"), stored.etag, absent=True):
            raise Refusal(412, "PreconditionFailed")
        if matches(self.headers.get("If-None-Match"), stored.etag, absent=False):
            self.send(304, headers=described(stored))
            return
        length = len(stored.data)
        wanted = ranged(self.headers.get("Range"), length)
        headers = described(stored) | {"Content-Type": stored.content_type}
        if wanted is None:
            self.send(200, stored.data, headers)
        elif wanted:
            headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{length}"
            part = memoryview(stored.data)[wanted.start : wanted.stop]
            self.send(206, part, headers)
        else:
            raise Refusal(416, "InvalidRange")

    def send(
        self, status: int, body: bytes | memoryview = b"", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are not logged."""


def listing(bucket: Bucket, query: dict[str, str]) -> bytes:
    after = max(query.get("continuation-token", ""), query.get("start-after", ""))
    most = min(int(query.get("max-keys", MOST_KEYS)), MOST_KEYS)
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    found, folders, token = bucket.listing(prefix, delimiter, after, most)
    text = f"<IsTruncated>{str(token is not None).lower()}</IsTruncated>"
    if token is not None:
        text += f"<NextContinuationToken>{escape(token)}</NextContinuationToken>"
    for name, stored in found:
        modified = parsedate_to_datetime(stored.modified).astimezone(UTC)
        text += (
            f"<Contents><Key>{escape(name)}</Key><Size>{len(stored.data)}</Size>"
            f"<LastModified>{modified:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
            f"<ETag>{escape(stored.etag)}</ETag></Contents>"
        )
    for folder in folders:
        text += f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
    return xml("ListBucketResult", text)


def xml(root: str, content: str) -> bytes:
    return f"<?xml version='1.0' encoding='UTF-8'?><{root}>{content}</{root}>".encode()


def described(stored: Stored) -> dict[str, str]:
    return {
        "ETag": stored.etag,
        "Last-Modified": stored.modified,
        "x-goog-generation": str(stored.generation),
        "Accept-Ranges": "bytes",
    }


def matches(condition: str | None, etag: str, *, absent: bool) -> bool:
    if condition is None:
        return absent
    return condition.strip() == "*" or etag in [one.strip() for one in condition.split(",")]


def ranged(header: str | None, length: int) -> range | None:
    """What a Range header asks for; empty if it cannot be given, None if it asks for all."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return range(max(0, length - int(last)), length)
    return range(int(first), min(int(last) + 1 if last else length, length))


def parts(body: bytes) -> list[tuple[int, str]]:
    """The numbers and ETags of the parts that complete an upload."""
    try:
        return [
            (int(part.findtext("PartNumber") or 0), part.findtext("ETag") or "")
            for part in ElementTree.fromstring(body).iterfind("Part")
        ]
    except ElementTree.ParseError:
        raise Refusal(400, "MalformedXML") from None


if __name__ == "__main__":
    Server(int(sys.argv[1])).serve_forever()
