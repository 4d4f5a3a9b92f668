"""Credentials of AWS profiles: what boto3 finds in ``~/.aws``, of single sign-on included."""

from __future__ import annotations

import os
from typing import Any

#: The session of each profile. It renews credentials that expire.
_sessions: dict[str | None, Any] = {}


def _files() -> list[str]:
    """Where profiles are."""
    named = {"AWS_CONFIG_FILE": "config", "AWS_SHARED_CREDENTIALS_FILE": "credentials"}
    default = os.path.join(os.path.expanduser("~"), ".aws")
    return [os.environ.get(name) or os.path.join(default, file) for name, file in named.items()]


def credentials(profile: str | None) -> tuple[str, str, str | None] | None:
    """Access key, secret key and token of a profile, None for the default one. None if there are
    none, or boto3 is not installed and no profile was asked for.

    Raises:
        ImportError: a profile was asked for, and boto3 is not installed.
    """
    if profile is None and not any(map(os.path.exists, _files())):
        return None  # boto3 would look on the network next, as the library does by itself
    try:
        import boto3  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        if profile is None:
            return None
        raise ImportError(
            f"the AWS profile {profile!r} is read by boto3: pip install boto3. Or set "
            "aws_access_key_id and aws_secret_access_key."
        ) from None
    session = _sessions.get(profile)
    if session is None:
        session = _sessions[profile] = boto3.Session(profile_name=profile)
    found = session.get_credentials()
    if found is None:
        return None
    now = found.get_frozen_credentials()
    return now.access_key, now.secret_key, now.token
