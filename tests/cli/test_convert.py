"""`tensorferry convert`: its output, its refusals and its progress bar."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess

import numpy as np
import pytest
import safetensors.numpy
import tensorferry as tfy

from tests.support.arrays import NAMES, np_dtype, same
from tests.support.cli import (
    COMMAND,
    names,
    read_by,
    refused,
    run,
    shards,
    sparse,
    start,
    until,
)


def examples(tf, path, features):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in zip(*features.values(), strict=True):
            lists = {
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=np.ravel(value)))
                for name, value in zip(features, row, strict=True)
            }
            writer.write(
                tf.train.Example(features=tf.train.Features(feature=lists)).SerializeToString()
            )


def read_examples(tf, paths, name, row):
    records = [record.numpy() for record in tf.data.TFRecordDataset([str(path) for path in paths])]
    parsed = [
        tf.train.Example.FromString(record).features.feature[name].int64_list.value
        for record in records
    ]
    return np.array(parsed, np.int64).reshape(-1, *row)


def write(tf, path, format, array):
    match format:
        case "npy":
            np.save(path, array)
        case "npz":
            np.savez(path, x=array)
        case "deflated.npz":
            np.savez_compressed(path, x=array)
        case "safetensors":
            safetensors.numpy.save_file({"x": array}, path)
        case "bin":
            array.tofile(path)
        case "tfrecord":
            examples(tf, path, {"x": array})
    return path


def read(tf, path, format, dtype, row):
    match format:
        case "npy":
            return np.load(path)
        case "npz" | "deflated.npz":
            with np.load(path) as loaded:
                (name,) = loaded.files
                return loaded[name]
        case "safetensors":
            ((_, array),) = safetensors.numpy.load_file(path).items()
            return array
        case "bin":
            return np.fromfile(path, dtype).reshape(-1, *row)
        case "tfrecord":
            return read_examples(tf, [path], "x", row)
        case "tfrecord_bytes":
            records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
            return np.frombuffer(b"".join(records), dtype).reshape(-1, *row)


SOURCES = ["npy", "npz", "deflated.npz", "safetensors", "bin", "tfrecord"]
TARGETS = ["npy", "npz", "deflated.npz", "safetensors", "bin", "tfrecord", "tfrecord_bytes"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("target", TARGETS)
def test_every_format_converts_to_every_other(tmp_path, tf, source, target):
    array = np.random.default_rng(0).integers(0, 1 << 30, (37, 5))
    path = write(tf, tmp_path / f"a.{source}", source, array)
    options = ["--raw-dtype", "int64", "--raw-shape", "-1,5"] if source == "bin" else []
    options += ["--compress"] if target == "deflated.npz" else []
    options += ["--to", target] if target == "tfrecord_bytes" else []
    options += ["--name", "x"] if target == "tfrecord" else []
    out = tmp_path / f"out.{target}"
    said = run("convert", path, out, "--dtype", "int32", *options).stdout
    assert said.startswith(f"{out}: ")
    got = read(tf, out, target, np.int32, (5,))
    same(got, array.astype(np.int64 if target == "tfrecord" else np.int32))
    assert names(tmp_path) == sorted([path.name, out.name])


@pytest.mark.parametrize("seed", range(24))
def test_values_equal_those_that_the_library_converts(tmp_path, seed):
    random = np.random.default_rng(seed)
    source, target = (
        str(random.choice([name for name in NAMES if name != "bfloat16"])) for _ in range(2)
    )
    casting = str(random.choice(["checked", "saturate", "wrap"]))
    shape = tuple(int(dim) for dim in random.integers(0, 9, random.integers(0, 4)))
    with np.errstate(all="ignore"):
        array = (random.normal(size=shape) * 100).astype(int).astype(np_dtype(source))
    if random.integers(2):
        array = np.asfortranarray(array)
    np.save(tmp_path / "a.npy", array)
    arguments = [
        "convert",
        tmp_path / "a.npy",
        tmp_path / "b.npy",
        "--dtype",
        target,
        "--casting",
        casting,
    ]
    try:
        expected = tfy.tensor(array, target, casting=casting)
    except (
        tfy.errors.ValueOverflowError,
        tfy.errors.InvalidArgumentError,
        tfy.errors.InvalidTypeError,
    ):
        refused(*arguments)
        assert names(tmp_path) == ["a.npy"]
    else:
        run(*arguments, "--mode", str(random.choice(["map", "read"])))
        same(np.load(tmp_path / "b.npy"), expected)


def test_arrays_by_name_are_chosen_and_each_may_have_its_dtype(tmp_path, tf):
    image, label = np.arange(24, dtype=np.uint8).reshape(4, 3, 2), np.arange(4)
    np.savez(tmp_path / "a.npz", image=image, label=label)
    run(
        "convert",
        tmp_path / "a.npz",
        tmp_path / "b.safetensors",
        "--dtype",
        "image=float32",
        "--dtype",
        "label=int8",
    )
    loaded = safetensors.numpy.load_file(tmp_path / "b.safetensors")
    same(loaded["image"], image.astype(np.float32))
    same(loaded["label"], label.astype(np.int8))
    run(
        "convert",
        tmp_path / "a.npz",
        tmp_path / "c.npz",
        "--dtype",
        "float64",
        "--dtype",
        "label=int16",
    )
    with np.load(tmp_path / "c.npz") as loaded:
        assert (loaded["image"].dtype, loaded["label"].dtype) == (np.float64, np.int16)
    run("convert", tmp_path / "a.npz", tmp_path / "label.npy", "--array", "label")
    same(np.load(tmp_path / "label.npy"), label)
    said = run("convert", tmp_path / "label.npy", tmp_path / "d.npz", "--name", "a\x1b[2J").stdout
    assert "npz, a\\u{1b}[2J int64 (4,), " in said
    run("convert", tmp_path / "label.npy", tmp_path / "d.npz", "--force")
    assert np.load(tmp_path / "d.npz").files == ["arr_0"]
    assert "Choose one with --array: image, label" in refused(
        "convert", tmp_path / "a.npz", tmp_path / "e.npy"
    )
    assert "'x'" in refused(
        "convert", tmp_path / "a.npz", tmp_path / "e.npy", "--array", "x"
    ).replace('"', "'")
    assert "no array has the name" in refused(
        "convert", tmp_path / "a.npz", tmp_path / "e.npz", "--dtype", "x=int8"
    )
    assert "float80" in refused(
        "convert", tmp_path / "a.npz", tmp_path / "e.npz", "--dtype", "float80"
    )
    assert "--name x: there are 2 arrays" in refused(
        "convert", tmp_path / "a.npz", tmp_path / "e.npz", "--name", "x"
    )
    assert not (tmp_path / "e.npz").exists()


@pytest.mark.parametrize("format", ["npy", "npz", "safetensors", "bin", "tfrecord"])
def test_shards_are_joined_and_split_again(tmp_path, tf, format):
    parts = [
        np.arange(i * 100, i * 100 + n * 3).reshape(n, 3)
        for i, n in ((1, 4), (2, 0), (3, 6), (10, 1))
    ]
    for i, part in zip((1, 2, 3, 10), parts, strict=True):
        np.save(tmp_path / f"part-{i}.npy", part)
    whole = np.concatenate(parts)
    out = tmp_path / f"out.{format}"
    options = (
        ["--shard-rows", "4", "--name", "x"]
        if format in ("npz", "safetensors", "tfrecord")
        else ["--shard-rows", "4"]
    )
    said = run("convert", tmp_path / "part-*.npy", out, *options, "--dtype", "int16").stdout
    assert "out-00000-of-00003" in said
    assert "and 2 more" in said
    assert [path.name for path in shards(tmp_path)] == [
        f"out-{i:05}-of-00003.{format}" for i in range(3)
    ]
    dtype = np.int64 if format == "tfrecord" else np.int16
    got = [read(tf, path, format, np.int16, (3,)) for path in shards(tmp_path)]
    assert [part.shape for part in got] == [(4, 3), (4, 3), (3, 3)]
    same(np.concatenate(got), whole.astype(dtype))
    options = ["--raw-dtype", "int16", "--raw-shape", "-1,3"] if format == "bin" else []
    run("convert", *shards(tmp_path), tmp_path / "again.npy", "--dtype", "int64", *options)
    same(np.load(tmp_path / "again.npy"), whole)
    assert not [name for name in names(tmp_path) if name.startswith(".")]


def test_shards_of_several_arrays_have_the_same_rows_of_each(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(10), y=np.arange(20.0).reshape(10, 2))
    run("convert", tmp_path / "a.npz", tmp_path / "out.npz", "--shard-rows", "7", "--compress")
    with np.load(shards(tmp_path)[1]) as second:
        same(second["x"], np.arange(7, 10))
        same(second["y"], np.arange(14.0, 20.0).reshape(3, 2))
    np.savez(tmp_path / "b.npz", x=np.arange(10), y=np.arange(9), z=np.float32(1))
    odd = ["convert", tmp_path / "b.npz", tmp_path / "odd.npz", "--shard-rows", "7"]
    assert "x has 10 rows, y has 9" in refused(*odd, "--array", "x", "--array", "y")
    assert "z has no dimension" in refused(*odd, "--array", "z")
    np.save(tmp_path / "empty.npy", np.zeros((0, 2)))
    run("convert", tmp_path / "empty.npy", tmp_path / "none.npy", "--shard-rows", "7")
    assert np.load(tmp_path / "none-00000-of-00001.npy").shape == (0, 2)


@pytest.mark.parametrize("options", [[], ["--mode", "read"], ["--shard-rows", "100"]])
def test_the_first_misfit_is_named_and_no_file_is_written(tmp_path, options):
    array = np.zeros((1000, 4), np.int64)
    array[700, 3], array[999, 0] = 1 << 40, -1
    np.save(tmp_path / "p-1.npy", array[:400])
    np.save(tmp_path / "p-2.npy", array[400:])
    out = tmp_path / "out.npy"
    said = refused("convert", tmp_path / "p-*.npy", out, "--dtype", "uint32", *options, status=1)
    assert (
        "p-2.npy: row 300: int64 -> uint32: 2 of 4000 values do not fit (first: [700, 3] = "
        "1099511627776; uint32 holds 0..4294967295)" in said
    )
    assert "Keep --dtype" in said
    assert "--casting saturate" in said
    assert not out.exists()
    if "--shard-rows" in options:
        # Finished shards stay, so that `--resume` can use them. Nothing else stays.
        assert len(shards(tmp_path)) == 7
        said = refused("convert", tmp_path / "p-*.npy", out, "--dtype", "uint32", *options)
        assert "finished files: 7" in said
        assert "--resume" in said
    else:
        assert names(tmp_path) == ["p-1.npy", "p-2.npy"]
    run(
        "convert",
        tmp_path / "p-*.npy",
        out,
        "--dtype",
        "uint32",
        "--casting",
        "saturate",
        *options,
        "--force",
    )
    got = np.concatenate(
        [np.load(path) for path in shards(tmp_path)]
        if "--shard-rows" in options
        else [np.load(out)]
    )
    same(got, array.clip(0, 2**32 - 1).astype(np.uint32))


def test_misfits_are_counted_in_all_files_and_arrays(tmp_path):
    rng = np.random.default_rng(0)
    array = rng.integers(-(1 << 33), 1 << 33, (100_000, 20))
    for at, part in enumerate(np.array_split(array, 3)):
        np.save(tmp_path / f"p-{at}.npy", part)
    count = np.count_nonzero(array != array.astype(np.int32))
    for options in [[], ["--shard-rows", "30000"], ["--resume"], ["--memory-limit", "1M"]]:
        said = refused(
            "convert",
            tmp_path / "p-*.npy",
            tmp_path / "o.npy",
            "--dtype",
            "int32",
            *options,
            status=1,
        )
        assert (
            f"p-0.npy: row 0: int64 -> int32: {count} of 2000000 values do not fit (first: [0, "
            in said
        )
        assert said.count("\n") == 1
    np.savez(
        tmp_path / "m.npz", a=np.array([1, 300]), b=np.array([[2.5, 3.0, np.nan]]), c=np.zeros(2)
    )
    said = refused("convert", tmp_path / "m.npz", tmp_path / "o.npz", "--dtype", "uint8", status=1)
    first, second = said.splitlines()
    assert "m.npz: int64 -> uint8: 1 of 2 values does not fit (first: [1] = 300" in first
    assert first.startswith("tensorferry: error: a: ")
    assert "m.npz: float64 -> uint8: 2 of 3 values do not fit (first: [0, 0] = 2.5" in second
    assert second.startswith("tensorferry: error: b: ")


def test_ctrl_c_while_misfits_are_counted_reports_the_first(tmp_path):
    array = np.lib.format.open_memmap(
        tmp_path / "a.npy", "w+", np.int64, (1 << 30,)
    )  # 8 GiB, sparse
    array[0] = 1 << 40
    array.flush()
    options = ["--dtype", "int8", "--memory-limit", "64K", "--mode", "read", "--quiet"]
    process = start("convert", tmp_path / "a.npy", tmp_path / "o.npy", *options)
    # The misfit is in the first 64 KiB: any later read is counting.
    until(lambda: read_by(process) > 32 << 20, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "not all values fit (first: [0] = 1099511627776" in said
    assert names(tmp_path) == ["a.npy"]


def test_existing_files_are_replaced_only_with_force_even_the_source(tmp_path):
    array = np.arange(1000)
    np.save(tmp_path / "a.npy", array)
    for options in [[], ["--resume"]]:
        said = refused(
            "convert",
            tmp_path / "a.npy",
            tmp_path / "a.npy",
            "--dtype",
            "int16",
            *options,
            status=2,
        )
        assert "a.npy already exists. --force replaces it." in said
    same(np.load(tmp_path / "a.npy"), array)
    for mode in ["map", "read"]:
        dtype = {"map": "int16", "read": "int32"}[mode]
        run(
            "convert",
            tmp_path / "a.npy",
            tmp_path / "a.npy",
            "--dtype",
            dtype,
            "--force",
            "--mode",
            mode,
        )
        same(np.load(tmp_path / "a.npy"), array.astype(dtype))
    run("convert", tmp_path / "a.npy", tmp_path / "s.npy", "--shard-rows", "300")
    again = [
        "convert",
        tmp_path / "a.npy",
        tmp_path / "s.npy",
        "--shard-rows",
        "300",
        "--dtype",
        "int16",
    ]
    assert "s-00000-of-00004.npy already exists" in refused(*again)
    run(*again, "--force")
    assert np.load(tmp_path / "s-00003-of-00004.npy").dtype == np.int16
    said = refused(
        "convert", tmp_path / "s-*.npy", tmp_path / "s.npy", "--shard-rows", "300", "--force"
    )
    assert "is a source, and would be replaced before all are read" in said
    said = refused(
        "convert", tmp_path / "a.npy", tmp_path / "s.npy", "--shard-rows", "500", "--force"
    )
    assert "a shard of another conversion" in said
    assert len(shards(tmp_path, "s-*")) == 4


def test_impossible_requests_are_refused_with_an_explanation(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    np.save(tmp_path / "c.npy", np.ones(3, complex))
    convert = ["convert", tmp_path / "a.npy"]
    assert "its extension does not name a format" in refused(*convert, tmp_path / "out")
    assert "--compress" in refused(*convert, tmp_path / "out.npy", "--compress")
    assert "npy files have no names" in refused(*convert, tmp_path / "out.npy", "--name", "x")
    assert "complex" in refused(
        "convert", tmp_path / "c.npy", tmp_path / "out.npy", "--dtype", "int8"
    )
    assert "bfloat16" in refused(*convert, tmp_path / "out.npy", "--dtype", "bfloat16")
    assert "nowhere" in refused(*convert, tmp_path / "nowhere" / "out.npy")
    assert "no file matches" in refused("convert", tmp_path / "b-*.npy", tmp_path / "out.npy")
    assert "missing.npy" in refused("convert", tmp_path / "missing.npy", tmp_path / "out.npy")
    assert "without a name" in refused(*convert, tmp_path / "out.npy", "--array", "x")
    assert names(tmp_path) == ["a.npy", "c.npy"]


# ---- progress


def test_no_bar_is_shown_with_quiet_or_without_a_terminal(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(1000))
    done = run("convert", tmp_path / "a.npy", tmp_path / "b.npy", "--quiet")
    assert (done.stdout, done.stderr) == ("", "")
    process = start("convert", tmp_path / "a.npy", tmp_path / "c.npy")
    process.stdout.close()
    with process.stderr as stderr:
        assert stderr.read() == ""
    assert process.wait() == 141, "as of a process that SIGPIPE ended"
    same(np.load(tmp_path / "c.npy"), np.arange(1000))


def test_a_terminal_shows_a_bar(tmp_path):
    source = sparse(tmp_path / "a.npy", (1 << 23, 128), np.int64)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "convert", source, tmp_path / "out.npy", "--dtype", "int8"],
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while not re.search(rb"[\d.]+ [KMG]?i?B of 1.00 GiB, [\d.]+ [KMG]iB/s, ", shown):
        shown += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    os.close(ours)
    assert names(tmp_path) == ["a.npy"]
