"""Checks of arguments that are datasets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorferry import errors
from tensorferry._nest import specs, structures
from tensorferry.dataset._base import Base


def check(dataset: object, stage: str, name: str) -> Any:
    """An argument that has to be a dataset."""
    if not isinstance(dataset, Base):
        kind = type(dataset)
        raise errors.make(
            "wrong_type",
            f"{stage}: {name} has to be a tensorferry.Dataset, not a "
            f"{kind.__module__}.{kind.__name__}",
        )
    return dataset


def same_elements(datasets: Sequence[Base], stage: str) -> None:
    """Refuses datasets whose elements differ in structure or dtype."""
    first = datasets[0]
    for other in datasets[1:]:
        if not structures.equal(first._structure, other._structure) or _dtypes(
            first._plan.spec
        ) != _dtypes(other._plan.spec):
            raise errors.make(
                "dtype_mismatch",
                f"{stage}: the datasets need elements of one structure and the same dtypes; they "
                f"are {specs.element_spec(first._structure, first._plan.spec, False)} and "
                f"{specs.element_spec(other._structure, other._plan.spec, False)}. Cast or map "
                "one of them.",
            )


def _dtypes(spec: list[specs.Part]) -> list[Any]:
    return [_dtypes(part) if isinstance(part, list) else part[0] for part in spec]
