"""Stages that cut, turn round and pad elements natively, inside the pass that gathers a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorferry import _arguments, _internal
from tensorferry._convert import reading
from tensorferry.dataset import _seeds
from tensorferry.dataset._base import recorded
from tensorferry.dataset._methods.native import Native

if TYPE_CHECKING:
    from tensorferry.dataset import Dataset


class Augment(Native):
    """More methods that tf.data does not have. What is left to chance follows from the seed, the
    element's place in the dataset and the epoch: it is the same whatever the number of threads, and
    in every version. The parts of an element that ``which`` chooses are treated alike, an image and
    its mask."""

    __slots__ = ()

    @recorded
    def random_crop(self, size: Any, seed: Any = None, which: Any = None) -> Dataset:
        """A part of each element, cut out at a random place: another one in each epoch, every one
        as likely.

        Args:
            size: the lengths to cut out of the leading dimensions; None or -1 leaves one whole, and so are further dimensions.
            seed: the same seed cuts at the same places. None draws one, which ``state_dict`` remembers.
            which: a structure of bools like the element's: the parts to cut, all of them at the same place. Without it, every part.

        Raises:
            tensorferry.errors.ValueError: a part is smaller than ``size`` or has fewer dimensions, or parts differ where they are cut;
                while iterating, where ``element_spec`` does not tell.

        >>> import numpy as np, tensorferry as tfy
        >>> images = np.arange(2 * 4 * 6).reshape(2, 4, 6)
        >>> crops = tfy.Dataset.from_tensor_slices((images, np.arange(2))).random_crop((2, 3), seed=4, which=(True, False))
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
        self, axis: Any, probability: float = 0.5, seed: Any = None, which: Any = None
    ) -> Dataset:
        """Elements reversed along ``axis``, each with a probability: others in each epoch.

        Args:
            axis: a dimension of the element, or several that are reversed together, as for ``numpy.flip``; negative ones count from the
                last. Flips along different axes are independent of each other, with one seed too.
            probability: of an element to be reversed; 1 reverses all, always.
            seed: the same seed reverses the same elements. None draws one, which ``state_dict`` remembers.
            which: a structure of bools like the element's: the parts to reverse, all of them or none. Without it, every part.

        Raises:
            tensorferry.errors.ValueError: a part has no such dimension, or ``probability`` is not between 0 and 1.

        >>> import tensorferry as tfy
        >>> list(tfy.Dataset.from_tensor_slices([[1, 2, 3]]).flip(axis=-1, probability=1).as_numpy_iterator())
        [array([3, 2, 1], dtype=int32)]
        """
        axes = _arguments.wholes(axis, "flip", "axis")
        word = _arguments.seed(seed, "flip")
        chance = _arguments.number(probability, "flip", "probability")
        plan = _internal.flip(self._plan, axes, chance, word, self._which(which, "flip"))
        return self._with(_seeds.seeded(plan, self._plan))

    @recorded
    def pad_to(self, shape: Any, value: Any = 0, which: Any = None) -> Dataset:
        """Elements padded at the ends of their dimensions to one shape, so that they can be
        batched. (``padded_batch`` pads to the longest of each batch.)

        Args:
            shape: a length for each dimension; None or -1 keeps one as it is.
            value: what is padded with: a number that the dtype of every part holds.
            which: a structure of bools like the element's: the parts to pad. Without it, every part.

        Raises:
            tensorferry.errors.ValueError: a part is larger, or has another number of dimensions; while iterating, where ``element_spec``
                does not tell.
            tensorferry.errors.OverflowError: a dtype does not hold ``value``.

        >>> import tensorferry as tfy
        >>> list(tfy.Dataset.from_tensor_slices([[1, 2], [3, 4]]).pad_to([3], value=-1).batch(2).as_numpy_iterator())
        [array([[ 1,  2, -1],
               [ 3,  4, -1]], dtype=int32)]
        """
        lens = _arguments.lengths(shape, 0, "pad_to", "shape")
        number, _ = reading.source(value, "pad_to", exact=True)
        return self._with(_internal.pad_to(self._plan, lens, number, self._which(which, "pad_to")))
