"""Programs of their own, for what might end or hang the process that runs the tests."""

from __future__ import annotations

import textwrap

from conftest import run_python

# What every program of its own starts with: a function that takes its time, and a source for it.
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
    for _ in range(400):
        if threads() == expected:
            return True
        time.sleep(0.01)
    return False
"""


def program(code: str, timeout: float = 120) -> str:
    """Runs code after `PROGRAM` in a process of its own."""
    return run_python(PROGRAM + textwrap.dedent(code), timeout=timeout)
