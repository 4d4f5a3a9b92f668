"""Tries an installed tensorferry with NumPy alone, in a temporary folder.

    python tools/smoke.py

Converts, opens, shuffles, resumes, saves, and runs the command. Run it outside the repository's
`python/`, so that the installed package is imported. A wheel for another processor is tried in an
emulator: nothing here needs more than seconds there.
"""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorferry as tfy


def convert():
    values = np.arange(-5000, 5000)
    assert tfy.tensor(values, "int16").numpy().tolist() == values.tolist()
    half = tfy.tensor(values.astype("f8") / 3, "float16").numpy()
    assert np.array_equal(half, (values / 3).astype("f2"))
    assert not tfy.can_convert(np.array([1, 1 << 40]), "int32")


def stream(folder):
    rows = np.arange(3000).reshape(1000, 3)
    for name in ("rows.npy", "rows.npz", "rows.safetensors"):
        named = name != "rows.npy"
        tfy.save(folder / name, {"rows": rows} if named else rows)
        opened = tfy.open(folder / name)
        opened = opened["rows"] if named else opened
        assert np.array_equal(np.asarray(opened), rows), name
    for mode in ("map", "read", "direct"):
        dataset = tfy.Dataset.from_tensor_slices(tfy.open(folder / "rows.npy", mode=mode))
        dataset = dataset.shuffle(seed=7).cast("int32").batch(64).with_format("numpy")
        batches = iter(dataset)
        first = next(batches)
        resumed = iter(dataset)
        resumed.load_state_dict(batches.state_dict())
        rest = list(resumed)
        found = np.concatenate([first, *rest])
        assert not np.array_equal(found, rows), mode
        assert np.array_equal(found[np.argsort(found[:, 0])], rows), mode


def command(folder):
    def run(*arguments):
        # In an emulator, what starts Python is not what Python calls itself.
        python = os.environ.get("SMOKE_PYTHON", sys.executable)
        words = [python, "-m", "tensorferry", *arguments]
        return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)

    done = run("convert", "rows.npy", "narrow.npy", "--dtype", "uint16")
    assert done.returncode == 0, done.stderr
    assert np.load(folder / "narrow.npy").dtype == np.uint16
    done = run("check", "narrow.npy", "rows.npz")
    assert done.returncode == 0, done.stderr
    done = run("doctor", "--timeout", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)


def main():
    package = Path(tfy.__file__).parent
    if package.parent == Path(__file__).parents[1] / "python":
        sys.exit(f"{package} is the source, not what was installed")
    convert()
    with tempfile.TemporaryDirectory() as folder:
        stream(Path(folder))
        command(Path(folder))
    print(f"{package} works on {platform.machine()}, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
