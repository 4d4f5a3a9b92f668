"""Incomplete saved datasets are refused with the name of the file and the expectation."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from tensorferry import errors


def load(path, **arguments):
    return tfy.Dataset.load(path, **arguments).with_format("numpy")


def rows():
    """Elements of several lengths."""
    for at, length in enumerate((3, 0, 5)):
        yield {"tokens": np.arange(length, dtype=np.int32) + 10 * at, "at": np.int64(at)}


SIGNATURE = {"tokens": tfy.TensorSpec((None,), "int32"), "at": tfy.TensorSpec((), "int64")}


def saved(path):
    """A dataset with files of every kind."""
    tfy.Dataset.from_generator(rows, output_signature=SIGNATURE).save(path)
    assert sorted(os.listdir(path)) == [
        "0.npy",
        "1.npy",
        "1.shapes.npy",
        "1.starts.npy",
        "dataset.json",
    ]
    return path


@pytest.mark.parametrize("name", ["0.npy", "1.npy", "1.shapes.npy", "1.starts.npy", "dataset.json"])
def test_a_missing_or_cut_file_is_named(tmp_path, name):
    path = saved(tmp_path / "saved")
    whole = (path / name).read_bytes()
    for length in (0, 1, 20, len(whole) - 3):
        (path / name).write_bytes(whole[:length])
        with pytest.raises(errors.FileFormatError, match=name.replace(".", r"\.")):
            load(path)
    os.remove(path / name)
    with pytest.raises(
        errors.FileFormatError if name == "dataset.json" else FileNotFoundError,
        match=name.replace(".", r"\."),
    ):
        load(path)


@pytest.mark.parametrize("name", ["0.npy", "1.npy", "1.shapes.npy", "1.starts.npy"])
def test_a_file_with_another_array_is_named(tmp_path, name):
    path = saved(tmp_path / "saved")
    for other in (
        np.zeros(3, np.float16),
        np.zeros((3, 3), np.int64),
        np.asfortranarray(np.zeros((4, 2), np.int64)),
    ):
        np.save(path / name, other)
        with pytest.raises(errors.FileFormatError, match=rf"{name}.* where the dataset has"):
            load(path)


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        ("1.starts.npy", (1, 0), 4),
        ("1.starts.npy", (1, 0), -1),
        ("1.starts.npy", (1, 1), 2**40),
        ("1.shapes.npy", (0,), 2),
        ("1.shapes.npy", (0,), -3),
    ],
)
def test_impossible_offsets_are_errors_at_their_elements(tmp_path, name, at, value):
    path = saved(tmp_path / "saved")
    array = np.load(path / name)
    array[at] = value
    np.save(path / name, array)
    iterator = iter(load(path))
    with pytest.raises(errors.FileFormatError, match=r"1\.starts\.npy.*element 0"):
        next(iterator)


def test_impossible_ends_are_refused_on_load(tmp_path):
    path = saved(tmp_path / "saved")
    starts = np.load(path / "1.starts.npy")
    starts[3, 0] = 9
    np.save(path / "1.starts.npy", starts)
    with pytest.raises(
        errors.FileFormatError, match=r"1\.starts\.npy.*the last element was expected to end"
    ):
        load(path)


MANIFESTS = [
    ("", "JSON was expected"),
    ("[1, 2]", 'not a saved dataset: expected "format"'),
    ({"format": "zarr"}, 'not a saved dataset: expected "format"'),
    ({"version": 3}, "it is of version 3; this one reads versions 1 and 2"),
    ({"version": 2}, '"parts" is missing'),
    ({"version": 2, "parts": []}, '"parts" has to list names and numbers of rows'),
    ({"version": 2, "parts": [["../a", 3]]}, '"parts" has to list names and numbers of rows'),
    ({"version": 2, "parts": [["a", 2]]}, "its parts do not add up to 3 elements"),
    ({"version": "1"}, '"version" has to be a whole number'),
    ({"cardinality": -1}, '"cardinality" has to be a whole number'),
    ({"cardinality": 4}, r"0\.npy.*int64\[3\] where the dataset has int64\[4\]"),
    ({"components": []}, '"components" has to name one'),
    ({"components": 3}, '"components" has to be a list'),
    ({"components": [{"dtype": "int64"}]}, '"shape" is missing'),
    ({"components": [{"dtype": "str", "shape": []}]}, '"str" is not a dtype'),
    ({"components": [{"dtype": "int64", "shape": [-1]}]}, "a length was expected, not -1"),
    ({"components": [{"dtype": "int64", "shape": "x"}]}, "a shape was expected"),
    ({"structure": {"tuple": ["tensor"]}}, "the structure holds 1 tensors, the dataset 2"),
    ({"structure": {"list": []}}, "it is not a structure of elements"),
    ({"structure": {"dict": [["a"]]}}, "it is not a structure of elements"),
    ({"structure": {"dict": [[["a"], "tensor"]]}}, "it is not a structure of elements"),
    ({"structure": {"namedtuple": "a b", "fields": []}}, "it is not a structure of elements"),
    ({"structure": 7}, "it is not a structure of elements"),
]


@pytest.mark.parametrize(
    ("change", "message"), MANIFESTS, ids=[str(change) for change, _ in MANIFESTS]
)
def test_a_damaged_dataset_json_is_refused(tmp_path, change, message):
    path = saved(tmp_path / "saved")
    manifest = json.loads((path / "dataset.json").read_text())
    (path / "dataset.json").write_text(
        change if isinstance(change, str) else json.dumps(manifest | change)
    )
    with pytest.raises(errors.FileFormatError, match=message) as error:
        load(path)
    assert str(path) in str(error.value)


def test_components_without_a_structure_are_a_tuple(tmp_path):
    path = saved(tmp_path / "saved")
    manifest = json.loads((path / "dataset.json").read_text())
    (path / "dataset.json").write_text(json.dumps(manifest | {"structure": None}))
    assert type(next(iter(load(path)))) is tuple


def test_other_directories_are_not_loaded(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        load(tmp_path / "nothing")
    with pytest.raises(
        errors.FileFormatError, match=r"expected a directory with a file dataset\.json"
    ):
        load(tmp_path)
    tf.data.Dataset.range(3).save(str(tmp_path / "theirs"))
    with pytest.raises(errors.FileFormatError, match=r"theirs.*not a saved dataset"):
        load(tmp_path / "theirs")
    np.save(tmp_path / "array.npy", np.arange(3))
    with pytest.raises(OSError, match=r"array\.npy"):
        load(tmp_path / "array.npy")


def test_element_spec_is_compared(tmp_path):
    path = saved(tmp_path / "saved")
    good = [
        {"at": tf.TensorSpec((), tf.int64), "tokens": tf.TensorSpec((None,), tf.int32)},
        {"at": tfy.TensorSpec((), "int64"), "tokens": tfy.TensorSpec(None, "int32")},
    ]
    for spec in good:
        assert len(load(path, element_spec=spec)) == 3
    for bad in (
        {"at": tf.TensorSpec((), tf.int32), "tokens": tf.TensorSpec((None,), tf.int32)},
        {"at": tf.TensorSpec((), tf.int64), "tokens": tf.TensorSpec((5,), tf.int32)},
        {"at": tf.TensorSpec((1,), tf.int64), "tokens": tf.TensorSpec((None,), tf.int32)},
        (tf.TensorSpec((), tf.int64), tf.TensorSpec((None,), tf.int32)),
    ):
        with pytest.raises(errors.InvalidArgumentError, match="does not match element_spec"):
            load(path, element_spec=bad)
