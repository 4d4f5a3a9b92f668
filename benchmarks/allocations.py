"""The allocations of a call, counted from outside. Runs as a program in a new process.

Rationale: "allocates nothing" is a statement about every allocator. With PYTHONMALLOC=malloc,
CPython requests each object from the C library, as Rust does by default, and a preloaded shim
counts the requests.

Limitations: it needs glibc and a C compiler. Objects from CPython's free lists (floats, frames) are
recycled and not counted.
"""

import ctypes
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CALLS = 10_000
SHIM = Path(__file__).with_name("count_allocations.c")


def requests_per_call(length: int) -> dict[str, float] | None:
    """Requests for memory per call of convert_into and of np.copyto, or None if they cannot be
    counted.
    """
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "count_allocations.so")
        built = subprocess.run(
            [compiler, "-O2", "-shared", "-fPIC", "-o", library, SHIM],
            capture_output=True,
            check=False,
        )
        if built.returncode != 0:
            return None
        environment = os.environ | {"LD_PRELOAD": str(library), "PYTHONMALLOC": "malloc"}
        command = [sys.executable, __file__, str(length)]
        found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    ours, peer = found.stdout.split()[-2:]
    return {"ours": float(ours), "peer": float(peer)}


def _count(length: int) -> None:
    import numpy as np
    import tensorferry

    requests = ctypes.CDLL(None).allocation_requests
    requests.restype = ctypes.c_ulong
    source, target = np.arange(length, dtype=np.int64), np.zeros(length, np.int32)
    calls = (
        lambda: tensorferry.convert_into(source, target),
        lambda: np.copyto(target, source, casting="unsafe"),
    )
    for call in calls:
        for _ in range(100):
            call()
        before = requests()
        for _ in itertools.repeat(None, CALLS):  # range would allocate an int for each
            call()
        after = requests()
        print((after - before) / CALLS)


if __name__ == "__main__":
    _count(int(sys.argv[1]))
