"""Stages that take, order and group elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tensorferry import _arguments, errors
from tensorferry._nest import specs, structures
from tensorferry._nest.structures import LEAF, Nested
from tensorferry.dataset import _seeds
from tensorferry.dataset._base import INFINITE, UNKNOWN, Base, recorded

if TYPE_CHECKING:
    from tensorferry.dataset import Dataset


class Stages(Base):
    """The methods that need no function of the user's."""

    __slots__ = ()

    @recorded
    def batch(
        self,
        batch_size: Any,
        drop_remainder: bool = False,
        num_parallel_calls: Any = None,
        deterministic: bool | None = None,
        name: str | None = None,
    ) -> Dataset:
        """Stacks ``batch_size`` consecutive elements along a new first dimension. The last batch
        holds what is left.

        Args:
            batch_size: how many; at least 1.
            drop_remainder: leaves out a last batch that is not full, so that all have one shape.
            num_parallel_calls, deterministic, name: accepted for tf.data's sake. Batches are always in order, and made in parallel.

        Raises:
            tensorferry.errors.ValueError: ``batch_size`` is less than 1; or, while iterating, elements of one batch differ in
                shape.

        >>> import tensorferry as tfy
        >>> [batch.tolist() for batch in tfy.Dataset.from_tensor_slices([1, 2, 3]).batch(2).as_numpy_iterator()]
        [[1, 2], [3]]
        """
        size = _arguments.positive(batch_size, "batch", "batch_size")
        return self._with(
            self._plan.batch(size, _arguments.flag(drop_remainder, "batch", "drop_remainder"))
        )

    @recorded
    def take(self, count: Any, name: str | None = None) -> Dataset:
        """At most the first ``count`` elements; all of them if it is negative."""
        return self._with(self._plan.take(_arguments.count(count, "take")))

    @recorded
    def skip(self, count: Any, name: str | None = None) -> Dataset:
        """The elements after the first ``count``; none if it is negative. What is skipped is not
        computed where it need not be.
        """
        return self._with(self._plan.skip(_arguments.count(count, "skip")))

    @recorded
    def repeat(self, count: Any = None, name: str | None = None) -> Dataset:
        """The dataset ``count`` times over; endlessly if it is None or negative."""
        return self._with(self._plan.repeat(_arguments.count(count, "repeat")))

    @recorded
    def shard(self, num_shards: Any, index: Any, name: str | None = None) -> Dataset:
        """Every ``num_shards``-th element, from ``index`` on: the part of one of several workers.
        Shuffle before, batch after.

        Raises:
            tensorferry.errors.ValueError: ``index`` is not at least 0 and less than ``num_shards``.

        >>> import tensorferry as tfy
        >>> list(tfy.Dataset.range(10).shard(3, 1).as_numpy_iterator())
        [np.int64(1), np.int64(4), np.int64(7)]
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
        return self._with(self._plan.shard(shards, at))

    @recorded
    def enumerate(self, start: Any = 0, name: str | None = None) -> Dataset:
        """Pairs of a number, counted from ``start``, and an element."""
        return self._with(
            self._plan.enumerate(_arguments.whole(start, "enumerate", "start")),
            (LEAF, self._structure),
        )

    @recorded
    def concatenate(self, dataset: Dataset, name: str | None = None) -> Dataset:
        """The elements of this dataset, then those of the other, which have the same structure and
        dtypes.

        Raises:
            tensorferry.errors.TypeError: structures or dtypes differ.
        """
        other = check(dataset, "concatenate", "dataset")
        same_elements([self, other], "concatenate")
        return self._with(self._plan.concatenate(other._plan))

    @recorded
    def prefetch(self, buffer_size: Any, name: str | None = None) -> Dataset:
        """Computes ``buffer_size`` elements ahead on other threads; -1 (AUTOTUNE) lets the engine
        choose. No element changes.
        """
        size = _arguments.whole(buffer_size, "prefetch", "buffer_size")
        if size < -1:
            raise errors.make(
                "argument",
                f"prefetch: buffer_size has to be at least 0, or -1 to have it chosen, not {size}",
            )
        return self._with(self._plan.prefetch(None if size == -1 else size))

    @recorded
    def unique(self, name: str | None = None) -> Dataset:
        """The elements without those that were there before. Elements are single tensors; all that
        were seen are remembered.
        """
        return self._with(self._plan.unique())

    @recorded
    def shuffle(
        self,
        buffer_size: Any = None,
        seed: Any = None,
        reshuffle_each_iteration: bool | None = True,
        name: str | None = None,
        block: Any = None,
    ) -> Dataset:
        """The elements in random order, another one in each iteration.

        Over arrays, ranges and all that can be indexed, the order is an exact permutation of
        everything, computed element by element in constant memory; ``buffer_size`` is then only a
        hint and may be left out. Streams (filter, from_generator ...) and endless datasets are
        shuffled in a buffer of so many elements, as tf.data does.

        With ``block``, of what can be indexed, ``block`` neighbouring elements are read together:
        the blocks are put in a random order, and elements are put in a random order within groups
        of as many blocks as ``buffer_size`` elements hold. It is as exact, and goes on from a state
        as fast. For files whose rows are too small to be read one by one (``mode="direct"``, hard
        disks, network file systems). While files are read, up to three groups are in memory.

        Args:
            buffer_size: elements of the buffer, where one is needed; with ``block``, elements of a group; if None, 64 blocks, or as many
                as have 64 MiB. 1 keeps the order; ``tf.data.UNKNOWN_CARDINALITY`` shuffles everything, of a stream in a buffer that
                holds all of it.
            seed: the same seed gives the same orders, in every version. None draws one, which ``state_dict`` remembers.
            reshuffle_each_iteration: False gives every iteration the first one's order.
            block: elements of a block, at most ``buffer_size``. None shuffles element by element.

        >>> import tensorferry as tfy
        >>> numbers = tfy.Dataset.range(5).shuffle(seed=7).with_format("numpy")
        >>> sorted(int(x) for x in numbers)
        [0, 1, 2, 3, 4]
        >>> numbers = tfy.Dataset.range(6).shuffle(buffer_size=2, seed=7, block=2).with_format("numpy")
        >>> [int(x) for x in numbers]
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
        """Elements of a shuffle's buffer; None to have it chosen."""
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
                "which this dataset has no end. Shuffle "
                "before repeat, or give a number.",
            )
        return None if self._plan.is_indexed else _arguments.GREATEST

    @recorded
    def cache(self, filename: Any = "", name: str | None = None) -> Dataset:
        """The same elements in the same order in every iteration: those of the first.

        Functions and generators before it are run once, and their elements kept in memory; of
        arrays and native stages nothing needs to be kept.
        """
        if filename:
            raise errors.make(
                "argument", "cache: elements are kept in memory, not in a file. Leave out filename."
            )
        return self._with(self._plan.cache())

    @recorded
    def window(
        self,
        size: Any,
        shift: Any = None,
        stride: Any = 1,
        drop_remainder: bool = False,
        name: str | None = None,
    ) -> Dataset:
        """Windows over the elements: each is one dataset for every component.

        Args:
            size: elements of a window.
            shift: elements from the start of one to the start of the next; by default ``size``.
            stride: elements from one of a window to the next of it.
            drop_remainder: leaves out windows that are not full.

        >>> import tensorferry as tfy
        >>> [[int(x) for x in window] for window in tfy.Dataset.range(7).with_format("numpy").window(3, shift=2)]
        [[0, 1, 2], [2, 3, 4], [4, 5, 6], [6]]
        """
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
        """A real ``tf.data.Dataset`` of the same elements, computed by a native TensorFlow op: no
        Python, and no GIL, in the loop.

        Each pass over it is the next epoch. The arrays live as long as TensorFlow can read them.
        """
        from tensorferry._frameworks import tf_data

        return tf_data.to_tf_data(self)  # type: ignore[arg-type]


def check(dataset: Any, stage: str, name: str) -> Base:
    """Refuses what is no dataset of ours."""
    if not isinstance(dataset, Base):
        raise errors.make(
            "wrong_type",
            f"{stage}: {name} has to be a tensorferry.Dataset, not a {type(dataset).__module__}.{type(dataset).__name__}",
        )
    return dataset


def same_elements(datasets: Sequence[Base], stage: str) -> None:
    """Refuses datasets whose elements differ in structure or dtype."""
    first = datasets[0]
    for other in datasets[1:]:
        if not structures.equal(first._structure, other._structure) or _dtypes(
            first._plan.spec
        ) != _dtypes(other._plan.spec):
            raise errors.make(
                "dtype_mismatch",
                f"{stage}: the datasets need elements of one structure and the same dtypes; they are "
                f"{specs.element_spec(first._structure, first._plan.spec, False)} and "
                f"{specs.element_spec(other._structure, other._plan.spec, False)}. Cast or map one of them.",
            )


def _dtypes(spec: list[specs.Part]) -> list[Any]:
    return [_dtypes(part) if isinstance(part, list) else part[0] for part in spec]
