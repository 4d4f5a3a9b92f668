"""The memory of a process that streams a file in shuffled batches. Runs as a program in a new
process.

Rationale: private memory (RssAnon) cannot be reclaimed while the process runs. The pages of a
mapped file belong to the page cache, which the kernel can drop; they are reported separately
(RssFile).

Limitations: Linux only, because it reads /proc. The kernel keeps no high-water mark of RssAnon, so
it is sampled after every batch, and regularly after a pause in which readahead fills up.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

CANDIDATES = ("ours", "direct", "read", "numpy", "tensorflow")
BATCH = 1024
PAUSES = 20


def of(candidate: str, path: Path, limit: int) -> dict[str, int]:
    """Bytes added at the peak: `anonymous` and `mapped`; and `batches`, how many were read."""
    command = [sys.executable, __file__, candidate, str(path), str(limit)]
    found = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return json.loads(found.stdout.splitlines()[-1])


def _ours(path: str, limit: int) -> Callable[[], Iterable[object]]:
    import tensorferry

    def open_and_shuffle() -> Iterable[object]:
        # Requests far more readahead than the limit allows.
        rows = tensorferry.Dataset.from_tensor_slices(tensorferry.open_npy(path))
        dataset = rows.shuffle(seed=7).batch(BATCH).prefetch(1 << 20).with_format("numpy")
        return dataset.with_options(tensorferry.Options(memory_limit=limit))

    return open_and_shuffle


def _reading(
    mode: Literal["direct", "read"],
) -> Callable[[str, int], Callable[[], Iterable[object]]]:
    def ours(path: str, limit: int) -> Callable[[], Iterable[object]]:
        import tensorferry

        def open_and_shuffle() -> Iterable[object]:
            # With the default readahead.
            rows = tensorferry.Dataset.from_tensor_slices(tensorferry.open(Path(path), mode=mode))
            dataset = rows.shuffle(seed=7).batch(BATCH).with_format("numpy")
            return dataset.with_options(tensorferry.Options(memory_limit=limit))

        return open_and_shuffle

    return ours


def _numpy(path: str, limit: int) -> Callable[[], Iterable[object]]:
    import numpy as np

    def load_and_shuffle() -> Iterable[object]:
        rows = np.load(path)
        order = np.random.default_rng(7).permutation(len(rows))
        return (rows[order[start : start + BATCH]] for start in range(0, len(rows), BATCH))

    return load_and_shuffle


def _tensorflow(path: str, limit: int) -> Callable[[], Iterable[object]]:
    import numpy as np
    import tensorflow as tf

    def slices() -> Iterable[object]:
        rows = np.load(path, mmap_mode="r")
        # A buffer within the limit, so not a shuffle of the whole file.
        buffer = limit // 2 // rows[0].nbytes
        return tf.data.Dataset.from_tensor_slices(rows).shuffle(buffer).batch(BATCH).take(200)

    return slices


def _measure(candidate: str, path: str, limit: int) -> dict[str, int]:
    ours = {"ours": _ours, "direct": _reading("direct"), "read": _reading("read")}
    make = (ours | {"numpy": _numpy, "tensorflow": _tensorflow})[candidate](path, limit)
    before = _status()
    peak = dict(before)
    batches = 0
    expected = max(1, Path(path).stat().st_size // (BATCH * 400) // PAUSES)
    for _ in make():
        batches += 1
        if batches % expected == 0:
            time.sleep(0.05)
        for field, value in _status().items():
            peak[field] = max(peak[field], value)
    return {field: peak[field] - before[field] for field in peak} | {"batches": batches}


def _status() -> dict[str, int]:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        name: int(fields[field].split()[0]) * 1024
        for name, field in (("anonymous", "RssAnon"), ("mapped", "RssFile"))
    }


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
