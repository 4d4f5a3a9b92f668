"""``read``: a Ray dataset whose read tasks carry a plan, and which of its positions to read."""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Iterable, Iterator
from typing import Any, SupportsIndex

import ray
import ray.data
from ray.data import DataContext
from ray.data.block import Block, BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from tensorferry import _arguments, _internal, errors
from tensorferry._arguments import INFINITE
from tensorferry._files import paths
from tensorferry._typing import Path, StorageOptions
from tensorferry.dataset import Dataset
from tensorferry.ray import _plans, _progress
from tensorferry.ray._columns import Columns

#: Ray's largest block, where its context has no limit.
_BLOCK = 128 << 20
#: The fewest bytes of a task, unless a number of tasks is asked for.
_LEAST = 8 << 20
#: The bytes of the first task, unless a number of tasks is asked for: a consumer waits for it.
_FIRST = 4 << 20
#: The most tasks, unless a number is asked for: Ray keeps each in memory. Each may yield many
#: blocks.
_MOST_TASKS = 4096
#: Tasks for each processor, so that one that is slow does not leave others idle.
_PER_CPU = 4
#: The most elements of a block, even if they are small.
_MOST_ROWS = 1 << 22


def read(
    source: Dataset | Path | Iterable[Path],
    *,
    batch_size: SupportsIndex | None = None,
    override_num_blocks: SupportsIndex | None = None,
    concurrency: int | None = None,
    num_cpus: float | None = None,
    memory: float | None = None,
    storage_options: StorageOptions | None = None,
) -> ray.data.Dataset:
    """A ``ray.data.Dataset`` of the elements of one pass over a dataset, in its order.

    Rows are the elements, those of the pass that would be next; each ``read`` counts as one. The
    order is that of an iteration here, bit for bit, whatever the number of workers: a shuffle of
    all elements needs no exchange between workers, since each position is computed on its own. For
    that, ``preserve_order`` is set in the context of the returned dataset, and of those made from
    it. Nothing is read before Ray executes.

    A dict becomes a column for each key, a tuple the columns "0", "1" and so on, one array the
    column "data", and ``{"a": {"b": x}}`` the column "a.b". Read tasks yield blocks of the size
    that Ray aims at, one after the other, so that Ray's backpressure holds.

    Args:
        source: a dataset with random access, over files that every node reaches under the same
            path or URL; or a path, URL or pattern, which is opened as :meth:`Dataset.from_files`
            does, or :meth:`Dataset.load` if it is a saved dataset.
        batch_size: that of ``iter_batches``. Blocks then hold a multiple of it, and Ray cuts
            batches out of them without a copy.
        override_num_blocks: how many read tasks; None for about one for each block, but at least 4
            for each CPU where these have 8 MiB or more, and a small one before them, so that the
            first batch comes soon.
        concurrency: the most tasks that run at the same time, as for ``ray.data.read_parquet``.
        num_cpus: the CPUs of a task, 1 by default. A task reads with as many threads.
        memory: the bytes of memory that Ray reserves for a task.
        storage_options: how the store of a URL is reached: as for :func:`tensorferry.open`.

    Raises:
        tensorferry.errors.InvalidArgumentError: the dataset has no random access, or is infinite.
        tensorferry.errors.InvalidTypeError: it holds arrays in memory, or elements that Ray has no
            columns for.
        OSError: a path does not exist.

    >>> import numpy as np, os, tempfile, tensorferry as tfy
    >>> from tensorferry.ray import read
    >>> path = os.path.join(tempfile.mkdtemp(), "train.npz")
    >>> np.savez(path, x=np.eye(4, dtype=np.float32), y=np.arange(4))
    >>> train = tfy.Dataset.from_files(path).shuffle(seed=7)
    >>> batches = read(train, batch_size=2).iter_batches(batch_size=2)
    >>> [batch["y"].tolist() for batch in batches]
    [[0, 2], [1, 3]]
    """
    dataset = _dataset(source, storage_options)
    if not dataset._plan.is_indexed:
        raise errors.make(
            "argument",
            "ray.read: the dataset has no random access (filter, from_generator and the like), and "
            "tasks read by position. Read what is before that stage and use Ray's filter or map; "
            "or save() the dataset, and read that.",
        )
    if dataset._plan.cardinality == INFINITE:
        raise errors.make("argument", "ray.read: the dataset is infinite. Read a part: take(n).")
    batch = 1 if batch_size is None else _arguments.positive(batch_size, "ray.read", "batch_size")
    if not ray.is_initialized():
        ray.init()
    asked = override_num_blocks is not None
    tasks = PlanDatasource(dataset, batch, math.ceil(num_cpus or 1), early=not asked)
    count = (
        tasks.default_count()
        if override_num_blocks is None
        else _arguments.positive(override_num_blocks, "ray.read", "override_num_blocks")
    )
    made = ray.data.read_datasource(
        tasks,
        override_num_blocks=count,
        concurrency=concurrency,
        num_cpus=num_cpus,
        memory=memory,
    )
    # The dataset has a context of its own: other datasets keep Ray's default.
    made.context.execution_options.preserve_order = True
    return made


class PlanDatasource(Datasource):  # type: ignore[misc]
    """One pass over a plan, divided into ranges of positions."""

    def __init__(self, dataset: Dataset, batch: int, threads: int, *, early: bool = False) -> None:
        super().__init__()
        columns = Columns.of(dataset)
        self._plan = _plans.carried(dataset)
        plan = dataset._plan
        self._epoch, said, _ = plan.progress()
        plan.count_like(self._epoch + 1, said)
        self._count, self._bytes = plan.cardinality, columns.bytes
        self._batch, self._threads = batch, threads
        #: The positions of a small first task; 0 for tasks of one size.
        self._early = _FIRST // columns.bytes // batch * batch if early else 0
        self._watched = _progress.board() is not None

    def get_name(self) -> str:
        return "Tensorferry"

    def estimate_inmemory_data_size(self) -> int:
        return self._count * self._bytes

    def default_count(self) -> int:
        """The number of tasks that is sensible for this cluster."""
        size = self.estimate_inmemory_data_size()
        cpus = int(ray.cluster_resources().get("CPU", 1))
        wanted = max(size // _target(None), min(_PER_CPU * cpus, size // _LEAST), 1)
        return min(wanted, max(_MOST_TASKS, cpus), max(1, -(-self._count // self._batch)))

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,
    ) -> list[ReadTask]:
        target = _target(data_context)
        # One element more than the target, or Ray would join two blocks, which copies them.
        rows = min(target // self._bytes + 1, _MOST_ROWS)
        rows = -(-rows // self._batch) * self._batch
        return [
            ReadTask(
                functools.partial(
                    _read,
                    (self._plan, self._epoch, self._watched),
                    part.start,
                    part.stop,
                    rows,
                    self._threads,
                ),
                BlockMetadata(
                    num_rows=len(part),
                    size_bytes=len(part) * self._bytes,
                    exec_stats=None,
                    input_files=None,
                ),
                per_task_row_limit=per_task_row_limit,
            )
            for part in _parts(self._count, self._batch, parallelism, self._early)
        ]


def _read(
    common: tuple[_plans.Carried, int, bool], start: int, stop: int, rows: int, threads: int
) -> Iterator[Block]:
    """What a task does."""
    (plan, epoch, watched), part = common, range(start, stop)
    elements = _plans.elements(plan, epoch, part, min(rows, len(part)), threads)
    yield from _progress.metered(elements.blocks(_target(None)), elements.row_bytes, watched)


def _parts(count: int, batch: int, tasks: int, first: int = 0) -> list[range]:
    """Positions in as many parts, whose sizes differ by at most a batch; the ``first`` of them as a
    part before, if the others are several.
    """
    first = first if tasks > 1 and first < count // tasks else 0
    batches = -(-(count - first) // batch)
    tasks = max(1, min(tasks, batches))
    ends = [min(count, first + batches * at // tasks * batch) for at in range(tasks + 1)]
    bounds = [0, *ends] if first else ends
    return [range(start, end) for start, end in itertools.pairwise(bounds) if end > start]


def _target(context: DataContext | None) -> int:
    """The bytes of a block that Ray aims at."""
    return (context or DataContext.get_current()).target_max_block_size or _BLOCK


def _dataset(source: Any, options: StorageOptions | None) -> Dataset:
    if isinstance(source, Dataset):
        if options is not None:
            raise errors.make(
                "argument",
                "ray.read: storage_options are for a path. A dataset keeps those that its files "
                "were opened with.",
            )
        return source
    several = paths.absolute(paths.several(source, "ray.read"))
    alone = several[0] if len(several) == 1 else None
    if alone is not None and os.path.isdir(alone):
        return Dataset.load(alone, storage_options=options)
    try:
        return Dataset.from_files(several, storage_options=options)
    except (OSError, errors.Error):
        if alone is None or not _internal.is_remote(alone):
            raise
        try:
            return Dataset.load(alone, storage_options=options)
        except (OSError, errors.Error):
            pass
        raise
