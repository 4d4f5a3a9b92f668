"""Results do not depend on the level of vector instructions that TENSORFERRY_CPU_LEVEL sets."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tensorferry import _internal

KNOWN = ["baseline", "avx2", "avx512"]
HERE = KNOWN[: KNOWN.index(_internal.cpu_level()) + 1]

#: Prints the level, and a hash of the results of conversions, ranges and native maps.
PROGRAM = """
import hashlib, itertools, warnings
import numpy as np
import tensorferry as tfy
from tensorferry import _internal

warnings.simplefilter("ignore")
digest = hashlib.sha256()
random = np.random.default_rng(1)
dtypes = ["bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))]
dtypes += ["float16", "float32", "float64"]
arrays = []
for dtype in dtypes:
    large = random.integers(0, 256, 3000 * np.dtype(dtype).itemsize, np.uint8).view(dtype)
    small = random.integers(0, 2 if dtype == "bool" else 100, 1300).astype(dtype)
    large = np.nan_to_num(large) if "float" in dtype else large
    arrays += [large != 0 if dtype == "bool" else large, small]
for array, dtype in itertools.product(arrays, dtypes):
    for casting in ("checked", "saturate", "wrap"):
        try:
            digest.update(np.asarray(tfy.tensor(array, dtype, casting=casting)).tobytes())
        except (ValueError, TypeError, OverflowError) as error:
            digest.update(str(error).encode())
for array in arrays:
    digest.update(repr([tfy.value_range(array), str(tfy.smallest_dtype(array[:0]))]).encode())
images = random.integers(0, 256, (40, 9, 8, 3), np.uint8)
labels = random.integers(0, 10, 40)
for dtype in dtypes:
    rows = tfy.Dataset.from_tensor_slices((images.astype(dtype), labels)).shuffle(seed=2)
    for changed in (
        rows.scale(1 / 255, -0.1),
        rows.scale((np.array([0.1, 0.2, 0.3]), None), (np.array([1, 2, 3]), None)),
        rows.flip((0, 1), seed=3, which=(True, False)),
        rows.random_crop((5, 5), seed=3, which=(True, False)),
        rows.pad_to((10, 9, 3), 1, which=(True, False)),
        rows.one_hot(10, dtype, which=(False, True)),
        rows.lookup(np.arange(30).reshape(10, 3).astype(dtype), which=(False, True)),
    ):
        for part in changed.batch(16).with_format("numpy"):
            for array in part:
                digest.update(np.ascontiguousarray(array).tobytes())
print(_internal.cpu_level(), digest.hexdigest())
"""


def run(level: str, program: str = PROGRAM) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TENSORFERRY_CPU_LEVEL": level}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )


def test_every_level_gives_the_same_results() -> None:
    found = {level: run(level).stdout.split() for level in HERE}
    assert {level: name for level, (name, _) in found.items()} == {level: level for level in HERE}
    assert len({digest for _, digest in found.values()}) == 1


NAMED = "import tensorferry; print(tensorferry._internal.cpu_level())"


@pytest.mark.parametrize("level", ["", "AVX512", " avx512 "])
def test_the_highest_level_is_at_most_that_of_the_cpu(level: str) -> None:
    done = run(level, NAMED)
    assert (done.stdout.strip(), done.stderr) == (HERE[-1], "")


def test_an_unknown_level_is_a_warning() -> None:
    done = run("sse9", NAMED)
    assert done.stdout.strip() == HERE[-1]
    assert 'TENSORFERRY_CPU_LEVEL="sse9" has no effect' in done.stderr
    assert '"baseline", "avx2" or "avx512"' in done.stderr
