"""Splits and class weights, with the names and arguments of Keras and scikit-learn."""

from __future__ import annotations

from typing import Any, SupportsIndex

import numpy as np

from tensorferry import _arguments, errors
from tensorferry._convert import reading
from tensorferry._typing import Nest, TensorLike
from tensorferry.dataset import Dataset


def split_dataset(
    dataset: Dataset | Nest[TensorLike],
    left_size: float | SupportsIndex | None = None,
    right_size: float | SupportsIndex | None = None,
    shuffle: bool = False,
    seed: SupportsIndex | None = None,
) -> tuple[Dataset, Dataset]:
    """Two datasets without a common element: ``keras.utils.split_dataset`` without loading the
    elements.

    Split elements, then shuffle and batch: ``train.shuffle(1000).batch(32)``. The parts are the
    same in every epoch.

    Args:
        dataset: a dataset with random access; or arrays with the same length, nested in tuples and
            dicts, for :meth:`Dataset.from_tensor_slices`.
        left_size: the fraction (a float) or number of elements of the left part; None for the rest.
        right_size: the same for the right part. If both are given, and leave a rest, it is in
            neither part.
        shuffle: whether the parts are drawn at random; by default they are the beginning and the
            end.
        seed: another seed draws other parts. None is the seed 0.

    Raises:
        tensorferry.errors.InvalidArgumentError: no size is given, the sizes are too large, or the
            dataset has no random access, is infinite or depends on the epoch.

    >>> import numpy as np
    >>> from tensorferry.keras import split_dataset
    >>> x, y = np.zeros((10, 3)), np.arange(10)
    >>> train, validation = split_dataset((x, y), left_size=0.8)
    >>> [int(label) for _, label in validation.as_numpy_iterator()]
    [8, 9]
    """
    rows = dataset if isinstance(dataset, Dataset) else Dataset.from_tensor_slices(dataset)
    if left_size is None and right_size is None:
        raise errors.make(
            "argument",
            "split_dataset: left_size or right_size is required: a fraction, such as 0.8, or a "
            "number of elements",
        )
    n = max(rows.cardinality(), 0)  # `split` refuses what has no length
    left = _count(left_size, n, "left_size")
    right = _count(right_size, n, "right_size")
    first = n - right if left is None and right is not None else left
    last = n - (first or 0) if right is None else right
    if first is None or first + last > n or min(first, last) < 0:
        raise errors.make(
            "argument",
            f"split_dataset: left_size={left_size!r} and right_size={right_size!r} are more than "
            f"the {n} elements",
        )
    parts = rows.split([first, n - first - last, last], shuffle=shuffle, seed=seed)
    return parts[0], parts[2]


def _count(size: Any, n: int, name: str) -> int | None:
    """A number of elements."""
    if size is None:
        return None
    if not isinstance(size, float | np.floating):
        return _arguments.at_least(size, 0, "split_dataset", name)
    if not 0.0 <= size <= 1.0:
        raise errors.make(
            "argument", f"split_dataset: {name} is a fraction from 0 to 1, not {size}"
        )
    return round(float(size) * n)


def class_weights(labels: TensorLike) -> dict[int, float]:
    """``class_weight`` for ``fit``, by which each class has the same part in the loss: the number
    of labels divided by the number of classes and by the number of labels of the class, as
    scikit-learn's ``compute_class_weight("balanced")`` computes it.

    Args:
        labels: the class of each element, whole numbers of at least 0 in one dimension.

    Raises:
        tensorferry.errors.InvalidArgumentError: labels are negative, of more dimensions or missing.
        tensorferry.errors.InvalidTypeError: labels are not whole numbers.

    >>> from tensorferry.keras import class_weights
    >>> class_weights([0, 0, 0, 1])
    {0: 0.6666666666666666, 1: 2.0}
    """
    with _arguments.named("class_weights"):
        array = np.asarray(reading.source(labels, "class_weights")[0])
    if array.dtype.kind not in "iub":
        raise errors.make(
            "wrong_type",
            f"class_weights: labels are whole numbers, not {array.dtype}. Of one-hot rows they are "
            "rows.argmax(axis=-1).",
        )
    if array.ndim != 1 or not array.size or array.min() < 0:
        raise errors.make(
            "argument",
            "class_weights: labels need one dimension, at least one element and no negative "
            f"number; the shape is {array.shape}. Of one-hot rows they are rows.argmax(axis=-1).",
        )
    classes, counts = np.unique(array, return_counts=True)
    return {
        int(label): len(array) / (len(classes) * int(count))
        for label, count in zip(classes, counts, strict=True)
    }
