"""`tensorferry convert` with damaged sources, little memory and full disks."""

from __future__ import annotations

import errno
import os
import subprocess

import numpy as np
import pytest

from tests.support.arrays import same
from tests.support.cli import (
    limited,
    names,
    refused,
    run,
    shards,
    sparse,
)


@pytest.mark.parametrize("mode", ["map", "read"])
def test_a_truncated_source_is_an_error_without_output(tmp_path, mode):
    np.save(tmp_path / "a.npy", np.arange(1000))
    os.truncate(tmp_path / "a.npy", 4000)
    assert "a.npy: npy: truncated" in refused(
        "convert", tmp_path / "a.npy", tmp_path / "b.npy", "--mode", mode
    )
    np.savez(tmp_path / "c.npz", x=np.arange(1000))
    os.truncate(tmp_path / "c.npz", 4000)
    assert "c.npz" in refused("convert", tmp_path / "c.npz", tmp_path / "b.npy", "--mode", mode)
    assert names(tmp_path) == ["a.npy", "c.npz"]


# ---- memory and disk space


@pytest.mark.parametrize("options", [[], ["--shard-rows", "100000"], ["--mode", "read"]])
def test_a_file_eight_times_larger_than_the_memory_limit(tmp_path, options):
    memory = 96 << 20
    source = sparse(tmp_path / "a.npy", (memory * 8 // 800, 100), np.int64)
    with open(source, "r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write((77).to_bytes(8, "little"))
    run(
        "convert",
        source,
        tmp_path / "out.npy",
        "--dtype",
        "int8",
        *options,
        preexec_fn=limited(AS=memory),
    )
    rows = sum(np.load(path, mmap_mode="r").shape[0] for path in tmp_path.glob("out*.npy"))
    assert rows == memory * 8 // 800
    last = np.load(max(tmp_path.glob("out*.npy")), mmap_mode="r")
    assert last[-1].tolist() == [0] * 99 + [77]


@pytest.mark.parametrize("options", [["--compress"], ["--shard-rows", "20000"], []])
def test_memory_of_a_conversion_is_bounded(tmp_path, options):
    memory = 24 << 20  # for the process and its threads' stacks
    source = sparse(tmp_path / "a.npy", (memory * 8 // 1024, 128), np.int64)
    options = [*options, "--memory-limit", "8M", "--mode", "read", "--dtype", "int8"]
    run("convert", source, tmp_path / "out.npz", *options, preexec_fn=limited(DATA=memory))


@pytest.mark.parametrize("options", [[], ["--shard-rows", "20000"]])
def test_a_compressed_member_eight_times_larger_than_the_memory_limit(tmp_path, options):
    memory = 24 << 20
    array = np.arange(memory, dtype=np.int64).reshape(-1, 128) // 1000
    np.savez_compressed(tmp_path / "a.npz", other=np.arange(3), x=array)
    options = [*options, "--memory-limit", "8M", "--dtype", "int32", "--array", "x"]
    run(
        "convert",
        tmp_path / "a.npz",
        tmp_path / "out.npy",
        *options,
        preexec_fn=limited(DATA=memory),
    )
    paths = sorted(tmp_path.glob("out*.npy"))
    assert len(paths) == (10 if "--shard-rows" in options else 1)
    same(np.concatenate([np.load(path) for path in paths]), array.astype(np.int32))


def test_rows_larger_than_the_memory_limit_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 1 << 20)))
    said = refused("convert", tmp_path / "a.npy", tmp_path / "b.npy", "--memory-limit", "8M")
    assert "rows of 8388608 bytes" in said
    run("convert", tmp_path / "a.npy", tmp_path / "b.npy", "--memory-limit", "80M")


def test_a_full_disk_is_an_error_that_keeps_source_and_old_target(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(100_000))
    for name, options in [
        ("o.npy", []),
        ("o.npz", []),
        ("o.safetensors", []),
        ("o.bin", []),
        ("o.tfrecord", ["--name", "x"]),
    ]:
        (tmp_path / name).write_bytes(b"old")
        said = refused(
            "convert",
            tmp_path / "a.npy",
            tmp_path / name,
            "--force",
            *options,
            status=3,
            preexec_fn=limited(FSIZE=100_000),
        )
        assert os.strerror(errno.EFBIG) in said
        assert (tmp_path / name).read_bytes() == b"old"
    same(np.load(tmp_path / "a.npy"), np.arange(100_000))
    assert not [name for name in names(tmp_path) if name.startswith(".")]


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_reported_and_finished_shards_are_kept(tmp_path, small_disk):
    array = np.arange(200_000)
    np.save(tmp_path / "a.npy", array)
    said = refused("convert", tmp_path / "a.npy", small_disk / "o.npy", status=3)
    assert os.strerror(errno.ENOSPC) in said
    assert names(small_disk) == []
    arguments = [
        "convert",
        tmp_path / "a.npy",
        small_disk / "o.npy",
        "--dtype",
        "int32",
        "--shard-rows",
        "50000",
    ]
    (small_disk / "other").write_bytes(bytes(400_000))
    assert os.strerror(errno.ENOSPC) in refused(*arguments)
    assert len(shards(small_disk, "o-*")) == 3
    (small_disk / "other").unlink()
    assert "3 of them from before" in run(*arguments, "--resume").stdout
    same(
        np.concatenate([np.load(path) for path in shards(small_disk, "o-*")]),
        array.astype(np.int32),
    )
