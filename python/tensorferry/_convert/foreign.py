"""Containers of other libraries: which of them hold numbers, and how they are read. Imports none of
those libraries.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorferry import _internal, errors
from tensorferry._convert import array_likes, tables
from tensorferry._typing import Casting


def read(
    value: Any, dtype: str | None = None, casting: Casting = "checked", copy: bool | None = None
) -> Any:
    """The numbers of a table or of an array that is read on request, in memory; None for any other
    value.
    """
    if tables.is_table(value):
        return tables.read(value, dtype, casting, copy)
    if array_likes.is_array_like(value):
        if copy is False:
            raise errors.make(
                "not_shareable",
                f"cannot share without a copy: a {array_likes.kind(value)} is read into memory. "
                "Allow a copy with copy=None.",
            )
        return array_likes.whole(value)
    return None


def source(value: Any) -> tuple[Any, bool] | None:
    """What a dataset reads of a table or an array-like, and whether nothing can change it; None for
    any other value.

    Rows of an array-like are read on request.
    """
    if tables.is_table(value):
        made = tables.read(value)
        return made, isinstance(made, _internal.Tensor)
    if array_likes.is_array_like(value):
        return array_likes.opened(value), True
    return None


def rows(values: Any) -> Any:
    """A list with the numbers of tables and array-likes in their places; other values unchanged."""
    if not isinstance(values, list | tuple) or all(
        kind.__module__ == "builtins" for kind in set(map(type, values))
    ):
        return values
    found = [read(value) for value in values]
    if all(made is None for made in found):
        return values
    return [
        value if made is None else np.asarray(made)
        for value, made in zip(values, found, strict=True)
    ]
