"""Paths: patterns, hidden files, files of other libraries, URLs, folders, and more files than may
be open.
"""

from __future__ import annotations

import bz2
import errno
import glob
import gzip
import io
import itertools
import logging
import lzma
import os
import pathlib
import pickle
import random
import re
import zipfile

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import errors

from tests.support.processes import run_python

MODES = ["map", "read", "direct"]


def save(folder, *names, rows=2):
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.save(file, np.full(rows, number))


def found(pattern, **options):
    return [str(path) for path in tfy.open(pattern, **options).paths]


HIDDEN = (".b.npy", "._x.npy", ".x.npy.AbC123", ".d/e.npy")


@pytest.mark.parametrize(
    "pattern",
    [
        "*.npy",
        "*",
        "?.npy",
        ".*.npy",
        "._*",
        "[!.]*.npy",
        "[.]*",
        "[._]*.npy",
        "**/*.npy",
        "*/*.npy",
        ".*/*.npy",
        ".d/*",
        "a*/**/*.npy",
    ],
)
def test_hidden_files_are_matched_as_glob_does(tmp_path, monkeypatch, pattern):
    save(tmp_path, "b.npy", "a/b.npy", "a/c/d.npy", "a/.h.npy", *HIDDEN)
    (tmp_path / ".x.npy.AbC123").rename(tmp_path / ".x.npy.AbC123.npy")
    monkeypatch.chdir(tmp_path)
    expected = [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
    if pattern == "*":
        (tmp_path / "a").rename(tmp_path / ".a")
        expected = glob.glob(pattern)
    if not expected:
        with pytest.raises(FileNotFoundError):
            tfy.open(pattern)
    else:
        assert sorted(found(pattern)) == sorted(expected)
        assert len(tfy.Dataset.from_npy(pattern)) == 2 * len(expected)


def test_leftovers_of_rsync_and_macos_are_never_read(tmp_path):
    save(tmp_path, "a.npy", ".a.npy.Xy12Ab", "._a.npy", ".b.npy")
    (tmp_path / "._a.npy").write_bytes(b"\0\5\x16\7Mac OS X")
    pattern = str(tmp_path / "*")
    assert tfy.open(pattern).shape == (2,)
    assert len(tfy.Dataset.from_files(pattern)) == 2
    assert len(tfy.Dataset.from_npy(pattern)) == 2
    for path in tmp_path.glob(".*"):
        path.unlink()
    np.arange(4, dtype=np.int32).tofile(tmp_path / "t.bin")
    np.arange(9, dtype=np.int32).tofile(tmp_path / ".t.bin")
    assert tfy.open_raw(tmp_path / "*.bin", "int32").shape == (4,)


@pytest.mark.parametrize("seed", range(6))
def test_random_patterns_match_what_glob_matches(tmp_path, monkeypatch, seed):
    letters = random.Random(seed)
    names = {
        "".join(letters.choices("ab.-[]!^*?é", k=letters.randint(1, 4))) for _ in range(60)
    } - {".", ".."}
    save(tmp_path, *names)
    monkeypatch.chdir(tmp_path)
    for _ in range(150):
        pattern = "".join(
            letters.choices(
                ["a", "b", ".", "-", "*", "?", "[", "]", "[ab]", "[!a]", "[a-b]", "[]]", "é"], k=3
            )
        )
        if not glob.has_magic(pattern) or os.path.lexists(pattern):
            continue
        expected = sorted(glob.glob(pattern))
        try:
            assert sorted(found(pattern)) == expected
        except FileNotFoundError:
            assert not expected


def test_patterns_are_counted_escaped_and_case_sensitive(tmp_path):
    save(
        tmp_path,
        *(f"part-{number}.npy" for number in (10, 9, 1, 100)),
        "PART-2.npy",
        "[a]/x-1.npy",
        "[a]/x-[1].npy",
    )
    names = [path.name for path in tfy.open(tmp_path / "part-*.npy").paths]
    assert names == ["part-1.npy", "part-9.npy", "part-10.npy", "part-100.npy"]
    assert tfy.open(str(tmp_path / "[a]" / "x-[1].npy")).shape == (2,)  # a file has that name
    assert len(tfy.open(os.path.join(glob.escape(str(tmp_path / "[a]")), "x-*.npy")).paths) == 2
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(tfy.open(tmp_path / "**" / "part-*.npy").paths) == 4


def test_a_pattern_without_matches_is_file_not_found(tmp_path):
    save(tmp_path, ".a.npy")
    for call in (
        tfy.open,
        tfy.Dataset.from_files,
        tfy.Dataset.from_npy,
        lambda path: tfy.open_raw(path, "int8"),
    ):
        for pattern in ("*.npy", "nowhere/*.npy", "[x]"):
            with pytest.raises(FileNotFoundError, match="no file matches the pattern") as raised:
                call(tmp_path / pattern)
            assert raised.value.errno == errno.ENOENT
            assert raised.value.filename == str(tmp_path / pattern)
            assert str(raised.value).count("Errno") == 1


@pytest.mark.parametrize("mode", MODES)
def test_thousands_of_files_under_a_small_limit_of_open_ones(tmp_path, mode):
    count = 3000 if mode == "map" else 600
    rows = np.arange(count * 2).reshape(count, 2, 1)
    for number in range(count):
        np.save(tmp_path / f"{number}.npy", rows[number])
    run_python(f"""
        import resource, numpy as np, tensorferry as tfy
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        array = tfy.open({str(tmp_path)!r} + "/*.npy", mode={mode!r})
        assert array.mode == {mode!r}
        assert (np.asarray(array)[:, 0] == np.arange({count * 2})).all()
        order = np.random.default_rng(0).permutation({count * 2})
        assert (array[order].numpy()[:, 0] == order).all()
        dataset = tfy.Dataset.from_tensor_slices(array).shuffle(seed=1).batch(256)
        dataset = dataset.with_format("numpy")
        assert sorted(np.concatenate(list(dataset))[:, 0]) == list(range({count * 2}))
        open("/dev/null").close()  # some remain for other uses
    """)


def test_a_file_that_replaced_a_closed_one_is_refused(tmp_path):
    save(tmp_path, *(f"{number}.npy" for number in range(300)))
    array = tfy.open(tmp_path / "*.npy", mode="read")
    times = os.stat(tmp_path / "0.npy")
    for number in range(300):  # the same length and time, another file
        save(tmp_path, "new")
        os.utime(
            tmp_path / "new",
            ns=(times.st_atime_ns, os.stat(tmp_path / f"{number}.npy").st_mtime_ns),
        )
        os.replace(tmp_path / "new", tmp_path / f"{number}.npy")
    with pytest.raises(errors.FileFormatError, match="written to since it was opened"):
        np.asarray(array)


OPEN = {
    "open": tfy.open,
    "from_files": tfy.Dataset.from_files,
    "open_raw": lambda path: tfy.open_raw(path, "int8"),
    "save": lambda path: tfy.save(path, np.arange(3)),
}


@pytest.mark.parametrize("function", OPEN)
def test_an_open_file_object_is_refused(tmp_path, function):
    save(tmp_path, "a.npy")
    says = rf"not an open file .*Pass its path, '{re.escape(str(tmp_path / 'a.npy'))}'"
    with (tmp_path / "a.npy").open("rb") as file, pytest.raises(TypeError, match=says):
        OPEN[function](file)
    for wrong in (io.BytesIO(b"x"), io.StringIO("x")):
        with pytest.raises(TypeError, match=r"not an open file .*Write it to a file"):
            OPEN[function](wrong)
    for wrong in (None, 3, {"a.npy": 1}, [3], [None], np.arange(3)):
        with pytest.raises(errors.InvalidTypeError, match=r"a path was expected"):
            OPEN[function](wrong)


@pytest.mark.parametrize("function", OPEN)
@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("hf://datasets/a.npy", "hf:// is not read.*Download"),
        ("ftp://host/a.npy", "ftp:// is not read"),
        ("~/nowhere/a.npy", "expanduser"),
    ],
)
def test_urls_and_the_home_folder_are_refused_by_name(function, path, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=says):
        OPEN[function](path)
    with pytest.raises(FileNotFoundError, match=says):
        OPEN[function](pathlib.PurePosixPath(path) if "://" not in path else path)


COMPRESSED = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: b"\x28\xb5\x2f\xfd" + data,
}


@pytest.mark.parametrize("extension", COMPRESSED)
def test_compressed_files_are_refused_with_the_way_out(tmp_path, extension, opener):
    buffer = io.BytesIO()
    np.save(buffer, np.arange(100))
    for name in (f"a.npy.{extension}", "a.npy", "a", f"a.tfrecord.{extension}"):
        path = tmp_path / name
        path.write_bytes(COMPRESSED[extension](buffer.getvalue()))
        for call in (
            opener.open,
            opener.from_files,
            lambda path: opener.from_files(path, "npy"),
            lambda path: opener.open(path, "tfrecord"),
        ):
            with pytest.raises(
                errors.FileFormatError, match=r"compressed by .*Decompress it first"
            ):
                call(path)
    with pytest.raises(errors.FileFormatError, match="Decompress it first"):
        opener.open_raw(tmp_path / f"a.npy.{extension}", "int8")
    for options in ({}, {"format": "npy"}):
        with pytest.raises(
            errors.InvalidArgumentError, match=r"not compressed as a whole.*compress=True"
        ):
            tfy.save(tmp_path / f"b.npy.{extension}", np.arange(3), **options)
    assert not (tmp_path / f"b.npy.{extension}").exists()


def test_a_zip_archive_is_read_if_it_holds_arrays(tmp_path, opener):
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    (tmp_path / "a.npz").rename(tmp_path / "a.zip")
    assert list(opener.open(tmp_path / "a.zip")) == ["x"]
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("table.csv", "1,2")
    with pytest.raises(errors.FileFormatError, match=r"without arrays.*table\.csv.*Unpack it"):
        opener.open(tmp_path / "b.zip")
    with pytest.raises(errors.FileFormatError, match="Unpack it first"):
        opener.open_raw(tmp_path / "b.zip", "int8")
    tfy.save(tmp_path / "c.zip", {"x": np.arange(3)}, "npz")
    with pytest.raises(errors.InvalidArgumentError, match="not compressed as a whole"):
        tfy.save(tmp_path / "d.zip", np.arange(3), "npy")


OTHERS = [
    (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n",
        "Git LFS pointer.*git lfs pull",
    ),
    (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5.*h5py"),
    (b"PAR1" + bytes(99), "Parquet"),
    (b"ARROW1\0\0" + bytes(99), "Arrow"),
    (pickle.dumps({"a": 1}), "pickle"),
    (b"<!DOCTYPE html><html>404</html>", "download"),
    (b'{"weight_map": {}}' + bytes(9), "JSON"),
    (b"\x89PNG\r\n\x1a\n" + bytes(99), "image"),
]


@pytest.mark.parametrize(
    ("content", "says"), OTHERS, ids=[says.split(".")[0] for _, says in OTHERS]
)
def test_files_of_other_kinds_are_named_despite_their_extension(tmp_path, content, says, opener):
    for name in ("a", "a.npy", "a.npz", "a.safetensors", "a.tfrecord", "a.bin"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=says):
            opener.open(tmp_path / name)
        with pytest.raises(ValueError, match=says):
            opener.from_files(tmp_path / name)
    for format in ("npy", "npz", "safetensors", "tfrecord"):
        with pytest.raises(ValueError, match=says):
            opener.open(tmp_path / "a", format)
    assert len(opener.open_raw(tmp_path / "a", "uint8")) == len(content)


def test_a_record_that_begins_like_a_compressed_file_is_a_record(tmp_path, tf, opener):
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        writer.write(bytes(0x088B1F))
    assert opener.open(tmp_path / "a.tfrecord").shape == (1, 0x088B1F)
    assert opener.open(tmp_path / "a.tfrecord", "tfrecord_bytes").shape == (1, 0x088B1F)


def test_folders_are_refused_with_the_way_out(tmp_path):
    (tmp_path / "plain").mkdir()
    tfy.Dataset.range(3).save(tmp_path / "saved")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "zarr.json").write_text("{}")
    for name, says in [
        ("plain", r"pattern, such as DIRECTORY/\*\.npy"),
        ("saved", r"Dataset\.load"),
        ("store", "zarr"),
    ]:
        for call in (tfy.open, tfy.Dataset.from_files, tfy.open_npy):
            with pytest.raises(IsADirectoryError, match=says):
                call(tmp_path / name)


def test_an_empty_file_is_reported_as_empty(tmp_path, opener):
    for name in ("a.npy", "a.npz", "a.safetensors", "a"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(ValueError, match="empty"):
            opener.open(tmp_path / name)
    for name in ("a.npy", "a.npz", "a.safetensors"):
        with pytest.raises(errors.FileFormatError, match="empty"):
            opener.open(tmp_path / name, name[2:])


def test_the_errno_is_reported_once(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        tfy.open(tmp_path / "nowhere.npy")
    assert str(raised.value) == f"[Errno 2] No such file or directory: '{tmp_path}/nowhere.npy'"
    assert raised.value.strerror == "No such file or directory"
    with pytest.raises(FileNotFoundError) as raised:
        tfy.save(tmp_path / "nowhere" / "a.npy", np.arange(3))
    assert str(raised.value).count("rrno 2") + str(raised.value).count("os error") == 1


def test_further_arrays_in_an_npy_file_are_reported_as_left_out(tmp_path, caplog, opener):
    with (tmp_path / "a.npy").open("wb") as file:
        np.save(file, np.arange(3))
        np.save(file, np.arange(4))
    with caplog.at_level(logging.WARNING, "tensorferry"):
        assert opener.open(tmp_path / "a.npy").shape == (3,)
        for _ in itertools.repeat(None, 1000):  # pending calls run between instructions
            if caplog.records:
                break
    assert "160 bytes after the array" in caplog.text
