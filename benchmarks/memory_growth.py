"""The growth of a process's memory in one call. Runs as a program in a new process.

Rationale: the peak is a property of a whole process, so each candidate gets a new one. The kernel's
high-water mark (VmHWM) is reset just before the call, so that imports and set-up do not count.

Limitations: Linux only, because it reads /proc.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

CANDIDATES = ("ours", "default", "default, as NumPy aligns", "idiom")


def of(candidate: str, nbytes: int) -> int:
    """Bytes by which one call on an int32 array of `nbytes` raises the peak, in a new process."""
    command = [sys.executable, __file__, candidate, str(nbytes)]
    found = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return int(found.stdout.split()[-1])


def _measure(candidate: str, nbytes: int) -> int:
    import numpy as np
    import tensorferry
    import tensorflow as tf
    from peers import aligned, at_offset, frozen

    length = nbytes // 4
    if candidate == "ours":
        array, call = frozen(length, np.int32), tensorferry.convert_to_tensor
    elif candidate == "idiom":
        array, call = aligned(length, np.int32), _from_dlpack
    else:
        array = at_offset(length, np.int32, 0 if candidate == "default" else 16)
        call = tf.convert_to_tensor
    for small in (
        frozen(4, np.int32),
        aligned(4, np.int32),
    ):  # excludes imports and set-up
        tensorferry.convert_to_tensor(small)
        tf.convert_to_tensor(small)
    _from_dlpack(aligned(4, np.int32))
    return _peak_of(lambda: call(array))


def _from_dlpack(array: object) -> object:
    import tensorflow as tf

    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())  # type: ignore[attr-defined]


def _peak_of(call: Callable[[], object]) -> int:
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    tensor = call()
    peak = status("VmHWM")
    del tensor
    return max(0, peak - before)


def status(field: str) -> int:
    """A number of bytes of this process that the system knows, such as VmRSS."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


if __name__ == "__main__":
    print(_measure(sys.argv[1], int(sys.argv[2])))
