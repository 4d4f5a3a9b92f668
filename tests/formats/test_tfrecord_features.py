"""Features of TFRecord that records lack, or whose length differs, against TensorFlow's parsing."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import errors

from tests.formats.test_tfrecord import example
from tests.support.arrays import same
from tests.support.dataset_checks import assert_resumes
from tests.support.openers import openers
from tests.support.stored import write_records

MODES = ["map", "read", "direct"]
ROWS = 60


def rows(seed):
    """Examples as dicts: some features are missing, and some differ in length."""
    rng = np.random.default_rng(seed)
    made = []
    for at in range(ROWS):
        row = {"id": [at]}
        if at % 3:
            row["label"] = [int(rng.integers(-5, 5))]
        if at % 4:
            row["tokens"] = rng.integers(-(2**62), 2**62, rng.integers(1, 9)).tolist()
        if at % 5:
            row["scores"] = rng.random(rng.integers(1, 6)).astype(np.float32).tolist()
        if at % 7:
            row["box"] = rng.random(4).astype(np.float32).tolist()
        row["image"] = rng.bytes(int(rng.integers(1, 50)))
        if at % 2:
            row["text"] = rng.bytes(int(rng.integers(1, 9)))
            row["pair"] = [rng.bytes(at % 3), b""]
        if at % 3:
            row["words"] = [rng.bytes(size) for size in rng.integers(0, 4, at % 6 + 1)]
        made.append(row)
    return made


@pytest.fixture
def written(tmp_path, tf):
    for part in range(3):
        records = [example(tf, **row) for row in rows(0)[part * 20 :][:20]]
        kind = ["", "GZIP", "ZLIB"][part]
        with tf.io.TFRecordWriter(str(tmp_path / f"part-{part}.tfrecord"), kind) as writer:
            for record in records:
                writer.write(record)
    return tmp_path / "part-*"


def same_part(actual, expected):
    """The same numbers, or the same strings."""
    if isinstance(expected, bytes):
        assert actual == expected
    elif expected.dtype == object:
        assert actual.tolist() == expected.tolist()
    else:
        same(actual, expected)


def spec(tf):
    return {
        "id": tf.io.FixedLenFeature([], tf.int64),
        "label": tf.io.FixedLenFeature([], tf.int64, -1),
        "box": tf.io.FixedLenFeature([2, 2], tf.float32, [[0, 0.5], [1, 2]]),
        "tokens": tf.io.VarLenFeature(tf.int64),
        "scores": tf.io.RaggedFeature(tf.float32),
        "image": tf.io.FixedLenFeature([], tf.string),
        "text": tf.io.FixedLenFeature([], tf.string, "none"),
        "pair": tf.io.FixedLenFeature([2], tf.string, ["none", b"\0"]),
        "words": tf.io.VarLenFeature(tf.string),
        "absent": tf.io.FixedLenFeature([2], tf.float32, [1.5, 2.5]),
        "nowhere": tf.io.VarLenFeature(tf.float32),
    }


def theirs(tf, features, raw=False):
    """The rows as TensorFlow parses them; with ``raw``, byte strings as their bytes."""
    made = []
    for row in rows(0):
        parsed = tf.io.parse_single_example(example(tf, **row), features)
        for name, value in parsed.items():
            if isinstance(value, tf.SparseTensor):
                value = tf.sparse.to_dense(value)
            if value.dtype == tf.string and raw:
                value = tf.io.decode_raw(value, tf.uint8)
            parsed[name] = value.numpy()
        made.append(parsed)
    return made


@openers(*MODES)
def test_features_are_those_that_tensorflow_parses(written, tf, opener):
    features = spec(tf)
    expected = theirs(tf, features)
    arrays = opener.open(written, features=features)
    assert list(arrays) == list(arrays.keys()) == list(features) == list(dict(arrays.items()))
    assert isinstance(arrays["tokens"], tfy.Ragged)
    assert isinstance(arrays["id"], tfy.Array)
    arrays.verify()
    dataset = opener.from_files(written, features=features)
    for source in (dataset, pickle.loads(pickle.dumps(dataset))):
        assert len(source) == ROWS
        for element, row in zip(source.as_numpy_iterator(), expected, strict=True):
            assert element.keys() == row.keys()
            for name in row:
                same_part(element[name], row[name])
    assert dataset.element_spec["text"] == tf.TensorSpec((), tf.string)
    assert dataset.element_spec["pair"] == tf.TensorSpec((2,), tf.string)
    assert dataset.element_spec["words"] == tf.TensorSpec((None,), tf.string)
    assert dataset.element_spec["tokens"] == tf.TensorSpec((None,), tf.int64)
    assert dataset.element_spec["box"] == tf.TensorSpec((2, 2), tf.float32)
    same(arrays["scores"].values[:], np.concatenate([row["scores"] for row in expected]))
    with pytest.raises(errors.InvalidArgumentError, match="'tokens' has rows of different lengths"):
        tfy.save(written.parent / "a.npz", {"tokens": arrays["tokens"]})


@openers(*MODES)
def test_batches_are_those_of_tf_data(written, tf, opener):
    features = spec(tf)
    del features["pair"], features["words"], features["text"]
    parsed = theirs(tf, features, raw=True)
    features["image"] = tfy.TensorSpec((None,), "uint8")
    ours = opener.from_files(written, features=features)
    signature = {name: tf.TensorSpec(None, value.dtype) for name, value in parsed[0].items()}
    peer = tf.data.Dataset.from_generator(lambda: parsed, output_signature=signature)
    shapes = {name: value.shape for name, value in ours.element_spec.items()}
    peer = peer.padded_batch(7, shapes)
    for batches in (ours.padded_batch(7), ours.padded_batch(7).to_tf_data()):
        for batch, other in zip(batches, peer, strict=True):
            assert batch.keys() == other.keys()
            for name in batch:
                same(batch[name].numpy(), other[name].numpy())

    def shuffled():
        opened = opener.from_files(written, features=features)
        return opened.shuffle(ROWS, seed=4).padded_batch(7)

    assert_resumes(shuffled)
    batch = next(ours.map(lambda row: row["tokens"]).ragged_batch(ROWS).as_numpy_iterator())
    same(np.asarray(batch.values), np.concatenate([row["tokens"] for row in parsed]))
    buckets = ours.map(lambda row: row["image"]).bucket_by_sequence_length(
        None, [10, 30], [4, 4, 4]
    )
    assert sum(len(batch) for batch in buckets.as_numpy_iterator()) == ROWS


@openers(*MODES)
def test_rows_in_any_order_and_parts_of_rows(written, tf, opener):
    tokens = {"tokens": tf.io.VarLenFeature(tf.int64)}
    expected = [row["tokens"] for row in theirs(tf, tokens)]
    array = opener.open(written, features=tokens)["tokens"]
    dataset = tfy.Dataset.from_ragged(array)
    shuffled = dataset.enumerate().shuffle(ROWS, seed=1)
    for at, row in shuffled.as_numpy_iterator():
        same(row, expected[at])
    flat = np.concatenate(expected)
    order = np.random.default_rng(0).permutation(len(flat))
    same(array.values[order], flat[order])
    same(array.values[5:50], flat[5:50])
    windows = list(dataset.pack(7).as_numpy_iterator())
    same(np.concatenate([window["tokens"] for window in windows])[: len(flat)], flat)
    assert pickle.loads(pickle.dumps(array.values)).shape == array.values.shape


@pytest.mark.parametrize("name", ["tensorflow", "torch", "jax", "numpy", "tensorferry"])
def test_rows_in_every_format(written, tf, name):
    pytest.importorskip(name)
    features = {"scores": tf.io.VarLenFeature(tf.float32)}
    dataset = tfy.Dataset.from_files(written, features=features).with_format(name)
    for element, row in zip(dataset, theirs(tf, features), strict=True):
        same(np.asarray(element["scores"]), row["scores"])


def test_rows_by_a_tensor_spec(tmp_path, tf, opener):
    path = tmp_path / "a.tfrecord"
    points = [np.arange(2 * n, dtype=np.float32) for n in (3, 0, 1)]
    raw = [np.arange(n, dtype=np.float64).tobytes() for n in (2, 0, 4)]
    write_records(
        tf,
        path,
        [example(tf, points=point, raw=row) for point, row in zip(points, raw, strict=True)],
    )
    features = {
        "points": tfy.TensorSpec((None, 2), "float32"),
        "raw": tf.TensorSpec((None,), tf.float64),
    }
    dataset = opener.from_files(path, features=features)
    for element, point, row in zip(dataset.as_numpy_iterator(), points, raw, strict=True):
        same(element["points"], point.reshape(-1, 2))
        same(element["raw"], np.frombuffer(row))
    sequence = {"points": tf.io.FixedLenSequenceFeature([2], tf.float32, allow_missing=True)}
    element = next(iter(opener.from_files(path, features=sequence)))
    record = next(iter(tf.data.TFRecordDataset(str(path))))
    same(element["points"].numpy(), tf.io.parse_single_example(record, sequence)["points"].numpy())


def test_files_without_records_and_records_without_features(tmp_path, tf, opener):
    path = tmp_path / "a.tfrecord"
    features = {
        "label": tf.io.FixedLenFeature([], tf.int64, 7),
        "tokens": tf.io.VarLenFeature(tf.int64),
    }
    for records in ([], [b"", b""]):
        write_records(tf, path, records)
        dataset = opener.from_files(path, features=features)
        elements = list(dataset.as_numpy_iterator())
        assert [(row["label"], row["tokens"].tolist()) for row in elements] == [(7, [])] * len(
            records
        )
        assert len(list(dataset.padded_batch(4))) == bool(records)


def test_what_does_not_match_is_named(tmp_path, tf, opener):
    path = tmp_path / "a.tfrecord"
    write_records(
        tf,
        path,
        [
            example(tf, x=[1, 2], s=[b"a"], f=[1.0, 2.0, 3.0]),
            example(tf, x=[1], s=[b"a", b"bc"], f=[1.0]),
            example(tf, y=[1]),
        ],
    )
    fixed, variable = tf.io.FixedLenFeature, tf.io.VarLenFeature
    spec = tfy.TensorSpec
    for feature, said in [
        ({"x": spec((None,), "int64")}, 'record 2: feature "x" is missing, and has no default'),
        ({"s": spec((), "string")}, 'record 1: feature "s" has 2 byte strings, where 1 were'),
        ({"s": spec((None,), "uint8")}, 'record 1: feature "s" has 2 byte strings'),
        ({"s": fixed([2], tf.string)}, 'record 0: feature "s" has 1 byte strings, where 2 were'),
        ({"x": variable(tf.string)}, 'record 0: feature "x" has a int64_list, where bytes_list'),
        ({"x": variable(tf.float32)}, 'record 0: feature "x" has a int64_list, where float_list'),
        ({"s": variable(tf.int64)}, "bytes_list, where int64_list"),
        ({"f": spec((None, 2), "float32")}, "3 values, not a whole number"),
        ({"s": fixed([], tf.string, b"")}, "2 byte strings"),
        ({"x": tf.io.FixedLenSequenceFeature([], tf.int64)}, "record 0.*is missing"),
    ]:
        with pytest.raises(errors.FileFormatError, match=rf"a\.tfrecord.*{said}"):
            opener.open(path, features=feature)
    arrays = opener.open(path, features={"x": fixed([2], tf.int64, [0, 0])})
    with pytest.raises(errors.FileFormatError, match=r"record 1: .*1 values"):
        arrays["x"][:]
    with pytest.raises(errors.FileFormatError, match='feature "x" is missing'):
        opener.open(path, features={"x": fixed([2], tf.int64)})["x"][2]
    for feature, said in [
        ({"s": fixed([2, 1], tf.string)}, "one string, or strings in one dimension"),
        ({"s": fixed([2], tf.string, [b"a"])}, "default_value has 1 values"),
        ({"s": fixed([], tf.string, 3)}, "default_value is of type int"),
        ({"x": fixed([2], tf.int64, [1])}, "default_value has 1 values"),
        ({"x": fixed([None], tf.int64)}, "VarLenFeature"),
        ({"x": variable(tf.int32)}, "cannot be int32"),
        ({"s": spec((None, None), "uint8")}, "only the first length"),
        ({"s": spec((None, 0), "uint8")}, "hold nothing"),
        ({"none": fixed([], tf.int64)}, 'no feature "none"'),
        ({"x": tf.io.SparseFeature("i", "v", tf.int64, 5)}, "joins several features"),
        ({"s": tf.io.FixedLenSequenceFeature([2], tf.string)}, "strings in one dimension"),
        (
            {"x": tf.io.RaggedFeature(tf.int64, partitions=[tf.io.RaggedFeature.RowSplits("y")])},
            "rows of rows",
        ),
        ({"x": tf.io.RaggedFeature(tf.int64, value_key="y")}, "Use the key as the name"),
    ]:
        wrong = (errors.InvalidArgumentError, errors.InvalidTypeError)
        with pytest.raises(wrong, match=said):
            opener.open(path, features=feature)
    with pytest.raises(OverflowError):
        opener.open(path, features={"x": fixed([], tf.int64, 2**70)})


def sequence(tf, context, lists):
    """A SequenceExample."""
    as_feature = tf.train.Example.FromString(example(tf, **context)).features
    steps = {
        name: tf.train.FeatureList(
            feature=[
                tf.train.Example.FromString(example(tf, x=step)).features.feature["x"]
                for step in entries
            ]
        )
        for name, entries in lists.items()
    }
    made = tf.train.SequenceExample(
        context=as_feature, feature_lists=tf.train.FeatureLists(feature_list=steps)
    )
    return made.SerializeToString()


@openers(*MODES)
def test_feature_lists_are_those_that_tensorflow_parses(tmp_path, tf, opener):
    path = tmp_path / "a.tfrecord"
    rng = np.random.default_rng(2)
    records = []
    for at in range(40):
        steps = int(rng.integers(0, 6)) if at % 5 else 0
        names = [[rng.bytes(at % 4)] for _ in range(at % 3)]
        lists = {"names": names, "frames": rng.random((steps, 2, 3)).astype(np.float32)}
        if at % 3:
            lists["labels"] = rng.integers(-9, 9, (int(rng.integers(1, 4)), 1))
        records.append(sequence(tf, {"id": [at]}, lists))
    write_records(tf, path, records)
    context = {"id": tf.io.FixedLenFeature([], tf.int64)}
    lists = {
        "frames": tf.io.FixedLenSequenceFeature([2, 3], tf.float32),
        "labels": tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True),
        "names": tf.io.FixedLenSequenceFeature([], tf.string),
    }
    dataset = opener.from_files(path, features=context | lists)
    assert dataset.element_spec["frames"] == tf.TensorSpec((None, 2, 3), tf.float32)
    for element, record in zip(dataset.as_numpy_iterator(), records, strict=True):
        one, other = tf.io.parse_single_sequence_example(record, context, lists)
        for name, value in (one | other).items():
            same_part(element[name], value.numpy())
    del lists["names"]
    dataset = opener.from_files(path, features=context | lists)
    batch = next(dataset.shuffle(40, seed=1).padded_batch(40).as_numpy_iterator())
    assert batch["frames"].shape[2:] == (2, 3)
    assert_resumes(lambda: dataset.padded_batch(7))
    values = opener.open(path, features=lists)["frames"].values
    same(values[3:9], values[:][3:9])
    for features, said in [
        ({"frames": tf.io.FixedLenSequenceFeature([5], tf.float32)}, "6 values at 0.*not 5"),
        ({"frames": tf.io.FixedLenSequenceFeature([6], tf.int64)}, "a float_list, where"),
        ({"labels": tf.io.FixedLenSequenceFeature([], tf.int64)}, "record 0.*is missing"),
    ]:
        with pytest.raises(errors.FileFormatError, match=said):
            opener.open(path, features=features)


def test_a_damaged_record_is_found_when_lengths_are_counted(tmp_path, tf, opener):
    path = tmp_path / "a.tfrecord"
    write_records(tf, path, [example(tf, x=[1] * n) for n in range(1, 30)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(errors.FileFormatError, match="checksum"):
        opener.open(path, features={"x": tf.io.VarLenFeature(tf.int64)})


def test_a_spec_that_other_formats_have_too(tmp_path, tf, opener):
    np.savez(tmp_path / "a.npz", x=np.arange(6).reshape(3, 2))
    opened = opener.open(tmp_path / "a.npz", features={"x": tf.io.FixedLenFeature([2], tf.int64)})
    assert opened["x"].shape == (3, 2)


@openers(*MODES)
def test_strings_are_those_that_tensorflow_parses_together(written, tf, opener):
    features = {name: spec(tf)[name] for name in ("text", "image", "id")}
    dataset = opener.from_files(written, features=features)
    records = [example(tf, **row) for row in rows(0)]
    for start, batch in zip(range(0, ROWS, 7), dataset.batch(7), strict=True):
        parsed = tf.io.parse_example(records[start : start + 7], features)
        for name in features:
            same_part(batch[name].numpy(), parsed[name].numpy())
    order = dataset.shuffle(seed=3)
    shuffled = [row["id"] for row in order.as_numpy_iterator()]
    texts = [text for batch in order.batch(7).to_tf_data() for text in batch["text"].numpy()]
    expected = theirs(tf, features)
    assert texts == [expected[at]["text"] for at in shuffled]

    def shuffled_batches():
        opened = opener.from_files(written, features=features)
        return opened.shuffle(seed=3).batch(7)

    assert_resumes(shuffled_batches)
    arrays = opener.open(written, features=spec(tf))
    again = pickle.loads(pickle.dumps(arrays["text"]))
    assert isinstance(again, tfy.Strings)
    same(
        again.values[:], np.frombuffer(b"".join(row["text"] for row in theirs(tf, features)), "u1")
    )
    for part in pickle.loads(pickle.dumps(arrays))["pair"]:
        pickle.loads(pickle.dumps(part))
    expected = theirs(tf, {name: spec(tf)[name] for name in ("pair", "words")})
    for name in ("pair", "words"):
        rows_of = tfy.Dataset.from_tensor_slices({"x": arrays[name], "id": arrays["id"]})
        for row in rows_of.shuffle(seed=1).as_numpy_iterator():
            assert row["x"].tolist() == expected[row["id"]][name].tolist()


@pytest.mark.parametrize("name", ["tensorflow", "torch", "jax", "numpy", "tensorferry"])
def test_strings_in_every_format(written, tf, name):
    pytest.importorskip(name)
    features = {key: spec(tf)[key] for key in ("text", "words")}
    dataset = tfy.Dataset.from_files(written, features=features).with_format(name)
    for element, row in zip(dataset, theirs(tf, features), strict=True):
        assert np.asarray(element["text"]).item() == row["text"]
        assert np.asarray(element["words"]).tolist() == row["words"].tolist()


def test_strings_and_rows_that_are_saved_are_parsed_by_tensorflow(tmp_path, tf):
    import pyarrow as pa

    words = ["one", "", "d\0", "x" * 300, "\u00e9"]
    tokens = [[1, -2], [], [3], [4, 5, 6], [7]]
    chunked = pa.chunked_array([words[:2], [], words[2:]])
    expected = [word.encode() for word in words]
    for form in (words, chunked, np.array(words, object), tf.constant(words)):
        rows = tfy.Ragged(
            np.array([1, -2, 3, 4, 5, 6, 7], np.int32), np.cumsum([0, *map(len, tokens)])
        )
        value = {"word": form, "id": np.arange(5), "tokens": rows, "f": np.ones((5, 2), "f4")}
        tfy.save(tmp_path / "a.tfrecord", value)
        features = {
            "word": tf.io.FixedLenFeature([], tf.string),
            "id": tf.io.FixedLenFeature([], tf.int64),
            "f": tf.io.FixedLenFeature([2], tf.float32),
            "tokens": tf.io.RaggedFeature(tf.int64),
        }
        records = list(tf.data.TFRecordDataset(str(tmp_path / "a.tfrecord")))
        parsed = tf.io.parse_example(records, features)
        assert parsed["word"].numpy().tolist() == expected
        assert parsed["id"].numpy().tolist() == list(range(5))
        assert parsed["tokens"].to_list() == tokens
        assert parsed["f"].shape == (5, 2)
    arrays = tfy.open(tmp_path / "a.tfrecord", features=features)
    tfy.save(tmp_path / "b.tfrecord", arrays)
    assert (tmp_path / "b.tfrecord").read_bytes() == (tmp_path / "a.tfrecord").read_bytes()
    tfy.save(tmp_path / "c.tfrecord", {"word": np.array([], "U1")})
    assert list(tf.data.TFRecordDataset(str(tmp_path / "c.tfrecord"))) == []
    for value, said in [
        ({"word": words, "id": np.arange(4)}, "'id' has 4 rows"),
        ({"word": ["a", None], "id": np.arange(2)}, "row 1 is None"),
        ({"word": np.array([["a"]])}, "of shape"),
    ]:
        with pytest.raises((errors.InvalidArgumentError, errors.InvalidTypeError)) as caught:
            tfy.save(tmp_path / "d.tfrecord", value)
        assert said in str(caught.value).replace('"', "'")
    with pytest.raises(errors.InvalidArgumentError, match="has strings, and is not one array"):
        tfy.save(tmp_path / "d.npz", {"word": words})
    both = tfy.open(tmp_path / "a.tfrecord", features={"word": tf.io.VarLenFeature(tf.string)})
    with pytest.raises(errors.InvalidArgumentError, match="holds several strings"):
        tfy.save(tmp_path / "d.tfrecord", both)
    assert not (tmp_path / "d.tfrecord").exists()


def test_strings_by_their_bytes():
    splits = np.array([0, 3, 3, 5], np.int32)
    values = np.frombuffer(b"onetw", np.uint8)
    strings = tfy.Strings(values, splits)
    dataset = tfy.Dataset.from_tensor_slices({"text": strings, "at": np.arange(3)})
    assert [row["text"] for row in dataset.as_numpy_iterator()] == [b"one", b"", b"tw"]
    whole = next(tfy.Dataset.from_tensors(strings).as_numpy_iterator())
    assert whole.tolist() == [b"one", b"", b"tw"]
    for wrong in (
        tfy.Strings(values.astype(np.int32), splits),
        tfy.Strings(values, [0, 3, 2, 5]),
        tfy.Strings(values, [0, 3]),
        tfy.Strings(values, [1, 5]),
        tfy.Strings(values.reshape(1, -1), [0, 1]),
    ):
        for make in (tfy.Dataset.from_tensor_slices, tfy.Dataset.from_tensors):
            with pytest.raises((errors.InvalidArgumentError, errors.InvalidTypeError)):
                make(wrong)
