"""``train_iterator``: the batches of a worker of Ray Train, and their states in its checkpoints."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, SupportsIndex

from tensorferry import _arguments, _internal, _ranks, checkpoint, errors
from tensorferry.dataset import Dataset
from tensorferry.ray._columns import row_bytes
from tensorferry.ray._progress import Meter, board

if TYPE_CHECKING:
    from ray.train import Checkpoint

#: The file of a rank in a checkpoint.
_NAME = "tensorferry-rank-{rank:05}-of-{world:05}.json"
_PATTERN = re.compile(r"tensorferry-rank-(\d{5,})-of-(\d{5,})\.json")


def train_iterator(
    dataset: Dataset,
    *,
    batch_size: SupportsIndex,
    drop_remainder: bool = False,
    checkpoint: Checkpoint | None = None,
) -> TrainIterator:
    """The batches of this worker of Ray Train: call it in the training function, in all workers.

    Where Train restarts the workers, after a failure or with another number of them, they continue
    with the rows that no worker had handed out when the last checkpoint was saved. The batch size
    may change too.

    Args:
        dataset: rows with random access, the same in all workers: shuffled with a seed, and
            neither sharded nor batched.
        batch_size: rows of a batch of one worker, the same in all workers.
        drop_remainder: whether an epoch ends with the last step in which all workers have a whole
            batch. If False, each row comes once, so the last batches may be smaller, and a worker
            that has no rows left in the last step receives ``None`` there.
        checkpoint: where a new run starts. A checkpoint of this run comes first.

    Raises:
        tensorferry.errors.InvalidArgumentError: this process is not a worker of Train, the dataset
            has no random access or no end, or the states of the checkpoint are not those of all
            workers of one run of this dataset.

    >>> import ray.train, tempfile, tensorferry as tfy
    >>> from ray.train import Checkpoint, ScalingConfig
    >>> from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
    >>> from tensorferry.ray import train_iterator
    >>> def train():
    ...     rows = tfy.Dataset.range(10).shuffle(seed=7).with_format("numpy")
    ...     batches = train_iterator(rows, batch_size=4)
    ...     for epoch in range(batches.epoch, 2):
    ...         for batch in batches:
    ...             print(epoch, batch.tolist())
    ...         with tempfile.TemporaryDirectory() as folder:
    ...             batches.save(folder)  # in all workers; the first adds the model
    ...             ray.train.report({}, Checkpoint.from_directory(folder))
    >>> here = ScalingConfig(num_workers=0)  # in this process
    >>> result = DataParallelTrainer(train, scaling_config=here).fit()
    0 [0, 9, 4, 7]
    0 [8, 3, 1, 5]
    0 [6, 2]
    1 [7, 5, 4, 6]
    1 [0, 1, 3, 8]
    1 [2, 9]
    """
    import ray.train  # needs 'ray[train]', which Ray says if it is not there

    rank = _ranks.find("train_iterator")
    if rank.source != "Ray Train":
        raise errors.make(
            "argument",
            "train_iterator: this process is not a worker of Ray Train. Call it in the function "
            "that the trainer is given; elsewhere, use for_rank.",
        )
    size = _arguments.positive(batch_size, "train_iterator", "batch_size")
    iterator = TrainIterator(dataset, size, drop_remainder, rank)
    iterator._meter = Meter("train_iterator", board(), f"rank {rank.rank}, ")
    saved = ray.train.get_checkpoint() or checkpoint
    if saved is not None:
        iterator._resume(_read(saved))
    return iterator


class TrainIterator:
    """The batches of one worker, from :func:`train_iterator`.

    A loop over it ends with the epoch, after the same number of steps in all workers. The next loop
    is the next epoch. A loop that is left early is continued by the next.
    """

    _pass: _internal.DatasetIterator
    #: Rows of all workers that were left when this pass began, in this run.
    _left: int
    #: Those of this worker.
    _part: int
    #: Steps of this pass: in all, and made.
    _steps: int
    _step: int
    _ended: bool
    #: Counts the rows; None outside of Train.
    _meter: Meter | None = None
    #: When the last batch was handed out.
    _handed: float | None = None

    def __init__(self, rows: Dataset, size: int, drop_remainder: bool, rank: _ranks.Rank) -> None:
        if not rows._plan.is_indexed or rows.cardinality() < 0:
            raise errors.make(
                "argument",
                "train_iterator: the dataset has no random access (filter, from_generator and the "
                "like), or no end. Leave out repeat, since each loop is an epoch; save() the "
                "result of a filter, and read that.",
            )
        self._rank, self._size, self._drop = rank, size, drop_remainder
        self._all = len(rows)
        self._row_bytes = sum(map(row_bytes, rows._plan.spec))
        part = rows.shard(rank.world, rank.rank)
        self._dataset = part.batch(size, drop_remainder=drop_remainder)
        #: Rows that earlier runs have handed out in this epoch, in all workers.
        self._before = 0
        self._begin()

    @property
    def epoch(self) -> int:
        """The epoch of the last batch, or of the next if there was none yet; from 0."""
        return int(self._pass.state_dict()["epoch"])

    def __iter__(self) -> Iterator[Any]:
        if self._ended:
            self._before = 0
            self._begin()
        return self

    def __next__(self) -> Any:
        if self._step >= self._steps:
            self._ended = True
            if self._meter is not None:
                self._meter.report(wait=True)
            raise StopIteration
        begun = time.perf_counter()
        batch = next(self._pass, None)
        self._step += 1
        if self._meter is not None:
            now = time.perf_counter()
            before = (self._step - 1) * self._size
            rows = max(0, min(self._size, self._part - before))
            outside = begun - (self._handed or begun)
            self._meter.add(rows, rows * self._row_bytes, now - begun, outside)
            self._handed = now
        return batch

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the state of this worker to a file in a folder, of which
        ``ray.train.Checkpoint.from_directory(folder)`` is reported. All workers have to do so:
        Train puts their files into one checkpoint.
        """
        rank, world = self._rank.rank, self._rank.world
        state = self._pass.state_dict()
        saved = {
            "state": state,
            "before": self._before,
            "rows": min(state["position"] * self._size, self._part),
        }
        path = os.path.join(folder, _NAME.format(rank=rank, world=world))
        with open(path, "w", encoding="utf-8") as file:
            json.dump(saved, file)

    def _begin(self) -> None:
        self._pass = iter(self._dataset)
        self._count()

    def _resume(self, saved: list[dict[str, Any]]) -> None:
        """Continues where ranks have saved their states."""
        self._pass.load_state_dict(checkpoint.merge(each["state"] for each in saved))
        self._before = saved[0]["before"] + sum(each["rows"] for each in saved)
        self._count()

    def _count(self) -> None:
        """The steps of this pass, in which ranks deal out the rows that are left in turn."""
        self._ended, self._step = False, 0
        self._left = self._all - self._before
        world, size = self._rank.world, self._size
        self._part = _ceil(max(self._left - self._rank.rank, 0), world)
        most = _ceil(_ceil(self._left, world), size)
        self._steps = self._left // world // size if self._drop else most


def _ceil(count: int, by: int) -> int:
    return -(-count // by)


def _read(saved: Checkpoint) -> list[dict[str, Any]]:
    """What each rank has saved. Only these files are read, and not the model beside them."""
    from pyarrow import fs

    found = {}
    for info in saved.filesystem.get_file_info(fs.FileSelector(saved.path)):
        if name := _PATTERN.fullmatch(info.base_name):
            found[int(name[1]), int(name[2])] = info.path
    where = f"train_iterator: the checkpoint {saved.path}"
    if not found:
        raise errors.make(
            "argument",
            f"{where} holds no states of train_iterator. Call save(folder) in all workers before "
            "the folder is reported.",
        )
    worlds = sorted({world for _, world in found})
    if len(worlds) > 1:
        raise errors.make(
            "argument",
            f"{where} holds states of runs with {worlds[0]} and with {worlds[1]} workers. Give "
            "each report a checkpoint_dir_name of its own, or none.",
        )
    missing = sorted(set(range(worlds[0])) - {rank for rank, _ in found})
    if missing:
        raise errors.make(
            "argument",
            f"{where} holds no state of rank {missing[0]} of {worlds[0]}"
            f"{f' and of {len(missing) - 1} more' if missing[1:] else ''}. Call save(folder) and "
            "report the folder in all workers, not only in the first.",
        )
    states = []
    for _, path in sorted(found.items()):
        with saved.filesystem.open_input_stream(path) as file:
            text = file.read()
        try:
            each = json.loads(text)
            states.append({key: each[key] for key in ("state", "before", "rows")})
        except (ValueError, TypeError, KeyError) as error:
            raise errors.make(
                "argument",
                f"train_iterator: the state {path} is damaged ({error!r}). Resume from another "
                "checkpoint.",
            ) from None
    return states
