"""Methods that change values natively, inside the pass that gathers a batch."""

from __future__ import annotations

from typing import Any, Self, SupportsIndex

from tensorferry import _arguments, _internal, errors
from tensorferry._convert import reading
from tensorferry._nest import structures
from tensorferry._typing import Casting, DTypeLike, Nest, TensorLike, Which
from tensorferry.dataset._base import Base, recorded
from tensorferry.dataset._methods import strings

#: How to leave strings out of a stage that computes.
_WAY = "Select other parts with which=."


def _factor(value: Any, name: str) -> Any:
    """A float, or an array that ``_internal`` can read."""
    ndim = getattr(value, "ndim", 1 if isinstance(value, list) else 0)
    if isinstance(ndim, int) and ndim > 0:
        return reading.source(value, "scale")[0]
    return _arguments.number(value, "scale", name)


class Native(Base):
    """Methods that tf.data does not have. ``which`` selects parts of an element: the name of a
    part, a list of names (keys of a dict, fields of a namedtuple), or a structure of bools like the
    element's. None selects every part.
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
            strings.refuse(self, stage, _WAY)
            return None
        chosen = self._chosen(which, stage)
        strings.refuse(self, stage, _WAY, chosen)
        return chosen

    def _chosen(self, which: Any, stage: str) -> list[bool]:
        names = [which] if isinstance(which, str) else which
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return self._named(names, stage)
        return [
            _arguments.flag(part, stage, "every part of which")
            for part in self._parts(which, stage, "which") or []
        ]

    def _named(self, names: list[str], stage: str) -> list[bool]:
        """Whether each component is, or is in, a part of one of these names."""
        known = structures.fields(self._structure)
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            there = f"there are {', '.join(map(repr, known))}" if known else "parts have no names"
            raise errors.make(
                "argument",
                f"{stage}: no part of the elements has the name {unknown[0]!r}; {there}"
                if unknown
                else f"{stage}: which=[] selects no part; {there}",
            )
        parts = structures.parts(self._structure)
        return [
            name in names
            for name, part in zip(known, parts, strict=True)
            for _ in structures.flatten(part)
        ]

    @recorded
    def cast(
        self, dtype: Nest[DTypeLike], casting: Casting = "checked", which: Which = None
    ) -> Self:
        """Elements in another dtype, every value checked.

        Args:
            dtype: one dtype for all parts, or a structure of dtypes like the element's, with None
                for a part to leave unchanged.
            casting: for values that the dtype cannot hold, ``"checked"`` raises, ``"saturate"``
                clamps and ``"wrap"`` keeps the low bits.
            which: the parts to cast, as an alternative to None in ``dtype``.

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
        if which is not None:
            pairs = zip(dtypes or [], self._chosen(which, "cast"), strict=True)
            dtypes = [part if selected else None for part, selected in pairs]
        strings.refuse(self, "cast", _WAY, [part is not None for part in dtypes or []])
        return self._with(_internal.cast(self._plan, dtypes or [], casting))

    @recorded
    def scale(
        self,
        mul: Nest[TensorLike] = 1.0,
        add: Nest[TensorLike] = 0.0,
        which: Which = None,
    ) -> Self:
        """``x * mul + add`` in float32. Numbers, product and sum are rounded separately, with the
        same result on every machine.

        Args:
            mul: a number; an array or a list, which broadcasts against the last dimensions of an
                element, such as one number for each channel of an image; or a structure of them
                like the element's, with None for a part to leave unchanged. A tuple is a structure.
            add: as ``mul``. Where only one of them is a structure, it selects the parts.
            which: the parts to scale. None for every part.

        Raises:
            tensorferry.errors.InvalidArgumentError: a part is complex; ``mul`` or ``add`` is not
                finite in float32, or does not broadcast against a part; while iterating, if
                ``element_spec`` does not tell.

        >>> import numpy as np, tensorferry as tfy
        >>> pixels = tfy.Dataset.from_tensor_slices(np.array([0, 255], np.uint8))
        >>> list(pixels.scale(1 / 255, -0.5).as_numpy_iterator())
        [np.float32(-0.5), np.float32(0.5)]

        ``(x - mean) / std`` of each channel:

        >>> mean, std = np.array([2.0, 3.0]), np.array([1.0, 2.0])
        >>> images = tfy.Dataset.from_tensor_slices({"image": np.full((1, 1, 2, 2), 5, np.uint8)})
        >>> scaled = images.scale(1 / std, -mean / std, which="image")
        >>> next(scaled.as_numpy_iterator())["image"]
        array([[[3., 1.],
                [3., 1.]]], dtype=float32)
        """
        if not structures.is_container(mul) and not structures.is_container(add):
            chosen = self._which(which, "scale")
            factors = _factor(mul, "mul"), _factor(add, "add")
            return self._with(_internal.scale(self._plan, *factors, chosen))
        chosen = None if which is None else self._chosen(which, "scale")
        muls = self._factors(mul, "mul")
        adds = self._factors(add, "add")
        count = len(structures.flatten(self._structure))
        pairs: list[Any] = []
        for at in range(count):
            given = (muls and muls[at] is not None) or (adds and adds[at] is not None)
            if not given or (chosen is not None and not chosen[at]):
                pairs.append(None)
                continue
            one = muls[at] if muls else mul
            other = adds[at] if adds else add
            pairs.append(
                (
                    _factor(1.0 if one is None else one, "mul"),
                    _factor(0.0 if other is None else other, "add"),
                )
            )
        strings.refuse(self, "scale", _WAY, pairs)
        return self._with(_internal.scale_each(self._plan, pairs))

    def _factors(self, given: Any, name: str) -> list[Any] | None:
        """The factor of each component, if it is given as a structure."""
        return self._parts(given, "scale", name) if structures.is_container(given) else None

    @recorded
    def one_hot(
        self, depth: SupportsIndex, dtype: DTypeLike = "float32", which: Which = None
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
    def lookup(self, table: TensorLike, which: Which = None) -> Self:
        """Rows of ``table`` in the place of their indices.

        >>> import numpy as np, tensorferry as tfy
        >>> indices = tfy.Dataset.from_tensor_slices([2, 0])
        >>> list(indices.lookup(np.array([10, 20, 30])).as_numpy_iterator())
        [np.int64(30), np.int64(10)]
        """
        rows, _ = reading.source(table, "lookup")
        return self._with(_internal.lookup(self._plan, rows, self._which(which, "lookup")))
