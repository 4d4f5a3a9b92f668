"""Functions for worker processes, which import them from this module."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

kept: list[Any] = []


def triple(x):
    return x * 3


def uneven(x):
    time.sleep(int(x) * 7 % 5 / 2000)
    return x * 3


def process(x):
    time.sleep(0.002)
    return os.getpid()


def images(element):
    """A structure, with large and empty arrays, scalars, and a part of the argument itself."""
    rows = element["rows"]
    return {
        "rows": rows,
        "first": rows[:1],
        "none": rows[:0],
        "big": np.full((200, 100), float(element["n"]), np.float32),
        "n": int(element["n"]),
    }


def keeps(x):
    """Keeps its argument, which must not change afterwards."""
    kept.append(x)
    return np.array([int(value.sum()) for value in kept[-5:]][:1] * 2)


def sums(x):
    return x.sum()


class OddError(Exception):
    """An exception that pickle cannot make again."""

    def __init__(self, number, word):
        super().__init__(f"{word} {number}")


def fails(x):
    if int(x) == 3:
        raise LookupError("no three")
    if int(x) == 5:
        raise OddError(5, "odd")
    return x


def too_big(x):
    return 2**40 if int(x) == 1 else 1


def dies_at_three(x):
    if int(x) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def dies_once(directory, x):
    """Is killed for each tenth element, the first time."""
    mark = Path(directory) / f"{int(x)}"
    if int(x) % 10 == 3:
        with contextlib.suppress(FileExistsError):
            mark.touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(random.random() / 500)
    return x


def forever(x):
    while int(x) >= 2:
        time.sleep(0.01)
    return x


def quick(x):
    return x * 3


def short(x):
    time.sleep(0.002)
    return x * 3


def first(x):
    return int(np.asarray(x).ravel()[0])


def first_half(x):
    return x[: len(x) // 2]


def fails_at_hundreds(x):
    if int(x) % 100 == 99:
        raise LookupError(f"no {int(x)}")
    return x


def as_many(x):
    return np.full(int(x) % 5, int(x))


def large(x):
    return np.full(20_000, float(x))


def exits(x):
    if int(x) == 3:
        os._exit(7)
    return x


def leaves(x):
    if int(x) == 3:
        raise SystemExit(3)
    return x


def adds_in_python(x):
    total = int(x)
    for step in range(4_000):
        total += step
    return total


def adds_long_in_python(x):
    total = int(x)
    for step in range(400_000):
        total += step
    return total


def compresses(x):
    return len(zlib.compress(bytes(100_000), 9))


def sleeps(x):
    time.sleep(0.002)
    return x


def adds_one(x):
    return x + 1
