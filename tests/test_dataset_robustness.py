"""Datasets where things go wrong: iterators dropped anywhere, interpreters that end, signals, forks, threads, errors, memory."""

from __future__ import annotations

import pytest
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
    names = [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]
    return names.count("tensorferry")

def settled(expected):
    for _ in range(400):
        if threads() == expected:
            return True
        time.sleep(0.01)
    return False
"""


def program(code: str, timeout: float = 120) -> str:
    """Runs code after `PROGRAM` in a process of its own."""
    import textwrap

    return run_python(PROGRAM + textwrap.dedent(code), timeout=timeout)


# An interpreter that takes its time to end: other threads come back to it meanwhile.
ENDS_SLOWLY = """
class Lingers:
    def __del__(self, sleep=time.sleep):
        sleep({seconds})

sys.lingers = Lingers()
"""


@pytest.mark.parametrize(("function", "end"), [(0.05, 0.5), (1.3, 1.5)], ids=["that returns", "that goes on"])
def test_an_interpreter_ends_while_threads_are_in_a_function(function, end):
    out = program(
        ENDS_SLOWLY.format(seconds=end)
        + f"""
def function(x):
    time.sleep({function} if x else 0)
    return x

def generator():
    for i in range(1000):
        yield function(i)

def consume(dataset):
    for _ in dataset:
        pass

mapped = iter(numbers.map(function, output_signature=scalar).prefetch(3))
filtered = iter(numbers.filter(lambda x: function(x) >= 0).prefetch(3))
generated = iter(tfy.Dataset.from_generator(generator, output_signature=scalar).with_format("numpy").prefetch(3))
next(mapped), next(filtered), next(generated)
inline = numbers.map(function, output_signature=scalar)
for dataset in (inline, inline.prefetch(2), numbers.batch(10**6), numbers.repeat().unique()):
    threading.Thread(target=consume, args=(dataset,), daemon=True).start()
time.sleep(0.1)
print("main ends")
"""
    )
    assert out == "main ends\n"
