"""Paths as ``open`` and ``save`` take them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from tensorferry import _internal, errors
from tensorferry._typing import Path


def absolute(paths: list[Path]) -> list[str]:
    """The paths as text, independent of the current directory."""
    return [
        text if _internal.is_remote(text) or text.startswith("file:") else os.path.abspath(text)
        for text in map(os.fsdecode, paths)
    ]


def several(path: Any, stage: str) -> list[Any]:
    """The paths of an iterable; one path alone."""
    if isinstance(path, str | bytes | os.PathLike):
        return [path]
    # An open file is an iterable of its lines, a dict of its keys.
    many = (
        isinstance(path, Iterable) and not hasattr(path, "read") and not isinstance(path, Mapping)
    )
    return [one(each, stage) for each in path] if many else [one(path, stage)]


def one(path: Any, stage: str) -> Any:
    """A path; an error for anything else."""
    if isinstance(path, str | bytes | os.PathLike):
        return path
    if hasattr(path, "read"):
        name = getattr(path, "name", None)
        way = (
            f"Pass its path, {name!r}."
            if isinstance(name, str)
            else "Write it to a file, and pass the path."
        )
        raise errors.make(
            "wrong_type",
            f"{stage}: a path was expected, not an open file ({type(path).__name__}). {way}",
        )
    raise errors.make(
        "wrong_type", f"{stage}: a path was expected, a str, bytes or PathLike, not {path!r:.80}"
    )
