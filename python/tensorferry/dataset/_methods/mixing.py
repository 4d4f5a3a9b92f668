"""Methods that mix the elements of several datasets."""

from __future__ import annotations

from typing import Any, Self, SupportsIndex

import numpy as np

from tensorferry import _arguments, _internal, errors
from tensorferry._nest.structures import LEAF
from tensorferry._typing import Weights
from tensorferry.dataset import _seeds
from tensorferry.dataset._base import Base, recorded
from tensorferry.dataset._methods.checks import check, same_elements


class Mixing(Base):
    """The methods that mix datasets, each of which keeps its own order."""

    __slots__ = ()

    @classmethod
    @recorded
    def sample_from_datasets(
        cls,
        datasets: list[Self] | tuple[Self, ...],
        weights: Weights | None = None,
        seed: SupportsIndex | None = None,
        stop_on_empty_dataset: bool = False,
        rerandomize_each_iteration: bool | None = None,
    ) -> Self:
        """Elements of datasets, each drawn from a random one, until all have ended.

        Args:
            datasets: datasets whose elements have one structure and the same dtypes. The result has
                the first one's format.
            weights: a number for each dataset, proportional to how often it is drawn; None for
                equal weights. A dataset of weight 0 is never drawn.
            seed: the same seed draws the same, in every version. None draws a seed, which
                ``state_dict`` keeps.
            stop_on_empty_dataset: ends when a dataset without further elements is drawn, so that
                the proportions hold until then. Otherwise the others continue.
            rerandomize_each_iteration: True draws anew in each iteration.

        Raises:
            tensorferry.errors.InvalidArgumentError: no datasets, another number of weights
                than of datasets, or a weight that is negative or not finite.
            tensorferry.errors.InvalidTypeError: structures or dtypes differ.

        >>> import tensorferry as tfy
        >>> code, prose = tfy.Dataset.range(3), tfy.Dataset.range(10, 13)
        >>> mixed = tfy.Dataset.sample_from_datasets([code, prose], [0.7, 0.3], seed=7)
        >>> [int(x) for x in mixed.as_numpy_iterator()]
        [10, 11, 12, 0, 1, 2]
        """
        stage = "sample_from_datasets"
        mixed: list[Self] = _checked(datasets, stage)
        word = _arguments.seed(seed, stage)
        flags = (
            _arguments.flag(stop_on_empty_dataset, stage, "stop_on_empty_dataset"),
            _arguments.flag(rerandomize_each_iteration, stage, "rerandomize_each_iteration"),
        )
        plans = [dataset._plan for dataset in mixed]
        plan = _internal.sample_from_datasets(plans, _weights(weights), word, *flags)
        return mixed[0]._with(_seeds.seeded(plan, *plans))

    @classmethod
    @recorded
    def choose_from_datasets(
        cls,
        datasets: list[Self] | tuple[Self, ...],
        choice_dataset: Self,
        stop_on_empty_dataset: bool = True,
    ) -> Self:
        """Elements of datasets, each from the dataset at the position that the next element of
        ``choice_dataset`` gives.

        Args:
            datasets: datasets whose elements have one structure and the same dtypes. The result has
                the first one's format.
            choice_dataset: a dataset of scalar int64 tensors.
            stop_on_empty_dataset: ends when a dataset without further elements is chosen. False
                skips it.

        Raises:
            tensorferry.errors.InvalidArgumentError: no datasets; or, while iterating, a position
                that no dataset has.
            tensorferry.errors.InvalidTypeError: structures or dtypes differ, or
                ``choice_dataset`` is not a dataset of scalar int64 tensors.

        >>> import tensorferry as tfy
        >>> code, prose = tfy.Dataset.range(3), tfy.Dataset.range(10, 13)
        >>> turns = tfy.Dataset.from_tensor_slices([0, 1, 1]).cast("int64").repeat()
        >>> chosen = tfy.Dataset.choose_from_datasets([code, prose], turns)
        >>> [int(x) for x in chosen.as_numpy_iterator()]
        [0, 10, 11, 1, 12]
        """
        stage = "choose_from_datasets"
        mixed: list[Self] = _checked(datasets, stage)
        choice: Self = check(choice_dataset, stage, "choice_dataset")
        if choice._structure is not LEAF or choice._plan.spec != [("int64", ())]:
            raise errors.make(
                "wrong_type",
                f"{stage}: the elements of choice_dataset have to be scalar int64 tensors, not "
                f"{choice.with_format('numpy').element_spec}. Cast them: "
                'choice_dataset.cast("int64").',
            )
        plans = [dataset._plan for dataset in mixed]
        return mixed[0]._with(
            _internal.choose_from_datasets(
                plans,
                choice._plan,
                _arguments.flag(stop_on_empty_dataset, stage, "stop_on_empty_dataset"),
            )
        )


def _checked(datasets: Any, stage: str) -> list[Any]:
    """Datasets whose elements have one structure and the same dtypes."""
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
            "is not supported. Draw positions in a dataset, and pass it to "
            "choose_from_datasets as choice_dataset.",
        )
    try:
        numbers = np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        numbers = np.empty((0, 0))
    if numbers.ndim != 1:
        raise errors.make(
            "argument",
            "sample_from_datasets: weights has to be a list of numbers, one for each dataset, not "
            f"{weights!r:.80}",
        )
    return [float(weight) for weight in numbers]
