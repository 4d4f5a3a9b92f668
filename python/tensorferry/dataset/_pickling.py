"""Pickling of datasets, as the method calls that made them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeAlias

import numpy as np

from tensorferry import errors
from tensorferry._convert import array_likes
from tensorferry._files import paths
from tensorferry._nest.structures import flatten, map_structure

#: A method's name and arguments, a dataset's own first.
Recipe: TypeAlias = tuple[str, tuple[Any, ...], dict[str, Any]]
#: The epoch of the next pass, the epoch that ``set_epoch`` set, and the seed that the last stage
#: drew.
Epochs: TypeAlias = tuple[int, int | None, int | None]

#: Methods that open files, and their argument that names them.
_OF_PATHS = {"load": "path", "from_files": "paths", "from_npy": "path"}


def reduce_dataset(
    cls: type, recipe: Recipe, epochs: Epochs
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The value of ``Dataset.__reduce__``.

    Memory-mapped arrays are pickled as their file, functions as pickle does it. Drawn seeds and the
    epoch of the next pass travel too, so that all copies have the same order, and each counts its
    own epochs.
    """
    name, args, kwargs = recipe
    for argument in (*args, *kwargs.values()):
        if isinstance(argument, FunctionType) and argument.__name__ == "<lambda>":
            raise errors.make(
                "not_picklable",
                f"{name}: a lambda cannot be pickled. Define the function with def at the top of a "
                "module.",
            )
    for leaf in _structure_leaves((*args, *kwargs.values())):
        if array_likes.is_array_like(leaf):
            _check_picklable(name, leaf)
    if name in _OF_PATHS:
        args, kwargs = _by_absolute_path(name, args, kwargs)
    return rebuild_dataset, (cls, name, _by_file(args), _by_file(kwargs), epochs)


def _by_absolute_path(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments that another process reads with another current directory."""
    if args:
        return (_absolute(name, args[0]), *args[1:]), kwargs
    word = _OF_PATHS[name]
    return args, {**kwargs, word: _absolute(name, kwargs[word])}


def _absolute(name: str, given: Any) -> Any:
    several = paths.absolute(paths.several(given, name))
    return several[0] if name == "load" else several


def _structure_leaves(arguments: tuple[Any, ...]) -> list[Any]:
    return [leaf for argument in arguments for leaf in flatten(argument)]


def _check_picklable(name: str, array: Any) -> None:
    """Refuses an array of another library that cannot be pickled."""
    try:
        pickle.dumps(array)
    except Exception as error:
        raise errors.make(
            "not_picklable",
            f"{name}: a {array_likes.kind(array)} cannot be pickled ({error}). Open the file where "
            "the dataset is unpickled, and make it there.",
        ) from error


def rebuild_dataset(
    cls: type, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], epochs: Epochs
) -> Any:
    """The dataset that :func:`reduce_dataset` described."""
    made = getattr(cls, name)(*args, **kwargs)
    epoch, said, seed = epochs
    if seed is not None:
        made._plan = made._called(made._plan.with_drawn_seed(seed, []))
    made._plan.count_like(epoch, said)
    return made


class _File:
    """An array in a file, memory-mapped again when unpickled."""

    def __init__(self, array: np.memmap[Any, Any], offset: int) -> None:
        mode = "r" if not array.flags.writeable else "r+"
        self.arguments = (str(array.filename), array.dtype, mode, offset, array.shape)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return np.memmap, self.arguments


def _by_file(value: Any) -> Any:
    if isinstance(value, np.memmap):
        return _file_of(value)
    if isinstance(value, list):
        return [_by_file(part) for part in value]
    return map_structure(
        lambda leaf: _by_file(leaf) if isinstance(leaf, np.memmap | list) else leaf, value
    )


def _file_of(array: np.memmap[Any, Any]) -> Any:
    """The file of an array that is all or a contiguous part of one, in C order; else the array."""
    if array.filename is None or not array.flags.c_contiguous or array.dtype.hasobject:
        return array
    whole: Any = array
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    start = array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return _File(array, whole.offset + start) if isinstance(whole, np.memmap) else array
