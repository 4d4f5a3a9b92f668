"""``num_parallel_calls``: how many threads call a function."""

from __future__ import annotations

import logging
from typing import Any

from tensorferry import _arguments, _internal, errors
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
