"""What every dataset has: a plan of ``_internal``, the structure of its elements, a format, and the
recipe that made it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, SupportsIndex, TypeVar

from tensorferry import _arguments, _internal, errors
from tensorferry._arguments import INFINITE, UNKNOWN
from tensorferry._frameworks import installed
from tensorferry._nest import specs, structures
from tensorferry._nest.structures import Nested, Structure
from tensorferry._typing import ElementFormat, ThreadingOptions
from tensorferry.dataset import _pickling
from tensorferry.dataset._options import DEFAULT, Options, limits
from tensorferry.dataset._pickling import Recipe
from tensorferry.dataset._progress import Progress

_Method = TypeVar("_Method", bound=Callable[..., Any])
_Result = TypeVar("_Result", bound="Base")


def recorded(method: _Method) -> _Method:
    """Records in the dataset that a method returns how it was made, for pickling."""
    parameters = inspect.signature(method).parameters
    positional = [
        name
        for name, parameter in parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    at = positional.index("name") if "name" in positional else sys.maxsize
    first = 1 if positional[:1] == ["cls"] else 0

    @functools.wraps(method)
    def made(*args: Any, **kwargs: Any) -> Any:
        if len(args) > at or "name" in kwargs:
            _arguments.check_name(args[at] if len(args) > at else kwargs["name"], method.__name__)
        dataset = method(*args, **kwargs)
        dataset._recipe = (method.__name__, args[first:], kwargs)
        return dataset

    return made  # type: ignore[return-value]


class Cardinality(int):
    """A number of elements: -1 for infinitely many, -2 if only iterating tells."""

    def numpy(self) -> int:
        """The number, as the scalar tensor that tf.data returns has it."""
        return int(self)

    def __repr__(self) -> str:
        words = {INFINITE: "infinite", UNKNOWN: "unknown"}
        return words.get(self, int.__repr__(self))


_FAMILIES = itertools.count(1)

#: Attributes that TensorFlow reads of a tf.data.Dataset.
_TF_DATA = frozenset(
    {
        "_variant_tensor",
        "_apply_debug_options",
        "_type_spec",
        "_inputs",
        "_flat_structure",
        "_shape_invariant_to_type_spec",
    }
)
#: Attributes that Keras reads of whatever has ``__array__``.
_ARRAY = frozenset({"shape", "dtype", "ndim"})
#: Methods of tf.data.Dataset that Dataset does not have, and their replacements.
_WAYS = {
    "list_files": 'Dataset.from_files("part-*.npy") opens the files that match a pattern.',
    "snapshot": "dataset.save(path) writes elements, and Dataset.load(path) reads them by index.",
    "dense_to_ragged_batch": "dataset.ragged_batch(n) makes ragged batches.",
    "sparse_batch": "For sparse batches write dataset.to_tf_data().sparse_batch(n, shape).",
    "rejection_resample": "For it write dataset.to_tf_data().rejection_resample(...), or mix "
    "with sample_from_datasets.",
    "get_single_element": "For the only element write next(iter(dataset)).",
    "ignore_errors": "An element that fails raises, and the iterator continues with the next: "
    "catch the error in the loop.",
    "fingerprint": "For it write dataset.to_tf_data().fingerprint().",
    "counter": "Dataset.range(start, 2**63 - 1, step) counts.",
    "make_one_shot_iterator": "Write iter(dataset).",
    "make_initializable_iterator": "Write iter(dataset).",
}


class _Kind(type):
    """The class of dataset classes. Keras and tf.data print the class of an argument that they
    refuse: its ``repr`` says what they take.
    """

    def __repr__(cls) -> str:
        return (
            f"<class '{cls.__module__}.{cls.__qualname__}': "
            "Keras and tf.data take what its to_tf_data() returns>"
        )


class Base(metaclass=_Kind):
    """The parts of a dataset, and how other datasets are made from them."""

    __slots__ = (
        "__weakref__",
        "_family",
        "_format",
        "_opened",
        "_options",
        "_packer",
        "_plan",
        "_recipe",
        "_structure",
    )

    _plan: _internal.Plan
    _structure: Structure
    _format: ElementFormat
    _options: Options
    #: A number for each copy and the datasets made from it, which count epochs apart from the
    #: original's.
    _family: int
    _recipe: Recipe
    #: The files, if they were opened by the method that made it.
    _opened: Any
    _packer: _internal.Packer | None

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        raise TypeError(
            "a Dataset is made by its methods: Dataset.from_tensor_slices(array), "
            "Dataset.range(10), Dataset.from_generator(...)"
        )

    @classmethod
    def _of(
        cls,
        plan: _internal.Plan,
        structure: Structure,
        format: ElementFormat = "tensorflow",
        options: Options = DEFAULT,
        family: int = 0,
    ) -> Self:
        plan.check_depth()
        dataset = object.__new__(cls)
        dataset._structure = structure
        dataset._family = family
        dataset._plan = dataset._called(plan)
        dataset._plan.mark(hash((format, options)) & (2**64 - 1), family)
        dataset._format = format
        dataset._options = options
        dataset._packer = None
        dataset._recipe = ("", (), {})
        dataset._opened = None
        return dataset

    def _called(self, plan: _internal.Plan) -> _internal.Plan:
        """The plan with the names of this structure's components, for error messages."""
        names = structures.names(self._structure)
        return plan.named(names) if names else plan

    def _with(self, plan: _internal.Plan, structure: Structure | None = None) -> Self:
        """The dataset of another plan, in the same format. Without ``structure``, elements have the
        same structure.
        """
        return self._of(
            plan,
            self._structure if structure is None else structure,
            self._format,
            self._options,
            self._family,
        )

    def _packed(self) -> _internal.Packer:
        """The packer of this dataset's elements."""
        if self._packer is None:
            self._packer = packer(type(self), self._structure, self._format, self._options)
        return self._packer

    def __iter__(self) -> _internal.DatasetIterator:
        """The elements of the next epoch. Each iteration of a dataset is one epoch."""
        return self._iterate(self._packed())

    def _iterate(self, packer: _internal.Packer) -> _internal.DatasetIterator:
        _internal.check_eager("iteration")
        return self._plan.iterate(packer, *limits(self._options))

    def set_epoch(self, epoch: SupportsIndex) -> None:
        """Sets the epoch of the next pass, over this dataset and over all datasets made from it,
        before or after. For training that counts its epochs itself: each worker process is told the
        epoch, or a run resumes with ``fit(initial_epoch=k)``.

        Iterators that already run are not changed, nor are other datasets over the same arrays. See
        docs/concepts/epochs.md.

        Args:
            epoch: a whole number of at least 0.

        >>> import tensorferry as tfy
        >>> shuffled = tfy.Dataset.range(5).shuffle(seed=7).with_format("numpy")
        >>> first, second = ([int(x) for x in shuffled] for _ in range(2))
        >>> shuffled.set_epoch(1)
        >>> [int(x) for x in shuffled] == second
        True
        """
        number = _arguments.index(epoch, "set_epoch", "epoch")
        if not 0 <= number <= _arguments.GREATEST:
            raise errors.make(
                "argument",
                "set_epoch: epoch has to be at least 0 and less than 2**63, not "
                f"{_arguments.shown(number)}",
            )
        self._plan.set_epoch(number)

    def cardinality(self) -> Cardinality:
        """The number of elements, an int: -1 for infinitely many, -2 if only iterating tells
        (filter, from_generator ...).
        """
        return Cardinality(self._plan.cardinality)

    def __len__(self) -> int:
        length = self._plan.cardinality
        if length == INFINITE:
            raise TypeError(
                "the dataset is infinite: it has no len(). Take a part of it with take(n)."
            )
        if length == UNKNOWN:
            raise TypeError(
                "only iterating tells how many elements the dataset has: it has no len(). See "
                "cardinality(). PyTorch's DataLoader takes tensorferry.torch.IterableDataset("
                "dataset)."
            )
        return length

    def __bool__(self) -> bool:
        return True

    @property
    def element_spec(self) -> Any:
        """The structure of the elements, with a ``tf.TensorSpec`` for each tensor in the format
        "tensorflow", else a :class:`tensorferry.TensorSpec`. Dtypes are those of the elements as
        they are handed out: JAX has no 64-bit dtypes while ``jax_enable_x64`` is off.
        """
        return specs.element_spec(self._structure, self._shown(), self._format == "tensorflow")

    def _shown(self) -> list[specs.Part]:
        """The components as the format hands them out."""
        return specs.in_jax(self._plan.spec) if self._format == "jax" else self._plan.spec

    def __repr__(self) -> str:
        spec = specs.element_spec(self._structure, self._shown(), tensorflow=False)
        return f"<tensorferry.Dataset element_spec={spec!r} plan={self._plan}>"

    def __str__(self) -> str:
        # Keras and tf.data print this for an argument that they refuse.
        return f"{self!r} (Keras and tf.data take what its to_tf_data() returns)"

    if not TYPE_CHECKING:  # with it, type checkers would accept any attribute

        def __getattr__(self, name: str) -> Any:
            way = ""
            if name in _TF_DATA:
                way = ". It is not a tf.data.Dataset; dataset.to_tf_data() returns one."
            elif name in _ARRAY:
                way = (
                    ". It is not an array; element_spec has the shapes of its elements, and Keras "
                    "and tf.data take what dataset.to_tf_data() returns."
                )
            elif name in _WAYS:
                way = f". {_WAYS[name]}"
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}{way}",
                name=name,
                obj=self,
            )

    def __copy__(self) -> Self:
        copy = self._of(
            self._plan.copy(), self._structure, self._format, self._options, next(_FAMILIES)
        )
        epoch, said, _ = self._plan.progress()
        copy._plan.count_like(epoch, said)
        copy._recipe, copy._opened = self._recipe, self._opened
        return copy

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self.__copy__()  # a plan is immutable

    def __reduce__(self) -> tuple[Any, ...]:
        return _pickling.reduce_dataset(type(self), self._recipe, self._plan.progress())

    def with_format(self, format: ElementFormat) -> Self:
        """The same dataset, with elements as tensors of another framework.

        Args:
            format: "tensorflow" (the default), "torch", "jax", "numpy" (read-only arrays) or
                "tensorferry" (:class:`Tensor`). Functions given to ``map``, ``filter`` ... are
                called with tensors in the format of their dataset.

        >>> import tensorferry as tfy
        >>> list(tfy.Dataset.from_tensor_slices([1, 2, 3]).batch(2).with_format("numpy"))
        [array([1, 2], dtype=int32), array([3], dtype=int32)]
        """
        if format not in ("tensorflow", "torch", "jax", "numpy", "tensorferry"):
            raise errors.make(
                "argument",
                f'with_format: {format!r} is none of "tensorflow", "torch", "jax", "numpy" and '
                '"tensorferry"',
            )
        if format in ("torch", "jax"):
            installed.need(format, f'with_format("{format}")')
        made = self._of(self._plan.copy(), self._structure, format, self._options, self._family)
        made._recipe = ("with_format", (self, format), {})
        return made

    def as_numpy_iterator(self) -> _internal.DatasetIterator:
        """The elements as NumPy arrays (read-only) and scalars.

        >>> import tensorferry as tfy
        >>> list(tfy.Dataset.from_tensor_slices([[1, 2], [3, 4]]).as_numpy_iterator())
        [array([1, 2], dtype=int32), array([3, 4], dtype=int32)]
        """
        packer = _internal.Packer(
            structures.skeleton(self._structure, "numpy"), "numpy", _no_datasets
        )
        if any(isinstance(leaf, Nested) for leaf in structures.flatten(self._structure)):
            _no_datasets(0, self._plan)
        return self._iterate(packer)

    def progress(self, desc: str | None = None, **tqdm: object) -> Progress:
        """The elements of the next epoch, with a progress bar: rate, position in the epoch, time
        left.

        In a terminal or a notebook it is a tqdm bar (``pip install tqdm``) on stderr; elsewhere,
        such as in a log, a line every half minute. The result has ``state_dict`` and
        ``load_state_dict``, which moves the bar to the position of the iteration.

        Args:
            desc: the text before the bar.
            tqdm: arguments of ``tqdm.tqdm``. ``unit="row", unit_scale=32`` counts the rows of
                batches of 32; ``mininterval`` is the number of seconds between updates;
                ``disable=True`` shows nothing.

        Raises:
            ModuleNotFoundError: tqdm is not installed.

        >>> import tensorferry as tfy
        >>> dataset = tfy.Dataset.range(6).batch(2).with_format("numpy")
        >>> for epoch in range(1):
        ...     progress = dataset.progress(f"epoch {epoch}")
        ...     for batch in progress:
        ...         progress.set_postfix(loss=0.25)
        >>> progress.bar.n
        3
        """
        return Progress(self, desc, tqdm)

    def options(self) -> Options:
        """Threads and memory of this dataset's iterations."""
        return self._options

    def with_options(self, options: Options | ThreadingOptions, name: str | None = None) -> Self:
        """The same dataset with other threads and memory for its iterations.

        Args:
            options: a :class:`tensorferry.Options`, of which None leaves an option unchanged; or a
                ``tf.data.Options``, of which only the size of the thread pool has an effect.
        """
        if isinstance(options, Options):
            given = {
                key: value
                for key, value in dataclasses.asdict(options).items()
                if value is not None
            }
        elif hasattr(options, "threading"):
            threads = options.threading.private_threadpool_size
            given = {"threads": threads} if threads else {}
        else:
            raise errors.make(
                "wrong_type",
                f"with_options: a tensorferry.Options was expected, not {options!r:.80}",
            )
        merged = dataclasses.replace(self._options, **given)
        made = self._of(self._plan.copy(), self._structure, self._format, merged, self._family)
        made._recipe = ("with_options", (self, merged), {})
        return made

    def apply(self, transformation_func: Callable[[Self], _Result]) -> _Result:
        """``transformation_func(self)``, which has to return a dataset: for chains of methods."""
        made = transformation_func(self)
        if not isinstance(made, Base):
            raise errors.make(
                "wrong_type", f"apply: the function returned a {type(made).__name__}, not a Dataset"
            )
        return made


def _no_datasets(at: int, plan: _internal.Plan) -> Any:
    raise errors.make(
        "wrong_type",
        "as_numpy_iterator: elements hold datasets, which are not arrays. Flatten them first: "
        "flat_map(lambda window: window.batch(n)).",
    )


def packer(
    cls: type[Base], structure: Structure, format: ElementFormat, options: Options = DEFAULT
) -> _internal.Packer:
    """Nests the components of elements of this structure; nested datasets become ``cls``."""
    leaves = structures.flatten(structure)

    def nest(at: int, plan: _internal.Plan) -> Base:
        return cls._of(plan, leaves[at].structure, format, options)

    return _internal.Packer(structures.skeleton(structure, format), format, nest)
