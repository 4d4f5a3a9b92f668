"""The user's functions inside a plan: how they are called, what they return, and what is known of
that beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tensorferry import _arguments, _internal, errors
from tensorferry._convert import reading
from tensorferry._nest import specs, structures
from tensorferry._nest.structures import LEAF, Nested, Structure
from tensorferry.dataset._base import Base, packer
from tensorferry.dataset._functions import remembered, tracing
from tensorferry.dataset._functions.tracing import Result


def check_callable(function: Any, stage: str, name: str) -> None:
    """Refuses what cannot be called."""
    if not callable(function):
        raise errors.make(
            "wrong_type", f"{stage}: {name} has to be a function, not {function!r:.80}"
        )


def outermost(value: Any) -> Any:
    """A function's result, a tuple if it is a list, as tf.data has it: the lists in it are each
    stacked into one tensor."""
    return tuple(value) if isinstance(value, list) else value


def flattener(
    function: Callable[..., Any],
    result: Result,
    stage: str,
    *,
    state: int = 0,
    stacks: bool = False,
) -> Callable[..., list[Any]]:
    """A function that returns what ``function`` does as a flat list of values that ``_internal``
    can read. The first ``state`` of them have to be of the dtype that the specification says.
    Tuples where a tensor is due are stacked into one if it ``stacks``."""
    structure, spec = result
    leaves = structures.flatten(structure)
    names = structures.names(structure)
    stages = [f"{stage}: component {name}" for name in names] or [stage]
    what = f"{stage}: what the function returned"

    def flat(*args: Any) -> list[Any]:
        return nested(function(*args))

    def single(*args: Any) -> list[Any]:
        value = function(*args)
        # What most functions return by far has no structure to be compared.
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
    """Refuses a next state of another dtype. Python's numbers have none of their own."""
    dtype = getattr(value, "dtype", None)
    if dtype is not None and getattr(dtype, "name", name) != name:
        raise errors.make(
            "dtype_mismatch",
            f"{stage}: the state is {name}, but the function returned {dtype.name}. Cast one of them.",
        )


def plan_maker(
    function: Callable[..., Any], structure: Structure, stage: str
) -> Callable[..., _internal.Plan]:
    """A function that returns the plan of the dataset, of elements of this structure, that
    ``function`` returns."""
    return remembered.inside(lambda *args: dataset_plan(function(*args), structure, stage))


def generator(
    function: Callable[..., Any], args: tuple[Any, ...], result: Result
) -> Callable[[], Iterator[list[Any]]]:
    """A function that starts a generator and iterates over its elements as flat lists. An element
    that is not as it should be is an error in its place, and the next one follows."""
    flat = flattener(lambda element: element, result, "from_generator", stacks=True)
    return lambda: _Elements(iter(function(*args)), flat)


class _Elements(Iterator[list[Any]]):
    """What ``flat`` makes of each element of an iterator, which goes on after one that fails."""

    def __init__(self, elements: Iterator[Any], flat: Callable[[Any], list[Any]]) -> None:
        self._elements, self._flat = elements, flat

    def __next__(self) -> list[Any]:
        element = next(self._elements)
        try:
            return self._flat(element)
        except StopIteration as error:  # which would be taken for the end
            raise RuntimeError("an element raised StopIteration when it was read") from error


def _leaf(leaf: Any, value: Any, stage: str, where: str) -> Any:
    return (
        dataset_plan(value, leaf.structure, stage)
        if isinstance(leaf, Nested)
        else _value(value, where)
    )


def _value(value: Any, stage: str, exact: bool = True) -> Any:
    """A leaf of a function's result that ``_internal`` can read; ``exact`` if its dtype is
    known."""
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
            f"{stage}: the function returned a dataset of elements {structures.describe(dataset._structure)} where the dataset's "
            f"element_spec says {structures.describe(structure)}. Let it return datasets of one structure.",
        )
    return dataset._plan


def returned_dataset(value: Any, stage: str) -> Base:
    """Refuses what is no dataset of ours."""
    if isinstance(value, Base):
        return value
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if kind.startswith("tensorflow.") and hasattr(value, "element_spec"):
        way = f"Make it with tensorferry.Dataset's methods, or go over to tf.data first: dataset.to_tf_data().{stage}(...)"
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
    """Structure and components of a function's result, lengths unknown: as one result tells it."""
    spec: list[specs.Part] = []

    def leaf(value: Any) -> Any:
        if isinstance(value, Base):
            spec.append(specs.ranks(value._plan.spec))
            return Nested(value._structure)
        name, rank = _internal.describe(_value(value, stage, exact=False))
        spec.append((name, (None,) * rank))
        return LEAF

    return structures.map_structure(leaf, value), spec


def inferred(
    dataset: Base, function: Callable[..., Any], output_signature: Any, stage: str
) -> Result:
    """What ``function`` returns: as ``output_signature`` says, else as TensorFlow finds by tracing
    it, else as it returns for the first element."""
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
    """What the elements of the datasets that ``function`` returns are, found out in the same
    order."""
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
    """What the elements of the datasets that ``reduce_func`` returns for a key and a group are."""
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
    made = returned_dataset(
        reduce_func(packer(LEAF, dataset._format).pack([np.asarray(key, np.int64)]), group), stage
    )
    return made._structure, specs.ranks(made._plan.spec)


def first_result(dataset: Base, function: Callable[..., Any], stage: str) -> Any:
    """What ``function`` returns for the dataset's first element; if there is none, for one of
    zeros, which is like those that there could be."""
    for element in dataset._plan.alone().iterate(dataset._packed(), 1, None, 0):
        return function(*element) if type(element) is tuple else function(element)
    try:
        element = dataset._packed().pack(_zeros(dataset._plan.spec))
        return function(*element) if type(element) is tuple else function(element)
    except Exception as error:  # whatever a function of the user's does with zeros
        raise errors.make(
            "argument",
            f"{stage}: the dataset has no elements to find out from what the function returns, and it cannot be called with zeros "
            f"({type(error).__name__}: {error}). Pass output_signature=.",
        ) from error


def _zeros(spec: list[specs.Part]) -> list[Any]:
    """Flat components of an element of zeros; a length that is not known is 1, a dataset is
    empty."""
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
    """Refuses a function that is no predicate, if tracing it tells."""
    check_callable(function, stage, "predicate")
    traced = tracing.result(dataset, function)
    if traced is None or (traced[0] is LEAF and traced[1][0] in (("bool", None), ("bool", ()))):
        return
    returned = specs.element_spec(*traced, tensorflow=False)
    raise errors.make(
        "argument",
        f"{stage}: the predicate has to return one bool, not {returned}. Compare, and reduce with all() or any().",
    )


class State:
    """A running state of the user's: what it is at first, and how it is nested. A list in it is one
    tensor."""

    def __init__(self, initial: Any, format: str, stage: str) -> None:
        self.structure, described = signature(initial, stage)
        #: What errors call each part.
        self.names = structures.names(self.structure)
        specs.check_some(described, stage)
        self.flat = [_value(leaf, stage, exact=False) for leaf in structures.flatten(initial)]
        self.spec = [
            (name, None) for name, _ in described
        ]  # the dtypes stay what they are, the shapes need not
        self.packer = _internal.Packer(structures.skeleton(self.structure), format, _no_datasets)
        # : How many components of the next state have to come in the dtype of the first, and are
        # not converted to it.
        self.fixed = len(self.spec) if format == "tensorflow" else 0

    def known(self) -> Result:
        """Structure and components of what it is at first."""
        shapes = [tuple(np.shape(leaf)) for leaf in self.flat]
        return self.structure, [
            (name, shape) for (name, _), shape in zip(self.spec, shapes, strict=True)
        ]


def _no_datasets(at: int, plan: _internal.Plan) -> Any:
    raise errors.make("wrong_type", "a running state holds tensors, not datasets")


def scanned(
    dataset: Base, state: State, function: Callable[..., Any], output_signature: Any
) -> Result:
    """What the elements of ``scan`` are."""
    if output_signature is not None:
        return specs.parse(output_signature, "scan: output_signature")
    traced = tracing.scanned(dataset, state.known(), function)
    if traced is not None:
        _check_dtypes(traced[1], state)
        return _scanned(traced, state)

    def called(*element: Any) -> Any:
        return function(state.packer.pack(state.flat), element[0] if single else element)

    # A tuple is one argument here, and several for what is called with the first element.
    single = type(dataset._structure) is not tuple
    return _scanned(signature(outermost(first_result(dataset, called, "scan")), "scan"), state)


def _scanned(result: Result, state: State) -> Result:
    """Structure and components of the element in what the function of ``scan`` returns: the next
    state, and an element."""
    structure, spec = result
    if not isinstance(structure, tuple) or len(structure) != 2:
        raise errors.make(
            "wrong_type",
            f"scan: the function has to return the next state and an element, not {structures.describe(structure)}",
        )
    if not structures.equal(structure[0], state.structure):
        raise errors.make(
            "wrong_type",
            f"scan: the next state has to be structured as the initial one, {structures.describe(state.structure)}, not as "
            f"{structures.describe(structure[0])}",
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
                f"scan: {where}the state is {before}, but the function returns {after}. Cast one of them.",
            )
