"""Python functions inside a plan: how they are called, and the specification of their results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tensorferry import _arguments, _internal, errors
from tensorferry._convert import reading, text
from tensorferry._nest import specs, structures
from tensorferry._nest.structures import LEAF, Nested, Structure
from tensorferry._typing import ElementFormat
from tensorferry.dataset._base import Base, packer
from tensorferry.dataset._functions import remembered, tracing
from tensorferry.dataset._functions.tracing import Result


def check_callable(function: Any, stage: str, name: str) -> None:
    """Refuses values that are not callable."""
    if not callable(function):
        raise errors.make(
            "wrong_type", f"{stage}: {name} has to be a function, not {function!r:.80}"
        )


def outermost(value: Any) -> Any:
    """A function's result, as a tuple if it is a list, as in tf.data. Inner lists are each stacked
    into one tensor.
    """
    return tuple(value) if isinstance(value, list) else value


def flattener(
    function: Callable[..., Any],
    result: Result,
    stage: str,
    *,
    state: int = 0,
    stacks: bool = False,
) -> Callable[..., list[Any]]:
    """A function that returns the result of ``function`` as a flat list of values that
    ``_internal`` can read.

    The first ``state`` values have to be of the dtype in the specification. With ``stacks``, tuples
    where a tensor is due are stacked into one.
    """
    structure, spec = result
    leaves = structures.flatten(structure)
    names = structures.names(structure)
    stages = [f"{stage}: component {name}" for name in names] or [stage]
    what = f"{stage}: what the function returned"

    def flat(*args: Any) -> list[Any]:
        return nested(function(*args))

    def single(*args: Any) -> list[Any]:
        value = function(*args)
        # The most common result, which has no structure to compare.
        return (
            [_value(value, stage)] if isinstance(value, np.ndarray | np.generic) else nested(value)
        )

    def nested(returned: Any) -> list[Any]:
        values = structures.flatten_as(structure, returned, what, stacks)
        for value, (name, _), where in zip(
            values[:state], spec[:state], stages[:state], strict=True
        ):
            _same_dtype(value, name, where)
        return [
            _leaf(leaf, value, stage, where)
            for leaf, value, where in zip(leaves, values, stages, strict=True)
        ]

    return single if structure is LEAF and not state else flat


def _same_dtype(value: Any, name: str, stage: str) -> None:
    """Refuses a next state of another dtype. Python's numbers fit any."""
    dtype = getattr(value, "dtype", None)
    if dtype is not None and getattr(dtype, "name", name) != name:
        raise errors.make(
            "dtype_mismatch",
            f"{stage}: the state is {name}, but the function returned {dtype.name}. Cast one of "
            "them.",
        )


def plan_maker(
    function: Callable[..., Any], structure: Structure, stage: str
) -> Callable[..., _internal.Plan]:
    """A function that returns the plan of the dataset that ``function`` returns, whose elements
    have to be of this structure.
    """
    return remembered.inside(lambda *args: dataset_plan(function(*args), structure, stage))


def generator(
    function: Callable[..., Any], args: tuple[Any, ...], result: Result
) -> Callable[[], Iterator[list[Any]]]:
    """A function that starts a generator and iterates over its elements as flat lists. An element
    that does not match the specification is an error at its position, and the next one follows.
    """
    flat = flattener(lambda element: element, result, "from_generator", stacks=True)
    return lambda: _Elements(iter(function(*args)), flat)


class _Elements(Iterator[list[Any]]):
    """``flat(element)`` for each element of an iterator. Continues after an element that fails."""

    def __init__(self, elements: Iterator[Any], flat: Callable[[Any], list[Any]]) -> None:
        self._elements, self._flat = elements, flat

    def __next__(self) -> list[Any]:
        element = next(self._elements)
        try:
            return self._flat(element)
        except StopIteration as error:  # would end the iteration
            raise RuntimeError("an element raised StopIteration when it was read") from error


def _leaf(leaf: Any, value: Any, stage: str, where: str) -> Any:
    return (
        dataset_plan(value, leaf.structure, stage)
        if isinstance(leaf, Nested)
        else _value(value, where)
    )


def _value(value: Any, stage: str, exact: bool = True) -> Any:
    """A leaf of a function's result, for ``_internal`` to read; ``exact`` if its dtype is known."""
    if isinstance(value, list) and not exact:
        with _arguments.named(f"{stage}: a list in what the function returned"):
            return _internal.stacked(value, True)
    return reading.source(value, stage, exact)[0]


def dataset_plan(value: Any, structure: Structure, stage: str) -> _internal.Plan:
    """The plan of a dataset that a function returned, of elements of this structure."""
    dataset = returned_dataset(value, stage)
    if not structures.equal(dataset._structure, structure):
        raise errors.make(
            "element_mismatch",
            f"{stage}: the function returned a dataset of elements "
            f"{structures.describe(dataset._structure)} where the dataset's element_spec says "
            f"{structures.describe(structure)}. Return datasets of one structure.",
        )
    return dataset._plan


def returned_dataset(value: Any, stage: str) -> Base:
    """A function's result, which has to be a dataset."""
    if isinstance(value, Base):
        return value
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if kind.startswith("tensorflow.") and hasattr(value, "element_spec"):
        way = (
            "Make it with the methods of tensorferry.Dataset, or convert to tf.data first: "
            f"dataset.to_tf_data().{stage}(...)"
        )
    else:
        way = (
            "Dataset.from_tensors(x) is a dataset of one element, "
            "Dataset.from_tensor_slices(x) of the rows of x."
        )
    raise errors.make(
        "wrong_type",
        f"{stage}: the function has to return a tensorferry.Dataset, not a {kind}. {way}",
    )


def signature(value: Any, stage: str) -> Result:
    """Structure and components of a function's results, as one result tells them; lengths stay
    unknown.
    """
    spec: list[specs.Part] = []

    def leaf(value: Any) -> Any:
        if isinstance(value, Base):
            spec.append(specs.ranks(value._plan.spec))
            return Nested(value._structure)
        if text.is_text(value):
            place, found = specs.strings(text.shape(value), stage)
            spec.extend(specs.ranks(found))
            return place
        name, rank = _internal.describe(_value(value, stage, exact=False))
        spec.append((name, (None,) * rank))
        return LEAF

    return structures.map_structure(leaf, value), spec


def inferred(
    dataset: Base, function: Callable[..., Any], output_signature: Any, stage: str
) -> Result:
    """The specification of the results of ``function``: ``output_signature``, else from tracing it
    with TensorFlow, else from its result for the first element.
    """
    if output_signature is not None:
        return specs.parse(output_signature, f"{stage}: output_signature")
    result = tracing.result(dataset, function)
    if result is None:
        result = signature(outermost(first_result(dataset, function, stage)), stage)
    specs.check_some(result[1], stage)
    return result


def datasets_of(
    dataset: Base, function: Callable[..., Any], output_signature: Any, stage: str
) -> Result:
    """The specification of the elements of the datasets that ``function`` returns, determined in
    the same order.
    """
    if output_signature is not None:
        return specs.parse(output_signature, f"{stage}: output_signature")
    traced = tracing.returned(dataset, function)
    if traced is not None:
        made = returned_dataset(traced, stage)
        return made._structure, made._plan.spec
    made = returned_dataset(first_result(dataset, function, stage), stage)
    return made._structure, specs.ranks(made._plan.spec)


def groups_of(
    dataset: Base, key_func: Callable[..., Any], reduce_func: Callable[..., Any], stage: str
) -> Result:
    """The specification of the elements of the datasets that ``reduce_func`` returns for a key and
    a group.
    """
    spec: list[specs.Part] = [("int64", ()), dataset._plan.spec]
    both = dataset._with(_internal.placeholder(spec), (LEAF, Nested(dataset._structure)))
    traced = tracing.returned(both, reduce_func)
    if traced is not None:
        made = returned_dataset(traced, stage)
        return made._structure, made._plan.spec
    key = _arguments.whole(
        first_result(dataset, key_func, stage), stage, "the key that key_func returns"
    )
    group = dataset._with(dataset._plan.take(1).alone())
    key_packer = packer(type(dataset), LEAF, dataset._format)
    made = returned_dataset(reduce_func(key_packer.pack([np.asarray(key, np.int64)]), group), stage)
    return made._structure, specs.ranks(made._plan.spec)


def first_result(dataset: Base, function: Callable[..., Any], stage: str) -> Any:
    """The result of ``function`` for the dataset's first element, or for an element of zeros if the
    dataset is empty.
    """
    for element in dataset._plan.alone().iterate(dataset._packed(), 1, None, 0):
        return function(*element) if type(element) is tuple else function(element)
    try:
        element = dataset._packed().pack(_zeros(dataset._plan.spec))
        return function(*element) if type(element) is tuple else function(element)
    except Exception as error:  # the function may raise anything
        raise errors.make(
            "argument",
            f"{stage}: the dataset has no elements to infer the function's result from, and a call "
            f"with zeros failed ({type(error).__name__}: {error}). Pass output_signature=.",
        ) from error


def _zeros(spec: list[specs.Part]) -> list[Any]:
    """Flat components of an element of zeros: unknown lengths are 1, datasets are empty."""
    flat: list[Any] = []
    for part in spec:
        if isinstance(part, list):
            flat.append(_internal.placeholder(part))
        else:
            name, dims = part
            flat.append(
                np.zeros(
                    [1 if dim is None else dim for dim in dims or ()], _internal.numpy_dtype(name)
                )
            )
    return flat


def check_predicate(dataset: Base, function: Callable[..., Any], stage: str) -> None:
    """Refuses a function that does not return one bool, if tracing can tell."""
    check_callable(function, stage, "predicate")
    traced = tracing.result(dataset, function)
    if traced is None or (traced[0] is LEAF and traced[1][0] in (("bool", None), ("bool", ()))):
        return
    returned = specs.element_spec(*traced, tensorflow=False)
    raise errors.make(
        "argument",
        f"{stage}: the predicate has to return one bool, not {returned}. Compare, and reduce with "
        "all() or any().",
    )


class State:
    """The initial state of ``scan`` or ``reduce``, and its structure. A list is one tensor."""

    def __init__(self, initial: Any, format: ElementFormat, stage: str) -> None:
        self.structure, described = signature(initial, stage)
        #: The name of each part in errors.
        self.names = structures.names(self.structure)
        specs.check_some(described, stage)
        if structures.has_text(self.structure):
            raise errors.make("wrong_type", f"{stage}: a running state holds numbers, not strings")
        self.flat = [_value(leaf, stage, exact=False) for leaf in structures.flatten(initial)]
        # Dtypes never change; shapes may.
        self.spec = [(name, None) for name, _ in described]
        skeleton = structures.skeleton(self.structure, format)
        self.packer = _internal.Packer(skeleton, format, _no_datasets)
        #: How many components of a next state have to be of the first one's dtype, and are not
        #: converted.
        self.fixed = len(self.spec) if format == "tensorflow" else 0

    def known(self) -> Result:
        """Structure and components of the initial state."""
        shapes = [tuple(np.shape(leaf)) for leaf in self.flat]
        return self.structure, [
            (name, shape) for (name, _), shape in zip(self.spec, shapes, strict=True)
        ]


def _no_datasets(at: int, plan: _internal.Plan) -> Any:
    raise errors.make("wrong_type", "a running state holds tensors, not datasets")


def scanned(
    dataset: Base, state: State, function: Callable[..., Any], output_signature: Any
) -> Result:
    """The specification of the elements of ``scan``."""
    if output_signature is not None:
        return specs.parse(output_signature, "scan: output_signature")
    traced = tracing.scanned(dataset, state.known(), function)
    if traced is not None:
        _check_dtypes(traced[1], state)
        return _scanned(traced, state)

    def called(*element: Any) -> Any:
        return function(state.packer.pack(state.flat), element[0] if single else element)

    # A tuple is one argument here, and several in a call with the first element.
    single = type(dataset._structure) is not tuple
    return _scanned(signature(outermost(first_result(dataset, called, "scan")), "scan"), state)


def _scanned(result: Result, state: State) -> Result:
    """Structure and components of the element in the result of the function of ``scan``: the next
    state, and an element.
    """
    structure, spec = result
    if not isinstance(structure, tuple) or len(structure) != 2:
        raise errors.make(
            "wrong_type",
            "scan: the function has to return the next state and an element, not "
            f"{structures.describe(structure)}",
        )
    if not structures.equal(structure[0], state.structure):
        raise errors.make(
            "wrong_type",
            "scan: the next state has to be structured as the initial one, "
            f"{structures.describe(state.structure)}, not as {structures.describe(structure[0])}",
        )
    specs.check_some(spec[len(state.spec) :], "scan")
    return structure[1], spec[len(state.spec) :]


def _check_dtypes(spec: list[specs.Part], state: State) -> None:
    names = state.names or [""]
    for (before, _), (after, _), name in zip(
        state.spec, spec[: len(state.spec)], names, strict=True
    ):
        if before != after:
            where = f"component {name}: " if name else ""
            raise errors.make(
                "dtype_mismatch",
                f"scan: {where}the state is {before}, but the function returns {after}. Cast one "
                "of them.",
            )
