"""Stages whose functions return datasets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tensorferry import _arguments, _internal, errors
from tensorferry._nest import specs
from tensorferry._nest.structures import LEAF, Nested
from tensorferry.dataset import _seeds
from tensorferry.dataset._base import Base, packer, recorded
from tensorferry.dataset._functions import calls, identity
from tensorferry.dataset._methods.buckets import STAGE, Buckets

if TYPE_CHECKING:
    from tensorferry.dataset import Dataset

#: How many datasets ``interleave`` takes turns with if nobody says.
CYCLE_LENGTH = 8


class DatasetFunctions(Base):
    """The methods whose function returns a :class:`Dataset`. It is called in order, as that of
    ``map`` is; a dataset that shuffles is in another order for each element. A function has to
    return the same dataset for the same element: a state that is resumed calls it again.

    What the elements of these datasets are is found out when the method is called. In the format
    "tensorflow" the function is traced, and called with datasets in which nothing can be read;
    where that fails, and in other formats, it is called with the first element, and dtypes and
    numbers of dimensions are those of the dataset that it returns then. ``output_signature`` says
    it instead: what the ``element_spec`` of the result is. A dataset that differs is an error at
    its element.
    """

    __slots__ = ()

    @recorded
    def flat_map(
        self, map_func: Callable[..., Any], name: str | None = None, *, output_signature: Any = None
    ) -> Dataset:
        """The elements of the datasets that ``map_func`` makes of each element, one dataset after
        the other.

        Args:
            map_func: called with each element; returns a :class:`Dataset`.
            name: accepted for tf.data's sake.
            output_signature: what the elements of the result are, as ``TensorSpec`` s.

        Raises:
            tensorferry.errors.TypeError: ``map_func`` returns something else.

        >>> import tensorferry as tfy
        >>> rows = tfy.Dataset.from_tensor_slices([[1, 2], [3, 4]])
        >>> [int(x) for x in rows.with_format("numpy").flat_map(tfy.Dataset.from_tensor_slices)]
        [1, 2, 3, 4]
        >>> [batch.tolist() for batch in tfy.Dataset.range(4).window(3, shift=1).flat_map(lambda w: w.batch(3)).as_numpy_iterator()]
        [[0, 1, 2], [1, 2, 3], [2, 3], [3]]
        """
        calls.check_callable(map_func, "flat_map", "map_func")
        structure, spec = calls.datasets_of(self, map_func, output_signature, "flat_map")
        made = calls.plan_maker(map_func, structure, "flat_map")
        plan = _internal.flat_map(
            self._plan, identity.known_as(map_func), made, self._packed(), spec
        )
        return self._with(_seeds.seeded(plan), structure)

    @recorded
    def interleave(
        self,
        map_func: Callable[..., Any],
        cycle_length: Any = None,
        block_length: Any = None,
        num_parallel_calls: Any = None,
        deterministic: bool | None = None,
        name: str | None = None,
        *,
        output_signature: Any = None,
    ) -> Dataset:
        """The elements of the datasets that ``map_func`` makes of each element, several datasets in
        turn.

        ``cycle_length`` datasets are open at a time, and give ``block_length`` elements each in
        their turn. One that has ended makes way for the dataset of the next element.

        Args:
            map_func: called with each element; returns a :class:`Dataset`.
            cycle_length: how many datasets; by default, and for -1 (AUTOTUNE), 8. tf.data counts the processors then; here the order is
                the same on every machine.
            block_length: how many elements in a turn; by default 1.
            num_parallel_calls, deterministic, name: accepted for tf.data's sake. The order is always that of ``deterministic=True``.
            output_signature: what the elements of the result are, as ``TensorSpec`` s.

        Raises:
            tensorferry.errors.TypeError: ``map_func`` returns something else than a dataset.
            tensorferry.errors.ValueError: ``cycle_length`` or ``block_length`` is less than 1.

        >>> import tensorferry as tfy
        >>> numbers = tfy.Dataset.range(1, 4).with_format("numpy")
        >>> threes = numbers.interleave(lambda x: tfy.Dataset.from_tensors(x).repeat(3), cycle_length=2, block_length=2)
        >>> [int(x) for x in threes]
        [1, 1, 2, 2, 1, 2, 3, 3, 3]
        """
        calls.check_callable(map_func, "interleave", "map_func")
        turn = (
            1
            if block_length is None
            else _arguments.positive(block_length, "interleave", "block_length")
        )
        cycle = (
            _arguments.AUTOTUNE
            if cycle_length is None
            else _arguments.whole(cycle_length, "interleave", "cycle_length")
        )
        if cycle == _arguments.AUTOTUNE:
            cycle = CYCLE_LENGTH
        cycle = _arguments.positive(cycle, "interleave", "cycle_length")
        structure, spec = calls.datasets_of(self, map_func, output_signature, "interleave")
        made, called = (
            calls.plan_maker(map_func, structure, "interleave"),
            identity.known_as(map_func),
        )
        plan = _internal.interleave(self._plan, called, made, self._packed(), spec, (cycle, turn))
        return self._with(_seeds.seeded(plan), structure)

    @recorded
    def group_by_window(
        self,
        key_func: Callable[..., Any],
        reduce_func: Callable[[Any, Dataset], Any],
        window_size: Any = None,
        window_size_func: Callable[[Any], Any] | None = None,
        name: str | None = None,
        *,
        output_signature: Any = None,
    ) -> Dataset:
        """Gathers elements by a key, and hands out the elements of the dataset that ``reduce_func``
        makes of each full window.

        At the end come the windows that are not full, in the order of their keys. The state of an
        iteration holds the elements that wait for their windows, by value.

        Args:
            key_func: called with each element; returns its key, an integer.
            reduce_func: called with a key and the :class:`Dataset` of its window; returns a :class:`Dataset`.
            window_size: how many elements a window has; at least 1.
            window_size_func: called once for each key; returns how many. Instead of ``window_size``.
            name: accepted for tf.data's sake.
            output_signature: what the elements of the result are, as ``TensorSpec`` s.

        Raises:
            tensorferry.errors.ValueError: neither or both of ``window_size`` and ``window_size_func`` are given.
            tensorferry.errors.TypeError: ``reduce_func`` returns something else than a dataset; or, while iterating, a key is no integer.

        >>> import tensorferry as tfy
        >>> numbers = tfy.Dataset.range(6).with_format("numpy")
        >>> pairs = numbers.group_by_window(lambda x: x % 2, lambda key, window: window.batch(2), window_size=2)
        >>> [pair.tolist() for pair in pairs]
        [[0, 2], [1, 3], [4], [5]]
        """
        stage = "group_by_window"
        calls.check_callable(key_func, stage, "key_func")
        calls.check_callable(reduce_func, stage, "reduce_func")
        if (window_size is None) == (window_size_func is None):
            raise errors.make("argument", f"{stage}: pass either window_size= or window_size_func=")
        if window_size_func is None:
            size = _arguments.positive(window_size, stage, "window_size")
            sizes: tuple[tuple[str, int], Callable[[Any], Any]] = ((str(size), 0), lambda key: size)
        else:
            calls.check_callable(window_size_func, stage, "window_size_func")
            sizes = (identity.known_as(window_size_func), window_size_func)
        if output_signature is None:
            structure, spec = calls.groups_of(self, key_func, reduce_func, stage)
        else:
            structure, spec = specs.parse(output_signature, f"{stage}: output_signature")
        reduce = (
            identity.known_as(reduce_func),
            calls.plan_maker(reduce_func, structure, stage),
        )
        key = (identity.known_as(key_func), key_func)
        packers = (
            self._packed(),
            packer(LEAF, self._format),
            packer(Nested(self._structure), self._format, self._options),
        )
        plan = _internal.group_by_window(self._plan, key, reduce, sizes, packers, spec)
        return self._with(_seeds.seeded(plan), structure)

    @recorded
    def bucket_by_sequence_length(
        self,
        element_length_func: Callable[..., Any],
        bucket_boundaries: Any,
        bucket_batch_sizes: Any,
        padded_shapes: Any = None,
        padding_values: Any = None,
        pad_to_bucket_boundary: bool = False,
        no_padding: bool = False,
        drop_remainder: bool = False,
        name: str | None = None,
    ) -> Dataset:
        """Padded batches of elements of similar lengths: ``group_by_window`` by length, then
        ``padded_batch``.

        Args:
            element_length_func: called with each element; returns its length, an integer.
            bucket_boundaries: lengths at which the buckets end: ``[3, 5]`` makes those of lengths below 3, of 3 and 4, and of 5 and more.
            bucket_batch_sizes: for each bucket how many elements make a batch: one more number than boundaries.
            padded_shapes, padding_values: as for :meth:`padded_batch`.
            pad_to_bucket_boundary: pads unknown lengths to the boundary of the bucket minus 1, not to the longest of the batch. Elements
                of the last bucket, which has no boundary, are then errors.
            no_padding: stacks elements as they are; those of one batch have to be of one shape.
            drop_remainder: leaves out the batches at the end that are not full.
            name: accepted for tf.data's sake.

        Raises:
            tensorferry.errors.ValueError: the numbers of boundaries and batch sizes do not go together; what :meth:`padded_batch` raises.

        >>> import numpy as np, tensorferry as tfy
        >>> words = tfy.Dataset.from_tensor_slices([1, 4, 2, 3]).with_format("numpy").map(lambda n: np.full(n, n))
        >>> for batch in words.bucket_by_sequence_length(lambda word: len(word), [3], [2, 2]):
        ...     print(batch.tolist())
        [[1, 0], [2, 2]]
        [[4, 4, 4, 4], [3, 3, 3, 0]]
        """
        calls.check_callable(element_length_func, STAGE, "element_length_func")
        drop = _arguments.flag(drop_remainder, STAGE, "drop_remainder")
        to_boundary = _arguments.flag(pad_to_bucket_boundary, STAGE, "pad_to_bucket_boundary")
        buckets = Buckets(element_length_func, bucket_boundaries, bucket_batch_sizes, drop)
        if _arguments.flag(no_padding, STAGE, "no_padding"):
            spec = self._plan.batch(1, False).spec
        else:
            spec = buckets.pad(
                self._plan, self._structure, padded_shapes, padding_values, to_boundary
            )
        packers = (self._packed(), packer(LEAF, "numpy"), packer(Nested(self._structure), "numpy"))
        return self._with(
            _internal.group_by_window(self._plan, *buckets.functions(), packers, spec)
        )
