"""Calling the user's functions with stand-ins, to find out what they return before there are elements."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from tensorferry import _internal, _spec, _structure
from tensorferry._dataset_base import Base
from tensorferry._structure import LEAF, Nested, Structure


def result(dataset: Base, function: Callable[..., Any]) -> tuple[Structure, list[_spec.Part]] | None:
    """Structure and components of the tensors that TensorFlow gets by tracing the function, as tf.data does; None if it cannot.

    A function of datasets is not traced: with ``reduce`` or a loop it asks for elements, and there are none.
    """
    if dataset._format != "tensorflow" or "tensorflow" not in sys.modules:
        return None
    if any(isinstance(leaf, Nested) for leaf in _structure.flatten(dataset._structure)):
        return None
    import tensorflow as tf

    def stacked(value: Any) -> Any:
        """The result with each list in it, but the outermost, stacked into one tensor."""
        value = tuple(value) if isinstance(value, list) else value
        return _structure.map_structure(lambda leaf: tf.convert_to_tensor(leaf) if isinstance(leaf, list) else leaf, value)

    try:
        outputs = _traced(dataset, lambda *args: stacked(function(*args)))
        found = _spec.parse(outputs, "map")
    except Exception:  # whatever a function of the user's does when it meets symbols; run on values it may well work
        return None
    return found if all(isinstance(part, tuple) for part in found[1]) else None


def returned(dataset: Base, function: Callable[..., Any]) -> Any:
    """What the function returns for stand-ins: symbolic tensors, and datasets that cannot be iterated. None if it fails, or if there
    are tensors and no TensorFlow to trace it."""
    tensors = not all(isinstance(leaf, Nested) for leaf in _structure.flatten(dataset._structure))
    if tensors and (dataset._format != "tensorflow" or "tensorflow" not in sys.modules):
        return None
    found: list[Any] = []
    try:
        if tensors:
            _traced(dataset, lambda *args: found.append(function(*args)))
        else:
            found.append(function(*_unpacked(_stand_ins(dataset, iter(())))))
    except Exception:  # as above
        return None
    return found[-1] if found else None


def _traced(dataset: Base, function: Callable[..., Any]) -> Any:
    """The structured outputs of the function, traced."""
    import tensorflow as tf

    leaves, spec = _structure.flatten(dataset._structure), dataset._plan.spec
    specs = [tf.TensorSpec(part[1], tf.as_dtype(part[0])) for leaf, part in zip(leaves, spec, strict=True) if leaf is LEAF]
    graph = tf.function(lambda *tensors: function(*_unpacked(_stand_ins(dataset, iter(tensors)))), autograph=False)
    return graph.get_concrete_function(*specs).structured_outputs


def _stand_ins(dataset: Base, tensors: Any) -> Any:
    """An element with the next of ``tensors`` in the place of each tensor, and a placeholder for each dataset."""
    spec = iter(dataset._plan.spec)

    def leaf(leaf: Any) -> Any:
        part = next(spec)
        return next(tensors) if leaf is LEAF else dataset._with(_internal.placeholder(part), leaf.structure)

    return _structure.map_structure(leaf, dataset._structure)


def _unpacked(element: Any) -> tuple[Any, ...]:
    """The arguments of a function that is called with the element."""
    return element if type(element) is tuple else (element,)
