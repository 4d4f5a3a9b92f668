"""The structure of elements in the ``dataset.json`` of a saved dataset.

A tensor is ``"tensor"``, and a string ``"string"``: one component, its bytes. Strings in one
dimension are ``"strings"``: two components, all bytes and row splits. None is null;
``{"tuple": [...]}``, ``{"dict": [[key, part], ...]}``,
``{"OrderedDict": ...}`` and ``{"namedtuple": name, "fields": [[field, part], ...]}`` hold others.
"""

from __future__ import annotations

import collections
import functools
import json
import os
from collections.abc import Iterable
from typing import Any

from tensorferry import errors
from tensorferry._nest import structures
from tensorferry._nest.structures import LEAF, Structure
from tensorferry._nest.text import TEXT, Texts

_TENSOR, _STRING, _STRINGS = "tensor", "string", "strings"
_DICTS: dict[str, Any] = {"dict": dict, "OrderedDict": collections.OrderedDict}


def dumps(structure: Structure) -> str:
    """The structure as JSON.

    Raises:
        tensorferry.errors.InvalidTypeError: it has a class or a key that cannot be loaded
            again.
    """
    return json.dumps(_described(structure))


def _described(structure: Structure) -> Any:
    if structure is None:
        return None
    if structure is TEXT:
        return _STRING
    if isinstance(structure, Texts):
        return _STRINGS
    if not structures.is_container(structure):
        return _TENSOR
    kind = type(structure)
    inner = [_described(part) for part in structures.parts(structure)]
    if kind is tuple:
        return {"tuple": inner}
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return {
            "namedtuple": kind.__name__,
            "fields": [list(pair) for pair in zip(structure._fields, inner, strict=True)],
        }
    if kind in _DICTS.values():
        by_key = {key: _described(structure[key]) for key in structure}
        for key in by_key:
            if type(key) not in (str, int):
                raise errors.make(
                    "wrong_type",
                    f"save: the key {key!r} cannot be written; keys have to be str or int",
                )
        return {kind.__name__: [[key, part] for key, part in by_key.items()]}
    raise errors.make(
        "wrong_type",
        f"save: elements are held in a {kind.__module__}.{kind.__qualname__}, which cannot be "
        "loaded again. Map them to tuples, namedtuples or dicts.",
    )


def loads(text: str | None, components: int, path: Any) -> Structure:
    """The structure that :func:`dumps` wrote; without ``text``, a tuple of all components, or the
    only one.

    Raises:
        tensorferry.errors.FileFormatError: the text is not a structure, or is one of another number
            of components.
    """
    if text is None:
        return LEAF if components == 1 else (LEAF,) * components
    try:
        structure = _made(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(path, f"it is not a structure of elements: {error}") from None
    found = len(structures.flatten(structure))
    if found != components:
        raise _damaged(path, f"the structure holds {found} tensors, the dataset {components}")
    return structure


def _made(described: Any) -> Structure:
    if described is None:
        return None
    if described == _TENSOR:
        return LEAF
    if described == _STRING:
        return TEXT
    if described == _STRINGS:
        return Texts(LEAF, LEAF)
    if isinstance(described, dict):
        if described.keys() == {"tuple"}:
            return tuple(_made(part) for part in described["tuple"])
        if described.keys() == {"namedtuple", "fields"}:
            return _namedtuple(described["namedtuple"], [name for name, _ in described["fields"]])(
                *(_made(part) for _, part in described["fields"])
            )
        for name, make in _DICTS.items():
            if described.keys() == {name}:
                return make((key, _made(part)) for key, part in described[name])
    raise ValueError(f"{described!r:.80}")


def _namedtuple(name: str, fields: Iterable[str]) -> Any:
    return _cached_namedtuple(name, tuple(fields))


@functools.cache
def _cached_namedtuple(name: str, fields: tuple[str, ...]) -> Any:
    """One class for all loaded datasets, so that their elements have one type. It cannot be
    pickled, because it has no module.
    """
    return collections.namedtuple(name, fields)


def _damaged(path: Any, what: str) -> errors.Error:
    return errors.make("malformed", f"{os.fsdecode(path)}/dataset.json: {what}")
