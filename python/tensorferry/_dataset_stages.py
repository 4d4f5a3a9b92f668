"""Stages that take, order and group elements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorferry import _arguments
from tensorferry._dataset_base import Base, recorded

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
        """Stacks ``batch_size`` consecutive elements along a new first dimension. The last batch holds what is left.

        Args:
            batch_size: how many; at least 1.
            drop_remainder: leaves out a last batch that is not full, so that all have one shape.
            num_parallel_calls, deterministic, name: accepted for tf.data's sake. Batches are always in order, and made in parallel.

        Raises:
            tensorferry.errors.ValueError: ``batch_size`` is less than 1; or, while iterating, elements of one batch differ in shape.

        >>> import tensorferry as tfy
        >>> [batch.tolist() for batch in tfy.Dataset.from_tensor_slices([1, 2, 3]).batch(2).as_numpy_iterator()]
        [[1, 2], [3]]
        """
        size = _arguments.positive(batch_size, "batch", "batch_size")
        return self._with(self._plan.batch(size, bool(drop_remainder)))

    @recorded
    def take(self, count: Any, name: str | None = None) -> Dataset:
        """At most the first ``count`` elements; all of them if it is negative."""
        return self._with(self._plan.take(_arguments.count(count, "take")))
