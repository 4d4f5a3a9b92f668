"""Write docs/reference/conversion.md from the behaviour of the code. With --check, fail if the page
differs.

Every dtype's edge values are converted, one at a time, to every dtype under every casting, and
compared exactly with the input.
"""

import itertools
import math
import sys
from fractions import Fraction
from pathlib import Path

import ml_dtypes
import numpy as np
import tensorferry

PAGE = Path(__file__).parents[1] / "docs/reference/conversion.md"
DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
)
CASTINGS = {
    "checked": "The default: a value that the target cannot hold is an error.",
    "saturate": "A value that the target cannot hold becomes the nearest one that it can.",
    "wrap": "Integers wrap in two's complement, as in NumPy's `astype` and in TensorFlow.",
}
LEGEND = """\
| cell | what happens to the values |
|---|---|
| same | every value of the source dtype stays unchanged |
| error | a value stays unchanged or is an error |
| round | nearest value of the target, ties to even; infinite beyond its range |
| round! | nearest value of the target; a finite value that would become infinite is an error |
| clamp | fractions are truncated, values out of range become the nearest bound, NaN becomes 0 |
| wrap | modulo 2 to the power of the target's bits |
| != 0 | false for zero, true for everything else |
| - | not defined: always an error |
"""


def numpy_dtype(name: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def edge_values(name: str) -> np.ndarray:
    """Both ends of the dtype, the neighbours of every power of two, halves, infinities, NaN."""
    dtype = numpy_dtype(name)
    if dtype == np.bool_:
        return np.array([False, True])
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        powers = [
            sign * 2**bit + near for bit in range(65) for near in (-1, 0, 1) for sign in (-1, 1)
        ]
        return np.array(sorted({value for value in powers if info.min <= value <= info.max}), dtype)
    if np.issubdtype(dtype, np.complexfloating):
        part = edge_values("float32" if name == "complex64" else "float64")
        return np.array(
            [complex(re, im) for re, im in [*((v, 0.0) for v in part), *((1.0, v) for v in part)]],
            dtype,
        )
    info = ml_dtypes.finfo(dtype)
    powers = [
        sign * 2.0**exponent * near
        for exponent in range(-30, 70)
        for near in (1, 1.25, 1 + 2**-20)
        for sign in (-1, 1)
    ]
    ends = [
        0.0,
        0.1,
        math.inf,
        -math.inf,
        math.nan,
        float(info.max),
        float(info.min),
        float(info.smallest_subnormal),
    ]
    with np.errstate(over="ignore"):
        return np.array(powers + ends, np.float64).astype(dtype)


def exact(value: np.generic) -> tuple[Fraction | str, Fraction | str]:
    """The number as its real and imaginary part."""
    if np.issubdtype(value.dtype, np.complexfloating):
        return exact(value.real)[0], exact(value.imag)[0]
    if value.dtype.kind in "biu":
        return Fraction(int(value)), Fraction(0)
    number = float(value)
    return (Fraction(number) if math.isfinite(number) else str(number)), Fraction(0)


def cell(source: str, target: str, casting: str) -> str:
    """The behaviour of the code for the source's edge values."""
    same = changed = refused = 0
    for value in edge_values(source):
        array = np.array(value)
        try:
            result = tensorferry.tensor(array, target, casting=casting).numpy()[()]
        except tensorferry.errors.ValueOverflowError:
            refused += 1
        except tensorferry.errors.InvalidTypeError:
            return "-"
        else:
            kept = exact(result) == exact(array[()])
            same, changed = same + kept, changed + (not kept)
    if not changed:
        return "error" if refused else "same"
    if target == "bool":
        return "!= 0"
    if numpy_dtype(target).kind in "iu":
        return "wrap" if casting == "wrap" else "clamp"
    return "round!" if refused else "round"


def table(casting: str) -> str:
    lines = ["| from \\ to | " + " | ".join(DTYPES) + " |", "|---" * (len(DTYPES) + 1) + "|"]
    cells = {pair: cell(*pair, casting) for pair in itertools.product(DTYPES, repeat=2)}
    lines += [
        f"| **{source}** | " + " | ".join(cells[source, target] for target in DTYPES) + " |"
        for source in DTYPES
    ]
    return "\n".join(lines)


def page() -> str:
    parts = [
        "# Conversion results",
        "This page lists what becomes of the values for each pair of dtypes, under each casting.\n"
        "[Casting](../concepts/casting.md) explains the rules. `make docs` generates this page "
        "from the\nbehaviour of the code (tools/conversion_table.py).",
        LEGEND.strip(),
    ]
    for casting, meaning in CASTINGS.items():
        parts += [f'## casting="{casting}"', meaning, table(casting)]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    if sys.argv[1:] == ["--check"]:
        if PAGE.read_text() != page():
            raise SystemExit(f"{PAGE.name} is out of date. Run `make docs` and review the changes.")
    else:
        PAGE.write_text(page())


if __name__ == "__main__":
    main()
