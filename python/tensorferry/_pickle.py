"""How tensors and datasets are pickled.

A tensor as dtype, shape and elements, which protocol 5 can carry out of band; a dataset as the
method calls that made it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorferry import _array_likes, _internal, errors
from tensorferry._structure import flatten, map_structure

if TYPE_CHECKING:
    from tensorferry import Tensor
    from tensorferry._dataset_base import Recipe


def reduce(tensor: Tensor, protocol: int) -> tuple[Callable[..., Tensor], tuple[Any, ...]]:
    """The recipe that ``Tensor.__reduce_ex__`` returns."""
    array = np.ascontiguousarray(tensor.numpy()).reshape(tensor.shape)
    raw = array.reshape(-1).view(np.uint8)
    data = pickle.PickleBuffer(raw.data) if protocol >= 5 else raw.tobytes()
    dtype = tensor.dtype.name if tensor.dtype.isbuiltin == 2 else tensor.dtype.str
    return rebuild, (data, dtype, tensor.shape)


def rebuild(data: Any, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor that :func:`reduce` described."""
    if dtype == "bfloat16":
        import ml_dtypes

        array = np.frombuffer(data, dtype=ml_dtypes.bfloat16)
    else:
        array = np.frombuffer(data, dtype=dtype)
    return _internal.tensor(array.reshape(shape))


# : The epoch of the next pass, the one that ``set_epoch`` said, and the seed that the last stage
# drew.
Progress = tuple[int, int | None, int | None]


def reduce_dataset(
    recipe: Recipe, progress: Progress
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The recipe that ``Dataset.__reduce__`` returns. Memory-mapped arrays go by their file;
    functions as pickle takes them. What was drawn goes along, and the epoch of the next pass: all
    who unpickle it have the same order, and count for themselves.
    """
    name, args, kwargs = recipe
    for argument in (*args, *kwargs.values()):
        if isinstance(argument, FunctionType) and argument.__name__ == "<lambda>":
            raise errors.make(
                "not_picklable",
                f"{name}: a lambda cannot be pickled. Define the function with def at the top of a module.",
            )
    for leaf in _structure_leaves((*args, *kwargs.values())):
        if _array_likes.is_array_like(leaf):
            _check_picklable(name, leaf)
    return rebuild_dataset, (name, _by_file(args), _by_file(kwargs), progress)


def _structure_leaves(arguments: tuple[Any, ...]) -> list[Any]:
    return [leaf for argument in arguments for leaf in flatten(argument)]


def _check_picklable(name: str, array: Any) -> None:
    """Says of an array of another library's that it does not pickle, and what does."""
    try:
        pickle.dumps(array)
    except Exception as error:
        raise errors.make(
            "not_picklable",
            f"{name}: a {_array_likes.kind(array)} cannot be pickled ({error}). Open the file where the dataset is unpickled, and make it "
            "there.",
        ) from error


def rebuild_dataset(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], progress: Progress
) -> Any:
    """The dataset that :func:`reduce_dataset` described."""
    from tensorferry.dataset import Dataset

    made = getattr(Dataset, name)(*args, **kwargs)
    epoch, said, seed = progress
    if seed is not None:
        made._plan = made._called(made._plan.with_drawn_seed(seed, []))
    made._plan.count_like(epoch, said)
    return made


class _File:
    """An array in a file, to be mapped again."""

    def __init__(self, array: np.memmap[Any, Any], offset: int) -> None:
        mode = "r" if not array.flags.writeable else "r+"
        self.arguments = (str(array.filename), array.dtype, mode, offset, array.shape)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return np.memmap, self.arguments


def _by_file(value: Any) -> Any:
    if isinstance(value, np.memmap):
        return _mapped(value)
    if isinstance(value, list):
        return [_by_file(part) for part in value]
    return map_structure(
        lambda leaf: _by_file(leaf) if isinstance(leaf, np.memmap | list) else leaf, value
    )


def _mapped(array: np.memmap[Any, Any]) -> Any:
    """A file in the place of an array that is one whole, in C order, or a piece of it; the array
    itself otherwise.
    """
    if array.filename is None or not array.flags.c_contiguous or array.dtype.hasobject:
        return array
    whole: Any = array
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    start = array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return _File(array, whole.offset + start) if isinstance(whole, np.memmap) else array
