"""Signatures of S3 requests (AWS Signature Version 4), with the body unsigned."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

UNSIGNED = "UNSIGNED-PAYLOAD"


def signed_headers(
    method: str,
    host: str,
    path: str,
    query: Mapping[str, str],
    others: Mapping[str, str],
    *,
    key: str,
    secret: str,
    region: str,
    now: datetime | None = None,
) -> dict[str, str]:
    """The headers of a request, which sign it. `path` is encoded already, `query` is not."""
    time = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    headers = {name.lower(): value for name, value in others.items()}
    headers |= {"host": host, "x-amz-content-sha256": UNSIGNED, "x-amz-date": time}
    names = ";".join(sorted(headers))
    pairs = sorted((quote(name, safe="-_.~"), quote(query[name], safe="-_.~")) for name in query)
    canonical = "\n".join(
        [
            method,
            path,
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            UNSIGNED,
        ]
    )
    scope = f"{time[:8]}/{region}/s3/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signing_key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")
    signature = hmac.digest(signing_key, to_sign.encode(), "sha256").hex()
    return headers | {
        "authorization": f"AWS4-HMAC-SHA256 Credential={key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    }
