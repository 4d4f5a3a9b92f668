"""Try the installed package where nothing but NumPy is installed: `smoke.py`.

A wheel that was built for another system, or without a part, fails here. The tests proper need the
repository and its test dependencies.
"""

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorferry as tfy


def conversion() -> None:
    wide = np.arange(1000, dtype=np.int64).reshape(10, 100)
    narrow = np.asarray(tfy.tensor(wide, "int32"))
    assert narrow.dtype == np.int32
    assert (narrow == wide).all()
    with contextlib.suppress(OverflowError):
        tfy.tensor(np.array([2**40]), "int32")
        raise AssertionError("2**40 is not an int32")


def files(folder: Path) -> None:
    rows = np.arange(2000, dtype=np.float32).reshape(100, 20)
    for name in ["rows.npy", "rows.npz", "rows.safetensors"]:
        tfy.save(folder / name, rows if name.endswith(".npy") else {"rows": rows})
        opened = tfy.open(folder / name)
        array = opened if name.endswith(".npy") else opened["rows"]
        assert (np.asarray(array) == rows).all()


def datasets(folder: Path) -> None:
    dataset = tfy.Dataset.from_tensor_slices(np.arange(100)).shuffle(100, seed=7).batch(7)
    iterator = iter(dataset.with_format("numpy"))
    first = [next(iterator) for _ in range(3)]
    state = iterator.state_dict()
    rest = list(iterator)
    assert sorted(np.concatenate([*first, *rest]).tolist()) == list(range(100))
    resumed = iter(dataset.with_format("numpy"))
    resumed.load_state_dict(state)
    for batch, expected in zip(resumed, rest, strict=True):
        assert (batch == expected).all()
    rows = np.asarray(tfy.open(folder / "rows.npy"))
    from_file = tfy.Dataset.from_files(folder / "rows.npy").batch(32).with_format("numpy")
    assert (np.concatenate(list(from_file)) == rows).all()


def command(folder: Path) -> None:
    inspect = [sys.executable, "-m", "tensorferry", "inspect", str(folder / "rows.npy")]
    done = subprocess.run(inspect, capture_output=True, text=True, check=True)
    assert "float32" in done.stdout


def main() -> None:
    frameworks = {"tensorflow", "torch", "jax"} & set(sys.modules)
    assert not frameworks, frameworks
    with tempfile.TemporaryDirectory() as folder:
        conversion()
        files(Path(folder))
        datasets(Path(folder))
        command(Path(folder))
    print(f"tensorferry {tfy.__version__} works with Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
