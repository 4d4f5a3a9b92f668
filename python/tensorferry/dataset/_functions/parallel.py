"""``num_parallel_calls`` and ``workers``: how many threads or processes call a function."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import Any, cast

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


def without_effect(value: Any, stage: str) -> None:
    """Logs once that ``num_parallel_calls`` of this stage changes nothing."""
    if value is None:
        return
    number = _arguments.whole(value, stage, "num_parallel_calls")
    if number != 1 and stage not in _told:
        _told.add(stage)
        _log.warning(
            "%s: num_parallel_calls=%d has no effect: its function is called in order, one call "
            "at a time. Give num_parallel_calls to the map whose function takes long.",
            stage,
            number,
        )


def in_processes(workers: Any, stage: str) -> bool:
    """Whether processes call the function, and not threads."""
    if workers not in ("threads", "processes"):
        raise errors.make(
            "argument",
            f'{stage}: workers has to be "threads" or "processes", not {_arguments.shown(workers)}',
        )
    return bool(workers == "processes")


def sessions(
    dataset: Base,
    function: Callable[..., Any],
    result: Result,
    source: tuple[Base, int | None] | None,
) -> Callable[[], Any]:
    """A function that begins an iteration's calls in worker processes. ``dataset`` is what the
    function maps: ``source``, in batches if there is a size, which workers may read.
    """
    for structure in (dataset._structure, result[0]):
        if any(isinstance(leaf, Nested) for leaf in structures.flatten(structure)):
            raise errors.make(
                "argument",
                "map: an element or a result holds a dataset, which cannot travel between "
                "processes. Flatten it first: flat_map(lambda window: window.batch(n)).",
            )
    # Imported here: they import multiprocessing, which most programs do not need.
    pool = importlib.import_module("tensorferry.dataset._workers.pool")
    payload = importlib.import_module("tensorferry.dataset._workers.payload")
    names = structures.names(result[0])
    pickled = payload.function(function, dataset._structure, dataset._format, result, names)
    name = identity.name_of(function)
    return cast("Callable[[], Any]", pool.Pool(pickled, dataset, source, name))
