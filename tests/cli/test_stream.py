"""`tensorferry stream`: its counts, and its report of measured figures only."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess

import numpy as np
import pytest

from tests.support.cli import COMMAND, handles_signals, limited, refused, run, until


@pytest.fixture
def source(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(10_000 * 6).reshape(10_000, 6))
    return tmp_path / "a.npy"


def streamed(*arguments, **options):
    done = run("stream", *arguments, "--json", **options)
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.parametrize("mode", ["map", "read", "direct"])
@pytest.mark.parametrize("shuffle", [[], ["--shuffle", "--seed", "7"]])
def test_rows_batches_and_bytes_are_those_of_the_pipeline(source, mode, shuffle):
    report = streamed(source, "--mode", mode, "--batch", "1024", "--dtype", "int32", *shuffle)
    assert (report["rows"], report["batches"], report["bytes"]) == (10_000, 10, 10_000 * 24)
    assert report["plan"].startswith("from_tensor_slices(10000 x (int64[6]))")
    assert report["plan"].endswith("cast(int32, checked) | batch(1024)")
    assert ("shuffle(seed=7)" in report["plan"]) == bool(shuffle)
    if mode != "map":
        assert report["reading"]["bytes"] >= 10_000 * 48
        assert report["reading"]["thread_seconds"] > 0
    threads = report["threads"]
    assert threads["converting"] > 0
    parts = threads["reading"] + threads["converting"] + threads["gathering"]
    assert parts == pytest.approx(threads["computing"], rel=1e-6, abs=1e-6)
    assert threads["helping"] <= min(threads["computing"], report["wait_seconds"]["all"])
    assert threads["waiting"] <= report["seconds"] * report["processors"]
    seconds, waits = report["seconds"], report["wait_seconds"]
    assert report["rows_per_second"] == pytest.approx(10_000 / seconds)
    assert report["bytes_per_second"] == pytest.approx(240_000 / seconds)
    assert waits["all"] + report["consumer_seconds"] <= seconds
    assert waits["p50"] <= waits["p99"] <= waits["longest"] * 1.001
    assert report["first_batch_seconds"] <= waits["longest"] * 1.001
    assert report["memory"]["peak"] >= report["memory"]["own"] > 0
    assert report["processors"] >= 1


@pytest.mark.parametrize(
    ("options", "batches", "rows"),
    [
        ([], 4, 10_000),
        (["--drop-remainder"], 3, 9_000),
        (["--epochs", "3"], 12, 30_000),
        (["--steps", "2"], 2, 6_000),
        (["--steps", "9"], 9, 23_000),
        (["--steps", "9", "--epochs", "2"], 8, 20_000),
        (["--threads", "1", "--memory-limit", "1M"], 4, 10_000),
        (["--steps", "8", "--shuffle"], 8, 20_000),
    ],
)
def test_steps_and_epochs_end_it(source, options, batches, rows):
    report = streamed(source, "--batch", "3000", *options)
    assert (report["batches"], report["rows"]) == (batches, rows)


def test_an_empty_array_streams_nothing(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((0, 3)))
    for options in [[], ["--steps", "5"]]:
        report = streamed(tmp_path / "a.npy", *options)
        assert (report["batches"], report["first_batch_seconds"], report["rows_per_second"]) == (
            0,
            None,
            0,
        )
        assert "0 in " in run("stream", tmp_path / "a.npy", *options).stdout


def test_arrays_by_name_are_streamed_together(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        image=np.zeros((50, 4, 4), np.uint8),
        label=np.arange(50),
        odd=np.arange(3),
    )
    arguments = [
        tmp_path / "a.npz",
        "--array",
        "image",
        "--array",
        "label",
        "--dtype",
        "image=float32",
    ]
    assert streamed(*arguments)["bytes"] == 50 * (64 + 8)
    assert "different numbers of rows" in refused("stream", tmp_path / "a.npz")
    assert "no array has the name" in refused("stream", *arguments, "--dtype", "x=int8")


def test_mistakes_are_reported(source, tmp_path):
    assert "60000 values" not in refused("stream", source, "--dtype", "int8")
    assert "int64 -> int8" in refused("stream", source, "--dtype", "int8", "--quiet")
    assert "--shuffle" in refused("stream", source, "--seed", "3", status=2)
    assert "missing.npy" in refused("stream", tmp_path / "missing.npy")
    np.save(tmp_path / "scalar.npy", np.float32(1))
    assert "no dimension" in refused("stream", tmp_path / "scalar.npy")
    os.truncate(source, 1000)
    assert "truncated" in refused("stream", source)


def test_the_report_as_text(source):
    said = run("stream", source, "--batch", "1000", "--mode", "read").stdout
    lines = {line.split(None, 1)[0]: line.split(None, 1)[1] for line in said.splitlines()[1:]}
    assert said.startswith("from_tensor_slices(10000 x (int64[6])) | batch(1000)\n")
    assert lines["rows"].startswith("10,000 in ")
    assert lines["batches"].startswith("10, ")
    assert lines["bytes"].startswith("468.75 KiB, ")
    assert "(p50)" in lines["a"]
    assert lines["consumer"].startswith("waited ")
    assert re.fullmatch(
        r"worked .* of their time: read .* converted 0 s \(0 %\), gathered .* idle, with enough "
        r"ahead",
        lines["threads"],
    )
    assert lines["reading"].startswith("468.75 KiB of rows, ")
    assert set(lines) == {
        "rows",
        "batches",
        "bytes",
        "a",
        "consumer",
        "threads",
        "reading",
        "processor",
        "device",
        "faults",
        "memory",
    }


def test_cold_files_come_from_the_device(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (4096, 1024), np.uint8)
    np.save(tmp_path / "a.npy", array)
    report = streamed(tmp_path / "a.npy", "--cold", "--mode", "read")
    # File systems in memory have no device.
    assert report["device"]["bytes"] == 0 or report["device"]["bytes"] >= array.nbytes


def test_ctrl_c_ends_it_with_the_figures_so_far(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(1000))
    process = subprocess.Popen(
        [COMMAND, "stream", tmp_path / "a.npy", "--steps", str(10**12), "--batch", "1", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: handles_signals(process), process)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.3)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    report = json.loads(out)
    assert report["rows"] == report["batches"] > 0


@pytest.mark.parametrize("mode", ["read", "direct"])
def test_memory_of_streaming_is_bounded(tmp_path, mode):
    memory = 32 << 20  # for the process and its threads' stacks
    rows = memory * 8 // 1024
    np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.int64, (rows, 128))
    options = ["--mode", mode, "--shuffle", "--dtype", "int8", "--memory-limit", "8M"]
    report = streamed(tmp_path / "a.npy", *options, "--quiet", preexec_fn=limited(DATA=memory))
    assert report["rows"] == rows


@pytest.mark.parametrize("shuffle", [[], ["--shuffle"]])
def test_a_file_eight_times_larger_than_the_memory_limit(tmp_path, shuffle):
    memory = 256 << 20
    rows = memory * 8 // 8192
    np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.int64, (rows, 1024))  # zeros, sparse
    options = ["--dtype", "int8", "--memory-limit", "32M", "--quiet"]
    report = streamed(tmp_path / "a.npy", *options, *shuffle, preexec_fn=limited(AS=memory))
    assert report["rows"] == rows
    assert report["memory"]["peak"] < memory // 4
    assert report["mode"] != "map"
