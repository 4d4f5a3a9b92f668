"""Archives and records: nothing is left out silently, whatever the names and other members."""

from __future__ import annotations

import json
import logging
import pickle
import struct
import zipfile

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import tensorferry as tfy
from tensorferry import errors

from tests.support.arrays import same


def npy(array):
    import io

    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def archive(path, **options):
    return zipfile.ZipFile(path, "w", **options)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_arrays_by_content_as_in_numpy(tmp_path, method, opener):
    with archive(tmp_path / "a.npz", compression=method) as made:
        made.writestr("plain", npy(np.arange(3)))
        made.writestr("folder/x.npy", npy(np.arange(4)))
        made.writestr("folder/", b"")
        made.writestr("y.dat", npy(np.arange(5)))
        made.writestr("notes.txt", "not an array")
        made.writestr("empty", b"")
    arrays = opener.open(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as expected:
        assert list(arrays) == ["plain", "folder/x", "y.dat"]
        for name in arrays:
            same(arrays[name][:], expected[name])
    assert set(arrays.left_out) == {"notes.txt", "empty"}
    with pytest.raises(
        KeyError, match=r"'notes.txt' is not an array.*'plain', 'folder/x', 'y.dat'"
    ):
        arrays["notes.txt"]
    arrays.verify()


def test_members_of_equal_name_are_kept_apart_or_refused(tmp_path, opener):
    with archive(tmp_path / "a.npz") as made:
        made.writestr("x", npy(np.arange(3)))
        made.writestr("x.npy", npy(np.arange(4)))
    arrays = opener.open(tmp_path / "a.npz")
    assert list(arrays) == ["x", "x.npy"]
    same(arrays["x"][:], np.arange(3))
    same(arrays["x.npy"][:], np.arange(4))
    with archive(tmp_path / "b.npz") as made:
        made.writestr("x.npy", npy(np.arange(3)))
        with pytest.warns(UserWarning, match="Duplicate"):
            made.writestr("x.npy", npy(np.arange(4)))
    with pytest.raises(errors.FileFormatError, match=r'two members have the same name \("x.npy"\)'):
        opener.open(tmp_path / "b.npz")


OTHER_KINDS = {
    "model.pt": (["model/data.pkl", "model/data/0", "model/version"], "torch.load"),
    "model.pth": (["archive/data.pkl"], "torch.load"),
    "book.xlsx": (["[Content_Types].xml", "xl/workbook.xml"], "read_excel"),
    "text.docx": (["[Content_Types].xml", "word/document.xml"], "Office"),
    "sheet.ods": (["mimetype", "content.xml"], "OpenDocument"),
    "a.jar": (["META-INF/MANIFEST.MF"], "Java"),
    "a.whl": (["a/__init__.py", "a-1.dist-info/WHEEL"], "wheel"),
    "m.keras": (["config.json", "metadata.json", "model.weights.h5"], "keras"),
    "z.zip": (["x/.zarray", "x/0"], "zarr"),
}


@pytest.mark.parametrize("name", OTHER_KINDS)
@pytest.mark.parametrize("extra", [False, True], ids=["", "with an array"])
def test_archives_of_other_kinds_are_named_even_with_an_array_inside(tmp_path, name, extra, opener):
    members, says = OTHER_KINDS[name]
    with archive(tmp_path / name) as made:
        for member in members:
            made.writestr(member, b"something")
        if extra:
            made.writestr("test/data.npy", npy(np.arange(3)))
    for call in (opener.open, opener.from_files):
        with pytest.raises(errors.FileFormatError, match=says):
            call(tmp_path / name)
    if extra:  # explicit format
        assert list(opener.open(tmp_path / name, "npz")) == ["test/data"]
    else:
        with pytest.raises(errors.FileFormatError, match=says):
            opener.open(tmp_path / name, "npz")


def test_files_of_torch_and_keras_are_refused(tmp_path, torch, opener):
    torch.save({"w": torch.arange(3)}, tmp_path / "a.pt")
    torch.save({"w": torch.arange(3)}, tmp_path / "b.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(errors.FileFormatError, match=r"PyTorch.*torch\.load"):
        opener.open(tmp_path / "a.pt")
    with pytest.raises(ValueError, match="pickle"):
        opener.open(tmp_path / "b.bin")


@pytest.mark.parametrize("compress", [False, True])
def test_a_text_or_scalar_member_does_not_block_the_others(tmp_path, compress, caplog, opener):
    held = {
        "x": np.arange(6).reshape(3, 2),
        "text": np.array(["a", "b", "c"]),
        "step": np.int64(7),
        "when": np.array(["2026-01-01"], "M8[D]"),
        "meta": np.array({"a": 1}),
        "y": np.arange(3.0),
    }
    (np.savez_compressed if compress else np.savez)(tmp_path / "a.npz", **held)
    arrays = opener.open(tmp_path / "a.npz")
    arrays.verify()
    assert list(arrays) == list(held)
    assert [name for name, _ in arrays.items()] == ["x", "step", "y"]
    assert [array.shape for array in arrays.values()] == [(3, 2), (), (3,)]
    assert set(arrays.left_out) == {"text", "when", "meta"}
    assert all("dtype" in why for why in arrays.left_out.values())
    for name in arrays.left_out:
        with pytest.raises(errors.InvalidArgumentError, match=name):
            arrays[name]
    with caplog.at_level(logging.WARNING, "tensorferry"):
        for dataset in (
            opener.from_files(tmp_path / "a.npz"),
            tfy.Dataset.from_tensor_slices(arrays),
        ):
            rows = list(dataset.with_format("numpy"))
            assert [set(row) for row in rows] == [{"x", "y", "text"}] * 3
            assert [row["text"] for row in rows] == [b"a", b"b", b"c"]
            same(np.stack([row["x"] for row in rows]), held["x"])
    assert all(f"left out: '{name}'" in caplog.text for name in ("step", "when", "meta"))
    assert "left out: 'text'" not in caplog.text
    (one,) = tfy.Dataset.from_tensors(arrays).with_format("numpy")
    assert set(one) == {"x", "step", "y", "text"}
    with pytest.raises(errors.InvalidArgumentError, match="text"):  # not lost silently
        tfy.save(tmp_path / "b.npz", arrays)
    content = (tmp_path / "a.npz").read_bytes()
    # The text itself, or its deflated bytes, which follow the name and the sizes.
    start = content.index(b"text.npy")
    for at in (start + 60, start + 90) if compress else [content.index(b"a\0\0\0b", 60)]:
        damaged = bytearray(content)
        damaged[at] ^= 1
        (tmp_path / "c.npz").write_bytes(damaged)
        with pytest.raises(errors.FileFormatError, match="text"):
            opener.open(tmp_path / "c.npz").verify()
        with pytest.raises(errors.FileFormatError, match="text"):
            opener.from_files(tmp_path / "c.npz")


def test_an_archive_without_rows_is_reported(tmp_path, opener):
    np.savez(tmp_path / "a.npz", text=np.array([["a"]]), step=np.int64(7))
    with pytest.raises(errors.InvalidArgumentError, match=r"no array of rows.*'text'.*'step'"):
        opener.from_files(tmp_path / "a.npz")


@pytest.mark.parametrize("extension", ["npz", "safetensors"])
def test_features_choose_arrays_by_name(tmp_path, extension, opener):
    held = {"x": np.arange(6, dtype=np.int32).reshape(3, 2), "y": np.arange(3.0), "z": np.arange(9)}
    path = tmp_path / f"a.{extension}"
    tfy.save(path, held)
    spec = tfy.TensorSpec
    for features in (
        ["y", "x"],
        ("y", "x"),
        {"y": None, "x": None},
        {"y": spec((), "float64"), "x": spec((None,), "int32")},
    ):
        arrays = opener.open(path, features=features)
        assert list(arrays) == ["y", "x"]
        same(arrays["x"][:], held["x"])
        assert list(pickle.loads(pickle.dumps(arrays))) == ["y", "x"]
        batch = next(iter(opener.from_files(path, features=features).batch(3).with_format("numpy")))
        assert list(batch) == ["y", "x"]
    for features, says in [
        (["w"], r'no array has the name "w".*"x"'),
        ({"x": spec((2,), "int64")}, r'"x" is int32 of shape \[3, 2\], whose rows are not'),
        ({"x": spec((3,), "int32")}, "whose rows are not"),
        ({"x": spec((3, 2), "int32")}, "whose rows are not"),
    ]:
        with pytest.raises(errors.InvalidArgumentError, match=says):
            opener.open(path, features=features)
    for features in ("x", 3, [3], {3: None}):
        with pytest.raises(errors.InvalidTypeError, match="features="):
            opener.open(path, features=features)


def test_features_may_choose_around_text(tmp_path, caplog, opener):
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(3), text=np.array(["a"]))
    with caplog.at_level(logging.WARNING, "tensorferry"):
        assert len(opener.from_files(tmp_path / "a.npz", features=["x"])) == 3
    assert not caplog.records
    with pytest.raises(errors.InvalidArgumentError, match="text"):
        opener.open(tmp_path / "a.npz", features={"text": tfy.TensorSpec((), "int64")})


FUNCTIONS = {
    "convert_to_tensor": tfy.convert_to_tensor,
    "tensor": tfy.tensor,
    "asarray": np.asarray,
    "array": np.array,
    "value_range": tfy.value_range,
    "smallest_dtype": tfy.smallest_dtype,
    "can_convert": lambda arrays: tfy.can_convert(arrays, "int32"),
    "convert_into": lambda arrays: tfy.convert_into(arrays, np.empty(2)),
    "save_npy": lambda arrays: tfy.save_npy("unwritten.npy", arrays),
    "slices in a list": lambda arrays: tfy.Dataset.from_tensor_slices([arrays]),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_arrays_by_name_are_not_iterated_as_names(tmp_path, function):
    np.savez(tmp_path / "m.npz", w=np.arange(3), b=np.arange(3))
    with pytest.raises((TypeError, ValueError), match=r"arrays\['w'\]"):
        FUNCTIONS[function](tfy.open(tmp_path / "m.npz"))


def test_a_wrong_name_is_refused_with_the_existing_ones(tmp_path, opener):
    np.savez(tmp_path / "m.npz", w=np.arange(3), b=np.arange(3))
    for wrong in ("v", 0, None):
        with pytest.raises(KeyError, match="there are 'w', 'b'"):
            opener.open(tmp_path / "m.npz")[wrong]


LOCAL = struct.Struct("<4sHHHHHIIIHH")


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", b"y.npy"), ("method", 8), ("crc", 1), ("stored", 1), ("size", 1), ("flags", 1)],
)
@pytest.mark.parametrize("compress", [False, True])
def test_a_header_that_contradicts_the_directory_is_refused(
    tmp_path, field, value, compress, opener
):
    with archive(
        tmp_path / "a.npz", compression=zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    ) as made:
        made.writestr("x.npy", npy(np.arange(300)))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    names = [
        "magic",
        "version",
        "flags",
        "method",
        "time",
        "date",
        "crc",
        "stored",
        "size",
        "name_length",
        "extra",
    ]
    fields = dict(zip(names, LOCAL.unpack_from(content), strict=True))
    if field == "name":
        content[30:35] = value
    else:
        fields[field] = 0 if compress and field == "method" else value
        LOCAL.pack_into(content, 0, *fields.values())
    (tmp_path / "b.npz").write_bytes(content)
    assert list(opener.open(tmp_path / "a.npz")) == ["x"]
    for call in (opener.open, opener.from_files):
        with pytest.raises(errors.FileFormatError, match=r"b\.npz.*x\.npy"):
            call(tmp_path / "b.npz")


def test_archives_written_to_a_stream_and_with_64_bit_sizes_are_read(tmp_path, opener):
    class Stream:
        def __init__(self, file):
            self.file = file
            self.write, self.flush = file.write, file.flush

    with (tmp_path / "a.npz").open("wb") as file, archive(Stream(file)) as made:
        made.writestr("x.npy", npy(np.arange(3)))
    with archive(tmp_path / "b.npz") as made, made.open("x.npy", "w", force_zip64=True) as member:
        member.write(npy(np.arange(3)))
    for name in "ab":
        arrays = opener.open(tmp_path / f"{name}.npz")
        same(arrays["x"][:], np.arange(3))
        arrays.verify()


def test_encrypted_members_are_refused_or_left_out(tmp_path, opener):
    with archive(tmp_path / "a.npz") as made:
        made.writestr("x.npy", npy(np.arange(3)))
        made.writestr("secret.txt", b"some text")
    content = bytearray((tmp_path / "a.npz").read_bytes())
    for magic, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = content.index(b"secret.txt", content.index(magic))
        start = content.rindex(magic, 0, place)
        content[start + at] |= 1
    (tmp_path / "b.npz").write_bytes(content)
    arrays = opener.open(tmp_path / "b.npz")
    assert "encrypted" in arrays.left_out["secret.txt"]
    same(arrays["x"][:], np.arange(3))


METADATA = {"format": "np", "step": "70000", "ünï": '"quoted"\n', "": ""}


def test_safetensors_metadata_is_kept(tmp_path, opener):
    safetensors.numpy.save_file({"x": np.arange(3)}, tmp_path / "a.safetensors", metadata=METADATA)
    arrays = opener.open(tmp_path / "a.safetensors")
    assert arrays.metadata == METADATA
    tfy.save(tmp_path / "b.safetensors", arrays)
    tfy.save(tmp_path / "c.safetensors", {"x": np.arange(3)}, metadata=METADATA)
    tfy.save(tmp_path / "d.safetensors", {}, metadata=METADATA)
    for name in "bcd":
        with safetensors.safe_open(tmp_path / f"{name}.safetensors", "np") as opened:
            assert opened.metadata() == METADATA
            assert list(opened.keys()) == (["x"] if name != "d" else [])
        assert opener.open(tmp_path / f"{name}.safetensors").metadata == METADATA
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "c.safetensors").read_bytes()
    tfy.save(tmp_path / "e.safetensors", arrays, metadata={})
    assert opener.open(tmp_path / "e.safetensors").metadata == {}


def test_metadata_that_a_format_cannot_hold_is_reported_as_left_out(tmp_path, caplog):
    tfy.save(tmp_path / "a.safetensors", {"x": np.arange(3)}, metadata={"step": "1"})
    with caplog.at_level(logging.WARNING, "tensorferry"):
        tfy.save(tmp_path / "a.npz", tfy.open(tmp_path / "a.safetensors"))
    assert "left out: the metadata" in caplog.text
    with pytest.raises(errors.InvalidArgumentError, match="npz files have no place for metadata"):
        tfy.save(tmp_path / "b.npz", {"x": np.arange(3)}, metadata={"step": "1"})
    with pytest.raises(errors.InvalidArgumentError, match="metadata= is for arrays by name"):
        tfy.save(tmp_path / "b.npy", np.arange(3), metadata={"step": "1"})
    for wrong in ({"step": 1}, {1: "step"}):
        with pytest.raises(errors.InvalidTypeError, match="strings by name"):
            tfy.save(tmp_path / "b.safetensors", {"x": np.arange(3)}, metadata=wrong)
    tfy.save(tmp_path / "s-1.safetensors", {"x": np.arange(3)}, metadata={"a": "1", "part": "1"})
    tfy.save(tmp_path / "s-2.safetensors", {"x": np.arange(3)}, metadata={"a": "1", "part": "2"})
    arrays = tfy.open(tmp_path / "s-*.safetensors")
    assert arrays.metadata == {"a": "1"}
    assert "part" in json.dumps(arrays.left_out)


def records(tf, path, *made):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for one in made:
            writer.write(one.SerializeToString())
    return path


def ints(tf, *values):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def example(tf, **features):
    return tf.train.Example(
        features=tf.train.Features(
            feature={name: ints(tf, *value) for name, value in features.items()}
        )
    )


def sequence(tf, lists, **context):
    feature_lists = {
        name: tf.train.FeatureList(feature=[ints(tf, value) for value in values])
        for name, values in lists.items()
    }
    return tf.train.SequenceExample(
        context=tf.train.Features(
            feature={name: ints(tf, *value) for name, value in context.items()}
        ),
        feature_lists=tf.train.FeatureLists(feature_list=feature_lists),
    )


def test_the_second_half_of_a_sequence_example_is_not_dropped(tmp_path, tf, opener):
    path = records(
        tf,
        tmp_path / "a.tfrecord",
        *(sequence(tf, {"tokens": [1, 2, 3]}, label=[at]) for at in range(3)),
    )
    for call in (opener.open, opener.from_files):
        with pytest.raises(
            errors.InvalidArgumentError,
            match=r"SequenceExamples.*parse_sequence_example.*features=",
        ):
            call(path)
    same(opener.open(path, features=["label"])["label"][:], np.arange(3))
    assert opener.open(path, "tfrecord_bytes").shape[0] == 3
    with pytest.raises(errors.InvalidArgumentError, match="SequenceExamples"):
        opener.open(records(tf, tmp_path / "b.tfrecord", sequence(tf, {"tokens": [1]})))
    later = opener.open(
        records(
            tf,
            tmp_path / "c.tfrecord",
            example(tf, label=[1]),
            sequence(tf, {"tokens": [1]}, label=[2]),
        )
    )
    with pytest.raises(
        errors.FileFormatError, match=r"record 1: it is a tf\.train.SequenceExample"
    ):
        later["label"][:]


def test_a_feature_that_only_later_records_have_is_not_dropped(tmp_path, tf, opener):
    path = records(
        tf, tmp_path / "a.tfrecord", example(tf, a=[1], b=[1]), example(tf, a=[2], b=[2], more=[3])
    )
    arrays = opener.open(path)
    for name in "ab":
        with pytest.raises(
            errors.FileFormatError,
            match=r'record 1: feature "more" is in this record and not in the first.*features=',
        ):
            arrays[name][:]
    same(opener.open(path, features=["a"])["a"][:], np.array([1, 2]))
    first = tf.train.Example(
        features=tf.train.Features(feature={"a": ints(tf, 1), "none": tf.train.Feature()})
    )
    same(opener.open(records(tf, tmp_path / "b.tfrecord", first, first))["a"][:], np.array([1, 1]))
    several = example(tf, a=[1])
    several.features.feature["names"].bytes_list.value.extend([b"x", b"yyy"])
    arrays = opener.open(records(tf, tmp_path / "c.tfrecord", several, several))
    same(arrays["a"][:], np.array([1, 1]))
    assert "several lengths" in arrays.left_out["names"]


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int64", "bool"])
def test_rows_of_several_dimensions_keep_their_shape_in_examples(tmp_path, tf, dtype):
    images = np.random.default_rng(0).integers(0, 2, (6, 4, 5, 3)).astype(dtype)
    tfy.save(tmp_path / "a.tfrecord", {"image": images, "label": np.arange(6)})
    arrays = tfy.open(tmp_path / "a.tfrecord")
    assert list(arrays) == ["image", "label"]
    assert arrays["image"].shape == images.shape
    same(np.asarray(arrays["image"]).astype(dtype), images)
    kinds = {
        "uint8": ([], tf.string),
        "float32": ([60], tf.float32),
        "int64": ([60], tf.int64),
        "bool": ([60], tf.int64),
    }
    spec = {
        "image": tf.io.FixedLenFeature(*kinds[dtype]),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }
    raw = list(tf.data.TFRecordDataset(str(tmp_path / "a.tfrecord")).as_numpy_iterator())
    together = tf.io.parse_example(raw, spec)
    for at, record in enumerate(raw):
        parsed = tf.io.parse_single_example(record, spec)
        assert int(parsed["label"]) == int(together["label"][at]) == at
        for one in (parsed["image"], together["image"][at]):
            values = tf.io.decode_raw(one, tf.uint8) if dtype == "uint8" else one
            same(values.numpy().reshape(4, 5, 3).astype(dtype), images[at])
        read = tf.train.Example.FromString(record)
        assert set(read.features.feature) == {"image", "label"}
    flat = tfy.open(
        tmp_path / "a.tfrecord", features={"image": tfy.TensorSpec((60,), arrays["image"].dtype)}
    )
    assert flat["image"].shape == (6, 60)
    tfy.save(tmp_path / "b.tfrecord", {"image": images.reshape(6, 5, 4, 3), "label": np.arange(6)})
    with pytest.raises(errors.FileFormatError, match="other shapes"):
        np.asarray(tfy.open([tmp_path / "a.tfrecord", tmp_path / "b.tfrecord"])["image"])
