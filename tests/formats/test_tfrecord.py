"""TFRecord files, against those of TensorFlow, in both directions."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import errors

from tests.support.arrays import random_values, same
from tests.support.openers import openers
from tests.support.stored import check, write_records

MODES = ["map", "read"]


def example(tf, **features):
    def feature(value):
        if isinstance(value, bytes | list) and (
            isinstance(value, bytes) or isinstance(value[0], bytes)
        ):
            return tf.train.Feature(
                bytes_list=tf.train.BytesList(value=[value] if isinstance(value, bytes) else value)
            )
        if np.asarray(value).dtype.kind == "f":
            return tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(value)))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=np.ravel(value)))

    made = tf.train.Features(feature={name: feature(value) for name, value in features.items()})
    return tf.train.Example(features=made).SerializeToString()


@openers(*MODES)
def test_examples_that_tensorflow_wrote_are_arrays_by_name(tmp_path, tf, opener):
    rows = 100
    images, points, labels = (
        random_values("uint8", (rows, 64)),
        random_values("float32", (rows, 3)),
        random_values("int64", (rows,)),
    )
    pairs = [[bytes([row, 1]), bytes([row, 2])] for row in range(rows)]
    write_records(
        tf,
        tmp_path / "a.tfrecord",
        [
            example(tf, image=images[i].tobytes(), point=points[i], label=labels[i], pair=pairs[i])
            for i in range(rows)
        ],
    )
    arrays = opener.open(tmp_path / "a.tfrecord")
    expected = {"image": images, "point": points, "label": labels}
    expected["pair"] = np.array([[list(one) for one in pair] for pair in pairs], np.uint8)
    check(arrays, expected)
    same(arrays["point"][[99, 0, 50]], points[[99, 0, 50]])
    dataset = opener.from_files(tmp_path / "a.tfrecord").shuffle(rows, seed=1).batch(rows)
    batch = next(iter(dataset.with_format("numpy")))
    order = np.argsort(batch["label"])
    for name, value in expected.items():
        same(batch[name][order], value[np.argsort(labels)])


@openers(*MODES)
def test_features_are_given_shape_and_dtype(tmp_path, tf, opener):
    rows = 20
    images, weights, ids = (
        random_values("uint8", (rows, 4, 4)),
        random_values("float64", (rows, 3)),
        random_values("int64", (rows, 6)),
    )
    write_records(
        tf,
        tmp_path / "a.tfrecord",
        [
            example(
                tf, image=images[i].tobytes(), weights=weights[i].tobytes(), ids=ids[i], more=[1, 2]
            )
            for i in range(rows)
        ],
    )
    features = {
        "weights": tfy.TensorSpec((3,), "float64"),
        "image": tf.TensorSpec((4, 4), tf.uint8),
        "ids": tfy.TensorSpec((2, 3), "int64"),
    }
    expected = {"image": images, "weights": weights, "ids": ids.reshape(rows, 2, 3)}
    arrays = opener.open(tmp_path / "a.tfrecord", features=features)
    assert list(arrays) == list(features)
    check(arrays, expected)
    check(pickle.loads(pickle.dumps(arrays)), expected)
    dataset = opener.from_files(tmp_path / "a.tfrecord", features=features).with_format("numpy")
    same(next(iter(dataset.batch(rows)))["weights"], weights)
    for name, spec, said in [
        (
            "image",
            tfy.TensorSpec((4, 5), "uint8"),
            'feature "image" is not uint8\\[4, 5\\]: the first record has 1 value of length 16',
        ),
        ("ids", tfy.TensorSpec((6,), "int32"), "6 values in its int64_list"),
        ("ids", tfy.TensorSpec((5,), "int64"), "is not"),
        ("other", tfy.TensorSpec((5,), "int64"), 'no feature "other"'),
    ]:
        with pytest.raises(errors.InvalidArgumentError, match=said):
            opener.open(tmp_path / "a.tfrecord", features={name: spec})
    np.save(tmp_path / "a.npy", ids)
    with pytest.raises(errors.InvalidArgumentError, match="npy files hold no features"):
        opener.open(tmp_path / "a.npy", features=features)


def test_saved_examples_are_parsed_by_tensorflow(tmp_path, tf):
    rows = 50
    written = {
        "image": random_values("uint8", (rows, 4, 5)),
        "label": random_values("int32", (rows,)),
        "ids": random_values("int64", (rows, 7)),
        "wide": random_values("float16", (rows, 2)),
        "flag": random_values("bool", (rows,)),
        "point": random_values("float32", (rows, 3)),
    }
    tfy.save(tmp_path / "a.tfrecord", written)
    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
        "ids": tf.io.FixedLenFeature([7], tf.int64),
        "wide": tf.io.FixedLenFeature([2], tf.float32),
        "flag": tf.io.FixedLenFeature([], tf.int64),
        "point": tf.io.FixedLenFeature([3], tf.float32),
    }
    records = list(tf.data.TFRecordDataset(str(tmp_path / "a.tfrecord")))
    assert len(records) == rows
    for at, record in enumerate(records):
        parsed = tf.io.parse_single_example(record, features)
        same(
            tf.reshape(tf.io.decode_raw(parsed["image"], tf.uint8), (4, 5)).numpy(),
            written["image"][at],
        )
        for name, wide in [
            ("label", "int64"),
            ("ids", "int64"),
            ("wide", "float32"),
            ("flag", "int64"),
            ("point", "float32"),
        ]:
            same(parsed[name].numpy(), written[name][at].astype(wide))


@openers(*MODES)
def test_records_of_bytes_are_the_rows_of_one_array(tmp_path, tf, opener):
    rows = random_values("uint8", (200, 33))
    write_records(tf, tmp_path / "a.tfrecord", [row.tobytes() for row in rows])
    array = opener.open(tmp_path / "a.tfrecord")
    same(np.asarray(array), rows)
    same(array[[5, 199, 5]], rows[[5, 199, 5]])
    tfy.save(tmp_path / "b.tfrecord", rows)
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(tmp_path / "b.tfrecord"))] == [
        row.tobytes() for row in rows
    ]
    write_records(tf, tmp_path / "examples.tfrecord", [example(tf, x=[1, 2])] * 3)
    assert opener.open(tmp_path / "examples.tfrecord", "tfrecord_bytes").shape[0] == 3


def test_records_that_differ_are_named(tmp_path, tf, opener):
    path = tmp_path / "a.tfrecord"
    write_records(tf, path, [b"abc", b"abcd"])
    with pytest.raises(errors.InvalidArgumentError, match=r"record 1 has 4"):
        opener.open(path)
    for other, said in [
        (
            {"x": [1, 2, 3], "y": 1.0},
            "3 values, where the first record has 2 values in its int64_list",
        ),
        (
            {"x": [1.0, 2.0], "y": 1.0},
            "float_list, where the first record has 2 values in its int64_list",
        ),
        ({"y": 1.0}, "is missing"),
    ]:
        write_records(tf, path, [example(tf, x=[1, 2], y=1.0), example(tf, **other)])
        arrays = opener.open(path)
        same(arrays["y"][:], np.ones(2, np.float32))
        same(arrays["x"][0], np.array([1, 2]))
        with pytest.raises(
            errors.FileFormatError, match=rf'a\.tfrecord.*record 1: feature "x".*{said}'
        ):
            arrays["x"][:]
