"""Requests and responses that the proxy does not pass on as they are."""

from __future__ import annotations

import re

from tests.support.storage.proxy.framing import Head

# They cover the headers that are changed. The servers let anonymous requests read.
SIGNATURES = (b"aws4-hmac", b"sharedkey")
SIGNED = (b"authorization", b"x-amz-[a-z0-9-]+")


def request_head(head: Head, kind: str | None, ignore_if_match: bool) -> Head:
    """The head of a GET or HEAD as the server gets it."""
    changed = head
    if ignore_if_match and b"\r\nif-match:" in head.lower:
        changed = changed.without(b"if-match")
    if kind == "ignored_range":
        changed = changed.without(b"range")
    elif kind == "wrong_range":
        changed = changed.replaced(b"range", other_range(head.get(b"range") or b""))
    signature = head.get(b"authorization") or b""
    if changed is not head and signature.lower().startswith(SIGNATURES):
        changed = changed.without(*SIGNED)
    return changed


def other_range(wanted: bytes) -> bytes:
    """A range beside the one that is wanted."""
    found = re.fullmatch(rb"bytes=(\d*)-(\d*)", wanted)
    if found is None:
        return wanted
    first, last = found.groups()
    if not first:  # the last bytes of an object
        return b"bytes=-%d" % (int(last) + 1)
    start, end = int(first), int(last) if last else None
    if start > 0:
        return b"bytes=%d-%s" % (start - 1, b"" if end is None else b"%d" % (end - 1))
    return b"bytes=1-" + last if end is None or end > 0 else b"bytes=0-1"


def response_head(head: Head, kind: str | None) -> Head:
    etag = head.get(b"etag")
    if kind != "changed_etag" or etag is None:
        return head
    return head.replaced(b"etag", etag.rstrip(b'"') + b'-changed"')
