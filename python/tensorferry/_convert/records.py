"""Structured NumPy arrays: dicts of their fields."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from tensorferry import _internal, errors
from tensorferry._convert import kinds

_log = logging.getLogger("tensorferry")


def is_structured(value: Any) -> bool:
    """Whether a value is a NumPy array, or a record of one, with fields."""
    return (
        isinstance(value, np.ndarray | np.void)
        and value.dtype.names is not None
        and not isinstance(value, np.ma.MaskedArray)
    )


def fields(value: Any) -> dict[str, Any]:
    """The fields that hold numbers or strings, as views; nested ones are dicts. Warns about the
    others.

    Raises:
        tensorferry.errors.InvalidArgumentError: no field holds either.
    """
    left: dict[str, str] = {}
    found = _fields(value, "", left)
    if not found:
        why = "; ".join(f"{name!r}: {why}" for name, why in left.items()) or "there are none"
        raise errors.make(
            "unsupported_dtype", f"no field of the array holds numbers or strings: {why}"
        )
    for name, why in left.items():
        _log.warning("a structured array: left out: field %r: %s", name, why)
    return found


def _fields(value: Any, before: str, left: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in value.dtype.names:
        field = value[name]
        if is_structured(field):
            inner = _fields(field, f"{before}{name}.", left)
            if inner:
                found[name] = inner
            continue
        why = _why_not(field)
        if why is None:
            found[name] = field
        else:
            left[f"{before}{name}"] = why
    return found


def flat(value: Any) -> dict[str, Any]:
    """All fields, nested ones by the names of their parents too: ``pos.x``."""
    found: dict[str, Any] = {}
    for name in value.dtype.names:
        field = value[name]
        if is_structured(field):
            found.update({f"{name}.{inner}": part for inner, part in flat(field).items()})
        else:
            found[name] = field
    return found


def _why_not(field: Any) -> str | None:
    if field.dtype.kind in "SUT" and field.ndim == 1:
        return None  # datasets carry strings in one dimension
    try:
        _internal.dtype_name(field.dtype)
    except errors.Error:
        return str(kinds.error(field))
    return None
