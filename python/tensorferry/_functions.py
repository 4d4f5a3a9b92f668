"""The user's functions inside a plan: how they are called, what they return, and what is known of that beforehand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from tensorferry import _arguments, _internal, _spec, _structure, errors
from tensorferry._dataset_base import Base
from tensorferry._structure import LEAF, Nested, Structure

#: What is known of a function's result: its structure and components.
Result = tuple[Structure, list[_spec.Part]]


def name_of(function: Any) -> str:
    """What a plan calls a function: a saved state knows its plan by it."""
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).replace("|", "_")


def check_callable(function: Any, stage: str, name: str) -> None:
    """Refuses what cannot be called."""
    if not callable(function):
        raise errors.make("wrong_type", f"{stage}: {name} has to be a function, not {function!r:.80}")


def tuples(value: Any) -> Any:
    """A function's result with tuples in the place of lists, as tf.data has them."""
    if isinstance(value, list):
        return tuple(tuples(part) for part in value)
    if value is not None and _structure.is_container(value):
        return _structure.rebuilt(value, [tuples(part) for part in _structure.parts(value)])
    return value


def flattener(function: Callable[..., Any], result: Result, stage: str) -> Callable[..., list[Any]]:
    """A function that returns what ``function`` does as a flat list of values that ``_internal`` can read."""
    structure, spec = result
    leaves = _structure.flatten(structure)
    what = f"{stage}: what the function returned"
    if structure is LEAF:
        return lambda *args: [_value(function(*args), stage)]

    def flat(*args: Any) -> list[Any]:
        values = _structure.flatten_as(structure, function(*args), what)
        return [_leaf(leaf, part, value, stage) for leaf, part, value in zip(leaves, spec, values, strict=True)]

    return flat


def generator(function: Callable[..., Any], args: tuple[Any, ...], result: Result) -> Callable[[], Iterator[list[Any]]]:
    """A function that starts a generator of the user's and iterates over its elements as flat lists."""

    def start() -> Iterator[list[Any]]:
        last: list[Any] = [None]
        flat = flattener(lambda: last[0], result, "from_generator")
        for element in function(*args):
            last[0] = element
            yield flat()

    return start


def _leaf(leaf: Any, part: _spec.Part, value: Any, stage: str) -> Any:
    return dataset_plan(value, leaf, part, stage) if isinstance(leaf, Nested) else _value(value, stage)


def _value(value: Any, stage: str) -> Any:
    """A leaf of a function's result."""
    return _arguments.source(value, stage)[0]


def dataset_plan(value: Any, leaf: Nested, part: _spec.Part, stage: str) -> _internal.Plan:
    """The plan of a dataset that a function returned."""
    if not isinstance(value, Base):
        raise errors.make("wrong_type", f"{stage}: the function has to return a Dataset, not a {type(value).__name__}")
    if not _structure.equal(value._structure, leaf.structure):
        raise errors.make(
            "element_mismatch",
            f"{stage}: the function returned a dataset of elements {_structure.describe(value._structure)}, not "
            f"{_structure.describe(leaf.structure)} as at first. Let it return datasets of one structure.",
        )
    return value._plan


def signature(value: Any, stage: str) -> Result:
    """Structure and components of a function's result, lengths unknown: as one result tells it."""
    spec: list[_spec.Part] = []

    def leaf(value: Any) -> Any:
        if isinstance(value, Base):
            spec.append(value._plan.spec)
            return Nested(value._structure)
        name, rank = _internal.describe(_value(value, stage))
        spec.append((name, (None,) * rank))
        return LEAF

    return _structure.map_structure(leaf, tuples(value)), spec


def inferred(dataset: Base, function: Callable[..., Any], output_signature: Any, stage: str) -> Result:
    """What ``function`` returns: as ``output_signature`` says, else as TensorFlow finds by tracing it, else as it returns for the
    first element."""
    if output_signature is not None:
        return _spec.parse(output_signature, f"{stage}: output_signature")
    if dataset._format == "tensorflow" and "tensorflow" in sys.modules:
        traced = _traced(dataset, function)
        if traced is not None:
            return traced
    return signature(first_result(dataset, function, stage), stage)


def _traced(dataset: Base, function: Callable[..., Any]) -> Result | None:
    """What TensorFlow gets by tracing the function, as tf.data does; None if it cannot."""
    import tensorflow as tf

    specs = dataset.element_spec
    arguments = specs if type(specs) is tuple else (specs,)
    try:
        traced = tf.function(function, autograph=False).get_concrete_function(*arguments).structured_outputs
        result = _spec.parse(tuples(traced), "map")
    except Exception:  # whatever a function of the user's does when it meets symbols; run on values it may well work
        return None
    return result if all(name_is_ours(part) for part in result[1]) else None


def name_is_ours(part: _spec.Part) -> bool:
    """Whether a traced component is a tensor of a dtype of ours."""
    return isinstance(part, tuple)


def first_result(dataset: Base, function: Callable[..., Any], stage: str) -> Any:
    """What ``function`` returns for the dataset's first element."""
    for element in dataset._plan.copy().iterate(dataset._packed(), 1, None, 0):
        return function(*element) if type(element) is tuple else function(element)
    raise errors.make(
        "argument",
        f"{stage}: the dataset has no elements to find out from what the function returns. Pass output_signature=.",
    )


class State:
    """A running state of the user's: what it is at first, and how it is nested."""

    def __init__(self, initial: Any, format: str, stage: str) -> None:
        initial = tuples(initial)
        self.structure, self.spec = signature(initial, stage)
        self.flat = [_value(leaf, stage) for leaf in _structure.flatten(initial)]
        self.packer = _internal.Packer(_structure.skeleton(self.structure), format, _no_datasets)


def _no_datasets(at: int, plan: _internal.Plan) -> Any:
    raise errors.make("wrong_type", "a running state holds tensors, not datasets")


def scanned(dataset: Base, state: State, function: Callable[..., Any], output_signature: Any) -> Result:
    """What the elements of ``scan`` are."""
    if output_signature is not None:
        return _spec.parse(output_signature, "scan: output_signature")
    for element in dataset._plan.copy().iterate(dataset._packed(), 1, None, 0):
        first = state.packer.pack(state.flat)
        result = function(first, element)
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise errors.make("wrong_type", "scan: the function has to return the next state and an element")
        return signature(result[1], "scan")
    raise errors.make("argument", "scan: the dataset has no elements to find out from. Pass output_signature=.")
