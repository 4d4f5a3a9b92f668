"""`tensorferry check`: the damage it finds, and the damage it reports that it cannot find."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from tests.support.cli import COMMAND, refused, run


def checked(*paths) -> tuple[int, list[str]]:
    done = subprocess.run(
        [COMMAND, "check", *map(str, paths)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == len(paths)
    return done.returncode, lines


@pytest.fixture
def files(tmp_path, tf) -> dict[str, str]:
    """An undamaged file of each format, written by the reference implementations."""
    array = np.arange(4000, dtype=np.int32).reshape(-1, 4)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "stored.npz", x=array, words=np.array(["a", "bc"]))
    np.savez_compressed(tmp_path / "deflated.npz", x=array, y=array + 1)
    safetensors.numpy.save_file({"x": array}, tmp_path / "a.safetensors")
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        for at in range(100):
            writer.write(bytes([at]) * (at + 1))
    return {path.name: str(path) for path in sorted(tmp_path.iterdir())}


def test_undamaged_files_are_ok_and_unverifiable_parts_are_reported(files) -> None:
    status, lines = checked(*files.values())
    assert status == 0
    for path, line in zip(files.values(), lines, strict=True):
        assert line.startswith(f"{path}: ok: ")
        sums = (
            "CRC-32C"
            if path.endswith(".tfrecord")
            else "CRC-32 "
            if path.endswith(".npz")
            else "no checksums"
        )
        assert sums in line
    assert "100 records" in next(line for line in lines if "tfrecord" in line)
    assert "2 arrays" in next(line for line in lines if "stored" in line)


def test_a_flipped_bit_is_found_wherever_there_is_a_checksum(files, tmp_path) -> None:
    rng = np.random.default_rng(0)
    for name in ("stored.npz", "deflated.npz", "a.tfrecord"):
        whole = Path(files[name]).read_bytes()
        # After the last member comes the archive's directory, some fields of which are never read.
        end = len(whole) if name.endswith("tfrecord") else whole.index(b"PK\x01\x02")
        for at in rng.integers(0, end, 60):
            if not name.endswith("tfrecord") and not any(
                start <= at < stop for start, stop in contents(files[name])
            ):
                continue
            damaged = bytearray(whole)
            damaged[at] ^= 1 << rng.integers(8)
            path = tmp_path / f"damaged-{name}"
            path.write_bytes(damaged)
            status, (line,) = checked(path)
            assert status == 1, (name, at)
            assert line.startswith(f"{path}: FAILED: ")
            assert "at byte" in line or "bytes" in line, line


def contents(path: str) -> list[tuple[int, int]]:
    """The positions of the bytes of an archive's members."""
    import zipfile

    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        places = []
        for info in archive.infolist():
            file.seek(info.header_offset + 26)
            name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
            start = info.header_offset + 30 + name + extra
            places.append((start, start + info.compress_size))
        return places


def test_every_truncated_file_is_found_and_the_other_files_are_still_checked(
    files, tmp_path
) -> None:
    rng = np.random.default_rng(1)
    for name, path in files.items():
        whole = Path(path).read_bytes()
        for length in [0, 1, len(whole) - 1, *rng.integers(2, len(whole), 8)]:
            cut = tmp_path / f"cut-{name}"
            cut.write_bytes(whole[:length])
            if name.endswith("tfrecord") and (length == 0 or int(length) in ends(whole)):
                continue  # a shorter file
            status, (_, line, last) = checked(path, cut, path)
            assert (status, last) == (1, checked(path)[1][0]), (name, length)
            assert line.startswith(f"{cut}: FAILED: "), (name, length)


def ends(records: bytes) -> set[int]:
    at, found = 0, set()
    while at < len(records):
        at += 16 + int.from_bytes(records[at : at + 8], "little")
        found.add(at)
    return found


def test_the_offset_of_the_damage_is_named(files, tmp_path) -> None:
    whole = bytearray(Path(files["a.tfrecord"]).read_bytes())
    start = sum(16 + at + 1 for at in range(50)) + 12  # the bytes of record 50
    whole[start + 7] ^= 4
    (tmp_path / "d.tfrecord").write_bytes(whole)
    assert f"at byte {start}: " in checked(tmp_path / "d.tfrecord")[1][0]
    whole[start - 12] ^= 4  # its length
    (tmp_path / "d.tfrecord").write_bytes(whole)
    line = checked(tmp_path / "d.tfrecord")[1][0]
    assert f"at byte {start - 12}: record 50 " in line


def test_bytes_after_an_array_are_reported(tmp_path) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    with open(tmp_path / "a.npy", "ab") as file:
        file.write(b"12345")
    status, (line,) = checked(tmp_path / "a.npy")
    assert status == 0
    assert "5 unused bytes after the array" in line


def test_a_missing_file_is_not_a_damaged_one(files, tmp_path) -> None:
    status, (_, line) = checked(files["a.npy"], tmp_path / "none.npy")
    assert status == 3
    assert line.startswith(f"{tmp_path / 'none.npy'}: not checked: ")
    assert "No such file" in line
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY")
    assert checked(tmp_path / "none.npy", tmp_path / "bad.npy")[0] == 1
    assert checked(tmp_path)[0] == 3
    os.mkfifo(tmp_path / "pipe.npy")
    assert checked(tmp_path / "pipe.npy")[0] == 3


def test_dtypes_that_tensors_lack_are_not_reported_as_damage(tmp_path) -> None:
    np.save(tmp_path / "words.npy", np.array(["a", "bc"]))
    status, (line,) = checked(tmp_path / "words.npy")
    assert status == 1
    assert ": not checked: " in line
    assert "<U2" in line


def test_raw_files_are_checked_against_the_given_shape(tmp_path) -> None:
    np.arange(12, dtype=np.int32).tofile(tmp_path / "r.bin")
    assert (
        "ok: raw"
        in run("check", tmp_path / "r.bin", "--raw-dtype", "int32", "--raw-shape", "3,4").stdout
    )
    status, (line,) = checked(tmp_path / "r.bin")
    assert (status, "raw file" in line) == (2, True)
    done = subprocess.run(
        [COMMAND, "check", tmp_path / "r.bin", "--raw-dtype", "int32", "--raw-shape", "5,4"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "80 bytes, there are 48" in done.stdout
    assert "--mode" in refused("check", tmp_path / "r.bin", "--mode", "map", status=2)
