"""``tensorferry.Dataset``: arrays as batches, in any order, converted on the way, resumable, with
the names and results of tf.data.
"""

from __future__ import annotations

from tensorferry.dataset._methods.augment import Augment
from tensorferry.dataset._methods.batches import Batches
from tensorferry.dataset._methods.files import Files
from tensorferry.dataset._methods.functions import Functions
from tensorferry.dataset._methods.mixing import Mixing
from tensorferry.dataset._methods.nested import DatasetFunctions
from tensorferry.dataset._methods.parts import Parts, balanced_weights
from tensorferry.dataset._methods.ragged import RaggedRows
from tensorferry.dataset._methods.stages import Stages

__all__ = ["Dataset", "balanced_weights"]


class Dataset(
    Files, Mixing, Stages, Batches, RaggedRows, Functions, DatasetFunctions, Augment, Parts
):
    """A sequence of elements: tensors, or tuples, dicts and namedtuples of them.

    A dataset is a plan: immutable, and nothing is read until it is iterated. Each iteration is the
    next epoch. Elements are TensorFlow tensors unless :meth:`with_format` changes that.

    >>> import numpy as np, tensorferry as tfy
    >>> rows = {"x": np.arange(4.0), "y": np.arange(4)}
    >>> dataset = tfy.Dataset.from_tensor_slices(rows).batch(3).with_format("numpy")
    >>> for batch in dataset:
    ...     print(batch["y"])
    [0 1 2]
    [3]
    """

    __slots__ = ()
