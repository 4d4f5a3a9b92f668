"""Programs in new processes, for code that may end or hang its process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping

# The start of such programs: a slow function, a source, and a count of threads.
PROGRAM = """
import gc, os, signal, sys, threading, time
import numpy as np, tensorferry as tfy

numbers = tfy.Dataset.range(10**12).with_format("numpy")
scalar = tfy.TensorSpec((), "int64")

def slow(x):
    time.sleep(0.05)
    return x

def threads():
    count = 0
    for task in os.listdir("/proc/self/task"):
        try:
            count += open(f"/proc/self/task/{task}/comm").read().strip() == "tensorferry"
        except OSError:
            pass  # it has ended
    return count

def settled(expected):
    for _ in range(6000):
        if threads() == expected:
            return True
        time.sleep(0.01)
    return False
"""

# `limit(kind, more)` lets the process take `more` bytes than it has, by address space or by data.
LIMITED = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    import tensorferry as tfy

    MIB = 1 << 20
    scalar = tfy.TensorSpec((), "int64")

    def limit(kind, more, most=None):
        status = dict(
            line.split(":", 1)
            for line in Path("/proc/self/status").read_text().splitlines()
            if ":" in line
        )
        field, which = {
            "as": ("VmSize", resource.RLIMIT_AS),
            "data": ("VmData", resource.RLIMIT_DATA),
        }[kind]
        used = int(status[field].split()[0]) * 1024
        resource.setrlimit(which, (used + more, used + more if most is None else most))
"""

# A thread that counts up. With a huge switch interval it counts only while the main thread has
# released the GIL by itself.
COUNTING = """
import sys, threading, time

count, stop, started = 0, False, threading.Event()

def count_up():
    global count
    started.set()
    while not stop:
        count += 1
        time.sleep(0)  # releases the GIL

sys.setswitchinterval(1000)
thread = threading.Thread(target=count_up)
thread.start()
started.wait()
"""


def run_python(
    code: str, *arguments: str, timeout: float = 120, environment: Mapping[str, str] | None = None
) -> str:
    """Runs code in a new process, with additions to this environment, and returns its output. An
    abort of the process fails this test only.
    """
    process = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=os.environ | (environment or {}),
    )
    assert process.returncode == 0, (
        f"exit status {process.returncode}\n{process.stdout}\n{process.stderr[-4000:]}"
    )
    return process.stdout


def program(code: str, timeout: float = 120) -> str:
    """Runs code after `PROGRAM` in a new process."""
    return run_python(PROGRAM + textwrap.dedent(code), timeout=timeout)
