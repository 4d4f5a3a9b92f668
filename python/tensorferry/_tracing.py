"""Calling the user's functions with stand-ins, to find out what they return before there are elements."""

from __future__ import annotations

import contextlib
import contextvars
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from tensorferry import _internal, _spec, _structure, errors
from tensorferry._dataset_base import Base
from tensorferry._structure import LEAF, Nested, Structure

#: Whether symbolic tensors stand for elements now: then a dataset of them stands for a dataset of elements.
_standing_in = contextvars.ContextVar("_standing_in", default=False)


class StandIn:
    """Stands for a tensor of an element. Nothing can be done with it but to make a dataset of it: what does not look at a tensor's
    values does the same for all of them."""

    __slots__ = ("part",)

    def __init__(self, part: _spec.Part) -> None:
        self.part = part

    def _unknown(self, *args: Any) -> NoReturn:
        raise RuntimeError("it stands for a tensor; it has no value")

    __getattr__ = __array__ = __bool__ = __eq__ = __ne__ = __hash__ = __repr__ = __str__ = __format__ = _unknown


#: What is known of a function's result: its structure and components.
Result = tuple[Structure, list[_spec.Part]]


def result(dataset: Base, function: Callable[..., Any]) -> Result | None:
    """Structure and components of the tensors that TensorFlow gets by tracing the function, as tf.data does; None if it cannot.

    A function of datasets is not traced: with ``reduce`` or a loop it asks for elements, and there are none.
    """
    return _result(dataset, [], _unpacked, function)


def scanned(dataset: Base, state: Result, function: Callable[..., Any]) -> Result | None:
    """As :func:`result`, of a function of a state and an element, which returns the next state and something else. The state is of
    whatever shape the function makes of it again and again."""
    structure, spec = state

    def arguments(*args: Any) -> tuple[Any, ...]:
        *tensors, element = args
        return _structure.pack(structure, iter(tensors)), element

    while True:
        found = _result(dataset, spec, arguments, function)
        if found is None or len(found[1]) < len(spec):
            return found
        wider = _spec.relaxed(spec, found[1][: len(spec)])
        if wider == spec:
            return found
        spec = wider


def _result(
    dataset: Base, first: list[_spec.Part], arguments: Callable[..., tuple[Any, ...]], function: Callable[..., Any]
) -> Result | None:
    """What a function returns for the arguments made of tensors of the specifications ``first`` and an element."""
    if dataset._format != "tensorflow" or "tensorflow" not in sys.modules:
        return None
    if any(isinstance(leaf, Nested) for leaf in _structure.flatten(dataset._structure)):
        return None
    import tensorflow as tf

    def stacked(value: Any) -> Any:
        """The result with each list in it, but the outermost, stacked into one tensor."""
        value = tuple(value) if isinstance(value, list) else value
        return _structure.map_structure(lambda leaf: tf.convert_to_tensor(leaf) if isinstance(leaf, list) else leaf, value)

    def trace(function: Callable[..., Any]) -> Any:
        return _traced(dataset, lambda *args: stacked(function(*arguments(*args))), first)

    try:
        try:
            outputs = trace(function)
        except tf.errors.OperatorNotAllowedInGraphError:
            outputs = trace(tf.autograph.to_graph(function))  # with Python's if and while rewritten, as tf.data does it; takes long
        found = _spec.parse(outputs, "map")
    except Exception:  # whatever a function of the user's does when it meets symbols; run on values it may well work
        return None
    return found if all(isinstance(part, tuple) for part in found[1]) else None


def returned(dataset: Base, function: Callable[..., Any]) -> Any:
    """What the function returns for stand-ins: symbolic tensors in the format "tensorflow", else :class:`StandIn`, and datasets that
    cannot be iterated. None if it fails."""
    found: list[Any] = []
    tensors = any(leaf is LEAF for leaf in _structure.flatten(dataset._structure))
    with _symbols_stand_in():
        try:
            if tensors and dataset._format == "tensorflow" and "tensorflow" in sys.modules:
                _traced(dataset, lambda element: found.append(function(*_unpacked(element))))
            else:
                blanks = (StandIn(part) for part in dataset._plan.spec if isinstance(part, tuple))
                found.append(function(*_unpacked(_stand_ins(dataset, blanks))))
        except Exception:  # as above
            return None
    return found[-1] if found else None


@contextlib.contextmanager
def _symbols_stand_in() -> Iterator[None]:
    token = _standing_in.set(True)
    try:
        yield
    finally:
        _standing_in.reset(token)


def placeholder(leaves: list[Any], sliced: bool, stage: str) -> _internal.Plan | None:
    """What stands for the dataset of these arrays, or of their rows if ``sliced``; None unless one of them is a stand-in."""
    if not any(isinstance(leaf, StandIn) or _is_symbol(leaf) for leaf in leaves):
        return None
    spec = [_part(leaf, stage) for leaf in leaves]
    if sliced and any(dims == () for _, dims in spec):
        raise errors.make("argument", f"{stage}: a scalar has no rows")
    return _internal.placeholder([(name, dims and dims[1:]) for name, dims in spec] if sliced else spec)


def _is_symbol(value: Any) -> bool:
    tensorflow = sys.modules.get("tensorflow")
    return _standing_in.get() and tensorflow is not None and bool(tensorflow.is_symbolic_tensor(value))


def _part(leaf: Any, stage: str) -> _spec.Part:
    if isinstance(leaf, StandIn):
        return leaf.part
    if _is_symbol(leaf):
        return _internal.dtype_name(leaf.dtype), _spec.shape_of(leaf.shape)
    from tensorferry import _arguments

    return _internal.from_tensors([_arguments.source(leaf, stage)]).spec[0]


def _traced(dataset: Base, function: Callable[..., Any], first: Sequence[_spec.Part] = ()) -> Any:
    """The structured outputs of a function of tensors of the specifications ``first`` and an element, traced."""
    import tensorflow as tf

    leaves, spec = _structure.flatten(dataset._structure), dataset._plan.spec
    parts = [*first, *(part for leaf, part in zip(leaves, spec, strict=True) if leaf is LEAF)]
    specs = [tf.TensorSpec(part[1], tf.as_dtype(part[0])) for part in parts]

    def call(*tensors: Any) -> Any:
        return function(*tensors[: len(first)], _stand_ins(dataset, iter(tensors[len(first) :])))

    return tf.function(call, autograph=False).get_concrete_function(*specs).structured_outputs


def _stand_ins(dataset: Base, tensors: Iterator[Any]) -> Any:
    """An element with the next of ``tensors`` in the place of each tensor, and a placeholder for each dataset."""
    spec = iter(dataset._plan.spec)

    def leaf(leaf: Any) -> Any:
        part = next(spec)
        return next(tensors) if leaf is LEAF else dataset._with(_internal.placeholder(part), leaf.structure)

    return _structure.map_structure(leaf, dataset._structure)


def _unpacked(element: Any) -> tuple[Any, ...]:
    """The arguments of a function that is called with the element."""
    return element if type(element) is tuple else (element,)
