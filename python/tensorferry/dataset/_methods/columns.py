"""Parts of elements by name."""

from __future__ import annotations

from typing import Any

from tensorferry import _arguments, errors
from tensorferry._nest import structures
from tensorferry._nest.structures import LEAF


def part_of(structure: Any, columns: Any, stage: str) -> tuple[Any, list[int]]:
    """The parts of an element that ``columns`` names, as a tuple, and their components' numbers.

    ``columns`` is a key of a dict, the number of a part of a tuple, a field of a namedtuple, or a
    list of them.
    """
    numbers = iter(range(len(structures.flatten(structure))))
    numbered = structures.map_structure(lambda leaf: next(numbers), structure)
    names = columns if isinstance(columns, list | tuple) else [columns]
    if not names:
        raise errors.make("argument", f"{stage}: input_columns names no part of the elements")
    chosen = [_part(structure, numbered, name, stage) for name in names]
    which = [number for _, part in chosen for number in structures.flatten(part)]
    return tuple(part for part, _ in chosen), which


def _part(structure: Any, numbered: Any, name: Any, stage: str) -> tuple[Any, Any]:
    if structure is not LEAF and structures.is_container(structure):
        try:
            if isinstance(name, str) and not hasattr(structure, "keys"):
                return getattr(structure, name), getattr(numbered, name)
            return structure[name], numbered[name]
        except (KeyError, IndexError, TypeError, AttributeError):
            pass
    raise errors.make(
        "argument",
        f"{stage}: input_columns: {_arguments.shown(name)} is not a part of the elements, "
        f"which are {structures.describe(structure)}",
    )
