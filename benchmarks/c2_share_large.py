"""C2: as C1, for 1 GiB. The time must not grow with the array, and the memory must not grow."""

import memory_growth
import numpy as np
import tensorferry
import tensorflow as tf
from harness import interleave, medians
from peers import aligned, frozen, is_shared, require_equal
from rows import Row, quantity

MEMORY = 5 << 30
NBYTES = 1 << 30
SMALL = 100
IDIOM = "aligned from_dlpack(a.__dlpack__())"
DEFAULT = "tf.convert_to_tensor(a)"
FEW = f"ours, {SMALL} elements"
SLACK = 1 << 20
"""The size of a process varies by some pages. Growth below this counts as none."""

NAMES = {
    "default": DEFAULT,
    "default, as NumPy aligns": f"{DEFAULT}, a as NumPy aligns it",
    "idiom": IDIOM,
}


def run(*, quick: bool) -> list[Row]:
    """Rows for the time and for the peak memory."""
    nbytes = NBYTES // 8 if quick else NBYTES
    return _times(nbytes, 5 if quick else 7) + _growth(nbytes)


def _times(nbytes: int, repetitions: int) -> list[Row]:
    large, small = frozen(nbytes // 4, np.int32), frozen(SMALL, np.int32)
    writable = aligned(nbytes // 4, np.int32)
    namespace = {
        "ours": tensorferry.convert_to_tensor,
        "from_dlpack": tf.experimental.dlpack.from_dlpack,
        "default": tf.convert_to_tensor,
        "large": large,
        "small": small,
        "writable": writable,
    }
    statements = {
        "ours": "ours(large)",
        FEW: "ours(small)",
        IDIOM: "from_dlpack(writable.__dlpack__())",
        DEFAULT: "default(writable)",
    }
    samples = interleave(statements, namespace, repetitions=repetitions)
    tensor = tensorferry.convert_to_tensor(large)
    require_equal(tensor, large)
    if not is_shared(tensor, large):
        raise AssertionError("expected a shared tensor")
    times = medians(samples)
    targets = {FEW: 1 / 1.25, IDIOM: 1 / 1.5, DEFAULT: 5.0}
    return [
        Row(
            workload="C2",
            what=f"{_size(nbytes)} of int32, time",
            ours=times["ours"],
            peer_name=peer,
            peer=times[peer],
            target=target,
            bound=(
                f"what a call costs whatever the array: with {SMALL} elements it takes "
                f"{quantity(times[FEW], 's')}"
            ),
            samples={"ours": samples["ours"], "peer": samples[peer]},
        )
        for peer, target in targets.items()
    ]


def _growth(nbytes: int) -> list[Row]:
    grown = {
        candidate: memory_growth.of(candidate, nbytes) for candidate in memory_growth.CANDIDATES
    }
    return [
        Row(
            workload="C2",
            what=f"{_size(nbytes)} of int32, memory added at the peak",
            ours=float(grown["ours"]),
            peer_name=NAMES[candidate],
            peer=float(grown[candidate]),
            unit="B",
            target_most=float(SLACK),
        )
        for candidate in memory_growth.CANDIDATES
        if candidate != "ours"
    ]


def _size(nbytes: int) -> str:
    return f"{nbytes >> 20} MiB" if nbytes < 1 << 30 else f"{nbytes >> 30} GiB"
