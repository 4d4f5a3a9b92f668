"""Methods that make batches of elements, and elements of batches, except ``batch``."""

from __future__ import annotations

from typing import Self, SupportsIndex

import numpy as np

from tensorferry import _arguments, errors
from tensorferry._nest import structures
from tensorferry._typing import Indices, Nest, ShapeLike, TensorLike
from tensorferry.dataset._base import Base, recorded
from tensorferry.dataset._methods import ragged_structure, strings


class Batches(Base):
    """The methods that pad, split and resize batches."""

    __slots__ = ()

    @recorded
    def padded_batch(
        self,
        batch_size: SupportsIndex,
        padded_shapes: Nest[ShapeLike] = None,
        padding_values: Nest[TensorLike] = None,
        drop_remainder: bool = False,
        name: str | None = None,
    ) -> Self:
        """Stacks ``batch_size`` consecutive elements, whose shapes may differ, after padding each
        at the ends of its dimensions.

        Args:
            batch_size: elements of a batch; at least 1.
            padded_shapes: for each part of an element the shape to pad it to, nested like the
                element: a sequence of lengths, None (or -1) for the longest of the batch. By
                default the known lengths of ``element_spec``, and the longest of the batch for the
                others.
            padding_values: for each part of an element the number to pad with, None for 0 (False);
                or one number for all. A Python number becomes the part's dtype; other values have
                to be of that dtype. Parts of several strings are padded with ``b""``, or a string
                given for them.
            drop_remainder: leaves out a last batch that is not full.
            name: accepted for compatibility with tf.data.

        Raises:
            tensorferry.errors.InvalidArgumentError: ``batch_size`` is less than 1, or
                ``padded_shapes`` does not fit the elements' shapes; or, while iterating, an
                element is larger than the shape to pad it to.
            tensorferry.errors.InvalidTypeError: a padding value is of another dtype than its
                part, or elements hold datasets.

        >>> import numpy as np, tensorferry as tfy
        >>> lengths = tfy.Dataset.range(1, 4).with_format("numpy")
        >>> for batch in lengths.map(lambda n: np.full(n, n)).padded_batch(2, padding_values=-1):
        ...     print(batch.tolist())
        [[1, -1], [2, 2]]
        [[3, 3, 3]]
        """
        size = _arguments.positive(batch_size, "padded_batch", "batch_size")
        ragged_structure.refuse_batches(self._structure, "padded_batch")
        shapes, values, of_strings = strings.paddings(
            self._structure, self._plan.spec, padded_shapes, padding_values, "padded_batch"
        )
        drop = _arguments.flag(drop_remainder, "padded_batch", "drop_remainder")
        plan = self._plan.padded_batch(size, shapes, values, drop, of_strings)
        return self._with(plan, strings.of_batches(self._structure))

    @recorded
    def unbatch(self, name: str | None = None) -> Self:
        """The rows of each element, one by one: the inverse of ``batch``.

        If each element's number of rows is known, so is the cardinality of the result, even if the
        last batch is not full; in tf.data it is unknown.

        Raises:
            tensorferry.errors.InvalidArgumentError: a part of the elements is a number or a
                dataset, or the parts have different numbers of rows.

        >>> import tensorferry as tfy
        >>> rows = tfy.Dataset.from_tensor_slices([[1, 2], [3, 4]]).unbatch()
        >>> len(rows), [int(x) for x in rows.as_numpy_iterator()]
        (4, [1, 2, 3, 4])
        """
        ragged_structure.refuse_batches(self._structure, "unbatch")
        return self._unbatched()

    def _unbatched(self) -> Self:
        plan = self._plan.unbatch(strings.several(self._structure))
        return self._with(plan, strings.of_rows(self._structure, self._plan.spec))

    @recorded
    def rebatch(
        self, batch_size: Indices, drop_remainder: bool = False, name: str | None = None
    ) -> Self:
        """The rows of each element, stacked into batches of another size:
        ``unbatch().batch(batch_size)``.

        ``cardinality`` is known if that of ``unbatch`` is; in tf.data it is unknown.

        Args:
            batch_size: rows of a batch, or a list of numbers to cycle through. A 0 among them
                makes a batch without rows.
            drop_remainder: leaves out a last batch that is not full.
            name: accepted for compatibility with tf.data.

        Raises:
            tensorferry.errors.InvalidArgumentError: a size is negative, all are 0, or the
                elements cannot be unbatched.

        >>> import tensorferry as tfy
        >>> batches = tfy.Dataset.range(8).batch(4).rebatch([3, 1])
        >>> [batch.tolist() for batch in batches.as_numpy_iterator()]
        [[0, 1, 2], [3], [4, 5, 6], [7]]
        """
        ragged_structure.refuse_batches(self._structure, "rebatch")
        if any(np.ndim(size) for size in _arguments.several(batch_size)):
            raise errors.make(
                "argument",
                "rebatch: batch_size has to be a number or a list of numbers, not "
                f"{_arguments.shown(batch_size)}",
            )
        each = [
            _arguments.at_least(size, 0, "rebatch", "batch_size")
            for size in _arguments.several(batch_size)
        ]
        if not any(each):
            raise errors.make(
                "argument",
                "rebatch: batch_size has to be at least 1, or numbers of which one is, not "
                f"{_arguments.shown(batch_size)}",
            )
        drop = _arguments.flag(drop_remainder, "rebatch", "drop_remainder")
        if structures.has_text(self._structure):
            if len(each) > 1:
                strings.refuse(self, "rebatch", "Pass one batch_size, or use unbatch and batch.")
            rows = self._unbatched()
            return self._with(*strings.batched(rows, each[0], drop))
        return self._with(self._plan.rebatch(each, drop))
