"""``tensorferry.ray.write`` with ``resume=True``: what a killed or failed write has written is kept
by the next, if it is whole.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import ray
import tensorferry as tfy
from tensorferry import _internal
from tensorferry._files.storage import destination
from tensorferry.ray import read, write

from tests.support import ray_workers

ROWS, BATCH = 1000, 50
FILES = 2  # of a part
#: Of a block, which becomes a part.
BLOCK_BYTES = BATCH * 160
#: That a killed program has written at least: about half of them.
HALF = FILES * 10


@pytest.fixture(autouse=True)
def _small_blocks(connected):
    ray.data.DataContext.get_current().target_max_block_size = BLOCK_BYTES


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "both.npz"
    rows = np.random.default_rng(1).standard_normal((ROWS, 40)).astype(np.float32)
    rows[0, 0] = np.nan
    np.savez(path, x=rows, y=np.arange(ROWS))
    return path


@pytest.fixture
def target(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "saved"


def _rows(source, function):
    return read(source, override_num_blocks=4).map_batches(function, batch_size=BATCH)


def _same(loaded, source, start=0):
    arrays = np.load(source)
    got = next(iter(loaded.batch(ROWS).as_numpy_iterator()))
    return all(got[name].tobytes() == arrays[name][start:].tobytes() for name in ("x", "y"))


def _left(target):
    """The files that an unfinished write has left."""
    return sorted(target.parent.glob(".tensorferry-saved-*.part/[0-9]-*.npy"))


def _parts(manifest):
    return len(json.loads(manifest)["parts"])


def _times(paths):
    return {path.name: path.stat().st_mtime_ns for path in paths}


KILLED = """
import sys, ray
from tests.ray import test_resumed_write as tests
from tests.support import ray_workers
from tensorferry.ray import write

ray.init("auto", logging_level="ERROR", log_to_driver=False)
ray.data.DataContext.get_current().target_max_block_size = tests.BLOCK_BYTES
waiting = ray_workers.WaitingAt(sys.argv[2], "y", 630)
write(tests._rows(sys.argv[1], waiting), sys.argv[3], resume=True)
"""


def _killed(source, target, tmp_path):
    """Kills a program that has written half of the parts; returns its files."""
    driver = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(source), str(tmp_path / "go"), str(target)]
    )
    end = time.monotonic() + 120
    while len(_left(target)) < HALF and time.monotonic() < end:
        assert driver.poll() is None
        time.sleep(0.01)
    driver.send_signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL
    while ray_workers.running("Write"):
        time.sleep(0.05)  # Ray ends the tasks of a driver that is gone
    (tmp_path / "go").touch()
    left = _left(target)
    assert len(left) >= HALF
    assert not target.exists()
    return left


def test_a_killed_program_continues_with_the_parts_that_are_whole(source, target, tmp_path):
    left = _killed(source, target, tmp_path)
    cut, damaged, *whole = left
    os.truncate(cut, cut.stat().st_size - 8)
    values = bytearray(damaged.read_bytes())
    values[-1] ^= 1
    damaged.write_bytes(values)
    before, kept = _times([cut, damaged]), _times(whole)
    unused = damaged.with_name("0-0123.npy")
    unused.write_bytes(damaged.read_bytes())
    write(_rows(source, _unchanged), target, resume=True)
    assert _same(tfy.Dataset.load(target), source)
    now = _times(target.iterdir())
    assert {name: now[name] for name in kept} == kept
    assert all(now[name] != time for name, time in before.items())
    assert len(now) == 1 + FILES * _parts((target / "dataset.json").read_bytes())
    assert [entry.name for entry in target.parent.iterdir()] == ["saved"]


def test_other_rows_are_written_and_unused_parts_removed(source, target, tmp_path):
    left = _killed(source, target, tmp_path)
    write(_rows(source, _changed), target, resume=True)
    loaded = next(iter(tfy.Dataset.load(target).batch(ROWS).as_numpy_iterator()))
    assert np.array_equal(loaded["y"], _changed({"y": np.arange(ROWS)})["y"])
    assert loaded["x"].tobytes() == np.load(source)["x"].tobytes()
    written = {path.name: np.load(path) for path in target.glob("*.npy")}
    kept = {path.name for path in left} & written.keys()
    assert len(kept) >= len(left) - FILES * 4  # parts that hold some of the rows
    assert all(-1 not in written[name] for name in kept if name.startswith("1-"))
    assert len(written) == FILES * _parts((target / "dataset.json").read_bytes())


def _unchanged(batch):
    return batch


def _changed(batch):
    return {**batch, "y": np.where((batch["y"] >= 100) & (batch["y"] < 200), -1, batch["y"])}


def _fail(batch):
    if 630 in batch["y"]:
        raise ValueError("it is row 630")
    return batch


def test_a_failed_write_is_continued_only_by_one_that_resumes(source, target):
    for _ in range(2):
        with pytest.raises(Exception, match="it is row 630"):
            write(_rows(source, _fail), target, resume=True)
    left = _left(target)
    assert len({path.parent for path in left}) == 1
    kept = _times(left)
    assert kept
    # A write that does not resume, and one to another path.
    write(read(source).limit(3), target)
    write(read(source).limit(3), target.with_name("saved-2"), resume=True)
    assert _times(_left(target)) == kept
    write(_rows(source, _unchanged), target, resume=True)
    assert _same(tfy.Dataset.load(target), source)
    now = _times(target.iterdir())
    assert {name: now[name] for name in kept} == kept
    assert {entry.name for entry in target.parent.iterdir()} == {"saved", "saved-2"}


def test_equal_blocks_and_strings_are_parts_of_one_name(target):
    made = ray.data.range(300, override_num_blocks=3).map_batches(_equal, batch_size=BATCH)
    write(made, target, resume=True)
    loaded = [*tfy.Dataset.load(target).as_numpy_iterator()]
    assert loaded == [{"name": name.encode(), "n": 7} for name in TEXTS * 150]
    assert {path.name.split("-")[0] for path in target.glob("*.npy")} == {"0", "1"}
    assert len(list(target.iterdir())) == 4


TEXTS = ["größer", ""]


def _equal(batch):
    count = len(batch["id"])
    return {"name": TEXTS * (count // 2), "n": np.full(count, 7)}


def test_an_earlier_write_that_still_runs_fails(source, target, tmp_path):
    # The second write completes while a task of the first waits.
    second = _Second(source, target)
    with pytest.raises((OSError, ray.exceptions.RayError)):
        write(_rows(source, second), target, resume=True)
    assert _same(tfy.Dataset.load(target), source)
    assert [entry.name for entry in target.parent.iterdir()] == ["saved"]


class _Second:
    """Rows, with another write to the same target at one of them."""

    def __init__(self, source: Path, target: Path) -> None:
        self.source, self.target = source, target

    def __call__(self, batch):
        if 630 in batch["y"]:
            write(_rows(self.source, _unchanged), self.target, resume=True)
        return batch


def test_objects_are_kept_if_they_are_whole(s3, source):
    store = s3.under("test_objects_are_kept_if_they_are_whole/")
    url, options = store.url("saved"), store.options

    def fail():
        with pytest.raises(Exception, match="it is row 630"):
            write(_rows(source, _fail), url, storage_options=options, resume=True)
        return [name for name in store.names("saved") if "attempt" not in name]

    first = fail()
    assert first
    assert all(name.startswith("saved/data-") for name in first)
    assert set(fail()) >= set(first)
    # The bytes of an object are not read. So a changed one shows that it was kept.
    changed, cut = [name for name in first if "/1-" in name][:2]
    values = bytearray(store.get(changed))
    values[-1] = 0x7F
    store.put(changed, bytes(values))
    whole = store.get(cut)
    store.put(cut, whole[:-8])
    store.put(f"{changed.rpartition('/')[0]}/0-0123.npy", whole)
    write(_rows(source, _unchanged), url, storage_options=options, resume=True)
    assert store.get(changed) == bytes(values)
    assert store.get(cut) == whole
    parts = _parts(store.get("saved/dataset.json"))
    assert len(store.names("saved")) == 1 + FILES * parts
    store.put(changed, bytes(values[:-1]) + b"\0")
    loaded = tfy.Dataset.load(url, storage_options=options)
    assert _same(loaded, source)


def test_an_earlier_write_of_objects_that_still_runs_fails(s3, source):
    store = s3.under("test_an_earlier_write_of_objects_that_still_runs_fails/")
    url, options = store.url("saved"), store.options
    to = destination("write", options, None)
    earlier = _internal.PartsOfDataset(url, to, True)
    later = _internal.PartsOfDataset(url, to, True)
    assert earlier.folder() == later.folder()
    tfy.save(f"{later.folder()}/0-a.npy", np.arange(3), storage_options=options)
    finish = [("int64", ())], "null", [("a", 3)]
    with pytest.raises(OSError, match="another write to this URL has resumed this one"):
        earlier.finish(*finish)
    later.finish(*finish)
    assert [*tfy.Dataset.load(url, storage_options=options).as_numpy_iterator()] == [0, 1, 2]
    assert len(store.names("saved")) == 2
