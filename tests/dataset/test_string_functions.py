"""Strings in functions, formats, files, and stages that refuse them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from tensorferry import errors

from tests.support.dataset_checks import assert_everywhere, assert_resumes
from tests.support.strings import BYTES, FORMATS, found, texts


def is_not_second(row):
    return row["at"] != 2


def text_of(row):
    return row["text"]


@pytest.mark.parametrize(
    "plan",
    [
        lambda rows: rows,
        lambda rows: rows.batch(2),
        lambda rows: rows.shuffle(seed=3).batch(3, drop_remainder=True),
        lambda rows: rows.repeat(2).shuffle(4, seed=1).batch(4),
        lambda rows: rows.filter(is_not_second).batch(2),
        lambda rows: rows.map(text_of).cache().batch(2),
    ],
)
def test_everywhere(plan):
    assert_everywhere(lambda: plan(texts()))


@pytest.mark.parametrize("size", [0, 1, 2, 127, 128, 8191, 8192, 8193, 20_000, 200_000])
def test_strings_of_any_length_inside_tf_data(size):
    noise = np.random.default_rng(size)
    lengths = [size, 0, 1, size // 2, 0]
    strings = [noise.integers(0, 256, length, np.uint8).tobytes() for length in lengths]
    array = np.empty(len(strings), object)
    array[:] = strings
    rows = tfy.Dataset.from_tensor_slices(array)
    assert [text.numpy() for text in rows.to_tf_data()] == strings
    for count in (1, 2, 5):
        batches = [batch.numpy().tolist() for batch in rows.batch(count).to_tf_data()]
        assert list(itertools.chain(*batches)) == strings
    (whole,) = rows.batch(5, drop_remainder=True).to_tf_data()
    assert whole.shape == (5,)
    (empty,) = tfy.Dataset.from_tensors(np.array([], "S1")).to_tf_data()
    assert empty.numpy().tolist() == []


@pytest.mark.parametrize("format", FORMATS)
def test_formats(format):
    dataset = texts().batch(3).with_format(format)
    batch = next(iter(dataset))
    assert [len(batch["text"]), len(batch["at"])] == [3, 3]
    if format == "tensorflow":
        assert batch["text"].dtype == tf.string
        assert dataset.element_spec["text"] == tf.TensorSpec((None,), tf.string)
    else:
        assert isinstance(batch["text"], np.ndarray)
        assert batch["text"].tolist() == BYTES[:3]
        assert dataset.element_spec["text"] == tfy.TensorSpec((None,), "string")
        assert next(iter(texts().with_format(format)))["text"] == b"a"
    assert_resumes(lambda: texts().shuffle(seed=1).batch(2), format)


@pytest.mark.parametrize("format", FORMATS)
def test_functions_get_and_return_strings(format):
    def longer(row):
        assert format == "tensorflow" or isinstance(row["text"], bytes)
        text = row["text"].numpy() if tf.is_tensor(row["text"]) else row["text"]
        return {"text": text + b"!", "words": [b"a", text], "at": row["at"]}

    mapped = texts().with_format(format).map(longer)
    rows = list(mapped.as_numpy_iterator())
    assert [row["text"] for row in rows] == [text + b"!" for text in BYTES]
    assert [row["words"].tolist() for row in rows] == [[b"a", text] for text in BYTES]
    assert found(mapped.map(lambda row: {"text": row["text"]}).batch(7)) == [
        [text + b"!" for text in BYTES]
    ]
    kept = texts().with_format(format).filter(lambda row: len(np.asarray(row["text"]).item()) > 3)
    assert found(kept) == [text for text in BYTES if len(text) > 3]


def double(row):
    return row["text"] * 2


def test_functions_on_threads_and_in_processes():
    rows = texts().with_format("numpy")
    expected = [text * 2 for text in BYTES]
    mapped = rows.map(double, num_parallel_calls=2)
    assert list(mapped) == expected
    assert [batch.tolist() for batch in mapped.batch(4)] == [expected[:4], expected[4:]]
    assert list(rows.map(double, num_parallel_calls=2, workers="processes")) == expected


def test_a_function_that_returns_no_string_is_an_error_at_its_element():
    spec = tfy.TensorSpec((), "string")
    rows = texts().with_format("numpy")
    mapped = iter(rows.map(lambda row: 3 if row["at"] == 1 else "x", output_signature=spec))
    assert next(mapped) == b"x"
    with pytest.raises(errors.InvalidTypeError, match="of type int, where a string is due"):
        next(mapped)
    assert next(mapped) == b"x"
    several = rows.map(lambda row: ["a", "b"], output_signature=spec)
    with pytest.raises((errors.Error, TypeError)):
        next(iter(several))


def test_random_access_and_selection():
    rows = texts().with_format("numpy")
    assert rows[2]["text"] == BYTES[2]
    assert [row["text"] for row in rows.__getitems__([5, 0])] == [BYTES[5], BYTES[0]]
    assert found(rows.select([3, -1])) == [BYTES[3], BYTES[-1]]
    assert found(rows[::-1]) == BYTES[::-1]
    assert found(rows.select([3, -1]).batch(2)) == [[BYTES[3], BYTES[-1]]]
    train, test = rows.split(0.5, seed=1)
    assert sorted(found(train) + found(test)) == sorted(BYTES)
    zipped = tfy.Dataset.zip((rows, rows.skip(1))).batch(2).with_format("numpy")
    assert next(second["text"].tolist() for _, second in zipped) == BYTES[1:3]


def test_a_data_loader_takes_them():
    from torch.utils.data import DataLoader

    batch = next(iter(DataLoader(texts().with_format("torch"), batch_size=3)))
    assert batch["text"] == BYTES[:3]
    assert batch["at"].tolist() == [0, 1, 2]


def test_mixed_and_grouped():
    rows = texts()
    mixed = tfy.Dataset.sample_from_datasets([rows, rows.repeat(2)], seed=1)
    assert sorted(found(mixed)) == sorted(BYTES * 3)
    groups = rows.with_format("numpy").group_by_window(
        lambda row: len(row["text"]) % 2, lambda key, group: group.batch(3), window_size=3
    )
    assert sorted(itertools.chain(*found(groups))) == sorted(BYTES)
    ragged = rows.ragged_batch(4).with_format("numpy")
    assert [batch["text"].tolist() for batch in ragged] == [BYTES[:4], BYTES[4:]]


def test_save_and_load(tmp_path):
    rows = texts()
    for plan, name in ((rows, "rows"), (rows.batch(3), "batches"), (rows.take(0), "empty")):
        plan.save(tmp_path / name)
        loaded = tfy.Dataset.load(tmp_path / name)
        assert found(loaded) == found(plan)
        assert loaded.cardinality() == plan.cardinality()
        assert_resumes(lambda name=name: tfy.Dataset.load(tmp_path / name).shuffle(seed=1))
    loaded = tfy.Dataset.load(tmp_path / "rows", element_spec=rows.element_spec)
    assert loaded.element_spec == rows.element_spec
    assert found(loaded.shuffle(seed=2).batch(4)) == found(rows.shuffle(seed=2).batch(4))
    wrong = {"text": tf.TensorSpec((None,), tf.uint8), "at": tf.TensorSpec((), tf.int64)}
    with pytest.raises(errors.InvalidArgumentError, match="does not match element_spec"):
        tfy.Dataset.load(tmp_path / "rows", element_spec=wrong)


REFUSING = {
    "cast": lambda rows: rows.cast("float32"),
    "cast of the part": lambda rows: rows.cast({"text": "uint8"}),
    "scale": lambda rows: rows.scale(2.0),
    "scale of the part": lambda rows: rows.scale({"text": 2.0}),
    "one_hot": lambda rows: rows.one_hot(3, which="text"),
    "lookup": lambda rows: rows.lookup(np.arange(3), which=["text", "at"]),
    "flip": lambda rows: rows.flip(0),
    "random_crop": lambda rows: rows.random_crop(1, which="text"),
    "pad_to": lambda rows: rows.pad_to(5, which={"text": True, "at": False}),
    "padded_batch to a length": lambda rows: rows.padded_batch(2, {"text": [3], "at": ()}),
    "padded_batch with a number": lambda rows: rows.padded_batch(
        2, padding_values={"text": 3, "at": 3}
    ),
    "rebatch in turns": lambda rows: rows.batch(2).rebatch([3, 1]),
    "batch of batches": lambda rows: rows.batch(2).batch(2),
    "window of batches": lambda rows: rows.batch(2).window(2),
    "map of batches of batches": lambda rows: rows.batch(2).map(len, batched=True),
    "filter of batches": lambda rows: rows.batch(2).filter(len, batched=True),
}


@pytest.mark.parametrize("name", REFUSING)
def test_stages_that_compute_refuse_strings_by_name(name):
    with pytest.raises((errors.InvalidArgumentError, errors.InvalidTypeError)) as caught:
        REFUSING[name](texts())
    assert 'component "text"' in str(caught.value)


def test_stages_that_select_other_parts_do_not():
    rows = texts().with_format("numpy")
    assert next(iter(rows.cast({"at": "int32"})))["at"].dtype == np.int32
    assert next(iter(rows.cast("int32", which="at").batch(2)))["text"].tolist() == BYTES[:2]
    assert next(iter(rows.scale({"at": 2.0}).skip(1)))["at"] == 2.0
    assert next(iter(rows.scale(2.0, which="at").skip(1)))["text"] == BYTES[1]
    assert next(iter(rows.one_hot(9, which="at").batch(3)))["at"].shape == (3, 9)
    kept = rows.filter(lambda at: at % 2 == 1, batched=True, input_columns="at")
    assert found(kept.batch(2)) == [[BYTES[1], BYTES[3]], [BYTES[5]]]
