"""Calling functions with stand-ins for elements, to infer the specification of their results."""

from __future__ import annotations

import contextvars
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from tensorferry import _internal, errors
from tensorferry._convert import reading
from tensorferry._nest import specs, structures
from tensorferry._nest.structures import LEAF, Nested, Structure
from tensorferry.dataset._base import Base
from tensorferry.dataset._functions import remembered

#: Whether symbolic tensors stand for elements now: then a dataset of them stands for a dataset of
#: elements.
_standing_in = contextvars.ContextVar("_standing_in", default=False)


class StandIn:
    """Stands for a tensor of an element. A function can only make a dataset of it, which does the
    same for any values of the tensor.
    """

    __slots__ = ("part",)

    def __init__(self, part: specs.Part) -> None:
        self.part = part

    def _unknown(self, *args: Any) -> NoReturn:
        raise RuntimeError("it stands for a tensor; it has no value")

    __getattr__ = __array__ = __bool__ = __eq__ = __ne__ = __hash__ = __repr__ = __str__ = (
        __format__
    ) = _unknown


#: The structure and components of a function's result.
Result = tuple[Structure, list[specs.Part]]
#: Makes a function's arguments of an element and of the tensors before it.
Arguments = Callable[..., tuple[Any, ...]]


def result(dataset: Base, function: Callable[..., Any]) -> Result | None:
    """Structure and components of the function's result, from tracing it with TensorFlow as tf.data
    does; None if that fails.

    For a function of datasets, only results that are datasets can be inferred: a loop over a
    dataset has no elements here.
    """
    return remembered.once(
        "result", dataset, function, lambda: _result(dataset, [], _unpacked, function)
    )


def scanned(dataset: Base, state: Result, function: Callable[..., Any]) -> Result | None:
    """As :func:`result`, for a function of a state and an element, which returns the next state and
    an element. The shape of the state is widened until the function no longer changes it.
    """
    structure, spec = state

    def arguments(*args: Any) -> tuple[Any, ...]:
        *tensors, element = args
        return structures.pack(structure, iter(tensors)), element

    while True:
        found = _result(dataset, spec, arguments, function)
        if found is None or len(found[1]) < len(spec):
            return found
        wider = specs.relaxed(spec, found[1][: len(spec)])
        if wider == spec:
            return found
        spec = wider


def _result(
    dataset: Base, first: list[specs.Part], arguments: Arguments, function: Callable[..., Any]
) -> Result | None:
    """The result of a function for the arguments made of tensors of the specifications ``first``
    and an element.
    """
    datasets = any(isinstance(leaf, Nested) for leaf in structures.flatten(dataset._structure))
    if not datasets and not _traces(dataset):
        return None
    spec: list[specs.Part] = []

    def leaf(value: Any) -> Any:
        if isinstance(value, Base):
            spec.append(value._plan.spec)
            return Nested(value._structure)
        if datasets:
            raise TypeError("not a dataset")
        shape = specs.shape_of(value.shape)
        if specs.is_string(value.dtype):
            place, found = specs.strings(shape, "what the function returned")
            spec.extend(found)
            return place
        spec.append((_internal.dtype_name(value.dtype), shape))
        return LEAF

    try:
        value = _called(dataset, first, arguments, function, rewrite=True)
        return structures.map_structure(leaf, value), spec
    except Exception:  # with stand-ins the function may raise anything; with values it may work
        return None


def returned(dataset: Base, function: Callable[..., Any]) -> Any:
    """The result for stand-ins of a function that returns a dataset; None if it fails."""

    def find() -> Any:
        try:
            return _called(dataset, [], _unpacked, function)
        except Exception:  # as above
            return None

    return remembered.once("returned", dataset, function, find)


def _called(
    dataset: Base,
    first: list[specs.Part],
    arguments: Arguments,
    function: Callable[..., Any],
    rewrite: bool = False,
) -> Any:
    """The result of the function for stand-ins: symbolic tensors in the format "tensorflow", else
    :class:`StandIn`, and datasets that cannot be iterated.

    An outermost list is a tuple, an inner list is stacked. With ``rewrite``, AutoGraph rewrites a
    function with Python's if and while, as in tf.data, which is slow.
    """
    structure, spec = specs.with_strings(dataset._structure, dataset._plan.spec)
    leaves = zip(structures.flatten(structure), spec, strict=True)
    tensors = [*first, *(part for leaf, part in leaves if leaf is LEAF)]

    def call(function: Callable[..., Any], *values: Any) -> Any:
        element = _stand_ins(dataset, (structure, spec), iter(values[len(first) :]))
        value = function(*arguments(*values[: len(first)], element))
        return tuple(value) if isinstance(value, list) else value

    token = _standing_in.set(True)
    try:
        if not tensors or not _traces(dataset):
            return call(function, *(StandIn(part) for part in tensors))
        import tensorflow as tf

        try:
            return _traced(functools.partial(call, function), tensors)
        except tf.errors.OperatorNotAllowedInGraphError:
            if not rewrite:
                raise
            return _traced(functools.partial(call, tf.autograph.to_graph(function)), tensors)
    finally:
        _standing_in.reset(token)


def _traces(dataset: Base) -> bool:
    return dataset._format == "tensorflow" and "tensorflow" in sys.modules


def _traced(function: Callable[..., Any], spec: list[specs.Part]) -> Any:
    """The result of the function for symbolic tensors, with numbers and lists as tensors."""
    import tensorflow as tf

    found: list[Any] = []

    def graph(*tensors: Any) -> None:
        value = function(*tensors)
        found.append(
            structures.map_structure(
                lambda leaf: leaf if _is_dataset(leaf) else tf.convert_to_tensor(leaf), value
            )
        )

    tf.function(graph, autograph=False).get_concrete_function(
        *(tf.TensorSpec(dims, tf.as_dtype(name)) for name, dims in spec)
    )
    return found[-1]


def _is_dataset(value: Any) -> bool:
    """Whether a value is a dataset, of tensorferry or TensorFlow."""
    return isinstance(value, Base) or hasattr(value, "element_spec")


def placeholder(leaves: list[Any], sliced: bool, stage: str) -> _internal.Plan | None:
    """A placeholder for the dataset of these arrays, or of their rows if ``sliced``; None unless
    one of them is a stand-in.
    """
    if not any(isinstance(leaf, StandIn) or _is_symbol(leaf) for leaf in leaves):
        return None
    spec = [_part(leaf, stage) for leaf in leaves]
    if sliced and any(dims == () for _, dims in spec):
        raise errors.make("argument", f"{stage}: a scalar has no rows")
    return _internal.placeholder(
        [(name, dims and dims[1:]) for name, dims in spec] if sliced else spec
    )


def _is_symbol(value: Any) -> bool:
    tensorflow = sys.modules.get("tensorflow")
    return (
        _standing_in.get() and tensorflow is not None and bool(tensorflow.is_symbolic_tensor(value))
    )


def _part(leaf: Any, stage: str) -> specs.Part:
    if isinstance(leaf, StandIn):
        return leaf.part
    if _is_symbol(leaf):
        return _internal.dtype_name(leaf.dtype), specs.shape_of(leaf.shape)

    return _internal.from_tensors([reading.source(leaf, stage)], []).spec[0]


def _stand_ins(dataset: Base, shown: Result, tensors: Iterator[Any]) -> Any:
    """An element with the next of ``tensors`` in the place of each tensor, and a placeholder for
    each dataset.
    """
    spec = iter(shown[1])

    def leaf(leaf: Any) -> Any:
        part = next(spec)
        return (
            next(tensors)
            if leaf is LEAF
            else dataset._with(_internal.placeholder(part), leaf.structure)
        )

    return structures.map_structure(leaf, shown[0])


def _unpacked(element: Any) -> tuple[Any, ...]:
    """The arguments of a call with the element."""
    return element if type(element) is tuple else (element,)
