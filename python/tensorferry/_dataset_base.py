"""What every dataset is: a plan of ``_internal``, the structure of its elements, a format, and the recipe it was made by."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeAlias

from tensorferry import _internal, _spec, _structure, errors
from tensorferry._structure import LEAF, Nested, Structure

if TYPE_CHECKING:
    from tensorferry.dataset import Dataset

_P = ParamSpec("_P")
Format: TypeAlias = Literal["tensorflow", "torch", "jax", "numpy", "tensorferry"]
#: A method's name and arguments, a dataset's own first.
Recipe: TypeAlias = tuple[str, tuple[Any, ...], dict[str, Any]]

INFINITE = -1
UNKNOWN = -2


def recorded(method: Callable[_P, Dataset]) -> Callable[_P, Dataset]:
    """Has the dataset that a method makes remember how: that is how it is pickled."""

    @functools.wraps(method)
    def made(*args: _P.args, **kwargs: _P.kwargs) -> Dataset:
        dataset = method(*args, **kwargs)
        dataset._recipe = (method.__name__, args, kwargs)
        return dataset

    return made


class Cardinality(int):
    """A number of elements: -1 where there is no end, -2 where only iterating tells."""

    def numpy(self) -> int:
        """The number, as the scalar tensor that tf.data returns has it."""
        return int(self)

    def __repr__(self) -> str:
        words = {INFINITE: "infinite", UNKNOWN: "unknown"}
        return words.get(self, int.__repr__(self))


class Base:
    """The parts of a dataset, and how others are made of them."""

    __slots__ = ("__weakref__", "_format", "_packer", "_plan", "_recipe", "_structure")

    _plan: _internal.Plan
    _structure: Structure
    _format: Format
    _recipe: Recipe
    _packer: _internal.Packer | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Base:
        raise TypeError(
            "a Dataset is made by its methods: Dataset.from_tensor_slices(array), Dataset.range(10), Dataset.from_generator(...)"
        )

    @classmethod
    def _of(cls, plan: _internal.Plan, structure: Structure, format: Format) -> Dataset:
        dataset: Any = object.__new__(cls)
        dataset._plan = plan
        dataset._structure = structure
        dataset._format = format
        dataset._packer = None
        dataset._recipe = ("", (), {})
        return dataset  # type: ignore[no-any-return]

    def _with(self, plan: _internal.Plan, structure: Structure | None = None) -> Dataset:
        """The dataset of another plan, of the same structure if none is given, in the same format."""
        return self._of(plan, self._structure if structure is None else structure, self._format)

    def _packed(self) -> _internal.Packer:
        """What nests this dataset's elements."""
        if self._packer is None:
            leaves = _structure.flatten(self._structure)

            def nest(at: int, plan: _internal.Plan) -> Dataset:
                return self._of(plan, leaves[at].structure, self._format)

            self._packer = _internal.Packer(_structure.skeleton(self._structure), self._format, nest)
        return self._packer

    def __iter__(self) -> Iterator[Any]:
        """The elements of the next epoch: every iteration of a dataset is one."""
        return self._plan.iterate(self._packed())

    def cardinality(self) -> Cardinality:
        """The number of elements, an int: -1 for infinitely many, -2 where only iterating tells (filter, from_generator ...)."""
        return Cardinality(self._plan.cardinality)

    def __len__(self) -> int:
        length = self._plan.cardinality
        if length == INFINITE:
            raise TypeError("the dataset is infinite: it has no len(). Take a part of it with take(n).")
        if length == UNKNOWN:
            raise TypeError("only iterating tells how many elements the dataset has: it has no len(). See cardinality().")
        return length

    def __bool__(self) -> bool:
        return True

    @property
    def element_spec(self) -> Any:
        """The structure of the elements, with a ``tf.TensorSpec`` for each tensor in the format "tensorflow", else a
        :class:`tensorferry.TensorSpec`."""
        return _spec.element_spec(self._structure, self._plan.spec, self._format == "tensorflow")

    def __repr__(self) -> str:
        spec = _spec.element_spec(self._structure, self._plan.spec, tensorflow=False)
        return f"<tensorferry.Dataset element_spec={spec!r} plan={self._plan}>"

    def __copy__(self) -> Dataset:
        copy = self._of(self._plan.copy(), self._structure, self._format)
        copy._recipe = self._recipe
        return copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Dataset:
        return self.__copy__()  # a plan never changes

    def __reduce__(self) -> tuple[Any, ...]:
        from tensorferry import _pickle

        return _pickle.reduce_dataset(self._recipe)

    def with_format(self, format: Format) -> Dataset:
        """The same dataset, handing out elements as tensors of another framework.

        Args:
            format: "tensorflow" (the default), "torch", "jax", "numpy" (read-only arrays) or "tensorferry" (:class:`Tensor`).
                Functions given to ``map``, ``filter`` ... are called with what the format of their dataset is.

        >>> import tensorferry as tfy
        >>> list(tfy.Dataset.from_tensor_slices([1, 2, 3]).batch(2).with_format("numpy"))
        [array([1, 2], dtype=int32), array([3], dtype=int32)]
        """
        if format not in ("tensorflow", "torch", "jax", "numpy", "tensorferry"):
            raise errors.make(
                "argument", f'with_format: {format!r} is none of "tensorflow", "torch", "jax", "numpy" and "tensorferry"'
            )
        made = self._of(self._plan.copy(), self._structure, format)
        made._recipe = ("with_format", (self, format), {})
        return made

    def as_numpy_iterator(self) -> Iterator[Any]:
        """The elements as NumPy arrays (read-only) and scalars.

        >>> import tensorferry as tfy
        >>> list(tfy.Dataset.from_tensor_slices([[1, 2], [3, 4]]).as_numpy_iterator())
        [array([1, 2], dtype=int32), array([3, 4], dtype=int32)]
        """
        packer = _internal.Packer(_structure.skeleton(self._structure), "numpy", _no_datasets)
        if any(isinstance(leaf, Nested) for leaf in _structure.flatten(self._structure)):
            _no_datasets(0, self._plan)
        return self._plan.iterate(packer)

    def apply(self, transformation_func: Callable[[Any], Any]) -> Any:
        """``transformation_func(self)``, which has to return a dataset: for chains of methods."""
        made = transformation_func(self)
        if not isinstance(made, Base):
            raise errors.make("wrong_type", f"apply: the function returned a {type(made).__name__}, not a Dataset")
        return made


def _no_datasets(at: int, plan: _internal.Plan) -> Any:
    raise errors.make(
        "wrong_type",
        "as_numpy_iterator: elements hold datasets, which are no arrays. Flatten them first: flat_map(lambda window: window.batch(n)).",
    )


def tensors_only(structure: Structure) -> Structure:
    """The structure with tensors in the place of nested datasets."""
    return _structure.map_structure(lambda leaf: LEAF, structure)
