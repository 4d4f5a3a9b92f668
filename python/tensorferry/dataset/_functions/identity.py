"""Identity of functions: whether a plan that is written again is the same plan."""

from __future__ import annotations

import functools
from types import FunctionType, MethodType, NoneType
from typing import Any

from tensorferry.dataset._base import Base

#: Compared by value. Other objects are equal only if they are the same object.
_VALUES = (bool, int, float, complex, str, bytes, NoneType)
#: Nested functions and partials are compared by their parts up to this depth.
_DEEPEST = 8


def name_of(function: Any) -> str:
    """The name of a function in a plan, by which a saved state recognizes its plan."""
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).replace("|", "_")


def known_as(function: Any) -> tuple[str, int]:
    """The name of a function in a plan, and a number that is equal for functions of the same code,
    defaults and closure.
    """
    return name_of(function), identity(function)


def identity(function: Any) -> int:
    """The number of :func:`known_as`, in this process."""
    return hash(_part(function, 0)) & (2**64 - 1)


def _part(value: Any, depth: int) -> Any:
    """What a part of a function is compared by."""
    if isinstance(value, _VALUES):
        return type(value), value
    if depth < _DEEPEST:
        depth += 1
        if isinstance(value, FunctionType):
            cells = [_cell(cell, depth) for cell in value.__closure__ or ()]
            keywords = sorted((value.__kwdefaults__ or {}).items())
            return (
                value.__code__,
                id(value.__globals__),
                *cells,
                _part((value.__defaults__, *keywords), depth),
            )
        if isinstance(value, MethodType):
            return _part(value.__func__, depth), _part(value.__self__, depth)
        if isinstance(value, functools.partial):
            parts = (value.func, value.args, *sorted(value.keywords.items()))
            return _part(parts, depth)
        if type(value) is tuple:
            return tuple(_part(part, depth) for part in value)
        if isinstance(value, Base):
            return "dataset", value._plan.key
    return id(value)


def _cell(cell: Any, depth: int) -> Any:
    try:
        return _part(cell.cell_contents, depth)
    except ValueError:  # an empty one
        return None
