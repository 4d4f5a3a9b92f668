"""Cached results of tracing, for functions that make one dataset after the other."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, ParamSpec, TypeVar

from tensorferry._nest import structures
from tensorferry.dataset._base import Base

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: The cache of the function that runs; None outside of any.
_known: contextvars.ContextVar[dict[Any, Any] | None] = contextvars.ContextVar(
    "_known", default=None
)

#: The most entries of a cache.
_LIMIT = 32


def inside(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """The function, with a cache that lives from one call to the next."""
    known: dict[Any, Any] = {}

    def called(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        token = _known.set(known)
        try:
            return function(*args, **kwargs)
        finally:
            _known.reset(token)

    return called


def once(what: str, dataset: Base, function: Callable[..., Any], find: Callable[[], _T]) -> _T:
    """The result of ``find`` for a function of the dataset's elements, from the cache if present.
    Two functions are the same if their code and closures are.
    """
    known = _known.get()
    if known is None:
        return find()
    parts = _parts(function)
    key = (what, dataset._format, repr(dataset._plan.spec), *map(id, parts))
    before = known.get(key)
    if before is not None and structures.equal(before[1], dataset._structure):
        return before[2]  # type: ignore[no-any-return]
    found = find()
    if len(known) >= _LIMIT:
        known.clear()
    # The entry holds the parts, so that their ids are not reused.
    known[key] = (parts, dataset._structure, found)
    return found


def _parts(function: Any) -> list[Any]:
    """The objects that identify a function, also a lambda, which is a new object each time."""
    if isinstance(function, MethodType):
        return [function.__func__, function.__self__]
    if not isinstance(function, FunctionType):
        return [function]
    try:
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError:  # an empty one
        return [function]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return [function.__code__, function.__globals__, *cells, *defaults]
