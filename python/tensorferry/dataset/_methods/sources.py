"""Methods that make a dataset from arrays, numbers, generators or other datasets."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Self, SupportsIndex

from tensorferry import _arguments, _internal, errors
from tensorferry._convert import reading
from tensorferry._files import opened
from tensorferry._nest import specs, structures
from tensorferry._nest.structures import LEAF
from tensorferry._typing import DTypeLike, Nest, ShapeLike, Signature, TensorLike
from tensorferry.dataset import _seeds
from tensorferry.dataset._base import Base, recorded
from tensorferry.dataset._functions import calls, identity, tracing
from tensorferry.dataset._methods import ragged_structure
from tensorferry.dataset._methods.checks import check


class Sources(Base):
    """The methods that start a plan."""

    __slots__ = ()

    @classmethod
    @recorded
    def from_tensor_slices(cls, tensors: Nest[TensorLike], name: str | None = None) -> Self:
        """The rows of arrays: element ``i`` is row ``i`` of each. Nothing is copied.

        Args:
            tensors: an array, or a tuple, dict or namedtuple of arrays with the same number of
                rows. A list is stacked into one array. Arrays are NumPy's (memory-mapped ones too),
                tensors of any framework, objects with ``__array__`` or ``__dlpack__``, and arrays
                in files opened by :func:`tensorferry.open`. Rows of an h5py, zarr or netCDF4 array,
                and of similar ones, are read a batch at a time. A table of pandas, polars or Arrow
                is one array of two dimensions; a dict of its columns keeps them apart. A dataset of
                Hugging Face is a dict of its columns, used in place. A NumPy array with fields is
                a dict of those that hold numbers or strings, read in place.
                Rows of different lengths are those of :meth:`from_ragged`, except lists. Strings in
                one dimension are carried as ``bytes``: see docs/guides/strings.md. Elements that
                were handed out never change. Writable memory is read when an element is made, so a
                later write shows in elements not yet made: pass a copy to prevent that.
            name: accepted for compatibility with tf.data.

        Raises:
            tensorferry.errors.InvalidArgumentError: the numbers of rows differ, or an array has no
                rows, or holds neither numbers nor strings.
            tensorferry.errors.InvalidTypeError: a masked array; a value among strings that is none.

        >>> import tensorferry as tfy
        >>> list(tfy.Dataset.from_tensor_slices(([1, 2], [3.0, 4.0])).with_format("numpy"))
        [(np.int32(1), np.float32(3.0)), (np.int32(2), np.float32(4.0))]
        """
        stage = "from_tensor_slices"
        arrays = opened.opened(tensors)
        if ragged_structure.has_ragged(arrays):
            return cls._of(*ragged_structure.plan(arrays, stage, lists=False))
        leaves, structure = structures.flatten(arrays), structures.structure_of(arrays)
        plan = tracing.placeholder(leaves, True, stage)
        if plan is None:
            names = structures.names(structure)
            with _arguments.named(stage):
                plan = _internal.from_tensor_slices(reading.sources(leaves, names, stage), names)
        return cls._of(plan, structure)

    @classmethod
    @recorded
    def from_tensors(cls, tensors: Nest[TensorLike], name: str | None = None) -> Self:
        """One element: the arrays as they are.

        >>> import tensorferry as tfy
        >>> list(tfy.Dataset.from_tensors([1, 2]).as_numpy_iterator())
        [array([1, 2], dtype=int32)]
        """
        stage = "from_tensors"
        arrays = opened.opened(tensors, rows=False)
        if ragged_structure.has_text(arrays):
            return cls._of(*ragged_structure.tensors(arrays, stage))
        leaves, structure = structures.flatten(arrays), structures.structure_of(arrays)
        plan = tracing.placeholder(leaves, False, stage)
        if plan is None:
            names = structures.names(structure)
            with _arguments.named(stage):
                plan = _internal.from_tensors(reading.sources(leaves, names, stage), names)
        specs.check_some(plan.spec, stage)
        return cls._of(plan, structure)

    @classmethod
    @recorded
    def token_windows(
        cls,
        tokens: TensorLike,
        length: SupportsIndex,
        stride: SupportsIndex | None = None,
        shift: SupportsIndex = 1,
        dtype: DTypeLike = "int64",
        name: str | None = None,
        *,
        boundaries: TensorLike | None = None,
    ) -> Self:
        """Pairs ``(x, y)`` for training a language model on one long array of tokens: ``y`` is the
        token that follows each token of ``x``.

        In element ``i``, ``x`` holds the ``length`` tokens from ``i * stride`` on, and ``y`` those
        ``shift`` further on. There are as many elements as fit. Nothing is copied: each window is
        read, and widened to ``dtype``, as it is written into its batch.

        Args:
            tokens: a one-dimensional array, of any kind that ``from_tensor_slices`` takes.
            length: tokens of a window.
            stride: tokens from the start of one window to the start of the next. By default
                ``length``: no token is in two windows. With ``stride=1`` and a shuffle, windows
                start anywhere.
            shift: by how many tokens ``y`` is ahead of ``x``.
            dtype: of ``x`` and ``y``.
            name: accepted for compatibility with tf.data.
            boundaries: ascending offsets at which documents begin or end. Windows, with the
                tokens of their ``y``, never cross one, and the first window of each document
                begins with it. A shorter document has no window.

        Raises:
            tensorferry.errors.InvalidArgumentError: the tokens are not in one dimension, or fewer
                than ``length + shift``.
            tensorferry.errors.ValueOverflowError: while iterating, at a window with a token that
                ``dtype`` does not hold.

        >>> import numpy as np, tensorferry as tfy
        >>> text = np.frombuffer(b"to be or not", np.uint8)
        >>> for x, y in tfy.Dataset.token_windows(text, 5, dtype="uint8").as_numpy_iterator():
        ...     print(bytes(x), bytes(y))
        b'to be' b'o be '
        b' or n' b'or no'
        >>> windows = tfy.Dataset.token_windows(text, 5, stride=1).shuffle(seed=1).batch(4)
        >>> windows.with_format("numpy").element_spec
        (TensorSpec(shape=(None, 5), dtype=int64), TensorSpec(shape=(None, 5), dtype=int64))
        """
        stage = "token_windows"
        source = reading.source(tokens, stage)
        size = _arguments.positive(length, stage, "length")
        step = None if stride is None else _arguments.positive(stride, stage, "stride")
        ahead = _arguments.at_least(shift, 0, stage, "shift")
        cuts = None if boundaries is None else reading.source(opened.opened(boundaries), stage)
        plan = _internal.token_windows(source, size, step, ahead, dtype, cuts)
        return cls._of(plan, (LEAF, LEAF))

    @classmethod
    @recorded
    def range(
        cls, *args: SupportsIndex, output_type: DTypeLike = "int64", name: str | None = None
    ) -> Self:
        """Numbers, as Python's ``range``: ``range(stop)``, ``range(start, stop)``, ``range(start,
        stop, step)``.

        Args:
            args: whole numbers.
            output_type: the dtype, which has to hold every number.
            name: accepted for compatibility with tf.data.

        >>> import tensorferry as tfy
        >>> list(tfy.Dataset.range(5, 0, -2, output_type="int32").as_numpy_iterator())
        [np.int32(5), np.int32(3), np.int32(1)]
        """
        if not 1 <= len(args) <= 3:
            raise errors.make(
                "argument",
                "range: takes (stop), (start, stop) or (start, stop, step), not "
                f"{len(args)} numbers",
            )
        numbers = [_arguments.whole(value, "range", "every argument") for value in args]
        start, stop, step = (0, numbers[0], 1) if len(numbers) == 1 else (*numbers, 1)[:3]
        return cls._of(_internal.range(start, stop, step, output_type), LEAF)

    @classmethod
    @recorded
    def random(
        cls,
        seed: SupportsIndex | None = None,
        rerandomize_each_iteration: bool | None = None,
        name: str | None = None,
    ) -> Self:
        """Random int64 numbers, at least 0 and less than 2^32, without end.

        Args:
            seed: the same seed gives the same numbers, in every version (not those of tf.data).
                None draws a seed, which ``state_dict`` keeps.
            rerandomize_each_iteration: True gives each iteration other numbers.
            name: accepted for compatibility with tf.data.

        >>> import tensorferry as tfy
        >>> [int(x) for x in tfy.Dataset.random(seed=7).take(3).as_numpy_iterator()]
        [91078609, 1366299982, 3368394770]
        """
        again = _arguments.flag(rerandomize_each_iteration, "random", "rerandomize_each_iteration")
        plan = _internal.random(_arguments.seed(seed, "random"), again)
        return cls._of(_seeds.seeded(plan), LEAF)

    @classmethod
    @recorded
    def zip(cls, *args: Nest[Base], datasets: Nest[Base] = None, name: str | None = None) -> Self:
        """Elements made of one element of each dataset. Ends with the shortest dataset.

        Args:
            args: datasets; or one nested structure (tuple, dict) of datasets, which is the
                structure of the elements.
            datasets: the same, by keyword.
            name: accepted for compatibility with tf.data.

        >>> import tensorferry as tfy
        >>> numbers = tfy.Dataset.range(2)
        >>> list(tfy.Dataset.zip({"a": numbers, "b": numbers}).as_numpy_iterator())
        [{'a': np.int64(0), 'b': np.int64(0)}, {'a': np.int64(1), 'b': np.int64(1)}]
        """
        if bool(args) == (datasets is not None):
            raise errors.make(
                "wrong_type",
                "zip: pass datasets one after the other, or one structure of them as datasets=",
            )
        nested = datasets if datasets is not None else args[0] if len(args) == 1 else tuple(args)
        if isinstance(nested, list):
            raise errors.make(
                "wrong_type",
                "zip: a list is not a structure of elements. Pass the datasets one by one, "
                "zip(a, b), or in a tuple.",
            )
        places = structures.names(structures.structure_of(nested)) or ["0"]
        leaves: list[Self] = [
            check(leaf, "zip", f"argument {at}")
            for at, leaf in zip(places, structures.flatten(nested), strict=False)
        ]
        if not leaves:
            raise errors.make("argument", "zip: no datasets were given")
        structure = structures.map_structure(operator.attrgetter("_structure"), nested)
        return leaves[0]._with(_internal.zip([leaf._plan for leaf in leaves]), structure)

    @classmethod
    @recorded
    def from_generator(
        cls,
        generator: Callable[..., Any],
        output_types: Nest[DTypeLike] = None,
        output_shapes: Nest[ShapeLike] = None,
        args: tuple[Any, ...] | None = None,
        output_signature: Signature | None = None,
        name: str | None = None,
    ) -> Self:
        """The elements of a Python generator, each checked against the specification: no value is
        wrapped.

        Args:
            generator: a function that returns an iterable; called anew for each pass.
            output_types: dtypes, in the structure of the elements; deprecated in tf.data.
            output_shapes: shapes, where known, in the structure of the elements.
            args: arguments for ``generator``.
            output_signature: a structure of ``TensorSpec`` s, TensorFlow's or
                :class:`tensorferry.TensorSpec`.
            name: accepted for compatibility with tf.data.

        Raises:
            tensorferry.errors.ValueOverflowError, tensorferry.errors.InvalidArgumentError: while
                iterating, at an element that does not match the specification.

        >>> import tensorferry as tfy
        >>> def squares():
        ...     yield from (i * i for i in range(3))
        >>> spec = tfy.TensorSpec((), "uint8")
        >>> list(tfy.Dataset.from_generator(squares, output_signature=spec).as_numpy_iterator())
        [np.uint8(0), np.uint8(1), np.uint8(4)]
        """
        stage = "from_generator"
        calls.check_callable(generator, stage, "generator")
        if (output_signature is None) == (output_types is None):
            raise errors.make(
                "wrong_type", f"{stage}: pass output_signature=, or else output_types="
            )
        if output_signature is None:
            structure, spec = specs.from_types(output_types, output_shapes)
        else:
            structure, spec = specs.parse(output_signature, f"{stage}: output_signature")
        specs.check_some(spec, stage)
        flat = calls.generator(generator, tuple(args or ()), (structure, spec))
        plan = _internal.from_generator(
            identity.known_as(generator), flat, spec, structures.names(structure)
        )
        return cls._of(plan, structure)
