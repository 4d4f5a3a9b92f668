"""Methods that return parts of a dataset with random access: selections, splits, samples, and
elements by index.
"""

from __future__ import annotations

import itertools
import operator
import sys
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NoReturn, Self, SupportsIndex, overload

import numpy as np
import numpy.typing as npt

from tensorferry import _arguments, _internal, errors
from tensorferry._arguments import INFINITE
from tensorferry._convert import reading
from tensorferry._typing import TensorLike, Weights
from tensorferry.dataset import _rows, _seeds
from tensorferry.dataset._base import Base, recorded

#: How far the fractions of a split may be from 1 together, because they are rounded.
_ROUNDED = Fraction(1, 10**6)


class Parts(Base):
    """Parts of datasets with random access."""

    __slots__ = ()

    def select(self, indices: TensorLike) -> Self:
        """The elements at ``indices``, in their order. The result has random access too.

        Args:
            indices: whole numbers in one dimension: an array or tensor of any kind, a list, a
                range, or an array opened by :func:`tensorferry.open`. An index may be repeated,
                and a negative one counts from the end, as in NumPy. An array of bools is a mask:
                it has one for each element, and the elements at its true values are selected.
                Indices in memory are copied. In a file, they may be larger than memory: more than
                64 MiB are read with the elements; all are read once now, to check them.

        Raises:
            tensorferry.errors.InvalidIndexError: an index has no element; the message names the
                first.
            tensorferry.errors.InvalidArgumentError: the dataset has no random access, or a mask has
                another length.
            tensorferry.errors.InvalidTypeError: ``indices`` hold neither integers nor bools.

        >>> import tensorferry as tfy
        >>> numbers = tfy.Dataset.range(10).with_format("numpy")
        >>> [int(x) for x in numbers.select([7, 0, -1, 7])]
        [7, 0, 9, 7]
        """
        _check_random_access(self, "select")
        if isinstance(indices, range):
            stride = self._of_range(indices)
            if stride is not None:
                return stride
        return self._selected(_kept(indices))

    @recorded
    def _selected(self, indices: Any) -> Self:
        return self._with(_internal.select(self._plan, reading.source(indices, "select")))

    def _of_range(self, indices: range) -> Self | None:
        """The elements at equal distances, if all indices are in range and none is negative."""
        n = self._plan.cardinality
        ends = (indices[0], indices[-1]) if indices else (0, 0)
        if min(ends) < 0 or (indices and max(ends) >= (2**63 if n == INFINITE else n)):
            return None
        return self._stride(ends[0], indices.step, len(indices))

    @recorded
    def _stride(self, start: int, step: int, length: int) -> Self:
        return self._with(_internal.stride(self._plan, start, step, length))

    @overload
    def __getitem__(self, key: SupportsIndex) -> Any: ...
    @overload
    def __getitem__(
        self, key: slice | Sequence[int] | Sequence[bool] | npt.NDArray[Any]
    ) -> Self: ...
    def __getitem__(self, key: Any) -> Any:
        """``dataset[i]`` is element ``i``; ``dataset[a:b:c]``, ``dataset[[3, 1]]`` and
        ``dataset[mask]`` are datasets. Only for datasets with random access.

        Negative indices count from the end. The order of a shuffle is that of the epoch that
        :meth:`set_epoch` set, or else of the first; iterations do not change it.

        Raises:
            tensorferry.errors.InvalidIndexError: there is no such element.
            tensorferry.errors.InvalidTypeError: the dataset has no random access, or the key is
                none of these.

        >>> import tensorferry as tfy
        >>> numbers = tfy.Dataset.range(10).with_format("numpy")
        >>> int(numbers[-1])
        9
        >>> [int(x) for x in numbers[::-3]]
        [9, 6, 3, 0]
        """
        if not self._plan.is_indexed:
            raise errors.make(
                "wrong_type",
                "the dataset has no random access (filter, from_generator and the like), so it "
                "cannot be indexed. Iterate over it, or save() it and load() it.",
            )
        if isinstance(key, slice):
            return self._sliced(key)
        at = _whole(key)
        if at is not None:
            _internal.check_eager("indexing")
            return _internal.get(self._plan, self._position(at), self._packed())
        if not isinstance(key, list | range) and getattr(key, "shape", ()) == ():
            raise errors.make(
                "wrong_type",
                "a dataset is indexed by a whole number, a slice, or an array of whole numbers or "
                f"bools, not by {_arguments.shown(key)}",
            )
        return self.select(key)

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[Any]:
        """The elements at several indices, gathered together, as ``DataLoader`` asks for them.

        ``DataLoader`` cannot collate TensorFlow's tensors: in their place it gets PyTorch's.
        """
        if self._format == "tensorflow" and "torch" in sys.modules:
            return self.with_format("torch").__getitems__(indices)
        positions = [self._position(operator.index(at)) for at in indices]
        if not positions or not _rows.are_uniform(self._plan.spec):
            return [self[at] for at in positions]
        _internal.check_eager("indexing")
        batch = _internal.get_batch(self._plan, positions, self._packed())
        return _rows.unstacked(batch, len(positions), self._structure, self._format)

    def _position(self, at: int) -> int:
        """An index of an element, counted from the start."""
        n = self._plan.cardinality
        if (at >= 0 and n == INFINITE) or -n <= at < n:
            return at + n if at < 0 else at
        has = "no last element" if n == INFINITE else f"{n} elements"
        raise errors.make(
            "index_out_of_range",
            f"index {_arguments.shown(at)} is out of range: the dataset has {has}",
        )

    def _sliced(self, key: slice) -> Self:
        parts = (key.start, key.stop, key.step)
        start, stop, step = (
            None if part is None else _arguments.index(part, "a slice", name)
            for part, name in zip(parts, ("start", "stop", "step"), strict=True)
        )
        if step == 0:
            raise errors.make("argument", "a slice: step must not be 0")
        n = self._plan.cardinality
        if n == INFINITE:
            if min(start or 0, stop or 0, step or 0) < 0 or (stop is None and (step or 1) > 1):
                raise errors.make(
                    "argument",
                    "a slice of an infinite dataset counts from its start: it has no negative "
                    "numbers, and a stop if it has a step",
                )
            if stop is None:
                return self.skip(start or 0)  # type: ignore[attr-defined,no-any-return]
            n = stop
        chosen = range(*slice(start, stop, step).indices(n))
        if len(chosen) > 1 and chosen.step != 1:
            return self._stride(chosen.start, chosen.step, len(chosen))
        first = chosen.start if chosen else 0
        return self.skip(first).take(len(chosen))  # type: ignore[attr-defined,no-any-return]

    def split(
        self,
        sizes: float | SupportsIndex | Sequence[float] | Sequence[SupportsIndex],
        *,
        shuffle: bool = True,
        seed: SupportsIndex | None = None,
    ) -> tuple[Self, ...]:
        """Disjoint parts that cover the dataset: training, validation, test. They are the same in
        every epoch, every process and every later version.

        Elements are divided at random, by a permutation that takes constant memory, and keep its
        order. Shuffle the training part after the split.

        Args:
            sizes: a fraction or a number of elements for the first part, the rest being the second;
                or a sequence of fractions that add up to 1, or of numbers that add up to
                ``len(dataset)``. Fractions are rounded so that the parts add up.
            shuffle: False makes contiguous parts, in the order of the elements.
            seed: another seed divides the elements in another way. None is the seed 0.

        Raises:
            tensorferry.errors.InvalidArgumentError: the dataset has no random access, is infinite,
                or depends on the epoch (``shuffle`` before ``split``); or the sizes do not add up.

        >>> import tensorferry as tfy
        >>> train, test = tfy.Dataset.range(10).split(0.8, seed=7)
        >>> len(train), [int(x) for x in test.as_numpy_iterator()]
        (8, [7, 5])
        """
        _check_random_access(self, "split")
        n = self._plan.cardinality
        if n == INFINITE:
            raise errors.make("argument", "split: the dataset is infinite. Split it before repeat.")
        counts = _counts(sizes, n)
        word = (_arguments.seed(seed, "split") or 0) if shuffle else None
        return tuple(self._part(counts, word, at) for at in range(len(counts)))

    @recorded
    def _part(self, counts: list[int], seed: int | None, at: int) -> Self:
        return self._with(_internal.split(self._plan, counts, seed, at))

    def sample(
        self,
        num_samples: SupportsIndex | None = None,
        weights: Weights | None = None,
        seed: SupportsIndex | None = None,
        rerandomize_each_iteration: bool = True,
    ) -> Self:
        """Elements drawn at random, with replacement. The result has random access too.

        Args:
            num_samples: how many to draw; by default as many as there are elements.
            weights: a number of at least 0 for each element, proportional to how often it is drawn;
                None for equal weights. ``tensorferry.balanced_weights(labels)`` draws every class
                equally often. They take 8 bytes of memory for each element.
            seed: the same seed draws the same, in every version. None draws a seed, which
                ``state_dict`` keeps.
            rerandomize_each_iteration: False gives every iteration the draws of the first.

        Raises:
            tensorferry.errors.InvalidArgumentError: the dataset has no random access, is infinite,
                or empty; there is not one weight for each element, or weights are negative, not
                finite, or all 0.

        >>> import tensorferry as tfy
        >>> drawn = tfy.Dataset.range(3).sample(8, weights=[0, 1, 3], seed=7)
        >>> [int(x) for x in drawn.as_numpy_iterator()]
        [2, 1, 2, 2, 1, 2, 2, 2]
        """
        _check_random_access(self, "sample")
        draws = None
        if num_samples is not None:
            draws = _arguments.at_least(num_samples, 0, "sample", "num_samples")
        kept = None if weights is None else _kept(weights, "sample", "float64")
        anew = _arguments.flag(rerandomize_each_iteration, "sample", "rerandomize_each_iteration")
        return self._sampled(draws, kept, _arguments.seed(seed, "sample"), anew)

    @recorded
    def _sampled(self, draws: int | None, weights: Any, seed: int | None, anew: bool) -> Self:
        plan = _internal.draw(self._plan, draws, weights, seed, anew)
        return self._with(_seeds.seeded(plan, self._plan))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> NoReturn:
        # NumPy would read a dataset element by element, as a sequence.
        raise errors.make(
            "wrong_type",
            "a tensorferry.Dataset is not an array. Its elements in one array are those of "
            "dataset.batch(len(dataset)).as_numpy_iterator(); Keras and tf.data take what its "
            "to_tf_data() returns.",
        )


def _check_random_access(dataset: Base, stage: str) -> None:
    if not dataset._plan.is_indexed:
        raise errors.make(
            "argument",
            f"{stage}: the dataset has no random access (filter, from_generator and the like). "
            f"Use {stage} before that stage, or save() the dataset and load() it.",
        )


def _whole(key: Any) -> int | None:
    """An index of one element; None for other keys."""
    if isinstance(key, bool | np.bool_) or getattr(key, "shape", None) not in (None, ()):
        return None
    try:
        return operator.index(key)
    except Exception:  # TypeError, and what frameworks raise for tensors without a value
        return None


def _kept(values: Any, stage: str = "select", empty: str = "int64") -> Any:
    """An array that nothing changes later, with the values of another; an array in a file as it
    is.
    """
    if isinstance(values, tuple | range):
        values = list(values)
    if isinstance(values, list) and not values:
        values = np.zeros(0, empty)
    if isinstance(values, _internal.Array) or (
        isinstance(values, np.memmap) and not values.flags.writeable
    ):
        return values
    source, immutable = reading.source(values, stage)
    if immutable or isinstance(source, _internal.Array):
        return source
    with _arguments.named(stage):
        return _internal.tensor(source, copy=True)


def _counts(sizes: Any, n: int) -> list[int]:
    """The numbers of elements of a split's parts."""
    given = [sizes] if np.ndim(sizes) == 0 else _arguments.several(sizes)
    if not given:
        raise errors.make("argument", "split: sizes has no parts")
    alone = np.ndim(sizes) == 0
    if all(isinstance(size, float | np.floating) for size in given):
        return _rounded(given, n, alone)
    counts = [_arguments.at_least(size, 0, "split", "a size") for size in given]
    if alone:
        counts.append(n - counts[0])
    if sum(counts) != n or min(counts) < 0:
        raise errors.make(
            "argument",
            f"split: {_arguments.shown(given)} elements do not add up to the {n} of the dataset. "
            "Fractions, such as 0.8, are floats.",
        )
    return counts


def _rounded(fractions: list[Any], n: int, alone: bool) -> list[int]:
    for part in fractions:
        if not 0.0 <= part <= 1.0:
            raise errors.make(
                "argument", f"split: a fraction has to be from 0 to 1, not {_arguments.shown(part)}"
            )
    # As they are written, so that 0.1 is a tenth.
    exact = [Fraction(repr(float(part))) for part in fractions]
    if alone:
        exact.append(1 - exact[0])
    total = sum(exact, Fraction(0))
    if abs(total - 1) > _ROUNDED:
        raise errors.make(
            "argument",
            f"split: the fractions {_arguments.shown(fractions)} add up to "
            f"{float(total):.6g}, not to 1. Give one for every part.",
        )
    ends = [min(n, int(end * n + Fraction(1, 2))) for end in itertools.accumulate(exact)]
    ends[-1] = n
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def balanced_weights(labels: TensorLike) -> npt.NDArray[np.float64]:
    """A weight for each element, with which :meth:`Dataset.sample` draws every class equally often:
    1 divided by the number of elements of its class.

    Args:
        labels: the class of each element, in one dimension.

    >>> import tensorferry as tfy
    >>> tfy.balanced_weights([0, 1, 0, 0, 1]).round(3).tolist()
    [0.333, 0.5, 0.333, 0.333, 0.5]
    """
    array = np.asarray(_kept(labels, "balanced_weights"))
    if array.ndim != 1:
        raise errors.make(
            "argument",
            f"balanced_weights: labels need one dimension, not the shape {array.shape}",
        )
    _, classes, counts = np.unique(array, return_inverse=True, return_counts=True)
    weights: npt.NDArray[np.float64] = 1.0 / counts[classes]
    return weights
