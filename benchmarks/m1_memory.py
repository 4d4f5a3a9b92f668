"""M1: the memory for streaming a file eight times as large as a memory limit of 256 MiB, in
shuffled batches of 1,024 rows.
"""

import tempfile
from pathlib import Path

import numpy as np
import streaming_memory
from numpy.lib.format import open_memmap
from rows import Row
from streams import WIDTH, numbered_rows

MEMORY = 12 << 30
LIMIT = 256 << 20
TIMES = 8
KINDS = {"anonymous": "memory added at the peak", "mapped": "pages of the file mapped"}
#: Modes that read the same file without mapping it, with the default readahead.
READING = ("direct", "read")
NAMES = {
    "numpy": "np.load, rows[order[i:j]]",
    "tensorflow": "tf.data from_tensor_slices.shuffle(buffer).batch",
}


def run(*, quick: bool) -> list[Row]:
    """Rows for the private memory of the process, and for the pages of the mapped file."""
    limit = LIMIT // 8 if quick else LIMIT
    count = limit * TIMES // (WIDTH * 4)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        file = open_memmap(path, mode="w+", dtype=np.int32, shape=(count, WIDTH))
        part = numbered_rows(100_000)
        for start in range(0, count, len(part)):
            file[start : start + len(part)] = part[: count - start]
        del file
        found = {
            candidate: streaming_memory.of(candidate, path, limit)
            for candidate in streaming_memory.CANDIDATES
        }
    expected = -(-count // streaming_memory.BATCH)
    for ours in ("ours", *READING):
        if found[ours]["batches"] != expected:
            raise AssertionError(f"{found[ours]['batches']} batches of {expected}")
    what = f"a file of {TIMES * limit >> 20:,} MiB, shuffled, memory_limit {limit >> 20} MiB"
    rows = []
    for peer, name in NAMES.items():
        for kind, text in KINDS.items():
            rows.append(
                Row(
                    workload="M1",
                    what=f"{what}: {text}",
                    ours=float(found["ours"][kind]),
                    peer_name=name,
                    peer=float(found[peer][kind]),
                    unit="B",
                    target_most=float(limit) if kind == "anonymous" else None,
                )
            )
    return rows + [
        Row(
            workload="M1",
            what=f'{what}, mode="{mode}": memory added at the peak',
            ours=float(found[mode]["anonymous"]),
            peer_name=NAMES["numpy"],
            peer=float(found["numpy"]["anonymous"]),
            unit="B",
            target_most=float(limit),
        )
        for mode in READING
    ]
