"""What every dataset is: a plan of ``_internal``, the structure of its elements, a format, and the
recipe it was made by."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeAlias

from tensorferry import _arguments, _internal, errors
from tensorferry._frameworks import installed
from tensorferry._nest import specs, structures
from tensorferry._nest.structures import LEAF, Nested, Structure

if TYPE_CHECKING:
    from tensorferry.dataset import Dataset
    from tensorferry.dataset._progress import Progress

_P = ParamSpec("_P")
Format: TypeAlias = Literal["tensorflow", "torch", "jax", "numpy", "tensorferry"]
#: A method's name and arguments, a dataset's own first.
Recipe: TypeAlias = tuple[str, tuple[Any, ...], dict[str, Any]]

INFINITE = -1
UNKNOWN = -2
#: As many threads as a system lets a process have, and more than any machine has processors.
MOST_THREADS = 2**15


def recorded(method: Callable[_P, Dataset]) -> Callable[_P, Dataset]:
    """Has the dataset that a method makes remember how: that is how it is pickled."""

    parameters = inspect.signature(method).parameters
    positional = [
        name
        for name, parameter in parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    at = positional.index("name") if "name" in positional else sys.maxsize

    @functools.wraps(method)
    def made(*args: _P.args, **kwargs: _P.kwargs) -> Dataset:
        if len(args) > at or "name" in kwargs:
            _arguments.check_name(args[at] if len(args) > at else kwargs["name"], method.__name__)
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


@dataclasses.dataclass(frozen=True)
class Options:
    """How an iteration spends the machine. The elements and their order are the same whatever is
    chosen.

    Args:
        threads: how many threads compute elements ahead; None for as many as the process may use.
        memory_limit: bytes of memory that an iteration takes, at most: elements that are computed and not yet handed out, the one that was
            handed out last, the groups of ``shuffle(buffer_size, block=)`` over files that are read, and, of files that are opened with
            ``mode="direct"``, 4 MiB for each thread that reads and each array that is read in order. Where it is little, fewer threads read,
            and fewer groups are held. One element is always allowed, and one thread's reads; a group that does not fit is a ValueError of the
            first elements. None for 256 MiB of elements alone.
        read_ahead: how many elements to compute ahead, 0 for none; None for what ``prefetch`` says.
    """

    threads: int | None = None
    memory_limit: int | None = None
    read_ahead: int | None = None

    def __post_init__(self) -> None:
        for name, least, most in (
            ("threads", 1, MOST_THREADS),
            ("memory_limit", 0, None),
            ("read_ahead", 0, None),
        ):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, str):
                way = "an int, as 2**30" if name == "memory_limit" else "an int"
                raise errors.make(
                    "wrong_type", f"Options: {name} has to be a whole number, {way}, not {value!r}"
                )
            number = _arguments.at_least(value, least, "Options", name)
            if most is not None and number > most:
                raise errors.make(
                    "argument", f"Options: {name} has to be at most {most}, not {number}"
                )
            object.__setattr__(self, name, number)


DEFAULT = Options()
_FAMILIES = itertools.count(1)


#: What TensorFlow asks a tf.data.Dataset for.
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
#: Methods of tf.data.Dataset that there are not, and what to write.
_WAYS = {
    "list_files": 'Dataset.from_files("part-*.npy") opens what a pattern matches.',
    "snapshot": "dataset.save(path) writes elements, and Dataset.load(path) has them by index.",
    "ragged_batch": "dataset.padded_batch(n) pads; for ragged batches write "
    "dataset.to_tf_data().ragged_batch(n).",
    "dense_to_ragged_batch": "dataset.padded_batch(n) pads; for ragged batches write "
    "dataset.to_tf_data().ragged_batch(n).",
    "sparse_batch": "For sparse batches write dataset.to_tf_data().sparse_batch(n, shape).",
    "rejection_resample": "For it write dataset.to_tf_data().rejection_resample(...), or mix "
    "with sample_from_datasets.",
    "get_single_element": "For the only element write next(iter(dataset)).",
    "ignore_errors": "An element that fails raises, and the iterator goes on with the next: "
    "catch it in the loop.",
    "fingerprint": "For it write dataset.to_tf_data().fingerprint().",
    "counter": "Dataset.range(start, 2**63 - 1, step) counts.",
    "make_one_shot_iterator": "Write iter(dataset).",
    "make_initializable_iterator": "Write iter(dataset).",
}


class _Kind(type):
    """The class of dataset classes. Keras and tf.data write the class of an argument that they
    refuse: it says what they take."""

    def __repr__(cls) -> str:
        return f"<class '{cls.__module__}.{cls.__qualname__}': Keras and tf.data take what its to_tf_data() returns>"


class Base(metaclass=_Kind):
    """The parts of a dataset, and how others are made of them."""

    __slots__ = (
        "__weakref__",
        "_family",
        "_format",
        "_options",
        "_packer",
        "_plan",
        "_recipe",
        "_structure",
    )

    _plan: _internal.Plan
    _structure: Structure
    _format: Format
    _options: Options
    # : A copy's own, and that of all that is made of it: they count their epochs apart from the
    # original's.
    _family: int
    _recipe: Recipe
    _packer: _internal.Packer | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Base:
        raise TypeError(
            "a Dataset is made by its methods: Dataset.from_tensor_slices(array), "
            "Dataset.range(10), Dataset.from_generator(...)"
        )

    @classmethod
    def _of(
        cls,
        plan: _internal.Plan,
        structure: Structure,
        format: Format,
        options: Options = DEFAULT,
        family: int = 0,
    ) -> Dataset:
        plan.check_depth()
        dataset: Any = object.__new__(cls)
        dataset._structure = structure
        dataset._family = family
        dataset._plan = dataset._called(plan)
        dataset._plan.mark(hash((format, options)) & (2**64 - 1), family)
        dataset._format = format
        dataset._options = options
        dataset._packer = None
        dataset._recipe = ("", (), {})
        return dataset  # type: ignore[no-any-return]

    def _called(self, plan: _internal.Plan) -> _internal.Plan:
        """A plan of this structure, whose errors call the components what the structure does."""
        names = structures.names(self._structure)
        return plan.named(names) if names else plan

    def _with(self, plan: _internal.Plan, structure: Structure | None = None) -> Dataset:
        """The dataset of another plan, of the same structure if none is given, in the same
        format."""
        return self._of(
            plan,
            self._structure if structure is None else structure,
            self._format,
            self._options,
            self._family,
        )

    def _packed(self) -> _internal.Packer:
        """What nests this dataset's elements."""
        if self._packer is None:
            self._packer = packer(self._structure, self._format, self._options)
        return self._packer

    def __iter__(self) -> _internal.DatasetIterator:
        """The elements of the next epoch: every iteration of a dataset is one."""
        return self._iterate(self._packed())

    def _iterate(self, packer: _internal.Packer) -> _internal.DatasetIterator:
        _internal.check_eager("iteration")
        options = self._options
        return self._plan.iterate(packer, options.threads, options.memory_limit, options.read_ahead)

    def set_epoch(self, epoch: Any) -> None:
        """Says which epoch the next pass is: over this dataset, and over all that are made of it,
        before or after. For training that counts its epochs itself: each worker process is told the
        epoch, or a run goes on with ``fit(initial_epoch=k)``.

        Iterators that are under way are left as they are, and so are other datasets over the same
        arrays. See docs/epochs.md.

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
                f"set_epoch: epoch has to be at least 0 and less than 2**63, not {_arguments.shown(number)}",
            )
        self._plan.set_epoch(number)

    def cardinality(self) -> Cardinality:
        """The number of elements, an int: -1 for infinitely many, -2 where only iterating tells
        (filter, from_generator ...)."""
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
                "cardinality()."
            )
        return length

    def __bool__(self) -> bool:
        return True

    @property
    def element_spec(self) -> Any:
        """The structure of the elements, with a ``tf.TensorSpec`` for each tensor in the format
        "tensorflow", else a :class:`tensorferry.TensorSpec`. Dtypes are those of what is handed
        out: JAX has no 64-bit ones while ``jax_enable_x64`` is off."""
        return specs.element_spec(self._structure, self._shown(), self._format == "tensorflow")

    def _shown(self) -> list[specs.Part]:
        """The components as the format hands them out."""
        return specs.in_jax(self._plan.spec) if self._format == "jax" else self._plan.spec

    def __repr__(self) -> str:
        spec = specs.element_spec(self._structure, self._shown(), tensorflow=False)
        return f"<tensorferry.Dataset element_spec={spec!r} plan={self._plan}>"

    def __str__(self) -> str:
        # What Keras and tf.data write of an argument that they do not take.
        return f"{self!r} (Keras and tf.data take what its to_tf_data() returns)"

    def __getattr__(self, name: str) -> Any:
        way = ""
        if name in _TF_DATA:
            way = ". It is not a tf.data.Dataset; dataset.to_tf_data() returns one."
        elif name in _WAYS:
            way = f". {_WAYS[name]}"
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}{way}", name=name, obj=self
        )

    def __copy__(self) -> Dataset:
        copy = self._of(
            self._plan.copy(), self._structure, self._format, self._options, next(_FAMILIES)
        )
        epoch, said, _ = self._plan.progress()
        copy._plan.count_like(epoch, said)
        copy._recipe = self._recipe
        return copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Dataset:
        return self.__copy__()  # a plan never changes

    def __reduce__(self) -> tuple[Any, ...]:
        from tensorferry.dataset import _pickling

        return _pickling.reduce_dataset(self._recipe, self._plan.progress())

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
                "argument",
                f'with_format: {format!r} is none of "tensorflow", "torch", "jax", "numpy" and "tensorferry"',
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
        packer = _internal.Packer(structures.skeleton(self._structure), "numpy", _no_datasets)
        if any(isinstance(leaf, Nested) for leaf in structures.flatten(self._structure)):
            _no_datasets(0, self._plan)
        return self._iterate(packer)

    def progress(self, desc: str | None = None, **tqdm: Any) -> Progress:
        """The elements of the next epoch, as iterating gives them, and how far it has come: rate,
        position in the epoch, time left.

        In a terminal or a notebook that is a bar of tqdm's (``pip install tqdm``) on stderr;
        elsewhere, as in a log, a line every half minute. What is returned has ``state_dict`` and
        ``load_state_dict``, after which the bar stands where the iteration does.

        Args:
            desc: stands before the bar.
            tqdm: whatever ``tqdm.tqdm`` takes. ``unit="row", unit_scale=32`` counts the rows of batches of 32; ``mininterval`` is the
                number of seconds between updates; ``disable=True`` shows nothing.

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
        from tensorferry.dataset._progress import Progress

        return Progress(self, desc, tqdm)

    def options(self) -> Options:
        """How iterations of this dataset spend the machine."""
        return self._options

    def with_options(self, options: Any, name: str | None = None) -> Dataset:
        """The same dataset, iterated as ``options`` says.

        Args:
            options: a :class:`tensorferry.Options`, of which None leaves things as they are; or a ``tf.data.Options``, of which
                only
                the size of the thread pool has a meaning here.
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

    def apply(self, transformation_func: Callable[[Any], Any]) -> Any:
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
        "as_numpy_iterator: elements hold datasets, which are no arrays. Flatten them first: "
        "flat_map(lambda window: window.batch(n)).",
    )


def tensors_only(structure: Structure) -> Structure:
    """The structure with tensors in the place of nested datasets."""
    return structures.map_structure(lambda leaf: LEAF, structure)


def packer(structure: Structure, format: Format, options: Options = DEFAULT) -> _internal.Packer:
    """What nests elements of this structure, nested datasets as datasets of the same format."""
    leaves = structures.flatten(structure)

    def nest(at: int, plan: _internal.Plan) -> Dataset:
        from tensorferry.dataset import Dataset

        return Dataset._of(plan, leaves[at].structure, format, options)

    return _internal.Packer(structures.skeleton(structure), format, nest)
