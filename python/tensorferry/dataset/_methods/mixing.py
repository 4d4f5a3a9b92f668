"""Datasets made of several others, one element of this, one of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tensorferry import _arguments, _internal, errors
from tensorferry._nest.structures import LEAF
from tensorferry.dataset import _seeds
from tensorferry.dataset._base import Base, recorded
from tensorferry.dataset._methods.stages import check, same_elements

if TYPE_CHECKING:
    from tensorferry.dataset import Dataset


class Mixing(Base):
    """The methods that mix. Each of the datasets keeps its own order."""

    __slots__ = ()

    @staticmethod
    @recorded
    def sample_from_datasets(
        datasets: Any,
        weights: Any = None,
        seed: Any = None,
        stop_on_empty_dataset: bool = False,
        rerandomize_each_iteration: bool | None = None,
    ) -> Dataset:
        """The next element of a dataset drawn at random, again and again, until all have ended.

        Args:
            datasets: a list of datasets, their elements of one structure and the same dtypes. The result has the first's format.
            weights: a number for each, in proportion to how often it is drawn; None draws all alike. A dataset of weight 0 has no part.
            seed: the same seed draws the same, in every version. None draws a seed, which ``state_dict`` remembers.
            stop_on_empty_dataset: ends when a dataset without further elements is drawn, so that the proportions are as asked until
                then. Otherwise such a dataset makes room for the others.
            rerandomize_each_iteration: True draws anew in each iteration.

        Raises:
            tensorferry.errors.ValueError: no datasets, another number of weights than of datasets, a weight that is negative or not
                finite.
            tensorferry.errors.TypeError: structures or dtypes differ.

        >>> import tensorferry as tfy
        >>> code, prose = tfy.Dataset.range(3), tfy.Dataset.range(10, 13)
        >>> [int(x) for x in tfy.Dataset.sample_from_datasets([code, prose], [0.7, 0.3], seed=7).as_numpy_iterator()]
        [10, 11, 12, 0, 1, 2]
        """
        stage = "sample_from_datasets"
        mixed = _checked(datasets, stage)
        word = _arguments.seed(seed, stage)
        flags = (
            _arguments.flag(stop_on_empty_dataset, stage, "stop_on_empty_dataset"),
            _arguments.flag(rerandomize_each_iteration, stage, "rerandomize_each_iteration"),
        )
        plans = [dataset._plan for dataset in mixed]
        plan = _internal.sample_from_datasets(plans, _weights(weights), word, *flags)
        return mixed[0]._with(_seeds.seeded(plan, *plans))

    @staticmethod
    @recorded
    def choose_from_datasets(
        datasets: Any, choice_dataset: Any, stop_on_empty_dataset: bool = True
    ) -> Dataset:
        """The next element of that dataset which each element of ``choice_dataset`` names by its
        position.

        Args:
            datasets: a list of datasets, their elements of one structure and the same dtypes. The result has the first's format.
            choice_dataset: a dataset of scalar int64 tensors.
            stop_on_empty_dataset: ends when a dataset without further elements is named. False passes over it.

        Raises:
            tensorferry.errors.ValueError: no datasets; or, while iterating, a position that no dataset has.
            tensorferry.errors.TypeError: structures or dtypes differ, or ``choice_dataset`` is no dataset of scalar int64 tensors.

        >>> import tensorferry as tfy
        >>> code, prose = tfy.Dataset.range(3), tfy.Dataset.range(10, 13)
        >>> turns = tfy.Dataset.from_tensor_slices([0, 1, 1]).cast("int64").repeat()
        >>> [int(x) for x in tfy.Dataset.choose_from_datasets([code, prose], turns).as_numpy_iterator()]
        [0, 10, 11, 1, 12]
        """
        stage = "choose_from_datasets"
        mixed = _checked(datasets, stage)
        choice = check(choice_dataset, stage, "choice_dataset")
        if choice._structure is not LEAF or choice._plan.spec != [("int64", ())]:
            raise errors.make(
                "wrong_type",
                f"{stage}: the elements of choice_dataset have to be scalar int64 tensors, not "
                f'{choice.with_format("numpy").element_spec}. Cast them: choice_dataset.cast("int64").',
            )
        plans = [dataset._plan for dataset in mixed]
        return mixed[0]._with(
            _internal.choose_from_datasets(
                plans,
                choice._plan,
                _arguments.flag(stop_on_empty_dataset, stage, "stop_on_empty_dataset"),
            )
        )


def _checked(datasets: Any, stage: str) -> list[Base]:
    """Datasets whose elements can stand in for each other."""
    if not isinstance(datasets, list | tuple):
        raise errors.make(
            "wrong_type",
            f"{stage}: datasets has to be a list of datasets, not a {type(datasets).__name__}",
        )
    if not datasets:
        raise errors.make("argument", f"{stage}: no datasets were given")
    mixed = [check(dataset, stage, f"datasets[{at}]") for at, dataset in enumerate(datasets)]
    same_elements(mixed, stage)
    return mixed


def _weights(weights: Any) -> list[float] | None:
    if weights is None:
        return None
    if isinstance(weights, Base) or type(weights).__module__.startswith("tensorflow.python.data"):
        raise errors.make(
            "wrong_type",
            "sample_from_datasets: a dataset of weights, which change from element to element, "
            "is not supported. Let "
            "choose_from_datasets have a choice_dataset of the positions to draw.",
        )
    try:
        numbers = np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        numbers = np.empty((0, 0))
    if numbers.ndim != 1:
        raise errors.make(
            "argument",
            f"sample_from_datasets: weights has to be a list of numbers, one for each dataset, not {weights!r:.80}",
        )
    return [float(weight) for weight in numbers]
