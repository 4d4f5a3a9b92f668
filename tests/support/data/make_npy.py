"""Writes the .npy files in tests/support/data/npy with NumPy itself. Run it again only to add
files: the existing ones are pinned.

Element i (counted in row-major order) of every array is: for bool, whether i is a multiple of 3;
for unsigned integers, i; for signed integers, i - 5; for floats, (i - 5) / 2; for complex numbers,
(i - 5) / 2 + i j.
"""

from pathlib import Path

import numpy as np
from numpy.lib import format as npy

HERE = Path(__file__).parent / "npy"
DTYPES = (
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 "
    "complex64 complex128"
).split()


def array(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    i = np.arange(np.prod(shape, dtype=int))
    kind = np.dtype(dtype).kind
    values = {"b": i % 3 == 0, "u": i, "i": i - 5, "f": (i - 5) / 2, "c": (i - 5) / 2 + i * 1j}[
        kind
    ]
    return values.astype(dtype).reshape(shape)


def write(name: str, value: np.ndarray, version: tuple[int, int] = (1, 0)) -> None:
    with (HERE / f"{name}.npy").open("wb") as file:
        npy.write_array(file, value, version=version, allow_pickle=False)


def main() -> None:
    HERE.mkdir(exist_ok=True)
    for dtype in DTYPES:
        write(f"{dtype}_2x3", array(dtype, (2, 3)))
        if np.dtype(dtype).itemsize > 1:
            write(
                f"{dtype}_2x3_big", array(dtype, (2, 3)).astype(np.dtype(dtype).newbyteorder(">"))
            )
    write("int32_2x3_v2", array("int32", (2, 3)), (2, 0))
    write("int32_2x3_v3", array("int32", (2, 3)), (3, 0))
    write("float64_3x4_fortran", np.asfortranarray(array("float64", (3, 4))))
    write("int16_2x3x4_fortran_big", np.asfortranarray(array("int16", (2, 3, 4)).astype(">i2")))
    write("int64_scalar", array("int64", ()))
    write("float32_0", array("float32", (0,)))
    write("float32_3x0x2", array("float32", (3, 0, 2)))
    write("uint8_rank_32", array("uint8", (1,) * 31 + (2,)))
    # A header longer than a page, as a writer that leaves room for growth may make it.
    header = b"{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }"
    header = header.ljust(5120 - 10 - 1) + b"\n"
    data = (
        npy.magic(1, 0)
        + len(header).to_bytes(2, "little")
        + header
        + array("int32", (2, 3)).tobytes()
    )
    (HERE / "int32_2x3_long_header.npy").write_bytes(data)


if __name__ == "__main__":
    main()
