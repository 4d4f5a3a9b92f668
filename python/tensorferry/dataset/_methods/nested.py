"""Methods whose functions return datasets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, SupportsIndex

from tensorferry import _arguments, _internal, errors
from tensorferry._nest import specs, structures
from tensorferry._nest.structures import LEAF, Nested
from tensorferry._typing import Indices, Nest, ShapeLike, Signature, TensorLike
from tensorferry.dataset import _seeds
from tensorferry.dataset._base import Base, packer, recorded
from tensorferry.dataset._functions import calls, identity, parallel
from tensorferry.dataset._methods import strings
from tensorferry.dataset._methods.buckets import STAGE, Buckets, length_of, measured

#: The default ``cycle_length`` of ``interleave``.
CYCLE_LENGTH = 8


class DatasetFunctions(Base):
    """The methods whose function returns a :class:`Dataset`. It is called in order, as for ``map``;
    a dataset that shuffles has another order for each element. A function has to return the same
    dataset for the same element, because resuming calls it again.

    The specification of the elements of these datasets is determined when the method is called. In
    the format "tensorflow" the function is traced, and called with datasets that cannot be
    iterated; if that fails, and in other formats, it is called with the first element, and dtypes
    and numbers of dimensions are those of the dataset that it returns. ``output_signature`` gives
    the specification instead. A dataset that differs is an error at its element.
    """

    __slots__ = ()

    @recorded
    def flat_map(
        self,
        map_func: Callable[..., Any],
        name: str | None = None,
        *,
        output_signature: Signature | None = None,
    ) -> Self:
        """The elements of the datasets that ``map_func`` returns, one dataset after the other.

        Args:
            map_func: called with each element; returns a :class:`Dataset`.
            name: accepted for compatibility with tf.data.
            output_signature: the specification of the result's elements, as ``TensorSpec`` s.

        Raises:
            tensorferry.errors.InvalidTypeError: ``map_func`` does not return a dataset.

        >>> import tensorferry as tfy
        >>> rows = tfy.Dataset.from_tensor_slices([[1, 2], [3, 4]])
        >>> [int(x) for x in rows.with_format("numpy").flat_map(tfy.Dataset.from_tensor_slices)]
        [1, 2, 3, 4]
        >>> windows = tfy.Dataset.range(4).window(3, shift=1).flat_map(lambda w: w.batch(3))
        >>> [batch.tolist() for batch in windows.as_numpy_iterator()]
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
        cycle_length: SupportsIndex | None = None,
        block_length: SupportsIndex | None = None,
        num_parallel_calls: SupportsIndex | None = None,
        deterministic: bool | None = None,
        name: str | None = None,
        *,
        output_signature: Signature | None = None,
    ) -> Self:
        """The elements of the datasets that ``map_func`` returns, from several datasets in turn.

        ``cycle_length`` datasets are open at a time, and each gives ``block_length`` elements in
        its turn. The dataset of the next element replaces one that has ended.

        Args:
            map_func: called with each element; returns a :class:`Dataset`.
            cycle_length: the number of open datasets; by default, and for -1 (AUTOTUNE), 8.
                (tf.data uses the number of processors; here the order is the same everywhere.)
            block_length: elements of a turn; by default 1.
            num_parallel_calls: accepted for compatibility with tf.data, like ``deterministic`` and
                ``name``, and without effect, which the log says once: give it to the ``map`` whose
                function takes long. The order is always that of ``deterministic=True``.
            output_signature: the specification of the result's elements, as ``TensorSpec`` s.

        Raises:
            tensorferry.errors.InvalidTypeError: ``map_func`` does not return a dataset.
            tensorferry.errors.InvalidArgumentError: ``cycle_length`` or ``block_length`` is less
                than 1.

        >>> import tensorferry as tfy
        >>> numbers = tfy.Dataset.range(1, 4).with_format("numpy")
        >>> three = lambda x: tfy.Dataset.from_tensors(x).repeat(3)
        >>> threes = numbers.interleave(three, cycle_length=2, block_length=2)
        >>> [int(x) for x in threes]
        [1, 1, 2, 2, 1, 2, 3, 3, 3]
        """
        calls.check_callable(map_func, "interleave", "map_func")
        parallel.without_effect(num_parallel_calls, "interleave")
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
        reduce_func: Callable[[Any, Self], Self],
        window_size: SupportsIndex | None = None,
        window_size_func: Callable[[Any], Any] | None = None,
        name: str | None = None,
        *,
        output_signature: Signature | None = None,
    ) -> Self:
        """Groups elements by a key into windows. The result has the elements of the dataset that
        ``reduce_func`` returns for each full window.

        At the end follow the windows that are not full, in the order of their keys. The state of an
        iteration contains the elements of unfinished windows, by value.

        Args:
            key_func: called with each element; returns its key, an integer.
            reduce_func: called with a key and the :class:`Dataset` of its window; returns a
                :class:`Dataset`.
            window_size: elements of a window; at least 1.
            window_size_func: called once for each key; returns the elements of its windows. Instead
                of ``window_size``.
            name: accepted for compatibility with tf.data.
            output_signature: the specification of the result's elements, as ``TensorSpec`` s.

        Raises:
            tensorferry.errors.InvalidArgumentError: neither or both of ``window_size`` and
                ``window_size_func`` are given.
            tensorferry.errors.InvalidTypeError: ``reduce_func`` does not return a dataset; or,
                while iterating, a key is not an integer.

        >>> import tensorferry as tfy
        >>> numbers = tfy.Dataset.range(6).with_format("numpy")
        >>> pairs = numbers.group_by_window(
        ...     lambda x: x % 2, lambda key, window: window.batch(2), window_size=2
        ... )
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
            packer(type(self), LEAF, self._format),
            packer(type(self), Nested(self._structure), self._format, self._options),
        )
        plan = _internal.group_by_window(self._plan, key, reduce, sizes, packers, spec)
        return self._with(_seeds.seeded(plan), structure)

    @recorded
    def bucket_by_sequence_length(
        self,
        element_length_func: Callable[..., Any] | str | None,
        bucket_boundaries: Indices,
        bucket_batch_sizes: Indices,
        padded_shapes: Nest[ShapeLike] = None,
        padding_values: Nest[TensorLike] = None,
        pad_to_bucket_boundary: bool = False,
        no_padding: bool = False,
        drop_remainder: bool = False,
        name: str | None = None,
    ) -> Self:
        """Padded batches of elements of similar lengths: ``group_by_window`` by length, then
        ``padded_batch``.

        Args:
            element_length_func: called with each element; returns its length, an integer. Or the
                key of the part whose length counts, or None for the only part of unknown length:
                then, if its rows come from :meth:`from_ragged`, buckets are formed without
                reading them.
            bucket_boundaries: lengths at which the buckets end: ``[3, 5]`` makes buckets of lengths
                below 3, of 3 and 4, and of 5 and more.
            bucket_batch_sizes: the batch size of each bucket: one more number than boundaries.
            padded_shapes: as for :meth:`padded_batch`.
            padding_values: as for :meth:`padded_batch`.
            pad_to_bucket_boundary: pads unknown lengths to the boundary of the bucket minus 1, not
                to the longest of the batch. Elements of the last bucket, which has no boundary,
                are then errors.
            no_padding: stacks elements as they are; elements of one batch need one shape.
            drop_remainder: leaves out the batches at the end that are not full.
            name: accepted for compatibility with tf.data.

        Raises:
            tensorferry.errors.InvalidArgumentError: the numbers of boundaries and batch sizes do
                not match; and the errors of :meth:`padded_batch`.

        >>> import numpy as np, tensorferry as tfy
        >>> lengths = tfy.Dataset.from_tensor_slices([1, 4, 2, 3]).with_format("numpy")
        >>> words = lengths.map(lambda n: np.full(n, n))
        >>> for batch in words.bucket_by_sequence_length(len, [3], [2, 2]):
        ...     print(batch.tolist())
        [[1, 0], [2, 2]]
        [[4, 4, 4, 4], [3, 3, 3, 0]]
        """
        several = structures.holds_several(self._structure)
        drop = _arguments.flag(drop_remainder, STAGE, "drop_remainder")
        to_boundary = _arguments.flag(pad_to_bucket_boundary, STAGE, "pad_to_bucket_boundary")
        unpadded = _arguments.flag(no_padding, STAGE, "no_padding")
        component = measured(self._plan, self._structure, element_length_func)
        length = element_length_func
        if not callable(length):
            length = length_of(self._structure, self._plan.spec, length)
        buckets = Buckets(length, bucket_boundaries, bucket_batch_sizes, drop)
        structure = strings.of_batches(self._structure)
        if component is not None and buckets.ascend() and not (several and to_boundary):
            plan = buckets.native(
                self._plan,
                self._structure,
                component,
                (padded_shapes, padding_values),
                (to_boundary, unpadded, drop),
            )
            return self._with(plan, structure)
        if unpadded and structures.has_text(self._structure):
            one, _ = strings.batched(self, 1, False)
            buckets.texts = structures.texts(self._structure)
            spec = [(dtype, (None, *dims[1:])) for dtype, dims in one.spec]
        elif unpadded:
            spec = self._plan.batch(1, False).spec
        else:
            spec = buckets.pad(
                self._plan, self._structure, padded_shapes, padding_values, to_boundary
            )
        cls = type(self)
        packers = (
            self._packed(),
            packer(cls, LEAF, "numpy"),
            packer(cls, Nested(self._structure), "numpy"),
        )
        return self._with(
            _internal.group_by_window(self._plan, *buckets.functions(), packers, spec), structure
        )
