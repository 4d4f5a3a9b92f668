"""Methods that change values natively, inside the pass that gathers a batch."""

from __future__ import annotations

from typing import Any, Self, SupportsIndex

from tensorferry import _arguments, _internal, errors
from tensorferry._convert import reading
from tensorferry._nest import structures
from tensorferry._typing import Casting, DTypeLike, Nest, TensorLike
from tensorferry.dataset._base import Base, recorded


class Native(Base):
    """Methods that tf.data does not have. ``which`` selects parts of an element: a structure of
    bools like the element's. None selects every part.
    """

    __slots__ = ()

    def _parts(self, given: Any, stage: str, name: str) -> list[Any] | None:
        """One value for each component, of a structure like the element's; None leaves a part
        unchanged.
        """
        structure = self._structure
        flat: list[Any] = []

        def spread(structure: Any, given: Any) -> None:
            if structure is None:
                return
            if given is None or not structures.is_container(structure):
                flat.extend([given] * len(structures.flatten(structure)))
                return
            if type(given) is not type(structure) and not (
                isinstance(given, dict) and isinstance(structure, dict)
            ):
                raise self._differs(given, stage, name)
            if isinstance(given, dict):
                if set(given) - set(structure):
                    raise self._differs(given, stage, name)
                given = {key: given.get(key) for key in structure}
            inner, outer = structures.parts(given), structures.parts(structure)
            if len(inner) != len(outer):
                raise self._differs(given, stage, name)
            for part, value in zip(outer, inner, strict=True):
                spread(part, value)

        spread(structure, given)
        return flat

    def _differs(self, given: Any, stage: str, name: str) -> errors.Error:
        structure = structures.describe(self._structure)
        return errors.make(
            "argument", f"{stage}: {name}={given!r} does not nest like the elements, {structure}"
        )

    def _which(self, which: Any, stage: str) -> list[bool] | None:
        if which is None:
            return None
        return [
            _arguments.flag(part, stage, "every part of which")
            for part in self._parts(which, stage, "which") or []
        ]

    @recorded
    def cast(self, dtype: Nest[DTypeLike], casting: Casting = "checked") -> Self:
        """Elements in another dtype, every value checked.

        Args:
            dtype: one dtype for all parts, or a structure of dtypes like the element's, with None
                for a part to leave unchanged.
            casting: for values that the dtype cannot hold, ``"checked"`` raises, ``"saturate"``
                clamps and ``"wrap"`` keeps the low bits.

        Raises:
            tensorferry.errors.ValueOverflowError: while iterating, at the element whose
                values do not fit.

        >>> import numpy as np, tensorferry as tfy
        >>> rows = {"image": np.zeros((2, 3), np.uint8), "label": np.arange(2)}
        >>> images = tfy.Dataset.from_tensor_slices(rows).cast({"image": "float32"})
        >>> images.with_format("numpy").element_spec["image"]
        TensorSpec(shape=(3,), dtype=float32)
        """
        count = len(structures.flatten(self._structure))
        dtypes: list[Any] | None = (
            self._parts(dtype, "cast", "dtype")
            if structures.is_container(dtype)
            else [dtype] * count
        )
        return self._with(_internal.cast(self._plan, dtypes or [], casting))

    @recorded
    def scale(self, mul: float = 1.0, add: float = 0.0, which: Nest[bool] = None) -> Self:
        """``x * mul + add`` in float32. Product and sum are rounded separately, with the same
        result on every machine.

        >>> import numpy as np, tensorferry as tfy
        >>> pixels = tfy.Dataset.from_tensor_slices(np.array([0, 255], np.uint8))
        >>> list(pixels.scale(1 / 255, -0.5).as_numpy_iterator())
        [np.float32(-0.5), np.float32(0.5)]
        """
        factors = _arguments.number(mul, "scale", "mul"), _arguments.number(add, "scale", "add")
        return self._with(_internal.scale(self._plan, *factors, self._which(which, "scale")))

    @recorded
    def one_hot(
        self, depth: SupportsIndex, dtype: DTypeLike = "float32", which: Nest[bool] = None
    ) -> Self:
        """Integers as vectors of length ``depth``: one at the integer's position, else zero. An
        integer outside ``range(depth)`` is an error.

        >>> import tensorferry as tfy
        >>> list(tfy.Dataset.from_tensor_slices([2, 0]).one_hot(3).as_numpy_iterator())
        [array([0., 0., 1.], dtype=float32), array([1., 0., 0.], dtype=float32)]
        """
        size = _arguments.positive(depth, "one_hot", "depth")
        return self._with(_internal.one_hot(self._plan, size, dtype, self._which(which, "one_hot")))

    @recorded
    def lookup(self, table: TensorLike, which: Nest[bool] = None) -> Self:
        """Rows of ``table`` in the place of their indices.

        >>> import numpy as np, tensorferry as tfy
        >>> indices = tfy.Dataset.from_tensor_slices([2, 0])
        >>> list(indices.lookup(np.array([10, 20, 30])).as_numpy_iterator())
        [np.int64(30), np.int64(10)]
        """
        rows, _ = reading.source(table, "lookup")
        return self._with(_internal.lookup(self._plan, rows, self._which(which, "lookup")))
