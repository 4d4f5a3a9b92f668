"""Conversion of numbers in exact arithmetic: the rules of docs/reference/conversion.md over `int`
and `fractions.Fraction`.
"""

from __future__ import annotations

import math
from fractions import Fraction

from tests.support.arrays import np_dtype

#: Results of a conversion other than a number.
MISFIT, UNDEFINED = "misfit", "undefined"
#: Significant bits, least and greatest exponent.
FORMATS = {
    "float16": (11, -14, 15),
    "bfloat16": (8, -126, 127),
    "float32": (24, -126, 127),
    "float64": (53, -1022, 1023),
}
PARTS = {"complex64": "float32", "complex128": "float64"}


def plain(value):
    """A NumPy or Python number as a Python number."""
    if hasattr(value, "dtype"):
        kind = value.dtype.kind
        value = (
            bool(value)
            if kind == "b"
            else int(value)
            if kind in "iu"
            else complex(value)
            if kind == "c"
            else float(value)
        )
    return value


def nearest(value: Fraction, dtype: str) -> float:
    """The nearest number of a float dtype, ties to even; infinite where it is beyond all."""
    precision, least, greatest = FORMATS[dtype]
    if value == 0:
        return 0.0
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    step = Fraction(2) ** (max(exponent, least) - precision + 1)
    rounded = round(size / step) * step  # Python rounds a Fraction to even
    if rounded >= Fraction(2) ** (greatest + 1):
        return math.inf if value > 0 else -math.inf
    return float(rounded) if value > 0 else -float(rounded)


def expected(value, dtype: str, casting: str):
    """The result of a conversion: a Python number, MISFIT or UNDEFINED."""
    value = plain(value)
    if dtype in PARTS:
        parts = (value.real, value.imag) if isinstance(value, complex) else (value, 0)
        made = [expected(part, PARTS[dtype], casting) for part in parts]
        return MISFIT if MISFIT in made else complex(*made)
    if isinstance(value, complex):
        return UNDEFINED
    if isinstance(value, float) and not math.isfinite(value):
        return _of_no_number(value, dtype, casting)
    exact = Fraction(value)
    if dtype == "bool":
        return MISFIT if casting == "checked" and exact not in (0, 1) else exact != 0
    if dtype in FORMATS:
        made = nearest(exact, dtype)
        if casting == "checked" and (
            math.isinf(made) or (not isinstance(value, float) and Fraction(made) != exact)
        ):
            return MISFIT
        return math.copysign(made, value) if isinstance(value, float) else made
    return _integer(exact, isinstance(value, float), dtype, casting)


def _integer(exact: Fraction, is_float: bool, dtype: str, casting: str):
    bits, signed = np_dtype(dtype).itemsize * 8, np_dtype(dtype).kind == "i"
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if casting == "saturate":
        return min(max(math.trunc(exact), low), high)
    if casting == "wrap":
        return UNDEFINED if is_float else (int(exact) - low) % 2**bits + low
    return int(exact) if exact.denominator == 1 and low <= exact <= high else MISFIT


def _of_no_number(value: float, dtype: str, casting: str):
    """The conversion of an infinity or a NaN."""
    if dtype in FORMATS:
        return value
    if dtype == "bool":
        return MISFIT if casting == "checked" else True
    if casting != "saturate":
        return MISFIT if casting == "checked" else UNDEFINED
    return (
        0
        if math.isnan(value)
        else _integer(Fraction(2) ** 200 * (1 if value > 0 else -1), True, dtype, casting)
    )


def equal(actual, due) -> bool:
    """Whether an array's number equals a Python number, with NaN and the signs of zeros."""
    actual = plain(actual)
    if isinstance(due, complex):
        return equal(actual.real, due.real) and equal(actual.imag, due.imag)
    if isinstance(due, float) and math.isnan(due):
        return math.isnan(actual)
    return actual == due and (
        not isinstance(due, float) or math.copysign(1, actual) == math.copysign(1, due)
    )
