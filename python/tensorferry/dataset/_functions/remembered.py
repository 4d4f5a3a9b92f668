"""What is found out about functions inside a function that makes one dataset after the other: once,
not for each dataset again."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, ParamSpec, TypeVar

from tensorferry._nest import structures
from tensorferry.dataset._base import Base

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: What was found out inside the function that runs; None outside of any.
_known: contextvars.ContextVar[dict[Any, Any] | None] = contextvars.ContextVar(
    "_known", default=None
)

#: How many findings one function keeps.
_LIMIT = 32


def inside(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """The function, inside of which findings are kept from one call to the next."""
    known: dict[Any, Any] = {}

    def called(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        token = _known.set(known)
        try:
            return function(*args, **kwargs)
        finally:
            _known.reset(token)

    return called


def once(what: str, dataset: Base, function: Callable[..., Any], find: Callable[[], _T]) -> _T:
    """What ``find`` finds out about a function of such elements, unless it was found out before. A
    function is the same if its code and all that it closes over are."""
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
    known[key] = (
        parts,
        dataset._structure,
        found,
    )  # the parts are held, so that their ids stay theirs
    return found


def _parts(function: Any) -> list[Any]:
    """The objects that make a function what it is: a lambda is made anew each time, they are
    not."""
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
