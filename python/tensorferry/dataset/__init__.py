"""``tensorferry.Dataset``: arrays as batches, in any order, converted on the way, resumable.
tf.data's names and results."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from tensorferry import _arguments, _internal, errors
from tensorferry._convert import reading
from tensorferry._files import opened
from tensorferry._nest import specs, structures
from tensorferry._nest.structures import LEAF
from tensorferry.dataset import _seeds
from tensorferry.dataset._base import recorded
from tensorferry.dataset._functions import calls, identity, tracing
from tensorferry.dataset._methods.augment import Augment
from tensorferry.dataset._methods.batches import Batches
from tensorferry.dataset._methods.files import Files
from tensorferry.dataset._methods.functions import Functions
from tensorferry.dataset._methods.mixing import Mixing
from tensorferry.dataset._methods.nested import DatasetFunctions
from tensorferry.dataset._methods.stages import Stages, check

__all__ = ["Dataset"]


class Dataset(Stages, Batches, Functions, DatasetFunctions, Mixing, Augment, Files):
    """A sequence of elements: tensors, or tuples, dicts and namedtuples of them.

    A dataset is a plan: immutable, and nothing is read until it is iterated. Each iteration is the
    next epoch. Elements are tensors of TensorFlow unless :meth:`with_format` says otherwise.

    >>> import numpy as np, tensorferry as tfy
    >>> dataset = tfy.Dataset.from_tensor_slices({"x": np.arange(4.0), "y": np.arange(4)}).batch(3).with_format("numpy")
    >>> for batch in dataset:
    ...     print(batch["y"])
    [0 1 2]
    [3]
    """

    __slots__ = ()

    @staticmethod
    @recorded
    def from_tensor_slices(tensors: Any, name: str | None = None) -> Dataset:
        """The rows of arrays: element ``i`` is row ``i`` of each. Nothing is copied.

        Args:
            tensors: an array, or a tuple, dict or namedtuple of arrays with the same number of rows. A list is stacked into one
                array. Arrays are NumPy's (memory-mapped ones too), tensors of any framework, whatever has ``__array__`` or
                ``__dlpack__``; and arrays in files, that :func:`tensorferry.open` opened. Of an array of h5py, zarr, netCDF4 and what is
                like them, rows are read a batch at a time. A table of pandas, polars or Arrow is one array of two dimensions; a dict of
                its columns keeps them apart.
                Elements that were handed out never change. Memory that can be written is read when an element is made, so a later
                write shows in elements not yet made: pass a copy to prevent that.

        Raises:
            tensorferry.errors.ValueError: the numbers of rows differ, an array has no rows, or holds no numbers.
            tensorferry.errors.TypeError: a masked array.

        >>> import tensorferry as tfy
        >>> list(tfy.Dataset.from_tensor_slices(([1, 2], [3.0, 4.0])).with_format("numpy"))
        [(np.int32(1), np.float32(3.0)), (np.int32(2), np.float32(4.0))]
        """
        tensors = opened.opened(tensors)
        leaves, structure = structures.flatten(tensors), structures.structure_of(tensors)
        plan = tracing.placeholder(leaves, True, "from_tensor_slices")
        if plan is None:
            names = structures.names(structure)
            with _arguments.named("from_tensor_slices"):
                plan = _internal.from_tensor_slices(
                    reading.sources(leaves, names, "from_tensor_slices"), names
                )
        return Dataset._of(plan, structure, "tensorflow")

    @staticmethod
    @recorded
    def from_tensors(tensors: Any, name: str | None = None) -> Dataset:
        """One element: the arrays as they are.

        >>> import tensorferry as tfy
        >>> list(tfy.Dataset.from_tensors([1, 2]).as_numpy_iterator())
        [array([1, 2], dtype=int32)]
        """
        tensors = opened.opened(tensors, rows=False)
        leaves, structure = structures.flatten(tensors), structures.structure_of(tensors)
        plan = tracing.placeholder(leaves, False, "from_tensors")
        if plan is None:
            names = structures.names(structure)
            with _arguments.named("from_tensors"):
                plan = _internal.from_tensors(reading.sources(leaves, names, "from_tensors"), names)
        specs.check_some(plan.spec, "from_tensors")
        return Dataset._of(plan, structure, "tensorflow")

    @staticmethod
    @recorded
    def token_windows(
        tokens: Any,
        length: Any,
        stride: Any = None,
        shift: Any = 1,
        dtype: Any = "int64",
        name: str | None = None,
    ) -> Dataset:
        """Pairs ``(x, y)`` for training a language model on one long array of tokens: ``y`` is what
        follows each token of ``x``.

        Element ``i`` has as ``x`` the ``length`` tokens from ``i * stride`` on, as ``y`` those
        ``shift`` further on. There are as many as fit. Nothing is copied: each window is read, and
        widened to ``dtype``, as it is written into its batch.

        Args:
            tokens: a one-dimensional array: NumPy's (a memory-mapped one too), a :class:`Tensor`, whatever ``from_tensor_slices`` takes.
            length: tokens of a window.
            stride: tokens from the start of one window to the start of the next. By default ``length``: no token is in two windows.
                With ``stride=1`` and a shuffle, windows start anywhere.
            shift: how many tokens ``y`` is ahead of ``x``.
            dtype: of both.

        Raises:
            tensorferry.errors.ValueError: the tokens are not in one dimension, or fewer than ``length + shift``.
            tensorferry.errors.OverflowError: while iterating, at a window with a token that ``dtype`` does not hold.

        >>> import numpy as np, tensorferry as tfy
        >>> text = np.frombuffer(b"to be or not", np.uint8)
        >>> for x, y in tfy.Dataset.token_windows(text, 5, dtype="uint8").as_numpy_iterator():
        ...     print(bytes(x), bytes(y))
        b'to be' b'o be '
        b' or n' b'or no'
        >>> tfy.Dataset.token_windows(text, 5, stride=1).shuffle(seed=1).batch(4).with_format("numpy").element_spec
        (TensorSpec(shape=(None, 5), dtype=int64), TensorSpec(shape=(None, 5), dtype=int64))
        """
        source = reading.source(tokens, "token_windows")
        size = _arguments.positive(length, "token_windows", "length")
        step = None if stride is None else _arguments.positive(stride, "token_windows", "stride")
        ahead = _arguments.at_least(shift, 0, "token_windows", "shift")
        return Dataset._of(
            _internal.token_windows(source, size, step, ahead, dtype), (LEAF, LEAF), "tensorflow"
        )

    @staticmethod
    @recorded
    def range(*args: Any, output_type: Any = "int64", name: str | None = None) -> Dataset:
        """Numbers, as Python's ``range``: ``range(stop)``, ``range(start, stop)``, ``range(start,
        stop, step)``.

        Args:
            args: whole numbers.
            output_type: the dtype, which has to hold every number.

        >>> import tensorferry as tfy
        >>> list(tfy.Dataset.range(5, 0, -2, output_type="int32").as_numpy_iterator())
        [np.int32(5), np.int32(3), np.int32(1)]
        """
        if not 1 <= len(args) <= 3:
            raise errors.make(
                "argument",
                f"range: takes (stop), (start, stop) or (start, stop, step), not {len(args)} numbers",
            )
        numbers = [_arguments.whole(value, "range", "every argument") for value in args]
        start, stop, step = (0, numbers[0], 1) if len(numbers) == 1 else (*numbers, 1)[:3]
        return Dataset._of(_internal.range(start, stop, step, output_type), LEAF, "tensorflow")

    @staticmethod
    @recorded
    def random(
        seed: Any = None, rerandomize_each_iteration: bool | None = None, name: str | None = None
    ) -> Dataset:
        """Random int64 numbers, at least 0 and less than 2^32, without end.

        Args:
            seed: the same seed gives the same numbers, in every version (not those that tf.data gives). None draws one, which
                ``state_dict`` remembers.
            rerandomize_each_iteration: True gives each iteration other numbers.

        >>> import tensorferry as tfy
        >>> [int(x) for x in tfy.Dataset.random(seed=7).take(3).as_numpy_iterator()]
        [91078609, 1366299982, 3368394770]
        """
        again = _arguments.flag(rerandomize_each_iteration, "random", "rerandomize_each_iteration")
        plan = _internal.random(_arguments.seed(seed, "random"), again)
        return Dataset._of(_seeds.seeded(plan), LEAF, "tensorflow")

    @staticmethod
    @recorded
    def zip(*args: Any, datasets: Any = None, name: str | None = None) -> Dataset:
        """Elements made of one of each dataset; it ends with the shortest.

        Args:
            args: datasets; or one nested structure (tuple, dict) of them, which the elements then have.
            datasets: the same, by name.

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
                "zip: elements have no structure that a list could stand for. Pass the datasets "
                "one by one, zip(a, b), or in a tuple.",
            )
        places = structures.names(structures.structure_of(nested)) or ["0"]
        leaves = [
            check(leaf, "zip", f"argument {at}")
            for at, leaf in zip(places, structures.flatten(nested), strict=False)
        ]
        if not leaves:
            raise errors.make("argument", "zip: no datasets were given")
        structure = structures.map_structure(operator.attrgetter("_structure"), nested)
        return leaves[0]._with(_internal.zip([leaf._plan for leaf in leaves]), structure)

    @staticmethod
    @recorded
    def from_generator(
        generator: Callable[..., Any],
        output_types: Any = None,
        output_shapes: Any = None,
        args: tuple[Any, ...] | None = None,
        output_signature: Any = None,
        name: str | None = None,
    ) -> Dataset:
        """The elements that a Python generator makes, each checked against the specification: no
        value is wrapped.

        Args:
            generator: a function that returns an iterable; called anew for each pass.
            output_types, output_shapes: dtypes and, where known, shapes, in the structure of the elements. tf.data's old way.
            args: arguments for ``generator``.
            output_signature: a structure of ``TensorSpec`` s, TensorFlow's or :class:`tensorferry.TensorSpec`.

        Raises:
            tensorferry.errors.OverflowError, tensorferry.errors.ValueError: while iterating, at an element that is not as
                specified.

        >>> import tensorferry as tfy
        >>> def squares():
        ...     yield from (i * i for i in range(3))
        >>> list(tfy.Dataset.from_generator(squares, output_signature=tfy.TensorSpec((), "uint8")).as_numpy_iterator())
        [np.uint8(0), np.uint8(1), np.uint8(4)]
        """
        calls.check_callable(generator, "from_generator", "generator")
        if (output_signature is None) == (output_types is None):
            raise errors.make(
                "wrong_type", "from_generator: pass output_signature=, or else output_types="
            )
        if output_signature is None:
            structure, spec = specs.from_types(output_types, output_shapes)
        else:
            structure, spec = specs.parse(output_signature, "from_generator: output_signature")
        specs.check_some(spec, "from_generator")
        flat = calls.generator(generator, tuple(args or ()), (structure, spec))
        return Dataset._of(
            _internal.from_generator(
                identity.known_as(generator), flat, spec, structures.names(structure)
            ),
            structure,
            "tensorflow",
        )
