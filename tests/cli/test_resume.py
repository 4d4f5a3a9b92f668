"""`tensorferry convert`, interrupted at any time: the files it leaves, and how it resumes."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import signal
import subprocess
import time

import numpy as np
import pytest
import safetensors.numpy

from tests.support.arrays import same
from tests.support.cli import names, refused, run, shards, sparse, start, until


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("options", [[], ["--compress"]])
def test_a_signal_ends_it_without_leftovers(tmp_path, signal_, options):
    source = sparse(tmp_path / "a.npy", (1 << 23, 128), np.int64)  # 8 GiB: slow enough
    out = tmp_path / "out.npz"
    np.savez(out, x=np.arange(3))
    process = start("convert", source, out, "--dtype", "int8", "--force", *options)
    until(lambda: any(name.endswith(".part") for name in names(tmp_path)), process)
    process.send_signal(signal_)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal_, said
    assert "Traceback" not in said
    assert "panicked" not in said
    assert names(tmp_path) == ["a.npy", "out.npz"]
    assert np.load(out).files == ["x"]


def test_ignored_signals_stay_ignored(tmp_path):
    source = sparse(tmp_path / "a.npy", (1 << 19, 128), np.int64)

    def as_nohup():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = start("convert", source, tmp_path / "out.npy", "--dtype", "int8", preexec_fn=as_nohup)
    until(lambda: any(name.endswith(".part") for name in names(tmp_path)), process)
    process.send_signal(signal.SIGHUP)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert np.load(tmp_path / "out.npy", mmap_mode="r").shape == (1 << 19, 128)


def test_a_lost_terminal_leaves_a_resumable_conversion(tmp_path):
    source = sparse(tmp_path / "a.npy", (3 << 21, 64), np.int32)
    arguments = ["convert", source, tmp_path / "out.npy", "--dtype", "int8", "--resume"]
    process = start(*arguments)
    until(lambda: len(noted(tmp_path) or []) >= 1, process)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGHUP
    assert "from before" in run(*arguments).stdout
    assert names(tmp_path) == ["a.npy", "out.npy"]


@pytest.mark.parametrize("format", ["npy", "bin", "safetensors"])
def test_a_conversion_killed_after_its_end_resumes_as_finished(tmp_path, faults, format):
    array = np.random.default_rng(0).integers(0, 100, (50_000, 8))
    np.save(tmp_path / "a.npy", array)
    out = tmp_path / f"out.{format}"
    arguments = ["convert", tmp_path / "a.npy", out, "--dtype", "int16", "--resume"]
    killed_before_the_journal_is_removed(arguments, faults)
    assert names(tmp_path) == [f".tensorferry-out.{format}-resume.journal", "a.npy", out.name]
    was = out.stat()
    assert "of it from before" in run(*arguments).stdout
    assert (out.stat().st_ino, out.stat().st_mtime_ns) == (was.st_ino, was.st_mtime_ns), (
        "a finished shard was written again"
    )
    assert names(tmp_path) == ["a.npy", out.name]
    assert out.read_bytes().endswith(array.astype(np.int16).tobytes())
    assert "already exists" in refused(*arguments)


def test_a_file_that_took_the_name_is_not_taken_for_finished(tmp_path, faults):
    np.save(tmp_path / "a.npy", np.arange(50_000))
    out = tmp_path / "out.npy"
    arguments = ["convert", tmp_path / "a.npy", out, "--dtype", "int32", "--resume"]
    killed_before_the_journal_is_removed(arguments, faults)
    np.save(out, np.arange(3))
    assert "already exists" in refused(*arguments)
    assert len(np.load(out)) == 3


def killed_before_the_journal_is_removed(arguments, faults):
    process = start(*arguments, env=os.environ | faults | {"FAULT_UNLINK": ".journal"})
    _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said


def killed(arguments, delay, there=None):
    """Whether it was killed (after a time, or once a file exists) before it was done."""
    process = start(*arguments)
    try:
        if there is None:
            process.communicate(timeout=delay)
        else:
            while not there.exists() and process.poll() is None:
                time.sleep(0.0005)
    except subprocess.TimeoutExpired:
        pass
    process.kill()
    _, said = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), said
    return process.returncode != 0


def how_long(arguments):
    began = time.monotonic()
    run(*arguments)
    return time.monotonic() - began


def whole_or_nothing(paths, expected):
    for path, part in zip(paths, expected, strict=True):
        if path.exists():
            same(np.load(path), part)


def noted(folder):
    """The finished shards in the journal; None without a journal."""
    for path in folder.glob(".*.journal"):
        return [json.loads(line)[0] for line in path.read_text().split("\n")[2:-1]]
    return None


def conversion(folder, rows, *options):
    """The arguments that convert `a.npy` to int16 in shards of `rows` rows."""
    source, target = folder / "a.npy", folder / "out.npy"
    return ["convert", source, target, "--dtype", "int16", "--shard-rows", str(rows), *options]


def test_killed_at_any_time_shards_are_whole_or_absent_and_resuming_is_exact(tmp_path):
    array = np.random.default_rng(0).integers(0, 100, (60_000, 8))
    np.save(tmp_path / "a.npy", array)
    expected = [array[start : start + 5000].astype(np.int16) for start in range(0, 60_000, 5000)]
    arguments = conversion(tmp_path, 5000)
    paths = [tmp_path / f"out-{at:05}-of-00012.npy" for at in range(12)]
    takes = how_long(arguments)
    before, kills, kept = names(tmp_path), 0, 0
    for seed in range(100):
        chance = random.Random(seed)
        for path in paths:
            path.unlink()
        there = paths[seed % 8] if seed % 2 else None
        again = killed(arguments, chance.uniform(0, takes), there)
        while again:
            kills += 1
            whole_or_nothing(paths, expected)
            finished = noted(tmp_path)
            inodes = {at: paths[at].stat().st_ino for at in finished or []}
            # Killed after its end, it left nothing to resume.
            resume = [*arguments, "--resume", *([] if finished is not None else ["--force"])]
            if chance.random() < 0.3:
                again = killed(resume, chance.uniform(0, takes))
            else:
                again = False
                run(*resume)
            assert all(paths[at].stat().st_ino == inode for at, inode in inodes.items()), (
                "a finished shard was written again"
            )
            kept += len(inodes)
        whole_or_nothing(paths, expected)
        assert names(tmp_path) == before
    assert kills > 30
    assert kept > 60


@pytest.mark.parametrize("format", ["npy", "npz"])
def test_killed_at_any_time_a_single_file_is_the_old_or_the_new(tmp_path, format):
    old, new = np.arange(10), np.random.default_rng(0).integers(0, 100, (100_000, 8))
    np.save(tmp_path / "a.npy", new)
    out = tmp_path / f"out.{format}"
    load = np.load if format == "npy" else lambda path: np.load(path)["arr_0"]
    arguments = ["convert", tmp_path / "a.npy", out, "--dtype", "int16", "--force"]
    takes, kills = how_long(arguments), 0
    for seed in range(50):
        np.save(tmp_path / "old.npy", old)
        run("convert", tmp_path / "old.npy", out, "--force", "-q")
        kills += killed(arguments, random.Random(seed).uniform(0, takes))
        got = load(out)
        assert got.shape in (old.shape, new.shape)
        same(got, old if got.shape == old.shape else new.astype(np.int16))
    run(*arguments, "--resume")
    same(load(out), new.astype(np.int16))
    assert names(tmp_path) == sorted(["a.npy", "old.npy", out.name])
    assert kills > 0


@pytest.mark.parametrize("format", ["npy", "bin", "safetensors"])
def test_a_single_file_resumes_where_it_was_killed(tmp_path, format):
    rows = 3 << 21
    array = np.lib.format.open_memmap(
        tmp_path / "a.npy", "w+", np.int32, (rows, 64)
    )  # 1.5 GiB of zeros, sparse
    array[::100_003] = np.arange(64)
    del array
    out = tmp_path / f"out.{format}"
    options = ["--name", "x"] if format == "safetensors" else []
    arguments = ["convert", tmp_path / "a.npy", out, "--dtype", "int8", "--resume", *options]
    journal = tmp_path / f".tensorferry-out.{format}-resume.journal"
    for reached in [1, 2]:
        process = start(*arguments)
        at_least = reached
        until(
            lambda n=at_least: journal.exists() and len(noted(tmp_path) or []) >= n,
            process,
        )
        process.send_signal(signal.SIGKILL if reached == 1 else signal.SIGINT)
        process.communicate()
        assert process.returncode in (-signal.SIGKILL, 130)
        assert names(tmp_path) == sorted(
            [journal.name, f".tensorferry-out.{format}-resume.part", "a.npy"]
        )
    said = run(*arguments).stdout
    kept = re.search(r", ([\d.]+) MiB of it from before: ", said)
    assert float(kept[1]) >= 128, said
    assert names(tmp_path) == sorted(["a.npy", out.name])
    expected = np.zeros((rows, 64), np.int8)
    expected[::100_003] = np.arange(64)
    match format:
        case "npy":
            got = np.load(out, mmap_mode="r")
        case "bin":
            got = np.memmap(out, np.int8, "r", shape=(rows, 64))
        case "safetensors":
            got = safetensors.numpy.load_file(out)["x"]
    assert np.array_equal(got, expected)
    assert "already exists" in refused(*arguments)


def test_a_file_of_another_conversion_is_not_resumed(tmp_path):
    source = sparse(tmp_path / "a.npy", (3 << 21, 64), np.int32)
    arguments = ["convert", source, tmp_path / "out.npy", "--resume"]

    def interrupt(*options):
        process = start(*arguments, *options)
        until(lambda: len(noted(tmp_path) or []) >= 1, process)
        process.kill()
        process.communicate()

    interrupt("--dtype", "int8")
    said = run(*arguments, "--dtype", "int16").stdout
    assert "from before" not in said
    assert np.load(tmp_path / "out.npy", mmap_mode="r").dtype == np.int16
    assert names(tmp_path) == ["a.npy", "out.npy"]
    interrupt("--dtype", "int8", "--force")
    # Without --resume it starts from the beginning, and removes the earlier attempt.
    run("convert", source, tmp_path / "out.npy", "--dtype", "int8", "--force")
    assert names(tmp_path) == ["a.npy", "out.npy"]


def interrupted(tmp_path, *options):
    """A conversion that has finished the first of three shards."""
    array = np.arange(3000).reshape(1000, 3)
    array[700, 0] = 1 << 20
    np.save(tmp_path / "a.npy", array)
    arguments = conversion(tmp_path, 400, *options)
    refused(*arguments)
    assert len(shards(tmp_path)) == 1
    return arguments


def test_only_the_same_conversion_is_resumed(tmp_path):
    arguments = interrupted(tmp_path)
    assert "(finished files: 1). Pass --resume, or start over with --force." in refused(*arguments)
    for other, says in [
        (["--casting", "wrap"], 'casting was "checked", is "wrap"'),
        (["--dtype", "int8"], "arrays was"),
        (["--to", "raw"], 'format was "npy", is "raw"'),
    ]:
        changed = [*arguments, "--resume"]
        option, value = other
        if option in changed:
            changed[changed.index(option) + 1] = value
        else:
            changed += [option, value]
        assert says in refused(*changed)
    assert len(shards(tmp_path)) == 1
    # The source is repaired, which makes it another one.
    array = np.load(tmp_path / "a.npy")
    array[700, 0] = 7
    np.save(tmp_path / "a.npy", array)
    assert "its sources were other files, or have changed" in refused(*arguments, "--resume")
    run(*arguments, "--force")
    same(np.concatenate([np.load(path) for path in shards(tmp_path)]), array.astype(np.int16))
    assert len(names(tmp_path)) == 4


def test_a_finished_shard_that_was_replaced_is_written_again(tmp_path):
    arguments = interrupted(tmp_path)
    [first] = shards(tmp_path)
    content = first.read_bytes()
    first.write_bytes(content)  # the same, but at another time: indistinguishable
    assert "differs from the file that was written" in refused(*arguments, "--resume")
    first.unlink()
    assert "700, 0" in refused(*arguments, "--resume")
    assert first.read_bytes() == content, "a missing file is written"
    second = tmp_path / "out-00002-of-00003.npy"
    second.write_bytes(b"mine")
    assert "this conversion did not write it" in refused(*arguments, "--resume")
    assert second.read_bytes() == b"mine"


def test_two_processes_cannot_convert_to_one_name(tmp_path):
    arguments = interrupted(tmp_path)
    with open(tmp_path / ".tensorferry-out.npy.journal") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        for option in ["--resume", "--force"]:
            assert "another process is converting" in refused(*arguments, option)


def test_a_half_written_journal_line_is_not_a_shard(tmp_path):
    arguments = interrupted(tmp_path)
    journal = tmp_path / ".tensorferry-out.npy.journal"
    lines = journal.read_bytes()
    plan, force, _ = lines.splitlines(keepends=True)
    assert force == b"false\n"
    for end in range(len(plan) - 30, len(lines)):
        journal.write_bytes(lines[:end])
        said = refused(*arguments, "--resume")
        assert ("700, 0" if end >= len(plan) else "already exists") in said, end
        assert len(shards(tmp_path)) == 1
        assert journal.exists() == (end >= len(plan))


@pytest.mark.parametrize("mode", [[], ["--mode", "read"], ["--mode", "direct"]])
def test_a_source_that_changes_is_an_error_and_one_that_vanishes_is_not(tmp_path, mode):
    def converting(change):
        for name in names(tmp_path):
            os.unlink(tmp_path / name)
        source = sparse(tmp_path / "a.npy", (1 << 21, 128), np.int64)  # 2 GiB
        process = start("convert", source, tmp_path / "out.npy", "--dtype", "int8", *mode)
        until(lambda: any(name.endswith(".part") for name in names(tmp_path)), process)
        change(source)
        _, said = process.communicate(timeout=60)
        return process.returncode, said

    def grow(path):
        with open(path, "ab") as file:
            file.write(b"more")

    status, said = converting(lambda path: os.truncate(path, 1 << 20))
    assert status == 1, said
    assert "a.npy: " in said
    assert "truncated meanwhile" in said or "written to since it was opened" in said
    assert names(tmp_path) == ["a.npy"]
    status, said = converting(grow)
    assert status == 1, said
    assert "a.npy: the file was written to since it was opened" in said
    assert names(tmp_path) == ["a.npy"]
    status, said = converting(os.unlink)
    assert status == 0, said
    assert names(tmp_path) == ["out.npy"]
    assert np.load(tmp_path / "out.npy", mmap_mode="r").shape == (1 << 21, 128)
