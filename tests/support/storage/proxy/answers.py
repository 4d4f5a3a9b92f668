"""Responses of the proxy itself, as S3 would send them."""

from __future__ import annotations

REASONS = {
    412: ("Precondition Failed", "PreconditionFailed"),
    429: ("Too Many Requests", "TooManyRequests"),
    500: ("Internal Server Error", "InternalError"),
    503: ("Service Unavailable", "SlowDown"),
}


def answer(status: int, method: str, *, retry_after: int | None = None) -> bytes:
    reason, code = REASONS[status]
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>A fault of the proxy.</Message></Error>"
    )
    lines = [
        f"HTTP/1.1 {status} {reason}",
        "Content-Type: application/xml",
        f"Content-Length: {len(body)}",
    ]
    if retry_after is not None:
        lines.append(f"Retry-After: {retry_after}")
    return "\r\n".join([*lines, "", "" if method == "HEAD" else body]).encode()
