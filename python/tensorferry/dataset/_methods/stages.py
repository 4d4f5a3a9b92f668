"""Methods that select, order and group elements."""

from __future__ import annotations

import logging
from typing import Any, Literal, Self, SupportsIndex

from tensorferry import _arguments, _ranks, errors
from tensorferry._arguments import INFINITE, UNKNOWN
from tensorferry._nest import structures
from tensorferry._nest.structures import LEAF, Nested
from tensorferry.dataset import _seeds
from tensorferry.dataset._base import Base, recorded
from tensorferry.dataset._methods import ragged_structure, strings
from tensorferry.dataset._methods.checks import check, same_elements
from tensorferry.dataset._options import limits

_log = logging.getLogger("tensorferry")


class Stages(Base):
    """The methods of tf.data that take no function."""

    __slots__ = ()

    @recorded
    def batch(
        self,
        batch_size: SupportsIndex,
        drop_remainder: bool = False,
        num_parallel_calls: SupportsIndex | None = None,
        deterministic: bool | None = None,
        name: str | None = None,
    ) -> Self:
        """Stacks ``batch_size`` consecutive elements along a new first dimension. The last batch
        holds the remainder.

        Args:
            batch_size: elements of a batch; at least 1.
            drop_remainder: leaves out a last batch that is not full, so that all have one shape.
            num_parallel_calls: accepted for compatibility with tf.data, like ``deterministic`` and
                ``name``. Batches are always in order, and made in parallel.

        Raises:
            tensorferry.errors.InvalidArgumentError: ``batch_size`` is less than 1; or, while
                iterating, elements of one batch differ in shape.

        >>> import tensorferry as tfy
        >>> batches = tfy.Dataset.from_tensor_slices([1, 2, 3]).batch(2)
        >>> [batch.tolist() for batch in batches.as_numpy_iterator()]
        [[1, 2], [3]]
        """
        ragged_structure.refuse_batches(self._structure, "batch")
        size = _arguments.positive(batch_size, "batch", "batch_size")
        drop = _arguments.flag(drop_remainder, "batch", "drop_remainder")
        if structures.has_text(self._structure):
            return self._with(*strings.batched(self, size, drop))
        return self._with(self._plan.batch(size, drop))

    @recorded
    def take(self, count: SupportsIndex, name: str | None = None) -> Self:
        """At most the first ``count`` elements; all elements if ``count`` is negative."""
        return self._with(self._plan.take(_arguments.count(count, "take")))

    @recorded
    def skip(self, count: SupportsIndex, name: str | None = None) -> Self:
        """The elements after the first ``count``; none if ``count`` is negative. Skipped elements
        are not computed if the dataset can be indexed.
        """
        return self._with(self._plan.skip(_arguments.count(count, "skip")))

    @recorded
    def repeat(self, count: SupportsIndex | None = None, name: str | None = None) -> Self:
        """The dataset ``count`` times; without end if ``count`` is None or negative."""
        return self._with(self._plan.repeat(_arguments.count(count, "repeat")))

    @recorded
    def shard(
        self,
        num_shards: SupportsIndex,
        index: SupportsIndex,
        name: str | None = None,
        *,
        contiguous: bool | None = None,
    ) -> Self:
        """The part of one of several workers: every ``num_shards``-th element, from ``index`` on.
        Shuffle before ``shard``, and batch after it.

        Args:
            num_shards: how many workers there are.
            index: the number of this worker, from 0.
            name: ignored.
            contiguous: whether each worker takes consecutive elements instead. None for rows of
                object storage that ``shuffle`` shuffles in blocks by default: each worker then
                receives its part of the blocks, not all of them. Parts are as long as otherwise.

        Raises:
            tensorferry.errors.InvalidArgumentError: ``index`` is not in ``range(num_shards)``; or
                parts are to be contiguous, and the dataset is infinite or has no random access.

        >>> import tensorferry as tfy
        >>> rows = tfy.Dataset.range(10).with_format("numpy")
        >>> [int(x) for x in rows.shard(3, 1)]
        [1, 4, 7]
        >>> [int(x) for x in rows.shard(3, 1, contiguous=True)]
        [4, 5, 6]
        """
        shards, at = (
            _arguments.positive(num_shards, "shard", "num_shards"),
            _arguments.whole(index, "shard", "index"),
        )
        if not 0 <= at < shards:
            raise errors.make(
                "argument",
                f"shard: index has to be at least 0 and less than num_shards={shards}, not {at}",
            )
        return self._with(self._plan.shard(shards, at, contiguous))

    def for_rank(
        self,
        rank: SupportsIndex | None = None,
        world: SupportsIndex | None = None,
        *,
        contiguous: bool | None = None,
    ) -> Self:
        """The part of this process in a job of several: ``shard(world, rank)``. Shuffle before it,
        with the same seed in all processes, and batch after it.

        Without arguments, :func:`tensorferry.current_rank` finds rank and number: of Ray Train,
        ``torch.distributed``, JAX or ``TF_CONFIG``. The logger ``tensorferry`` says at the level
        INFO what was found. One process alone is rank 0 of 1, which can resume on more later.

        Parts differ by at most one element. If all processes have to make the same number of steps,
        take a multiple of their number first: see docs/guides/beyond-one-machine.md.

        Args:
            rank: the number of this process, from 0.
            world: how many processes there are. Give both, or neither.
            contiguous: as for :meth:`shard`.

        Raises:
            tensorferry.errors.InvalidArgumentError: only one of them is given, ``rank`` is not in
                ``range(world)``, or :func:`tensorferry.current_rank` raises it.

        >>> import tensorferry as tfy
        >>> rows = tfy.Dataset.range(10).with_format("numpy")
        >>> [int(x) for x in rows.for_rank(rank=1, world=3)]
        [1, 4, 7]
        """
        found = _ranks.find("for_rank", rank, world)
        _log.info("for_rank: %s", found)
        return self.shard(found.world, found.rank, contiguous=contiguous)

    @recorded
    def enumerate(self, start: SupportsIndex = 0, name: str | None = None) -> Self:
        """Pairs of a number, counted from ``start``, and an element."""
        return self._with(
            self._plan.enumerate(_arguments.whole(start, "enumerate", "start")),
            (LEAF, self._structure),
        )

    @recorded
    def concatenate(self, dataset: Self, name: str | None = None) -> Self:
        """The elements of this dataset, then those of another with the same structure and dtypes.

        Raises:
            tensorferry.errors.InvalidTypeError: structures or dtypes differ.
        """
        other = check(dataset, "concatenate", "dataset")
        same_elements([self, other], "concatenate")
        return self._with(self._plan.concatenate(other._plan))

    @recorded
    def prefetch(self, buffer_size: SupportsIndex, name: str | None = None) -> Self:
        """Computes ``buffer_size`` elements ahead on other threads; -1 (AUTOTUNE) chooses a number.
        The elements stay the same.
        """
        size = _arguments.whole(buffer_size, "prefetch", "buffer_size")
        if size < -1:
            raise errors.make(
                "argument",
                f"prefetch: buffer_size has to be at least 0, or -1 to choose a number, not {size}",
            )
        return self._with(self._plan.prefetch(None if size == -1 else size))

    @recorded
    def unique(self, name: str | None = None) -> Self:
        """The elements without repetitions. Elements have to be single tensors; memory grows with
        the number of different elements.
        """
        return self._with(self._plan.unique())

    @recorded
    def shuffle(
        self,
        buffer_size: SupportsIndex | None = None,
        seed: SupportsIndex | None = None,
        reshuffle_each_iteration: bool | None = True,
        name: str | None = None,
        block: SupportsIndex | None = None,
    ) -> Self:
        """The elements in random order, another order in each iteration.

        Of datasets that can be indexed (arrays, ranges ...), the order is an exact permutation of
        all elements, computed element by element in constant memory; ``buffer_size`` is then only a
        hint and may be left out. Streams (filter, from_generator ...) and endless datasets are
        shuffled in a buffer of ``buffer_size`` elements, as in tf.data.

        With ``block``, ``block`` neighbouring elements of a dataset that can be indexed are read
        together: the blocks are shuffled, and elements are shuffled within groups of the blocks
        that ``buffer_size`` elements fill. The order is still an exact permutation, and resuming is
        as fast. For files whose rows are too small to be read one by one (``mode="direct"``, hard
        disks, network file systems). While files are read, up to three groups are in memory.

        Args:
            buffer_size: elements of the buffer, if there is one; with ``block``, elements of a
                group, None for 64 blocks or 64 MiB. 1 keeps the order;
                ``tf.data.UNKNOWN_CARDINALITY`` shuffles all elements, of a stream in a buffer that
                holds all of them.
            seed: the same seed gives the same orders, in every version. None draws a seed, which
                ``state_dict`` keeps.
            reshuffle_each_iteration: False gives every iteration the order of the first.
            name: accepted for compatibility with tf.data.
            block: elements of a block, at most ``buffer_size``. None shuffles single elements, or,
                of rows that are read from an object store, blocks of about 1 MiB: one by one, each
                row would cost a request. 1 shuffles single elements there too.

        >>> import tensorferry as tfy
        >>> numbers = tfy.Dataset.range(5).shuffle(seed=7).with_format("numpy")
        >>> sorted(int(x) for x in numbers)
        [0, 1, 2, 3, 4]
        >>> numbers = tfy.Dataset.range(6).shuffle(buffer_size=2, seed=7, block=2)
        >>> [int(x) for x in numbers.as_numpy_iterator()]
        [2, 3, 4, 5, 1, 0]
        """
        size = self._buffer(buffer_size)
        word, reshuffle = _arguments.seed(seed, "shuffle"), reshuffle_each_iteration is not False
        if block is None:
            plan = self._plan.shuffle(size, word, reshuffle)
        else:
            plan = self._plan.shuffle_blocks(
                _arguments.positive(block, "shuffle", "block"), size, word, reshuffle
            )
        return self._with(_seeds.seeded(plan, self._plan))

    def _buffer(self, buffer_size: Any) -> int | None:
        """Elements of a shuffle's buffer; None for the default."""
        size = (
            None if buffer_size is None else _arguments.whole(buffer_size, "shuffle", "buffer_size")
        )
        if size is None or size >= 0:
            return size
        if size == _arguments.AUTOTUNE:
            return None
        if size != UNKNOWN:
            raise errors.make("argument", f"shuffle: buffer_size has to be at least 1, not {size}")
        if self._plan.cardinality == INFINITE:
            raise errors.make(
                "argument",
                "shuffle: buffer_size=tf.data.UNKNOWN_CARDINALITY shuffles all elements, of "
                "which this dataset has no end. Shuffle before repeat, or give a number.",
            )
        return None if self._plan.is_indexed else _arguments.GREATEST

    @recorded
    def cache(self, filename: Literal[""] = "", name: str | None = None) -> Self:
        """The elements of the first iteration, in the same order, in every iteration.

        Functions and generators before ``cache`` run once, and their elements stay in memory.
        Arrays and native stages are not cached, because they always give the same elements.
        """
        if filename:
            raise errors.make(
                "argument", "cache: elements are kept in memory, not in a file. Leave out filename."
            )
        return self._with(self._plan.cache())

    @recorded
    def window(
        self,
        size: SupportsIndex,
        shift: SupportsIndex | None = None,
        stride: SupportsIndex = 1,
        drop_remainder: bool = False,
        name: str | None = None,
    ) -> Self:
        """Windows over the elements, each a dataset for every component.

        Args:
            size: elements of a window.
            shift: elements from the start of one window to the start of the next; by default
                ``size``.
            stride: elements from one element of a window to the next.
            drop_remainder: leaves out windows that are not full.
            name: accepted for compatibility with tf.data.

        >>> import tensorferry as tfy
        >>> numbers = tfy.Dataset.range(7).with_format("numpy")
        >>> [[int(x) for x in window] for window in numbers.window(3, shift=2)]
        [[0, 1, 2], [2, 3, 4], [4, 5, 6], [6]]
        """
        strings.refuse_several(self, "window")
        apart = None if shift is None else _arguments.positive(shift, "window", "shift")
        length, step = (
            _arguments.positive(size, "window", "size"),
            _arguments.positive(stride, "window", "stride"),
        )
        plan = self._plan.window(
            length, apart, step, _arguments.flag(drop_remainder, "window", "drop_remainder")
        )
        return self._with(plan, structures.map_structure(Nested, self._structure))

    def to_tf_data(self) -> Any:
        """A ``tf.data.Dataset`` of the same elements, computed by a native TensorFlow op, without
        Python and the GIL.

        Each pass over it is the next epoch. The arrays live as long as TensorFlow can read them.
        """
        from tensorferry._frameworks import tf_data

        return tf_data.to_tf_data(self._plan, self._structure, limits(self._options))
