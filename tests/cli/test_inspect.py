"""`tensorferry inspect` agrees with NumPy."""

from __future__ import annotations

import json
import math
import os
import subprocess

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import tensorferry as tfy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.support.arrays import NAMES, np_dtype
from tests.support.cli import COMMAND, refused, run
from tests.support.report import inspected, page, saved


def values(name: str, rng: np.random.Generator, shape) -> np.ndarray:
    dtype = np_dtype(name)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    if dtype.kind == "b":
        return rng.random(shape) < 0.7
    if dtype.kind == "c":
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


def agrees(said: dict, array: np.ndarray) -> None:
    """The report on an array equals NumPy's statistics."""
    assert said["dtype"] == array.dtype.newbyteorder("=").name
    assert said["shape"] == list(array.shape)
    assert (said["count"], said["bytes"]) == (array.size, array.nbytes)
    wide = (
        array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
        if array.dtype.kind not in "biu"
        else array
    )
    finite = wide[np.isfinite(wide)]
    numbers = np.abs(finite) if wide.dtype.kind == "c" else finite
    found = said["values"]
    assert found["nan"] == np.isnan(wide).sum()
    infinite = ~np.isnan(wide) & np.isinf(wide)
    assert found["positive_infinity"] + found["negative_infinity"] == infinite.sum()
    counts, edges = said["histogram"]["counts"], said["histogram"]["edges"]
    assert sum(counts) == numbers.size
    if numbers.size == 0:
        assert found["min"] is found["max"] is found["mean"] is None
        assert counts == edges == []
        return
    if array.dtype.kind == "c":
        assert found["min"] == pytest.approx(numbers.min())
        assert found["max"] == pytest.approx(numbers.max())
        assert complex(*found["mean"]) == pytest.approx(finite.mean(), abs=1e-9)
        return
    # Exact, also beyond 2^53.
    assert (found["min"], found["max"]) == (numbers.min().item(), numbers.max().item())
    exact = (
        math.fsum(map(float, numbers.ravel()))
        if array.dtype.kind not in "biu"
        else sum(map(int, numbers.ravel()))
    )
    assert found["mean"] == pytest.approx(exact / numbers.size, rel=1e-12, abs=1e-300)
    exactly = numbers.astype(object).ravel()
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        assert count == sum((low <= value) & (value < high) for value in exactly), (low, high)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "bfloat16"])
def test_every_dtype_in_every_order_agrees_with_numpy(name, tmp_path) -> None:
    rng = np.random.default_rng(7)
    array = values(name, rng, (40, 7))
    layouts = {
        "plain": array,
        "swapped": array.astype(array.dtype.newbyteorder(">")),
        "fortran": np.asfortranarray(array),
        "empty": array[:0],
        "scalar": array[0, 0],
        "flat": array.ravel()[:1],
        "deep": array.reshape(2, 2, 2, 5, 7),
        "no_columns": array[:, :0],
    }
    for layout, data in layouts.items():
        np.save(tmp_path / f"{layout}.npy", data)
    for mode in ("map", "read", "direct"):
        said = inspected("--mode", mode, *(tmp_path / f"{layout}.npy" for layout in layouts))
        for (layout, data), one in zip(layouts.items(), said, strict=True):
            agrees(one, np.asarray(data))
            assert one["format"] == "npy"
            assert one["byte_order"] == (
                None if array.itemsize == 1 else "big" if layout == "swapped" else "little"
            )
            assert one["order"] == ("F" if layout == "fortran" else "C")


def test_bfloat16_and_arrays_by_name(tmp_path) -> None:
    rng = np.random.default_rng(3)
    arrays = {
        "b": rng.normal(size=(30, 4)).astype(ml_dtypes.bfloat16),
        "i": np.arange(10, dtype=np.int16),
    }
    safetensors.numpy.save_file(arrays, tmp_path / "a.safetensors")
    said = {one["name"]: one for one in inspected(tmp_path / "a.safetensors")}
    for name, array in arrays.items():
        agrees(said[name], array)
    assert [one["name"] for one in inspected(tmp_path / "a.safetensors", "--array", "i")] == ["i"]
    assert "no array has the name 'x'" in refused(
        "inspect", tmp_path / "a.safetensors", "--array", "x"
    ).replace('"', "'")
    np.savez_compressed(tmp_path / "z.npz", stored=arrays["i"], other=np.ones(3))
    assert [(one["name"], one["format"]) for one in inspected(tmp_path / "z.npz")] == [
        ("stored", "npz"),
        ("other", "npz"),
    ]
    assert "without a name" in refused(
        "inspect", *saved(tmp_path, "n", np.ones(2)), "--array", "x", status=2
    )


def test_records_of_tensorflow_are_inspected(tf, tmp_path) -> None:
    path = str(tmp_path / "t.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for i in range(20):
            feature = {
                "x": tf.train.Feature(float_list=tf.train.FloatList(value=[i, i / 2])),
                "y": tf.train.Feature(int64_list=tf.train.Int64List(value=[-i])),
            }
            writer.write(
                tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
            )
    said = {one["name"]: one for one in inspected(path)}
    agrees(said["x"], np.stack([np.arange(20), np.arange(20) / 2], axis=1).astype(np.float32))
    agrees(said["y"], -np.arange(20))
    assert (said["y"]["order"], said["y"]["byte_order"]) == (None, None)


def test_features_that_are_read_together_are_reported_separately(tmp_path) -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(30_000, 40)).astype(np.float32)  # some chunks
    x[5, 3], x[29_999, 39] = np.nan, np.inf
    arrays = {
        "x": x,
        "y": rng.integers(-9, 1 << 40, 30_000),
        "raw": rng.integers(0, 256, (30_000, 3), np.uint8),
    }
    tfy.save(tmp_path / "t.tfrecord", arrays)
    said = {one["name"]: one for one in inspected(tmp_path / "t.tfrecord")}
    some = inspected(tmp_path / "t.tfrecord", "--array", "raw", "--array", "y")
    assert some == [said["raw"], said["y"]]
    for name, array in arrays.items():
        agrees(said[name], array)
        assert inspected(tmp_path / "t.tfrecord", "--array", name) == [said[name]]


def test_a_damaged_feature_does_not_hide_the_others(tf, tmp_path) -> None:
    path = str(tmp_path / "t.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for i in range(20):
            feature = {
                "x": tf.train.Feature(int64_list=tf.train.Int64List(value=[i] * (1 + (i == 15)))),
                "y": tf.train.Feature(int64_list=tf.train.Int64List(value=[-i])),
            }
            writer.write(
                tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
            )
    done = subprocess.run(
        [COMMAND, "inspect", path, "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    (y,) = json.loads(done.stdout)["arrays"]
    agrees(y, -np.arange(20))
    assert "t.tfrecord: x: " in done.stderr
    assert "record 15" in done.stderr


def test_raw_files_have_the_given_dtype_and_shape(tmp_path) -> None:
    array = np.arange(-6, 18, dtype=">i4").reshape(-1, 3)
    (tmp_path / "r.bin").write_bytes(b"head" + array.tobytes())
    (said,) = inspected(
        tmp_path / "r.bin", "--raw-dtype", ">i4", "--raw-shape", "-1,3", "--raw-offset", 4
    )
    agrees(said, array)
    assert (said["byte_order"], said["format"]) == ("big", "raw")
    assert "--raw-dtype" in refused("inspect", tmp_path / "r.bin", status=2)
    assert "rows of 12 bytes" in refused(
        "inspect", tmp_path / "r.bin", "--raw-dtype", "int32", "--raw-shape=-1,3", status=1
    )
    refused("inspect", tmp_path / "r.bin", "--raw-shape", "3", status=2)
    refused("inspect", tmp_path / "r.bin", "--raw-dtype", "int3", status=2)


def test_shards_in_a_pattern_are_one_array(tmp_path) -> None:
    whole = np.random.default_rng(1).normal(size=(90, 2))
    for at, part in enumerate(np.split(whole, 9)):
        np.save(tmp_path / f"p-{at}.npy", part)
    (said,) = inspected(tmp_path / "p-*.npy")
    agrees(said, whole)
    assert said["files"] == 9


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128, np.uint64, np.int64])
def test_the_ends_of_a_dtype_are_exact(dtype, tmp_path) -> None:
    kind = np.dtype(dtype).kind
    if kind in "iu":
        info = np.iinfo(dtype)
        array = np.array([info.min, info.max, info.max - 1, 2**53 + 1, 5], dtype)
    else:
        info = np.finfo(dtype)
        array = np.array(
            [
                info.max,
                info.min,
                info.tiny,
                info.smallest_subnormal,
                0,
                -0.0,
                np.nan,
                np.inf,
                -np.inf,
            ],
            dtype,
        )
    (said,) = inspected(*saved(tmp_path, "ends", array))
    if kind == "c":
        assert (said["values"]["nan"], said["values"]["positive_infinity"]) == (1, 2)
        assert said["values"]["max"] == info.max
        return
    # The sum of the greatest and the least float is exact; smaller terms vanish in it.
    low, high = said["values"]["min"], said["values"]["max"]
    assert (low, high) == (info.min, info.max)
    assert sum(said["histogram"]["counts"]) == np.isfinite(array).sum()


@given(
    array=hnp.arrays(
        st.sampled_from(["f8", "f4", "f2", "i8", "u8", "i2", "u1", "i1"]),
        st.integers(0, 60),
        elements=None,
        fill=st.nothing(),
    )
)
def test_any_values_agree_with_numpy(array, tmp_path_factory) -> None:
    (said,) = inspected(*saved(tmp_path_factory.mktemp("any"), "a", array), "--bins", 5)
    assert len(said["histogram"]["counts"]) <= 5
    finite = array[np.isfinite(array)].astype(np.float64)
    with np.errstate(over="ignore"):
        overflows = not np.isfinite(finite.sum()) or not np.isfinite(np.abs(finite).sum())
    if overflows:
        # JSON has no mean for a sum that is not finite.
        said["values"]["mean"] = None
        assert sum(said["histogram"]["counts"]) == finite.size
    else:
        agrees(said, array)
    # The reported smallest dtype holds every value.
    if array.size:
        smallest = np.dtype(said["smallest_dtype"])
        assert smallest.itemsize <= array.itemsize
        with np.errstate(invalid="ignore", over="ignore"):
            np.testing.assert_array_equal(array.astype(smallest).astype(array.dtype), array)
        if array.dtype.kind in "iu":
            assert smallest.itemsize == tfy.smallest_dtype(array).itemsize


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([0, 255]), "uint8"),
        (np.array([-1, 127]), "int8"),
        (np.array([-1, 128]), "int16"),
        (np.array([0, 2**63], np.uint64), "uint64"),
        (np.array([0.0, 7.0]), "uint8"),
        (np.array([0.5, 7.0]), "float16"),
        (np.array([0.1, 7.0], np.float32).astype(np.float64), "float32"),
        (np.array([0.1]), "float64"),
        (np.array([np.nan, np.inf]), "float16"),
        (np.array([1.0, np.nan]), "float16"),
        (np.array([65504.0, 2.0**-24]), "float16"),
        (np.array([65520.5]), "float32"),
        (np.array([1.0, 2.0], np.float16), "uint8"),
        (np.array([1000.0], np.float16), "float16"),
        (np.array([1 + 2j, 0.5]), "complex64"),
        (np.array([0.1 + 2j]), "complex128"),
        (np.array([True]), "bool"),
        (np.array([], np.int64), None),
    ],
)
def test_the_smallest_dtype_is_the_smallest(array, expected, tmp_path) -> None:
    (said,) = inspected(*saved(tmp_path, "a", array))
    assert said["smallest_dtype"] == expected
    assert said["smallest_bytes"] == (
        None if expected is None else array.size * np.dtype(expected).itemsize
    )


def test_many_chunks_give_the_same_report_as_one(tmp_path) -> None:
    rng = np.random.default_rng(5)
    array = rng.normal(size=(3_000_000,)) * np.repeat(10.0 ** np.arange(-3, 3), 500_000)
    array[123_456] = np.nan
    path = saved(tmp_path, "large", array)
    first = run("inspect", "--json", *path).stdout
    assert all(
        run("inspect", "--json", "--mode", mode, *path).stdout == first
        for mode in ("map", "read", "direct")
    )
    (said,) = json.loads(first)["arrays"]
    finite = array[np.isfinite(array)]
    assert (said["values"]["min"], said["values"]["max"]) == (finite.min(), finite.max())
    assert said["values"]["mean"] == pytest.approx(math.fsum(finite) / finite.size, rel=1e-9)
    counts, _ = np.histogram(finite, said["histogram"]["edges"])
    # NumPy's last interval is closed; no value lies on its end.
    assert counts.tolist() == said["histogram"]["counts"]


def test_output_fits_and_is_plain_without_a_terminal(tmp_path) -> None:
    path = saved(tmp_path, "x", np.random.default_rng(0).normal(size=(1000,)))
    out = run("inspect", *path).stdout
    assert out.isascii()
    assert max(map(len, out.splitlines())) <= 80
    assert "float64, little-endian" in out
    assert "###" in out


def test_bars_fill_the_width_of_a_terminal(tmp_path) -> None:
    import fcntl
    import pty
    import struct
    import termios

    path = saved(tmp_path, "x", np.arange(1000))
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    process = subprocess.Popen(
        [COMMAND, "inspect", "--bins", "4", *path], stdout=child, stderr=subprocess.DEVNULL
    )
    os.close(child)
    said = b""
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        said += part
    assert process.wait() == 0
    os.close(parent)
    lines = said.decode().splitlines()
    assert "█" in said.decode()
    assert max(len(line) for line in lines if "█" in line) == 59


def test_an_unreadable_file_does_not_hide_the_others(tmp_path) -> None:
    good = saved(tmp_path, "good", np.arange(3))
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY\x01\x00")
    done = subprocess.run(
        [COMMAND, "inspect", "--json", *good, tmp_path / "bad.npy", tmp_path / "none.npy", *good],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["arrays"]) == 2
    bad, none = done.stderr.splitlines()
    assert bad.startswith("tensorferry: error: ")
    assert "bad.npy" in bad
    assert "none.npy" in none
    assert refused("inspect", tmp_path / "none.npy", status=3).count("\n") == 1


def test_a_file_without_arrays_is_reported(tmp_path) -> None:
    np.savez(tmp_path / "empty.npz")
    assert (
        run("inspect", tmp_path / "empty.npz").stdout
        == f"{tmp_path / 'empty.npz'}\n  no arrays\n\n"
    )
    assert inspected(tmp_path / "empty.npz") == []


def test_a_name_missing_in_one_file_does_not_hide_the_others(tmp_path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3), y=np.arange(4))
    files = [*saved(tmp_path, "b", np.arange(3)), tmp_path / "a.npz", tmp_path / "a.npz"]
    done = subprocess.run(
        [COMMAND, "inspect", "--json", "--array", "y", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert [one["shape"] for one in json.loads(done.stdout)["arrays"]] == [[4], [4]]
    assert "without a name" in done.stderr


def test_arrays_of_foreign_dtypes_do_not_hide_the_others(tmp_path) -> None:
    np.savez(tmp_path / "mixed.npz", words=np.array(["a", "b"]), numbers=np.arange(4))
    done = subprocess.run(
        [COMMAND, "inspect", "--json", tmp_path / "mixed.npz"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert [one["name"] for one in json.loads(done.stdout)["arrays"]] == ["numbers"]
    assert "words" in done.stderr
    assert "<U1" in done.stderr


def test_names_in_a_file_cannot_control_the_terminal(tmp_path) -> None:
    safetensors.numpy.save_file({"a\x1b[2J\n": np.arange(3)}, tmp_path / "a.safetensors")
    assert "a.safetensors: a\\u{1b}[2J\\n" in run("inspect", tmp_path / "a.safetensors").stdout
    assert "\x1b" not in refused("inspect", tmp_path / "a.safetensors", "--array", "\x1b[2J")
    assert inspected(tmp_path / "a.safetensors")[0]["name"] == "a\x1b[2J\n"
    assert "\x1b" not in (page(tmp_path, tmp_path / "a.safetensors")).text


def test_a_closed_pipe_is_quiet(tmp_path) -> None:
    paths = saved(tmp_path, "x", np.arange(10)) * 2000
    done = subprocess.run(
        [
            "bash",
            "-c",
            '"$@" | head -n 1; echo "${PIPESTATUS[0]}"',
            "-",
            COMMAND,
            "inspect",
            *paths,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[1] == "141"


def test_a_full_disk_under_stdout_is_an_error(tmp_path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [COMMAND, "inspect", *saved(tmp_path, "x", np.arange(10))],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr.startswith("tensorferry: error: stdout: ")


def test_a_file_larger_than_the_memory_limit(tmp_path) -> None:
    import resource

    path = tmp_path / "large.npy"
    large = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(1 << 19, 1 << 10))
    large[-1, -1] = 200
    del large

    def limit() -> None:
        # The file has 512 MiB.
        resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))

    (said,) = inspected(path, preexec_fn=limit)
    assert (said["values"]["max"], said["smallest_dtype"]) == (200, "uint8")
    assert said["values"]["mean"] == 200 / (1 << 29)


def test_completions_and_help_exist() -> None:
    for shell in ("bash", "zsh", "fish", "powershell", "elvish"):
        assert "inspect" in run("completions", shell).stdout
    assert (
        subprocess.run(
            ["bash", "-n"], input=run("completions", "bash").stdout, text=True, check=False
        ).returncode
        == 0
    )
    assert "inspect" in run("--help").stdout
    assert "--report" in run("inspect", "--help").stdout
