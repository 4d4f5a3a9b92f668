"""mypy accepts correct calls, refuses wrong ones, and knows what is returned."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A line that mypy has to refuse ends with `# E: ` and the code of the error; a revealed type ends
# with `# R: ` and the type.
SNIPPETS = """
import collections
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorferry as tfy

class Pair(NamedTuple):
    x: np.ndarray
    y: np.ndarray

array = np.arange(6).reshape(3, 2)
dataset = tfy.Dataset.from_tensor_slices({"x": array, "y": [1, 2, 3]})

tfy.Dataset.from_tensor_slices((array, Pair(array, array)))
tfy.Dataset.from_tensor_slices(collections.OrderedDict(x=array))
tfy.Dataset.from_tensor_slices({"x": object()})  # E: dict-item
tfy.Dataset.range("10")  # E: arg-type
tfy.Dataset.zip((dataset, {"again": dataset}))
tfy.Dataset.zip(array)  # E: arg-type
tfy.Dataset.from_generator(lambda: iter([1]), output_signature=tfy.TensorSpec((), "int32"))
tfy.Dataset.from_generator(lambda: iter([1]), output_signature="int32")  # E: arg-type

dataset.batch(32, drop_remainder=True)
dataset.batch(np.int64(32))
dataset.batch("32")  # E: arg-type
dataset.batch(32.0)  # E: arg-type
dataset.batch(None)  # E: arg-type
dataset.take("3")  # E: arg-type
dataset.shuffle(seed=7, block=2)
dataset.shuffle(seed="7")  # E: arg-type
dataset.for_rank(rank=np.int64(0), world=2)
dataset.for_rank("0", 2)  # E: arg-type
dataset.repeat(None)
dataset.padded_batch(2, padded_shapes={"x": (None,), "y": ()})
dataset.padded_batch(2, padded_shapes={"x": "3"})  # E: arg-type
dataset.cast({"x": "float32"}, casting="saturate")
dataset.cast("int8", casting="clip")  # E: arg-type
dataset.cast(3)  # E: arg-type
dataset.scale(2, which={"x": True, "y": False})
dataset.with_format("torch")
dataset.with_format("cupy")  # E: arg-type
dataset.with_options(tfy.Options(threads=2))
dataset.with_options(2)  # E: arg-type
dataset.concatenate(array)  # E: arg-type
dataset.cache("file")  # E: arg-type
dataset.save("folder", compression="GZIP")  # E: arg-type
dataset.map(3)  # E: arg-type
dataset.unknown_method  # E: attr-defined

reveal_type(dataset.batch(2).map(lambda x: x).shuffle(4))  # R: tensorferry.dataset.Dataset
reveal_type(dataset.for_rank())  # R: tensorferry.dataset.Dataset
reveal_type(tfy.current_rank().source)  # R: str
reveal_type(tfy.Dataset.load(Path("folder")))  # R: tensorferry.dataset.Dataset
reveal_type(dataset.apply(lambda d: d.take(1)))  # R: tensorferry.dataset.Dataset
npy = tfy.open("a.npy", "npy")
reveal_type(npy)  # R: tensorferry._internal.Array | tensorferry._files.opened.Arrays
reveal_type(tfy.open(["a.npz"], "npz"))  # R: tensorferry._files.opened.Arrays
reveal_type(tfy.open("a"))  # R: tensorferry._internal.Array | tensorferry._files.opened.Arrays
reveal_type(tfy.__version__)  # R: str
tfy.open(3)  # E: call-overload
tfy.open("a.npy", mode="mmap")  # E: call-overload
tfy.open_raw("a.bin", "uint16", (-1, 2))
tfy.open_raw("a.bin", None)  # E: arg-type
tfy.save("a.npz", {"x": array, "y": [1, 2]})
tfy.save(array, "a.npy")  # E: arg-type

tfy.tensor(array, "int32", casting="wrap", copy=False)
tfy.tensor([[1, 2], [3, 4]], np.int8)
tfy.tensor(array, casting="clip")  # E: arg-type
tfy.tensor(None)  # E: arg-type
tfy.tensor(array, copy="no")  # E: arg-type
reveal_type(tfy.tensor(array)[1:, ...])  # R: tensorferry._internal.Tensor
tfy.TensorSpec((None, 3), np.float32)
tfy.TensorSpec("3")  # E: arg-type
tfy.unknown  # E: attr-defined
"""


@pytest.mark.slow
def test_mypy_refuses_wrong_calls_and_knows_results(tmp_path):
    snippets = tmp_path / "snippets.py"
    snippets.write_text(SNIPPETS)
    run = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict"),
            *("--config-file", str(ROOT / "pyproject.toml")),
            *("--cache-dir", str(tmp_path / "cache")),
            *("--no-error-summary", "--hide-error-context"),
            str(snippets),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT / "python",
        check=False,
    )
    found = {}
    for line in run.stdout.splitlines():
        place, _, said = line.partition(": ")
        if not place.startswith(str(snippets)):
            continue
        number = int(place.rpartition(":")[2])
        if said.startswith("error: "):
            found[number] = "E: " + said.rpartition("[")[2].rstrip("]")
        elif said.startswith("note: Revealed type is "):
            found[number] = "R: " + said.split('"')[1]
    expected = {
        number: line.partition("  # ")[2]
        for number, line in enumerate(SNIPPETS.splitlines(), 1)
        if "  # " in line
    }
    assert found == expected, run.stdout + run.stderr
