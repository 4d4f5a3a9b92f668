"""C3: int64 to int32, 2^27 elements, every value checked.

Memory is the limit, so the bar is memcpy's bytes per second, read and written: a conversion reads 8
bytes and writes 4 per element. All candidates use the same source and, if the caller can choose it,
the same warm target.
"""

from concurrent.futures import ThreadPoolExecutor

import machine
import numpy as np
import tensorferry
import tensorflow as tf
from harness import interleave, medians
from peers import aligned, memcpy, memcpy_in_threads, min_max_astype, require_equal
from rows import Row, quantity

MEMORY = 4 << 30
LENGTH = 1 << 27
DEFAULT = "tf.convert_to_tensor(a, dtype=) (unchecked)"
IDIOM = "min, max, astype"
UNCHECKED = "np.copyto(casting='unsafe')"
MEMCPY = "memcpy (libc)"
NUMPY_MEMCPY = "np.copyto, same dtype"
THREADED = "memcpy on every core"
INTO = "convert_into warm memory"
TENSOR = "convert_to_tensor(a, dtype='int32')"


def run(*, quick: bool) -> list[Row]:
    """Rows for a new tensor and for the caller's memory, in time and in bytes per second."""
    length = LENGTH // 8 if quick else LENGTH
    source, target = aligned(length, np.int64), aligned(length, np.int32)
    with ThreadPoolExecutor(machine.cores()) as pool:
        statements = {
            TENSOR: lambda: tensorferry.convert_to_tensor(source, dtype="int32"),
            INTO: lambda: tensorferry.convert_into(source, target),
            DEFAULT: lambda: tf.convert_to_tensor(source, dtype=tf.int32),
            IDIOM: lambda: min_max_astype(source, np.int32),
            UNCHECKED: lambda: np.copyto(target, source, casting="unsafe"),
            MEMCPY: lambda: memcpy(target, source),
            NUMPY_MEMCPY: lambda: np.copyto(target.view(np.int64), source[: length // 2]),
            THREADED: lambda: memcpy_in_threads(target, source, pool, machine.cores()),
        }
        samples = interleave(statements, repetitions=5 if quick else 9)
    _check(source, target)
    times = medians(samples)
    moved = {
        MEMCPY: 2 * target.nbytes,
        NUMPY_MEMCPY: 2 * target.nbytes,
        THREADED: 2 * target.nbytes,
    }
    speed = {
        name: moved.get(name, source.nbytes + target.nbytes) / time for name, time in times.items()
    }
    bound = (
        f"memory: memcpy on all {machine.cores()} cores moves {quantity(speed[THREADED], 'B/s')}"
    )
    what = f"{length:,} int64 -> int32, "

    def row(ours: str, peer: str, target: float | None, unit: str) -> Row:
        figures = times if unit == "s" else speed
        return Row(
            "C3",
            what + ours,
            figures[ours],
            peer,
            figures[peer],
            unit,
            target,
            bound=bound,
            samples={"ours": samples[ours], "peer": samples[peer]},
        )

    return [
        row(TENSOR, DEFAULT, 1.0, "s"),
        row(TENSOR, IDIOM, 1.0, "s"),
        row(TENSOR, UNCHECKED, 1.0, "s"),
        row(TENSOR, MEMCPY, 0.9, "B/s"),
        row(INTO, UNCHECKED, 1.0, "s"),
        row(INTO, MEMCPY, 0.9, "B/s"),
        row(INTO, NUMPY_MEMCPY, 0.9, "B/s"),
        row(INTO, THREADED, None, "B/s"),
    ]


def _check(source: np.ndarray, target: np.ndarray) -> None:
    expected = source.astype(np.int32)
    require_equal(tensorferry.convert_to_tensor(source, dtype="int32"), expected)
    target[...] = 0
    tensorferry.convert_into(source, target)
    require_equal(target, expected)
