"""Methods that crop, flip and pad elements natively, inside the pass that gathers a batch."""

from __future__ import annotations

from typing import Self, SupportsIndex

from tensorferry import _arguments, _internal
from tensorferry._convert import reading
from tensorferry._typing import Indices, ShapeLike, TensorLike, Which
from tensorferry.dataset import _seeds
from tensorferry.dataset._base import recorded
from tensorferry.dataset._methods.native import Native


class Augment(Native):
    """More methods that tf.data does not have. Randomness follows from the seed, the element's
    position in the dataset and the epoch: it does not depend on the number of threads, or on the
    version. The parts of an element that ``which`` selects, such as an image and its mask, are
    treated in the same way.
    """

    __slots__ = ()

    @recorded
    def random_crop(
        self, size: ShapeLike, seed: SupportsIndex | None = None, which: Which = None
    ) -> Self:
        """A crop of each element at a random place, another one in each epoch, all with equal
        probability.

        Args:
            size: the lengths of the crop in the leading dimensions. None or -1 keeps a dimension
                whole; further dimensions stay whole too.
            seed: the same seed crops at the same places. None draws a seed, which ``state_dict``
                keeps.
            which: the parts to crop, all at the same place: a name, a list of names, or a structure
                of bools like the element's. None for every part.

        Raises:
            tensorferry.errors.InvalidArgumentError: a part is smaller than ``size`` or has
                fewer dimensions, or parts differ in the lengths of cropped dimensions; while
                iterating, if ``element_spec`` does not tell.

        >>> import numpy as np, tensorferry as tfy
        >>> images = np.arange(2 * 4 * 6).reshape(2, 4, 6)
        >>> dataset = tfy.Dataset.from_tensor_slices((images, np.arange(2)))
        >>> crops = dataset.random_crop((2, 3), seed=4, which=(True, False))
        >>> image, label = next(crops.as_numpy_iterator())
        >>> image
        array([[ 8,  9, 10],
               [14, 15, 16]])
        """
        lens = _arguments.lengths(size, 1, "random_crop", "size")
        word = _arguments.seed(seed, "random_crop")
        plan = _internal.random_crop(self._plan, lens, word, self._which(which, "random_crop"))
        return self._with(_seeds.seeded(plan, self._plan))

    @recorded
    def flip(
        self,
        axis: Indices,
        probability: float = 0.5,
        seed: SupportsIndex | None = None,
        which: Which = None,
    ) -> Self:
        """Elements reversed along ``axis``, each with a probability, other elements in each epoch.

        Args:
            axis: a dimension of the element, or several that are reversed together, as for
                ``numpy.flip``; negative ones count from the last. Flips along different axes are
                independent, even with one seed.
            probability: the probability of an element to be reversed; 1 reverses all.
            seed: the same seed reverses the same elements. None draws a seed, which ``state_dict``
                keeps.
            which: the parts to reverse together: a name, a list of names, or a structure of bools
                like the element's. None for every part.

        Raises:
            tensorferry.errors.InvalidArgumentError: a part has no such dimension, or
                ``probability`` is not between 0 and 1.

        >>> import tensorferry as tfy
        >>> rows = tfy.Dataset.from_tensor_slices([[1, 2, 3]])
        >>> list(rows.flip(axis=-1, probability=1).as_numpy_iterator())
        [array([3, 2, 1], dtype=int32)]
        """
        axes = _arguments.wholes(axis, "flip", "axis")
        word = _arguments.seed(seed, "flip")
        chance = _arguments.number(probability, "flip", "probability")
        plan = _internal.flip(self._plan, axes, chance, word, self._which(which, "flip"))
        return self._with(_seeds.seeded(plan, self._plan))

    @recorded
    def pad_to(self, shape: ShapeLike, value: TensorLike = 0, which: Which = None) -> Self:
        """Elements padded at the ends of their dimensions to one shape, ready to be batched.
        (``padded_batch`` pads to the longest element of each batch.)

        Args:
            shape: a length for each dimension; None or -1 keeps a dimension as it is.
            value: the number to pad with, which the dtype of every part has to hold.
            which: the parts to pad: a name, a list of names, or a structure of bools like the
                element's. None for every part.

        Raises:
            tensorferry.errors.InvalidArgumentError: a part is larger, or has another number of
                dimensions; while iterating, if ``element_spec`` does not tell.
            tensorferry.errors.ValueOverflowError: a dtype does not hold ``value``.

        >>> import tensorferry as tfy
        >>> rows = tfy.Dataset.from_tensor_slices([[1, 2], [3, 4]])
        >>> list(rows.pad_to([3], value=-1).batch(2).as_numpy_iterator())
        [array([[ 1,  2, -1],
               [ 3,  4, -1]], dtype=int32)]
        """
        lens = _arguments.lengths(shape, 0, "pad_to", "shape")
        number, _ = reading.source(value, "pad_to", exact=True)
        return self._with(_internal.pad_to(self._plan, lens, number, self._which(which, "pad_to")))
