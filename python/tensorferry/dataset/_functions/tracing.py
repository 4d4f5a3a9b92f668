"""Calling the user's functions with stand-ins, to find out what they return before there are
elements."""

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

# : Whether symbolic tensors stand for elements now: then a dataset of them stands for a dataset of
# elements.
_standing_in = contextvars.ContextVar("_standing_in", default=False)


class StandIn:
    """Stands for a tensor of an element. Nothing can be done with it but to make a dataset of it:
    what does not look at a tensor's values does the same for all of them."""

    __slots__ = ("part",)

    def __init__(self, part: specs.Part) -> None:
        self.part = part

    def _unknown(self, *args: Any) -> NoReturn:
        raise RuntimeError("it stands for a tensor; it has no value")

    __getattr__ = __array__ = __bool__ = __eq__ = __ne__ = __hash__ = __repr__ = __str__ = (
        __format__
    ) = _unknown


#: What is known of a function's result: its structure and components.
Result = tuple[Structure, list[specs.Part]]
#: What makes a function's arguments of an element, and of the tensors before it.
Arguments = Callable[..., tuple[Any, ...]]


def result(dataset: Base, function: Callable[..., Any]) -> Result | None:
    """Structure and components of what the function returns, as TensorFlow gets them by tracing it,
    as tf.data does; None if it cannot.

    Of a function of datasets only datasets are known so: a loop over one is over nothing here.
    """
    return remembered.once(
        "result", dataset, function, lambda: _result(dataset, [], _unpacked, function)
    )


def scanned(dataset: Base, state: Result, function: Callable[..., Any]) -> Result | None:
    """As :func:`result`, of a function of a state and an element, which returns the next state and
    something else. The state is of whatever shape the function makes of it again and again."""
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
    """What a function returns for the arguments made of tensors of the specifications ``first`` and
    an element."""
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
        spec.append((_internal.dtype_name(value.dtype), specs.shape_of(value.shape)))
        return LEAF

    try:
        value = _called(dataset, first, arguments, function, rewrite=True)
        return structures.map_structure(leaf, value), spec
    # whatever a function of the user's does when it meets stand-ins; run on values it may well work
    except Exception:
        return None


def returned(dataset: Base, function: Callable[..., Any]) -> Any:
    """What the function, which is to return a dataset, returns for stand-ins; None if it fails."""

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
    """What the function returns for stand-ins: symbolic tensors in the format "tensorflow", else
    :class:`StandIn`, and datasets that cannot be iterated. A list is a tuple if it is outermost,
    and else stacked. With ``rewrite``, a function that TensorFlow cannot trace for Python's if and
    while is rewritten, as tf.data does it, which takes long."""
    leaves = zip(structures.flatten(dataset._structure), dataset._plan.spec, strict=True)
    tensors = [*first, *(part for leaf, part in leaves if leaf is LEAF)]

    def call(function: Callable[..., Any], *values: Any) -> Any:
        value = function(
            *arguments(*values[: len(first)], _stand_ins(dataset, iter(values[len(first) :])))
        )
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
    """What the function returns for symbolic tensors; numbers and lists as tensors."""
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
    """Whether a value is a dataset, ours or TensorFlow's."""
    return isinstance(value, Base) or hasattr(value, "element_spec")


def placeholder(leaves: list[Any], sliced: bool, stage: str) -> _internal.Plan | None:
    """What stands for the dataset of these arrays, or of their rows if ``sliced``; None unless one
    of them is a stand-in."""
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


def _stand_ins(dataset: Base, tensors: Iterator[Any]) -> Any:
    """An element with the next of ``tensors`` in the place of each tensor, and a placeholder for
    each dataset."""
    spec = iter(dataset._plan.spec)

    def leaf(leaf: Any) -> Any:
        part = next(spec)
        return (
            next(tensors)
            if leaf is LEAF
            else dataset._with(_internal.placeholder(part), leaf.structure)
        )

    return structures.map_structure(leaf, dataset._structure)


def _unpacked(element: Any) -> tuple[Any, ...]:
    """The arguments of a function that is called with the element."""
    return element if type(element) is tuple else (element,)
