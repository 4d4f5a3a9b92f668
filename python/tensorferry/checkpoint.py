"""States of all ranks of a run, together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tensorferry import _internal

__all__ = ["merge"]


def merge(states: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One state of the states of all ranks, from which any number of ranks resumes, with batches
    of any size: each row that no rank has handed out comes once.

    A rank's iterator is one over ``shard(world, rank)`` or ``for_rank()``. The result has a few
    hundred bytes, and up to ten more for each rank that was at another position than the one
    before it. Merging again what resumed ranks saved works as well.

    Args:
        states: what ``state_dict()`` of the iterators of all ranks returned at one moment of the
            run, in any order.

    Returns:
        a state for ``load_state_dict`` of every new rank's iterator.

    Raises:
        InvalidArgumentError: the states are not those of all ranks of one run (one is missing,
            twice there, of another plan or epoch, or the plan draws its seeds for each rank), or
            are of streams, whose states hold more than positions.

    >>> import tensorferry as tfy
    >>> from tensorferry import checkpoint
    >>> rows = tfy.Dataset.range(20).shuffle(seed=7)
    >>> ranks = [iter(rows.shard(2, rank).batch(3).with_format("numpy")) for rank in range(2)]
    >>> seen = [next(ranks[0]), next(ranks[0]), next(ranks[1])]
    >>> state = checkpoint.merge(rank.state_dict() for rank in ranks)
    >>> for rank in range(3):  # three ranks, and batches of another size
    ...     resumed = iter(rows.shard(3, rank).batch(4).with_format("numpy"))
    ...     resumed.load_state_dict(state)
    ...     seen += resumed
    >>> sorted(row for batch in seen for row in batch.tolist()) == list(range(20))
    True
    """
    return _internal.merge_states(list(states))
