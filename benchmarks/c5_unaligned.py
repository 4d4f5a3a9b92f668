"""C5: a misaligned array of 64 MiB to a tensor: one copy into aligned, recycled memory."""

from concurrent.futures import ThreadPoolExecutor

import machine
import numpy as np
import tensorferry
import tensorflow as tf
from harness import interleave, medians
from peers import aligned, at_offset, memcpy, memcpy_in_threads, require_equal
from rows import Row, quantity

MEMORY = 512 << 20
LENGTH = 16 << 20
OFFSETS = {"as NumPy aligns it (16 of 64 bytes)": 16, "in a packed field (1 of 4 bytes)": 1}
DEFAULT = "tf.convert_to_tensor(a)"
COPYTO = "np.copyto to aligned warm memory"
MEMCPY = "memcpy (libc) to the same"
THREADED = "memcpy on every core"
OURS = "ours"


def run(*, quick: bool) -> list[Row]:
    """Rows for the usual misalignment and for the worst."""
    return [
        row
        for what, offset in OFFSETS.items()
        for row in _rows(what, offset, repetitions=7 if quick else 15)
    ]


def _rows(what: str, offset: int, repetitions: int) -> list[Row]:
    source, target = at_offset(LENGTH, np.int32, offset), aligned(LENGTH, np.int32)
    with ThreadPoolExecutor(machine.cores()) as pool:
        statements = {
            OURS: lambda: tensorferry.convert_to_tensor(source),
            DEFAULT: lambda: tf.convert_to_tensor(source),
            COPYTO: lambda: np.copyto(target, source),
            MEMCPY: lambda: memcpy(target, source),
            THREADED: lambda: memcpy_in_threads(target, source, pool, machine.cores()),
        }
        samples = interleave(statements, repetitions=repetitions)
    require_equal(tensorferry.convert_to_tensor(source), source)
    times = medians(samples)
    bound = f"memory: memcpy on all {machine.cores()} cores takes {quantity(times[THREADED], 's')}"
    targets = {DEFAULT: 1.0, COPYTO: 1.0, MEMCPY: 1.0, THREADED: None}
    return [
        Row(
            workload="C5",
            what=f"64 MiB of int32 {what}",
            ours=times[OURS],
            peer_name=peer,
            peer=times[peer],
            target=wanted,
            bound=bound,
            samples={"ours": samples[OURS], "peer": samples[peer]},
        )
        for peer, wanted in targets.items()
    ]
