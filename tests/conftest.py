"""What every test file shares: the frameworks, the dtypes, and a process of its own for what might
end one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# The machine that runs the tests may be busy: no deadline, and the same examples in every run.
settings.register_profile(
    "tests",
    deadline=None,
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")

# Where the tests run in the background of a shell, Ctrl-C is ignored, and would be by the processes
# that they start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

NAMES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


# : NumPy 1.26 prints scalars in another way, has fewer dimensions, and copies where it cannot say
# that memory is read-only.
NUMPY_2 = np.lib.NumpyVersion(np.__version__) >= "2.0.0"
MOST_DIMENSIONS = 64 if NUMPY_2 else 32
numpy_2 = pytest.mark.skipif(not NUMPY_2, reason="of NumPy 2")


def np_dtype(name: str) -> np.dtype:
    """The NumPy dtype of that name; bfloat16 is ml_dtypes'."""
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def address(array) -> int:
    """Where the first element lies. (Not of `tf.Tensor.numpy()`, which is always a copy: of the
    tensor itself.)"""
    return np.asarray(array).__array_interface__["data"][0]


def at_offset(values, offset: int) -> np.ndarray:
    """A C-contiguous copy of the values that starts `offset` bytes after a multiple of 64."""
    values = np.asarray(values)
    memory = np.zeros(values.nbytes + 192, np.uint8)
    start = -address(memory) % 64 + offset
    array = memory[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    array[...] = values
    assert array.size == 0 or address(array) % 64 == offset % 64
    return array


def freeze(array: np.ndarray) -> np.ndarray:
    """Makes an array and all the arrays it is a view of read-only."""
    base = array
    while isinstance(base, np.ndarray):
        base.flags.writeable = False
        base = base.base
    return array


def same(actual, expected) -> None:
    """Same dtype (in either byte order), same shape, same values; NaN is NaN."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    native = expected.astype(expected.dtype.newbyteorder("="))
    actual = actual.astype(actual.dtype.newbyteorder("="))
    assert actual.dtype == native.dtype
    assert actual.shape == native.shape
    wide = np.complex128 if native.dtype.kind == "c" else np.float64
    if native.dtype.kind in "biu":
        assert np.array_equal(actual, native)
    else:
        np.testing.assert_array_equal(actual.astype(wide), native.astype(wide))


def run_python(
    code: str, *arguments: str, timeout: float = 120, environment: Mapping[str, str] | None = None
) -> str:
    """Runs code in a process of its own, in this environment and more of it, and returns what it
    printed; an abort there fails this test alone."""
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


def numbered_file(path, rows: int, width: int):
    """A `.npy` file of int32 rows that begin with their number, and hold nothing else."""
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.int32, shape=(rows, width))
    for start in range(0, rows, 4096):
        file[start : start + 4096] = np.arange(start, min(start + 4096, rows), dtype=np.int32)[
            :, None
        ]
    file.flush()
    return path


@pytest.fixture(scope="session")
def faults(tmp_path_factory) -> dict[str, str]:
    """The environment of a process in which operations on files can be made to fail."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler to build what makes operations fail")
    tests = Path(__file__).parent
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    subprocess.run(
        [
            compiler,
            "-O1",
            "-Wall",
            "-Werror",
            "-shared",
            "-fPIC",
            "-o",
            library,
            tests / "faults.c",
            "-ldl",
        ],
        check=True,
    )
    return {"LD_PRELOAD": str(library), "PYTHONPATH": str(tests)}


def _framework(name: str):
    if os.environ.get("TENSORFERRY_FRAMEWORKS") == "all":
        return __import__(name)
    return pytest.importorskip(
        name, reason=f"{name} is not installed; make test FRAMEWORKS=all installs it"
    )


@pytest.fixture(scope="session")
def tf():
    """TensorFlow; every run has it."""
    import tensorflow

    return tensorflow


@pytest.fixture(scope="session")
def jax():
    """JAX; every run has it."""
    import jax

    return jax


@pytest.fixture(scope="session")
def torch():
    """PyTorch, where it is installed; with FRAMEWORKS=all it must be."""
    return _framework("torch")
