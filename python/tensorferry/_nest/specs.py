"""Specifications of elements: ``element_spec``, in the terms of the dataset's format."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, SupportsIndex, TypeAlias

import numpy as np

from tensorferry import _arguments, _internal, errors
from tensorferry._nest.ragged import Ragged
from tensorferry._nest.structures import (
    LEAF,
    Nested,
    Structure,
    is_container,
    map_structure,
    parts,
    rebuilt,
    replaced,
)
from tensorferry._nest.text import STRING, TEXT, Texts
from tensorferry._nest.text import shape as string_shape
from tensorferry._typing import DTypeLike, Nest, Signature

#: One component as ``_internal`` knows it: ``(dtype name, dimensions)``, or a list of components
#: for a nested dataset.
Part: TypeAlias = Any


class TensorSpec:
    """dtype and shape of a tensor in a dataset's elements. ``shape`` has None for every unknown
    length, and is None if the number of dimensions is unknown.

    Args:
        shape: a sequence of ints and Nones, or None.
        dtype: a ``numpy.dtype``, ``tf.DType``, type or name. "string" for strings, which are
            ``bytes``.

    >>> import tensorferry
    >>> tensorferry.TensorSpec((None, 3), "int32")
    TensorSpec(shape=(None, 3), dtype=int32)
    """

    __module__ = "tensorferry"
    __slots__ = ("_name", "shape")

    shape: tuple[int | None, ...] | None
    _name: str

    def __init__(
        self,
        shape: Iterable[SupportsIndex | None] | SupportsIndex | None,
        dtype: DTypeLike = "float32",
    ) -> None:
        dims = _dimensions(shape)
        object.__setattr__(self, "shape", dims)
        object.__setattr__(self, "_name", _dtype_name(dtype))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The ``numpy.dtype``; of strings that of objects. bfloat16 needs the package ml_dtypes."""
        if self._name == STRING:
            return np.dtype(object)
        return _internal.numpy_dtype(self._name)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a TensorSpec cannot be changed: {name}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TensorSpec):
            return NotImplemented
        return (self.shape, self._name) == (other.shape, other._name)

    def __hash__(self) -> int:
        return hash((self.shape, self._name))

    def __repr__(self) -> str:
        return f"TensorSpec(shape={self.shape}, dtype={self._name})"

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorSpec, (self.shape, self._name)


def is_string(dtype: Any) -> bool:
    """Whether a dtype is that of strings."""
    if isinstance(dtype, np.dtype):
        return dtype.kind in "SUT"
    if isinstance(dtype, type):
        return issubclass(dtype, str | bytes)
    return STRING in (dtype if isinstance(dtype, str) else "", getattr(dtype, "name", ""))


def is_of_strings(spec: Any) -> bool:
    """Whether a specification of a tensor is that of strings."""
    if isinstance(spec, TensorSpec):
        return spec._name == STRING
    return is_string(getattr(spec, "dtype", None))


def _dtype_name(dtype: Any) -> str:
    return STRING if is_string(dtype) else _internal.dtype_name(dtype)


def _dimensions(shape: Any) -> tuple[int | None, ...] | None:
    """The lengths of a shape, None for unknown ones."""
    if shape is None or getattr(shape, "rank", 0) is None:
        return None
    if isinstance(shape, str | bytes):
        raise errors.make(
            "wrong_type",
            f"TensorSpec: shape has to be a sequence of lengths, not {_arguments.shown(shape)}",
        )
    lengths = (
        list(shape)
        if isinstance(shape, Iterable) and getattr(shape, "shape", None) != ()
        else [shape]
    )
    if -1 in [length for length in lengths if isinstance(length, int)]:
        raise errors.make(
            "argument",
            f"TensorSpec: shape={shape!r}: None stands for a length that is unknown, not -1",
        )
    return tuple(
        None
        if length is None
        else _arguments.at_least(length, 0, "TensorSpec", "every length of shape")
        for length in lengths
    )


class DatasetSpec:
    """A dataset inside the elements of another, as ``window`` makes them.

    Args:
        element_spec: the structure of its own elements.
    """

    __module__ = "tensorferry"
    __slots__ = ("element_spec",)

    element_spec: Any

    def __init__(self, element_spec: Signature) -> None:
        self.element_spec = element_spec

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DatasetSpec):
            return NotImplemented
        return bool(self.element_spec == other.element_spec)

    def __hash__(self) -> int:
        return hash(repr(self.element_spec))

    def __repr__(self) -> str:
        return f"DatasetSpec({self.element_spec!r})"


def element_spec(structure: Structure, spec: list[Part], tensorflow: bool) -> Any:
    """The structure with the specification of each component in its leaf."""
    make = _tensorflow_leaf if tensorflow else _own_leaf
    structure, shown = with_strings(structure, spec)
    flat = iter(shown)
    made = map_structure(
        lambda leaf: make(leaf, next(flat)), structure, nothing=_nothing() if tensorflow else None
    )
    return replaced(made, Ragged, _ragged_spec) if tensorflow else made


def with_strings(structure: Structure, spec: list[Part]) -> tuple[Structure, list[Part]]:
    """Structure and components as users see them, with strings as tensors of the dtype "string"."""
    flat, shown = iter(spec), list[Part]()

    def walk(place: Structure) -> Structure:
        if place is None:
            return None
        if is_container(place) and not isinstance(place, Texts):
            return rebuilt(place, [walk(part) for part in parts(place)])
        part = next(flat)
        if isinstance(place, Texts):
            part = (STRING, string_shape(next(flat)[1]))
        shown.append((STRING, ()) if place is TEXT else part)
        return LEAF if place is TEXT or isinstance(place, Texts) else place

    return walk(structure), shown


def strings(shape: tuple[int | None, ...] | None, what: str) -> tuple[Structure, list[Part]]:
    """The place and the components of strings of this shape."""
    if shape == ():
        return TEXT, [("uint8", (None,))]
    if shape is None or len(shape) > 2:
        raise errors.make(
            "argument",
            f"{what}: strings have to be of shape (), (None,) or (None, None), not {shape}",
        )
    splits = None if shape[-1] is None else shape[-1] + 1
    return Texts(LEAF, LEAF), [("uint8", (None,)), ("int64", (*shape[:-1], splits))]


def _ragged_spec(values: Any, row_splits: Any) -> Any:
    import tensorflow as tf

    (splits,) = row_splits.shape
    rows = None if splits is None else splits - 1
    shape = [rows, *values.shape]
    return tf.RaggedTensorSpec(shape, values.dtype, 1, row_splits.dtype)


def in_jax(spec: list[Part]) -> list[Part]:
    """The components as JAX has them: it has no 64-bit dtypes while ``jax_enable_x64`` is off."""
    try:
        import jax
    except ImportError:  # then there are no elements to describe
        return spec
    return [
        in_jax(part)
        if isinstance(part, list)
        else (str(jax.dtypes.canonicalize_dtype(part[0])), part[1])
        for part in spec
    ]


def _nothing() -> Any:
    """What TensorFlow writes where an element has None."""
    from tensorflow.python.framework import none_tensor

    return none_tensor.NoneTensorSpec()


def _own_leaf(leaf: Any, part: Part) -> Any:
    if isinstance(leaf, Nested):
        return DatasetSpec(element_spec(leaf.structure, part, tensorflow=False))
    name, dims = part
    return TensorSpec(dims, name)


def _tensorflow_leaf(leaf: Any, part: Part) -> Any:
    import tensorflow as tf

    if isinstance(leaf, Nested):
        return tf.data.DatasetSpec(
            element_spec(leaf.structure, part, tensorflow=True), tf.TensorShape([])
        )
    name, dims = part
    return tf.TensorSpec(shape=dims, dtype=tf.as_dtype(name))


def check_some(spec: list[Part], stage: str) -> None:
    """Refuses elements without a single tensor."""
    if not spec:
        raise errors.make(
            "argument",
            f"{stage}: an element needs at least one tensor; None, () and {{}} have none",
        )


def parse(signature: Signature, what: str) -> tuple[Structure, list[Part]]:
    """The structure and components of a signature: ``TensorSpec`` s of tensorferry or TensorFlow,
    nested.
    """
    flat: list[Part] = []

    def leaf(spec: Any) -> Any:
        made, found = _parse_leaf(spec, what)
        flat.extend(found)
        return made

    return _map_spec(leaf, signature), flat


def _map_spec(leaf: Callable[[Any], Any], spec: Any) -> Any:
    if spec is None or type(spec).__name__ == "NoneTensorSpec":
        return None
    if isinstance(spec, list):
        spec = tuple(spec)
    return (
        rebuilt(spec, [_map_spec(leaf, part) for part in parts(spec)])
        if is_container(spec)
        else leaf(spec)
    )


def _parse_leaf(spec: Any, what: str) -> tuple[Any, list[Part]]:
    if isinstance(spec, TensorSpec):
        if is_of_strings(spec):
            return strings(spec.shape, what)
        return LEAF, [(spec._name, spec.shape)]
    inner = getattr(spec, "element_spec", None)
    if inner is not None:
        structure, components = parse(inner, what)
        return Nested(structure), [components]
    if not hasattr(spec, "shape") or not hasattr(spec, "dtype"):
        raise errors.make("wrong_type", f"{what}: {spec!r} is not a TensorSpec(shape, dtype)")
    if is_of_strings(spec):
        return strings(shape_of(spec.shape), what)
    return LEAF, [(_internal.dtype_name(spec.dtype), shape_of(spec.shape))]


def shape_of(shape: Any, stage: str = "TensorSpec") -> tuple[int | None, ...] | None:
    """The dimensions of a ``tf.TensorShape`` or a sequence."""
    if shape is None or getattr(shape, "rank", 0) is None:
        return None
    return tuple(_arguments.lengths(shape, 0, stage, "every length of a shape"))


def relaxed(a: list[Part], b: list[Part]) -> list[Part]:
    """What two specifications of one structure agree on. Their dtypes have to be the same."""
    return [_relaxed_part(x, y) for x, y in zip(a, b, strict=True)]


def _relaxed_part(a: Part, b: Part) -> Part:
    if isinstance(a, list):
        return relaxed(a, b)
    (name, ours), (_, theirs) = a, b
    if ours is None or theirs is None or len(ours) != len(theirs):
        return name, None
    return name, tuple(x if x == y else None for x, y in zip(ours, theirs, strict=True))


def ranks(spec: list[Part]) -> list[Part]:
    """What one example element tells of components: dtype and number of dimensions."""
    return [
        ranks(part)
        if isinstance(part, list)
        else (part[0], None if part[1] is None else (None,) * len(part[1]))
        for part in spec
    ]


def from_types(types: Nest[DTypeLike], shapes: Any) -> tuple[Structure, list[Part]]:
    """The structure and components of nested dtypes, and of shapes nested like them, if given."""
    flat: list[Part] = []

    def walk(types: Any, shapes: Any) -> Structure:
        if isinstance(types, list):
            types = tuple(types)
        if not is_container(types):
            shape = shape_of(shapes, "from_generator: output_shapes")
            if shape is None and is_string(types):
                shape = ()  # of unknown shape, strings are most often single
            place, found = (
                strings(shape, "from_generator: output_shapes")
                if is_string(types)
                else (LEAF, [(_internal.dtype_name(types), shape)])
            )
            flat.extend(found)
            return place
        inner = parts(types)
        if shapes is None:
            given = [None] * len(inner)
        elif isinstance(shapes, list) or is_container(shapes):
            given = list(shapes) if isinstance(shapes, list) else parts(shapes)
        else:
            raise errors.make(
                "wrong_type",
                f"from_generator: output_shapes has {_arguments.shown(shapes)} where "
                "output_types nests",
            )
        if len(given) != len(inner):
            raise errors.make(
                "argument",
                f"from_generator: output_shapes has {len(given)} parts where output_types has "
                f"{len(inner)}",
            )
        return rebuilt(types, [walk(one, shape) for one, shape in zip(inner, given, strict=True)])

    return walk(types, shapes), flat
