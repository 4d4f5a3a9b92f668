"""Types that several signatures share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, Protocol, SupportsIndex, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

_T = TypeVar("_T")

#: What happens to a value that the target dtype cannot hold: an error, the nearest value, or its
#: low bits.
Casting: TypeAlias = Literal["checked", "saturate", "wrap"]
#: The framework whose tensors a dataset hands out.
ElementFormat: TypeAlias = Literal["tensorflow", "torch", "jax", "numpy", "tensorferry"]
FileFormat: TypeAlias = Literal["npy", "npz", "safetensors", "tfrecord", "tfrecord_bytes", "raw"]
#: How an opened file is read.
Mode: TypeAlias = Literal["auto", "map", "read", "direct"]
#: How the stores of URLs are reached: settings by name, those of the Rust crate ``object_store``.
StorageOptions: TypeAlias = Mapping[str, str | int | float | os.PathLike[str]]
Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class _TensorFlowDType(Protocol):
    @property
    def as_numpy_dtype(self) -> Any: ...


class _TorchDType(Protocol):
    @property
    def is_floating_point(self) -> bool: ...
    @property
    def itemsize(self) -> int: ...


#: A ``numpy.dtype``, ``tf.DType``, ``torch.dtype``, type or name.
DTypeLike: TypeAlias = npt.DTypeLike | _TensorFlowDType | _TorchDType


class _DLPack(Protocol):
    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...


class _ArrayInterface(Protocol):
    @property
    def __array_interface__(self) -> dict[str, Any]: ...


class _ArrowArray(Protocol):
    def __arrow_c_array__(self, *args: Any, **kwargs: Any) -> Any: ...


class _ArrowStream(Protocol):
    def __arrow_c_stream__(self, *args: Any, **kwargs: Any) -> Any: ...


class _ReadOnRequest(Protocol):
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def __getitem__(self, key: Any, /) -> Any: ...


#: An array of any library, a number, a nested sequence of numbers, a table.
TensorLike: TypeAlias = (
    npt.ArrayLike | _DLPack | _ArrayInterface | _ArrowArray | _ArrowStream | _ReadOnRequest
)


#: Rows of different lengths: an array of lists, a ragged or nested tensor, a list of arrays.
RaggedLike: TypeAlias = TensorLike | Iterable[TensorLike] | Any


class _Attrs(Protocol):
    __attrs_attrs__: ClassVar[Any]


#: A leaf, or a tuple, namedtuple, mapping or attrs object of nests.
Nest: TypeAlias = _T | tuple["Nest[_T]", ...] | Mapping[Any, "Nest[_T]"] | _Attrs | None

#: Parts of an element: a name or several (keys of a dict, fields of a namedtuple), or a structure
#: of bools like the element's.
Which: TypeAlias = str | list[str] | Nest[bool]


class TensorSpecLike(Protocol):
    @property
    def shape(self) -> Any: ...
    @property
    def dtype(self) -> Any: ...


class DatasetSpecLike(Protocol):
    @property
    def element_spec(self) -> Any: ...


#: A ``TensorSpec`` or ``DatasetSpec``, tensorferry's or TensorFlow's, or a nest of them.
Signature: TypeAlias = Nest[TensorSpecLike | DatasetSpecLike] | list[Any]
#: A length, or a length for each dimension; None or -1 for one that is unknown.
ShapeLike: TypeAlias = SupportsIndex | Iterable[SupportsIndex | None]
#: Whole numbers: one, or several.
Indices: TypeAlias = SupportsIndex | Iterable[SupportsIndex]
#: An array in memory.
NDArray: TypeAlias = npt.NDArray[Any]
Weights: TypeAlias = Iterable[float] | npt.NDArray[np.floating[Any] | np.integer[Any]]


class ThreadingOptions(Protocol):
    """What tensorferry reads of a ``tf.data.Options``."""

    @property
    def threading(self) -> Any: ...
