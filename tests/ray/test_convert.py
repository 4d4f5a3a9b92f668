"""``tensorferry.ray.convert`` and ``tensorferry convert --ray``: the bytes of one machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry.ray import _convert, convert

from tests.support import ray_workers

ROWS = 1003


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    rows = np.random.default_rng(2).integers(-100, 100, (ROWS, 50))
    np.save(folder / "x.npy", rows)
    np.savez(folder / "both.npz", x=rows, y=np.arange(ROWS, dtype=np.float64))
    for at in range(3):
        np.save(folder / f"part-{at}.npy", rows[at * 300 : at * 300 + 300])
    return folder


def _command(*arguments, cwd=None, environment=None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "tensorferry", "convert", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=cwd,
        env=os.environ | (environment or {}),
    )


def _files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folders(tmp_path):
    """Where one machine writes, and where Ray does."""
    made = tmp_path / "one", tmp_path / "ray"
    for each in made:
        each.mkdir()
    return made


@pytest.mark.parametrize(
    ("name", "target", "options", "keywords"),
    [
        ("x.npy", "out.npy", ["--dtype=int8"], {"dtype": "int8"}),
        ("part-*.npy", "out.bin", ["--dtype=float32"], {"dtype": np.float32}),
        (
            "both.npz",
            "out.npz",
            ["--dtype=y=float32", "--compress"],
            {"dtype": {"y": "float32"}, "compress": True},
        ),
        ("both.npz", "out.tfrecord", ["--array=x"], {"arrays": ["x"]}),
        (
            "x.npy",
            "out",
            ["--to=safetensors", "--dtype=uint8", "--casting=wrap"],
            {"to": "safetensors", "dtype": "uint8", "casting": "wrap"},
        ),
    ],
)
def test_the_files_are_those_of_one_machine(source, folders, name, target, options, keywords):
    one, other = folders
    ran = _command(source / name, one / target, "--shard-rows=100", *options)
    assert ran.returncode == 0, ran.stderr
    shards = convert(source / name, other / target, shard_rows=100, **keywords)
    assert [os.path.basename(path) for path in shards] == sorted(_files(one))
    assert len(shards) >= 9
    assert _files(other) == _files(one)


def test_the_command_has_the_same_files_and_relative_paths(source, folders, cluster):
    one, other = folders
    arguments = [os.path.relpath(source / "x.npy", one), "y.npy", "--shard-rows=200", "--dtype=i2"]
    assert _command(*arguments, cwd=one).returncode == 0
    arguments = [os.path.relpath(source / "x.npy", other), *arguments[1:]]
    address = {"RAY_ADDRESS": cluster.address}
    ran = _command(*arguments, "--ray", "--json", cwd=other, environment=address)
    assert ran.returncode == 0, ran.stderr
    assert '"error": null' in ran.stdout
    assert _files(other) == _files(one)
    again = _command(*arguments, "--ray", cwd=other, environment=address)
    assert again.returncode == 2
    assert "already exists" in again.stderr
    assert "--shard-rows" in _command(source / "x.npy", "z.npy", "--ray", cwd=other).stderr
    assert "--ray" in _command("--help").stdout


def test_objects_of_a_store_are_converted(s3, source, folders):
    one, _ = folders
    store = s3.under("ray-convert/")
    store.put("x.npy", (source / "x.npy").read_bytes())
    ran = _command(source / "x.npy", one / "y.npy", "--shard-rows=300", "--dtype=int8")
    assert ran.returncode == 0, ran.stderr
    keywords = {"shard_rows": 300, "dtype": "int8", "storage_options": store.options}
    shards = convert(store.url("x.npy"), store.url("y.npy"), **keywords)
    assert shards == [store.url(name) for name in sorted(_files(one))]
    assert {name: store.get(name) for name in store.names("y-")} == _files(one)
    with pytest.raises(tfy.Error, match="already exists"):
        convert(store.url("x.npy"), store.url("y.npy"), **keywords)
    convert(store.url("x.npy"), store.url("y.npy"), **keywords, overwrite=True)
    assert {name: store.get(name) for name in store.names("y-")} == _files(one)


@pytest.fixture
def slow_source(tmp_path):
    """A file that takes a while to convert."""
    path = tmp_path / "large.npy"
    rows = np.lib.format.open_memmap(path, "w+", np.int64, (3_000_000, 16))
    for at in range(0, len(rows), 100_000):
        rows[at : at + 100_000] = np.arange(at, at + 100_000)[:, None] % 100
    del rows
    return path


@pytest.mark.parametrize("at", ["begun", "written"])
def test_the_shard_of_a_killed_worker_is_done_again(slow_source, folders, monkeypatch, at):
    one, other = folders
    ran = _command(slow_source, one / "y.npy", "--shard-rows=500000", "--dtype=float32")
    assert ran.returncode == 0, ran.stderr
    markers, write = other.parent, _convert._write

    def killed(command, number, folder):
        """Kills its process, once for each of two shards."""
        marker = markers / f"killed-{number}"
        if at == "begun" and number in (1, 4):
            # In the middle of its work, as the file of the shard under its first name shows.
            before = set(other.iterdir())

            def kill():
                while not set(other.iterdir()) - before:
                    time.sleep(0.001)
                ray_workers.kill_once(marker)

            threading.Thread(target=kill, daemon=True).start()
        done = write(command, number, folder)
        if number in (1, 4):
            ray_workers.kill_once(marker)
        return done

    monkeypatch.setattr(_convert, "_write", killed)
    shards = convert(slow_source, other / "y.npy", shard_rows=500_000, dtype="float32")
    assert sorted(file.name for file in markers.glob("killed-*")) == ["killed-1", "killed-4"]
    assert len(shards) == 6
    assert _files(other) == _files(one)


def test_a_killed_driver_is_resumed(slow_source, folders, cluster):
    one, other = folders
    arguments = ["--shard-rows=100000", "--dtype=int8"]
    assert _command(slow_source, one / "y.npy", *arguments).returncode == 0
    command = [sys.executable, "-m", "tensorferry", "convert", str(slow_source)]
    driver = subprocess.Popen(
        [*command, str(other / "y.npy"), *arguments, "--ray", "--quiet"],
        env=os.environ | {"RAY_ADDRESS": cluster.address},
    )
    end = time.monotonic() + 120
    while len(list(other.glob("y-*"))) < 3 and driver.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before = {path: path.stat().st_mtime_ns for path in other.glob("y-*")}
    assert before
    if (other / ".tensorferry-y.npy.journal").exists():  # it may have ended before it was killed
        while ray_workers.running("_write"):
            time.sleep(0.05)  # Ray ends the tasks of a driver that is gone
        with pytest.raises(tfy.Error, match="--resume"):
            convert(slow_source, other / "y.npy", shard_rows=100_000, dtype="int8")
        convert(slow_source, other / "y.npy", shard_rows=100_000, dtype="int8", resume=True)
    assert _files(other) == _files(one)


def test_errors_are_those_of_the_command(source, tmp_path):
    large = tmp_path / "large.npy"
    np.save(large, np.array([[1], [300]]))
    with pytest.raises(tfy.errors.ValueOverflowError, match="int64 -> int8"):
        convert(large, tmp_path / "y.npy", shard_rows=1, dtype="int8")
    with pytest.raises(FileNotFoundError):
        convert(tmp_path / "nothing.npy", tmp_path / "y.npy", shard_rows=1)
    with pytest.raises(tfy.errors.InvalidArgumentError, match="does not name a format"):
        convert(large, tmp_path / "y", shard_rows=1)
    with pytest.raises(tfy.errors.InvalidArgumentError, match="shard_rows has to be"):
        convert(large, tmp_path / "y.npy", shard_rows=0)
    with pytest.raises(tfy.errors.InvalidArgumentError, match="possible values"):
        convert(large, tmp_path / "y.npy", shard_rows=1, casting="loose")
