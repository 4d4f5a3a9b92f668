"""``num_parallel_calls`` and ``workers``: how many threads or processes call a function."""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable
from typing import Any

from tensorferry import _arguments, _internal, errors
from tensorferry._nest import structures
from tensorferry._nest.structures import Nested
from tensorferry.dataset._base import Base
from tensorferry.dataset._functions import identity
from tensorferry.dataset._functions.tracing import Result
from tensorferry.dataset._options import MOST_THREADS

_log = logging.getLogger("tensorferry")
#: The stages whose calls cannot overlap, as the log was told.
_told: set[str] = set()


def calls(value: Any, stage: str) -> int:
    """The number of calls at once, at least 1; 0 for None: one call at a time, in order."""
    if value is None:
        return 0
    number = _arguments.whole(value, stage, "num_parallel_calls")
    if number == _arguments.AUTOTUNE:
        return _internal.cpus()
    if not 1 <= number <= MOST_THREADS:
        raise errors.make(
            "argument",
            f"{stage}: num_parallel_calls has to be at least 1 and at most {MOST_THREADS}, or -1 "
            f"for one for each CPU, not {_arguments.shown(number)}",
        )
    if number > 1 and _internal.cpus() == 1 and stage not in _told:
        _told.add(stage)
        _log.warning(
            "%s: num_parallel_calls=%d, but the process may use one CPU: the calls overlap only "
            "while they wait, for files or a network.",
            stage,
            number,
        )
    return number


def in_processes(workers: Any, stage: str) -> bool:
    """Whether processes call the function, and not threads."""
    if workers not in ("threads", "processes"):
        raise errors.make(
            "argument",
            f'{stage}: workers has to be "threads" or "processes", not {_arguments.shown(workers)}',
        )
    return bool(workers == "processes")


def sessions(dataset: Base, function: Callable[..., Any], result: Result) -> Callable[[], Any]:
    """A function that starts the worker processes of an iteration."""
    for structure in (dataset._structure, result[0]):
        if any(isinstance(leaf, Nested) for leaf in structures.flatten(structure)):
            raise errors.make(
                "argument",
                "map: an element or a result holds a dataset, which cannot travel between "
                "processes. Flatten it first: flat_map(lambda window: window.batch(n)).",
            )
    # Imported here: it imports multiprocessing, which most programs do not need.
    pool = importlib.import_module("tensorferry.dataset._workers.pool")
    names = structures.names(result[0])
    payload = pool.payload(function, dataset._structure, dataset._format, result, names)
    dtypes = [name for name, _ in dataset._plan.spec]
    return functools.partial(pool.Session, payload, identity.name_of(function), dtypes)
