"""How the stores of URLs are reached, as ``open`` and ``save`` take it."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from typing import Any, SupportsIndex, TypeAlias

from tensorferry import _arguments, errors
from tensorferry._typing import Path, StorageOptions

#: What ``_internal`` takes: settings by name, and the folder and bytes of a cache.
Storage: TypeAlias = tuple[dict[str, str], tuple[str, int] | None] | None

#: Bytes of a cache for which none are given.
_CACHE_BYTES = 64 << 30


def storage(
    stage: str,
    options: StorageOptions | None,
    cache: Path | None = None,
    cache_bytes: SupportsIndex | None = None,
) -> Storage:
    """The options in the form that ``_internal`` takes."""
    if options is None and cache is None and cache_bytes is None:
        return None
    return _settings(stage, options), _cache(stage, cache, cache_bytes)


def destination(
    stage: str, options: StorageOptions | None, overwrite: bool | None
) -> tuple[Storage, bool | None]:
    """How a file or object is written: the options of its store, and whether it is replaced."""
    if overwrite is not None:
        overwrite = _arguments.flag(overwrite, stage, "overwrite")
    return storage(stage, options), overwrite


def _settings(stage: str, options: StorageOptions | None) -> dict[str, str]:
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise errors.make(
            "wrong_type",
            f"{stage}: storage_options is a dict of settings by name, such as "
            f'{{"aws_region": "eu-west-1"}}, not {options!r:.80}',
        )
    return {_name(stage, name): _value(stage, name, value) for name, value in options.items()}


def _name(stage: str, name: Any) -> str:
    if isinstance(name, str):
        return name
    raise errors.make(
        "wrong_type", f"{stage}: storage_options: the names of settings are strings, not {name!r}"
    )


def _value(stage: str, name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float | os.PathLike):
        return str(value)
    # The value may be a secret: its type alone is named.
    raise errors.make(
        "wrong_type",
        f"{stage}: storage_options: {name} is a string, number or bool, not a "
        f"{type(value).__name__}",
    )


def _cache(
    stage: str, cache: Path | None, cache_bytes: SupportsIndex | None
) -> tuple[str, int] | None:
    if cache is None:
        if cache_bytes is None:
            return None
        cache = os.environ.get("TENSORFERRY_CACHE")
        if cache is None:
            raise errors.make("argument", f"{stage}: cache_bytes without a cache. Name its folder.")
    try:
        size = _CACHE_BYTES if cache_bytes is None else operator.index(cache_bytes)
        folder = os.fsdecode(cache)
    except TypeError as error:
        raise errors.make("wrong_type", f"{stage}: cache: {error}") from None
    if size < 0:
        raise errors.make("argument", f"{stage}: cache_bytes is {size}, less than 0")
    return (os.path.abspath(folder) if folder else "", size)
