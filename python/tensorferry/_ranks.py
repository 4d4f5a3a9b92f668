"""The place of this process in a job of several: its rank, their number, and who said so.

Nothing is imported: a framework that could say something has been imported by the program.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any, SupportsIndex

from tensorferry import _arguments, errors

__all__ = ["Rank", "current_rank", "find"]

#: The way out of every error here.
_WAY = "Pass rank= and world= to for_rank."


@dataclasses.dataclass(frozen=True)
class Rank:
    """The place of this process in a job of several, as :func:`current_rank` finds it.

    Args:
        rank: the number of this process, from 0.
        world: how many processes read data together.
        source: who said so: "Ray Train", "torch.distributed", "torchrun", "JAX", "TF_CONFIG",
            "arguments"; "one process" if none of them did.
    """

    __module__ = "tensorferry"

    rank: int
    world: int
    source: str

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.world} ({self.source})"


def current_rank() -> Rank:
    """The place of this process in its job: what :meth:`Dataset.for_rank` uses.

    These are asked, and the first that knows is named: Ray Train, in one of its workers;
    ``torch.distributed``, if it is initialized, else the variables ``RANK`` and ``WORLD_SIZE`` that
    torchrun sets; JAX, if ``jax.distributed`` is initialized, or its devices are known and those of
    several processes; the variable ``TF_CONFIG`` of ``tf.distribute``, whose chief and workers are
    counted. Without any, it is one process alone. No framework is imported for this, and JAX starts
    no devices. Train with ``num_workers=0`` trains in this process, and its context stays after
    that: then any other source comes first.

    Raises:
        tensorferry.errors.InvalidArgumentError: two of them disagree, a variable is damaged, or
            ``TF_CONFIG`` has parameter servers or makes this process an evaluator, which have no
            part of the data.

    >>> import tensorferry as tfy
    >>> tfy.current_rank()
    Rank(rank=0, world=1, source='one process')
    """
    return find("current_rank")


def find(stage: str, rank: SupportsIndex | None = None, world: SupportsIndex | None = None) -> Rank:
    """As :func:`current_rank`, unless the arguments say it.

    Args:
        stage: the method that asks, for error messages.
        rank: the number of this process, or None.
        world: how many there are, or None.
    """
    if rank is not None and world is not None:
        return _given(stage, rank, world)
    if rank is not None or world is not None:
        given, missing = ("rank", "world") if world is None else ("world", "rank")
        raise errors.make(
            "argument",
            f"{stage}: {given}= was given without {missing}=. Pass both, or neither to have them "
            "found.",
        )
    found = [each for source in _SOURCES if (each := source(stage)) is not None]
    if len(found) > 1 and found[0].source == "Ray Train" and _may_have_ended():
        del found[0]
    for other in found[1:]:
        if (other.rank, other.world) != (found[0].rank, found[0].world):
            raise errors.make(
                "argument",
                f"{stage}: {_says(found[0])}, and {_says(other)}. {_WAY}",
            )
    return found[0] if found else Rank(0, 1, "one process")


def _says(rank: Rank) -> str:
    return f"{rank.source} says that this process is rank {rank.rank} of {rank.world}"


def _given(stage: str, rank: SupportsIndex, world: SupportsIndex) -> Rank:
    count = _arguments.positive(world, stage, "world")
    number = _arguments.whole(rank, stage, "rank")
    if not 0 <= number < count:
        raise errors.make(
            "argument",
            f"{stage}: rank has to be at least 0 and less than world={count}, not {number}",
        )
    return Rank(number, count, "arguments")


def _ray_train(stage: str) -> Rank | None:
    get_context = getattr(sys.modules.get("ray.train"), "get_context", None)
    if get_context is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            context = get_context()
            world, rank = context.get_world_size(), context.get_world_rank()
        except (RuntimeError, DeprecationWarning):  # not in a worker of Train: a driver, or Tune
            return None
    # The context of Train before V2 calls a process outside of a worker the only one.
    if world is None or (world == 1 and ".v2." not in type(context).__module__):
        return None
    return Rank(int(rank), int(world), "Ray Train")


def _may_have_ended() -> bool:
    """Whether the context of Train is that of a run in this process (``num_workers=0``), of which
    Ray does not say that it has ended. It then says less than any other source.
    """
    context = sys.modules["ray.train"].get_context()
    return type(context).__name__ == "LocalTrainContext" and context.get_world_size() == 1


def _torch(stage: str) -> Rank | None:
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        rank, world = distributed.get_rank(), distributed.get_world_size()
        return Rank(int(rank), int(world), "torch.distributed")
    return _torchrun(stage)


def _torchrun(stage: str) -> Rank | None:
    names = ("RANK", "WORLD_SIZE")
    given = {name: os.environ[name] for name in names if os.environ.get(name, "").strip()}
    if not given:
        return None
    for name in names:
        if name not in given:
            (other,) = given
            raise errors.make(
                "argument",
                f"{stage}: the variable {other}={given[other]} is set without {name}, which "
                f"torchrun sets too. {_WAY}",
            )
        if not given[name].strip().isdecimal():
            raise errors.make(
                "argument",
                f"{stage}: the variable {name} has to be a whole number, not "
                f"{_arguments.shown(given[name])}. {_WAY}",
            )
    rank, world = int(given["RANK"]), int(given["WORLD_SIZE"])
    if rank >= world:
        raise errors.make(
            "argument",
            f"{stage}: the variable RANK={rank} is not less than WORLD_SIZE={world}. {_WAY}",
        )
    return Rank(rank, world, "torchrun")


def _jax(stage: str) -> Rank | None:
    jax = sys.modules.get("jax")
    if jax is None:
        return None
    state: Any = getattr(sys.modules.get("jax._src.distributed"), "global_state", None)
    if getattr(state, "client", None) is not None:
        return Rank(int(state.process_id), int(state.num_processes), "JAX")
    # `process_count` would start the devices, and a program may still want to choose them.
    started = getattr(sys.modules.get("jax._src.xla_bridge"), "backends_are_initialized", None)
    if started is None or not started() or jax.process_count() == 1:
        return None
    return Rank(int(jax.process_index()), int(jax.process_count()), "JAX")


def _tf_config(stage: str) -> Rank | None:
    text = os.environ.get("TF_CONFIG", "").strip()
    if not text:
        return None
    try:
        config = json.loads(text)
    except ValueError as error:
        raise _damaged(stage, f"it is not JSON ({error})") from None
    cluster = config.get("cluster") if isinstance(config, dict) else None
    if config == {} or cluster == {}:
        return None
    if not isinstance(cluster, dict) or not all(
        isinstance(each, list) for each in cluster.values()
    ):
        raise _damaged(stage, 'its "cluster" is not an object of lists of addresses')
    if "ps" in cluster:
        raise errors.make(
            "argument",
            f"{stage}: TF_CONFIG has parameter servers. There the coordinator gives each worker "
            f"its data: shard in the function that makes the worker's dataset. {_WAY}",
        )
    return _of_task(stage, config.get("task"), cluster)


def _of_task(stage: str, task: Any, cluster: dict[str, list[Any]]) -> Rank:
    """The rank of a task: the chief comes first, and the workers follow."""
    kind = task.get("type") if isinstance(task, dict) else None
    if kind == "evaluator":
        raise errors.make(
            "argument",
            f"{stage}: TF_CONFIG makes this process an evaluator, which has no part of the "
            "training data. Give it a dataset of its own, without for_rank.",
        )
    if kind not in ("chief", "worker"):
        raise _damaged(
            stage, f'its "task" has the type {_arguments.shown(kind)}, not "chief" or "worker"'
        )
    index = str(task.get("index", ""))
    members = cluster.get(kind, [])
    if not index.isdecimal() or int(index) >= len(members):
        raise _damaged(
            stage,
            f'its "task" has the index {_arguments.shown(task.get("index"))}, which is not one of '
            f'the {len(members)} of "{kind}"',
        )
    chiefs, workers = (len(cluster.get(name, [])) for name in ("chief", "worker"))
    rank = int(index) + (chiefs if kind == "worker" else 0)
    return Rank(rank, chiefs + workers, "TF_CONFIG")


def _damaged(stage: str, why: str) -> errors.Error:
    return errors.make("argument", f"{stage}: the variable TF_CONFIG is damaged: {why}. {_WAY}")


_SOURCES: tuple[Callable[[str], Rank | None], ...] = (_ray_train, _torch, _jax, _tf_config)
