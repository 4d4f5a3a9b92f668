"""GZIP and ZLIB files of TFRecord, as TensorFlow writes them."""

from __future__ import annotations

import gzip
import pickle
import tempfile
import zlib

import numpy as np
import pytest
from tensorferry import errors

from tests.formats.test_tfrecord import example
from tests.support.arrays import random_values, same
from tests.support.openers import openers
from tests.support.stored import check

KINDS = ["GZIP", "ZLIB"]
MODES = ["map", "read", "direct", "auto"]


def write(tf, path, records, kind, level=None):
    options = tf.io.TFRecordOptions(compression_type=kind, compression_level=level)
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for record in records:
            writer.write(record)


@openers(*MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_compressed_examples_are_those_that_tensorflow_reads(tmp_path, tf, kind, opener):
    rows = 500
    points, labels = random_values("float32", (rows, 30)), np.arange(rows)
    records = [example(tf, point=points[i], label=labels[i]) for i in range(rows)]
    half = rows // 2
    write(tf, tmp_path / "part-0.tfrecord", records[:half], kind)
    write(tf, tmp_path / f"part-1.tfrecord.{kind.lower()}", records[half:], kind)
    pattern = tmp_path / "part-*"
    arrays = opener.open(pattern)
    check(arrays, {"point": points, "label": labels})
    same(arrays["point"][[rows - 1, 0, half]], points[[rows - 1, 0, half]])
    check(pickle.loads(pickle.dumps(arrays)), {"point": points, "label": labels})
    arrays.verify()
    files = sorted(str(path) for path in tmp_path.iterdir())
    theirs = [
        tf.io.parse_single_example(record, {"label": tf.io.FixedLenFeature([], tf.int64)})
        for record in tf.data.TFRecordDataset(files, compression_type=kind)
    ]
    shuffled = opener.from_files(pattern).shuffle(rows, seed=3).batch(rows)
    batch = next(shuffled.as_numpy_iterator())
    assert sorted(batch["label"]) == [int(parsed["label"]) for parsed in theirs]
    same(batch["point"], points[batch["label"]])


@openers(*MODES)
def test_plain_and_compressed_shards_are_one_array(tmp_path, tf, opener):
    rows = random_values("uint8", (90, 20))
    for at, kind in enumerate(["", "GZIP", "ZLIB"]):
        part = [row.tobytes() for row in rows[at * 30 :][:30]]
        write(tf, tmp_path / f"part-{at}.tfrecord", part, kind)
    array = opener.open(tmp_path / "part-*")
    same(np.asarray(array), rows)
    same(array[[89, 0, 45]], rows[[89, 0, 45]])
    assert opener.open(tmp_path / "part-2.tfrecord", "tfrecord_bytes").shape == (30, 20)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [0, 1, 9])
def test_levels_names_and_empty_files(tmp_path, tf, kind, level, opener):
    records = [bytes([i % 256]) * 100 for i in range(300)]
    write(tf, tmp_path / "a", records, kind, level)  # known by its first bytes alone
    assert opener.open(tmp_path / "a").shape == (300, 100)
    write(tf, tmp_path / "empty.tfrecord", [], kind, level)
    assert opener.open(tmp_path / "empty.tfrecord").shape == (0, 0)
    assert list(tf.data.TFRecordDataset(str(tmp_path / "empty.tfrecord"), kind)) == []


def test_files_that_gzip_wrote(tmp_path, tf, opener):
    write(tf, tmp_path / "a.tfrecord", [b"abc", b"def"], "")
    data = (tmp_path / "a.tfrecord").read_bytes()
    with gzip.GzipFile(tmp_path / ("long-" * 40 + ".gz"), "wb") as file:
        file.write(data)
    both = gzip.compress(data) + gzip.compress(data)  # `cat a.gz b.gz`
    (tmp_path / "both.gz").write_bytes(both)
    assert opener.open(tmp_path / ("long-" * 40 + ".gz")).shape == (2, 3)
    assert opener.open(tmp_path / "both.gz").shape == (4, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_an_error_that_names_the_file(tmp_path, tf, kind, opener):
    path = tmp_path / "a.tfrecord"
    records = [random_values("uint8", (100,)).tobytes() for _ in range(50)]
    write(tf, path, records, kind)
    data = path.read_bytes()
    for damaged in (data[:-1], data[: len(data) // 2], data + b"more", data[:-4] + b"\0\0\0\0"):
        path.write_bytes(damaged)
        with pytest.raises(errors.FileFormatError, match=rf"a\.tfrecord.*{kind} stream"):
            opener.open(path)
    rng = np.random.default_rng(5)
    for at in rng.integers(0, len(data), 40):
        flipped = bytearray(data)
        flipped[at] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        try:
            opened = np.asarray(opener.open(path, "tfrecord_bytes"))
        except (errors.FileFormatError, errors.InvalidArgumentError):
            continue
        same(opened, np.frombuffer(b"".join(records), np.uint8).reshape(50, 100))
    # A record that is damaged within an intact stream.
    inner = bytearray(zlib.decompress(data, 47))
    inner[50] ^= 1
    path.write_bytes(gzip.compress(bytes(inner)) if kind == "GZIP" else zlib.compress(inner))
    with pytest.raises(errors.FileFormatError, match="checksum"):
        np.asarray(opener.open(path))
    (tmp_path / "b.tfrecord").write_bytes(gzip.compress(b"not records, but text"))
    with pytest.raises(errors.FileFormatError, match="compressed by gzip"):
        opener.open(tmp_path / "b.tfrecord")


def test_a_folder_without_room_for_the_temporary_file_is_named(tmp_path, tf, monkeypatch, opener):
    path = tmp_path / "a.tfrecord"
    write(tf, path, [b"abc"], "GZIP")
    missing = tmp_path / "missing"
    monkeypatch.setenv("TMPDIR", str(missing))
    with pytest.raises(OSError, match="missing"):
        opener.open(path)
    monkeypatch.setenv("TMPDIR", tempfile.gettempdir())
    assert opener.open(path).shape == (1, 3)
