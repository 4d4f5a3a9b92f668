"""Stages whose functions return datasets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tensorferry import _arguments, _functions, _internal
from tensorferry._dataset_base import Base, recorded

if TYPE_CHECKING:
    from tensorferry.dataset import Dataset

#: How many datasets ``interleave`` takes turns with if nobody says.
CYCLE_LENGTH = 8


class DatasetFunctions(Base):
    """The methods whose function returns a :class:`Dataset`. It is called in order, as that of ``map`` is; a dataset that shuffles is in
    another order for each element. A function has to return the same dataset for the same element: a state that is resumed calls it
    again.

    What the elements of these datasets are is found out when the method is called. In the format "tensorflow" the function is traced,
    and called with datasets in which nothing can be read; where that fails, and in other formats, it is called with the first element,
    and dtypes and numbers of dimensions are those of the dataset that it returns then. ``output_signature`` says it instead: what the
    ``element_spec`` of the result is. A dataset that differs is an error at its element.
    """

    __slots__ = ()

    @recorded
    def flat_map(self, map_func: Callable[..., Any], name: str | None = None, *, output_signature: Any = None) -> Dataset:
        """The elements of the datasets that ``map_func`` makes of each element, one dataset after the other.

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
        _functions.check_callable(map_func, "flat_map", "map_func")
        structure, spec = _functions.datasets_of(self, map_func, output_signature, "flat_map")
        made = _functions.plan_maker(map_func, structure, "flat_map")
        return self._with(_internal.flat_map(self._plan, _functions.name_of(map_func), made, self._packed(), spec), structure)

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
        """The elements of the datasets that ``map_func`` makes of each element, several datasets in turn.

        ``cycle_length`` datasets are open at a time, and give ``block_length`` elements each in their turn. One that has ended makes way
        for the dataset of the next element.

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
        _functions.check_callable(map_func, "interleave", "map_func")
        turn = 1 if block_length is None else _arguments.positive(block_length, "interleave", "block_length")
        cycle = _arguments.AUTOTUNE if cycle_length is None else _arguments.whole(cycle_length, "interleave", "cycle_length")
        if cycle == _arguments.AUTOTUNE:
            cycle = CYCLE_LENGTH
        cycle = _arguments.positive(cycle, "interleave", "cycle_length")
        structure, spec = _functions.datasets_of(self, map_func, output_signature, "interleave")
        made, called = _functions.plan_maker(map_func, structure, "interleave"), _functions.name_of(map_func)
        return self._with(_internal.interleave(self._plan, called, made, self._packed(), spec, (cycle, turn)), structure)
