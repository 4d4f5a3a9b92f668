"""C6: repeated convert_into of 1,000 elements: the median, the tail, and the allocations.

Every call is timed separately, because a mean hides the tail; `clock_cost` is the overhead of the
clock.
"""

from functools import partial

import allocations
import numpy as np
import tensorferry
from harness import clock_cost, latencies, percentile
from peers import aligned, require_equal
from rows import Row, quantity

MEMORY = 64 << 20
LENGTH = 1000
PAIRS = (("int64", "int32"), ("int32", "int64"), ("int32", "int32"))
COPYTO = "np.copyto(casting='unsafe')"
PERCENTS = (50, 99, 99.9)


def run(*, quick: bool) -> list[Row]:
    """Rows for each percentile and for the allocations."""
    pairs = PAIRS[:1] if quick else PAIRS
    rows = [
        row
        for source, target in pairs
        for row in _latency(source, target, blocks=40 if quick else 200)
    ]
    return rows + _allocations(LENGTH)


def _latency(source_name: str, target_name: str, blocks: int) -> list[Row]:
    source, target = aligned(LENGTH, source_name), aligned(LENGTH, target_name)
    ours, theirs = tensorferry.convert_into, np.copyto
    calls = {
        "ours": partial(ours, source, target),
        COPYTO: partial(theirs, target, source, "unsafe"),
    }
    found = latencies(calls, (), blocks=blocks, calls_per_block=500)
    target[...] = 0
    ours(source, target)
    require_equal(target, source)
    bound = f"the clock itself is {quantity(clock_cost() * 1e-9, 's')} of each figure"
    rows = []
    for percent in PERCENTS:
        figures = {name: percentile(values, percent) * 1e-9 for name, values in found.items()}
        rows.append(
            Row(
                workload="C6",
                what=f"convert_into, 1,000 {source_name} -> {target_name}, p{percent}",
                ours=figures["ours"],
                peer_name=COPYTO,
                peer=figures[COPYTO],
                target=1.0 if percent == 50 else None,
                bound=bound,
            )
        )
    return rows


def _allocations(length: int) -> list[Row]:
    found = allocations.requests_per_call(length)
    if found is None:
        print("C6: allocations are not counted here: that takes glibc and a C compiler")
        return []
    what = f"convert_into, {length:,} int64 -> int32, requests for memory per call"
    return [
        Row("C6", what, found["ours"], COPYTO, found["peer"], unit="requests", target_most=0.01)
    ]
