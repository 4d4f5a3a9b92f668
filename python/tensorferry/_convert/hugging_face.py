"""Datasets of Hugging Face, and their columns, as the Arrow arrays that they lie in."""

from __future__ import annotations

from typing import Any


def arrow(value: Any) -> Any:
    """A dict of the columns of a dataset, or the array of one; None for any other value. A dataset
    whose elements a function of the user makes is another value.
    """
    kind = type(value)
    if not kind.__module__.startswith("datasets."):
        return None
    if kind.__name__ == "Dataset":
        return _columns(value)
    if kind.__name__ != "Column" or type(value.source).__name__ != "Dataset":
        return None
    columns = _columns(value.source.select_columns([value.column_name]))
    return None if columns is None else columns[value.column_name]


def _columns(dataset: Any) -> dict[str, Any] | None:
    if dataset.format["type"] == "custom":
        return None
    table = dataset.with_format("arrow")[:]
    return {name: table[name] for name in table.column_names}
