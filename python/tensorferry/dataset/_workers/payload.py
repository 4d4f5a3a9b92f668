"""What workers get: the function, and the plan that it maps."""

from __future__ import annotations

import io
import logging
import pickle
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from tensorferry import errors
from tensorferry._nest.structures import flatten
from tensorferry.dataset._base import Base

_log = logging.getLogger("tensorferry")
#: The most bytes of a plan that travels, arrays in memory included: each worker has a copy.
MOST_BYTES = 8 << 20
#: Arguments of ``shuffle``, itself included, before ``block``.
_BEFORE_BLOCK = 5

#: A pickled dataset, the size of its batches, and the description of its plan.
PickledPlan: TypeAlias = tuple[bytes, int | None, str]


def function(called: Callable[..., Any], *rest: Any) -> bytes:
    """The function and what it is called with, for workers. Cloudpickle, where it is installed,
    pickles functions that pickle cannot.
    """
    # Functions of a notebook or an interactive session exist in no module that a worker imports.
    main_module = __import__("__main__")
    here = getattr(called, "__module__", None) == "__main__" and not hasattr(
        main_module, "__file__"
    )
    problem: Exception | None = None
    if not here:
        try:
            return pickle.dumps((called, *rest))
        except Exception as error:
            problem = error
    try:
        import cloudpickle
    except ModuleNotFoundError:
        why = problem or "it is defined in an interactive session"
        raise errors.make(
            "not_picklable",
            f"map: the function cannot be sent to worker processes ({why}). Define it with def at "
            "the top of a module, or install cloudpickle.",
        ) from problem
    try:
        return bytes(cloudpickle.dumps((called, *rest)))
    except Exception as error:
        raise errors.make(
            "not_picklable",
            f"map: the function cannot be sent to worker processes ({error}). Open files and locks "
            "inside it.",
        ) from error


def plan(dataset: Base, batch_size: int | None) -> PickledPlan | None:
    """The plan of a dataset for workers, which then read its elements themselves; None if this
    process has to read them: without random access, with functions or kept elements, if it cannot
    be pickled, or if it is large.
    """
    ours = dataset._plan
    if not ours.is_indexed or ours.is_sequential or not _is_light(dataset):
        return None
    pickled = _Limited()
    try:
        pickle.Pickler(pickled, pickle.HIGHEST_PROTOCOL).dump(dataset)
    except Exception as error:
        _log.debug("map: workers do not read elements themselves: %s", error)
        return None
    return pickled.getvalue(), batch_size, str(ours)


class _Limited(io.BytesIO):
    """Bytes up to a limit."""

    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > MOST_BYTES:
            raise OverflowError("the plan holds large arrays")
        return super().write(data)


def _is_light(dataset: Base) -> bool:
    """Whether the plan holds no large arrays in memory, and keeps no elements there."""
    name, args, kwargs = dataset._recipe
    in_blocks = "block" in kwargs or len(args) > _BEFORE_BLOCK
    if name == "cache" or (name == "shuffle" and in_blocks):
        return False  # each worker would keep elements again
    for leaf in (part for argument in (*args, *kwargs.values()) for part in flatten(argument)):
        if isinstance(leaf, Base):
            if not _is_light(leaf):
                return False
        elif not isinstance(leaf, np.memmap) and getattr(leaf, "nbytes", 0) > MOST_BYTES:
            return False
    return True
