"""Pipelines of strings, compared with tf.data: batches, streams, grids and lists of strings."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import tensorferry as tfy
import tensorflow as tf
from tensorferry import errors

from tests.support.dataset_checks import assert_agree, assert_resumes
from tests.support.strings import BYTES, FORMATS, WORDS, found, texts

PIPELINES = {
    "slices": lambda rows: rows,
    "batch": lambda rows: rows.batch(3),
    "drop_remainder": lambda rows: rows.batch(3, drop_remainder=True),
    "take, skip, repeat": lambda rows: rows.skip(1).take(4).repeat(2).batch(3),
    "shard": lambda rows: rows.shard(2, 1).batch(2),
    "concatenate": lambda rows: rows.concatenate(rows.take(2)).batch(4),
    "enumerate": lambda rows: rows.enumerate().batch(2),
    "prefetch": lambda rows: rows.batch(2).prefetch(2),
    "cache": lambda rows: rows.cache().batch(2),
    "windows": lambda rows: rows.window(2, shift=1).flat_map(lambda window: window["text"]),
    "windows of batches": lambda rows: rows.window(3).flat_map(
        lambda window: window["text"].batch(2)
    ),
    "map to itself": lambda rows: rows.map(lambda row: row["text"]).batch(2),
    "map to others": lambda rows: rows.map(
        lambda row: (tf.strings.upper(row["text"]), tf.strings.length(row["text"]))
    ),
    "map of batches": lambda rows: rows.batch(2).map(lambda row: tf.strings.lower(row["text"])),
    "padded_batch": lambda rows: rows.padded_batch(3),
    "padded_batch, drop_remainder": lambda rows: rows.padded_batch(3, drop_remainder=True),
    "padded_batch, shapes": lambda rows: rows.padded_batch(3, {"text": (), "at": ()}),
    "map to string pairs": lambda rows: rows.map(
        lambda row: tf.stack([row["text"], tf.strings.upper(row["text"])])
    ),
    "batches of string pairs": lambda rows: rows.map(
        lambda row: tf.stack([row["text"], tf.strings.upper(row["text"])])
    ).batch(3),
    "map to a grid": lambda rows: rows.map(
        lambda row: tf.reshape(tf.stack([row["text"]] * 4), [2, 2])
    ),
    "map to strings": lambda rows: rows.map(lambda row: tf.strings.as_string(row["at"])).batch(2),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_as_in_tf_data(tf, name):
    assert_agree(
        tf,
        lambda library: PIPELINES[name](
            library.Dataset.from_tensor_slices({"text": WORDS, "at": np.arange(len(WORDS))})
        ),
    )


UNKNOWN = {
    "filter": lambda rows: rows.filter(lambda row: tf.strings.length(row["text"]) > 2).batch(2),
    "filter of numbers": lambda rows: rows.filter(lambda row: row["at"] % 2 == 0).batch(2),
    "padded_batch": lambda rows: rows.filter(lambda row: row["at"] % 2 == 0).padded_batch(3),
    "unbatch": lambda rows: rows.batch(3).unbatch(),
    "unbatch and batch": lambda rows: rows.batch(3, drop_remainder=True).unbatch().batch(2),
    "unbatch of a filter": lambda rows: rows.filter(lambda row: row["at"] > 2).batch(3).unbatch(),
    "rebatch": lambda rows: rows.batch(3).rebatch(2),
    "rebatch, drop_remainder": lambda rows: rows.batch(3).rebatch(2, drop_remainder=True),
    "flat_map of batches": lambda rows: (
        rows.batch(3).flat_map(type(rows).from_tensor_slices)
        if isinstance(rows, tfy.Dataset)
        else rows.batch(3).flat_map(tf.data.Dataset.from_tensor_slices)
    ),
    "interleave": lambda rows: rows.interleave(
        lambda row: (
            (tfy if isinstance(rows, tfy.Dataset) else tf.data)
            .Dataset.from_tensors(row["text"])
            .repeat(2)
        ),
        cycle_length=2,
    ),
    "buckets by length": lambda rows: rows.bucket_by_sequence_length(
        lambda row: tf.strings.length(row["text"]), [2, 4], [2, 2, 2]
    ),
    "buckets without padding": lambda rows: rows.bucket_by_sequence_length(
        lambda row: tf.strings.length(row["text"]), [2, 4], [2, 2, 2], no_padding=True
    ),
    "groups": lambda rows: rows.group_by_window(
        lambda row: row["at"] % 2, lambda key, group: group.padded_batch(2), 2
    ),
    "unique": lambda rows: rows.map(lambda row: row["text"]).repeat(2).unique(),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_streams_as_in_tf_data(tf, name):
    assert_agree(
        tf,
        lambda library: UNKNOWN[name](
            library.Dataset.from_tensor_slices({"text": WORDS, "at": np.arange(len(WORDS))})
        ),
    )


GRID = np.array([["a", ""], ["héllo", "b" * 30], ["", "c"]])


@pytest.mark.parametrize("form", ["U", "S", "objects", "tf.string"])
def test_rows_of_as_many_strings_as_in_tf_data(tf, form):
    forms = {
        "U": GRID,
        "S": np.char.encode(GRID, "utf-8"),
        "objects": GRID.astype(object),
        "tf.string": tf.constant(GRID),
    }

    def slices(library):
        return library.Dataset.from_tensor_slices({"words": forms[form], "at": np.arange(3)})

    assert_agree(tf, slices)
    assert_agree(tf, lambda library: slices(library).batch(2))
    assert_agree(tf, lambda library: slices(library).batch(2, drop_remainder=True))
    assert_agree(tf, lambda library: library.Dataset.from_tensors(forms[form]))
    assert_resumes(lambda: slices(tfy).shuffle(seed=1).batch(2))
    empty = tfy.Dataset.from_tensor_slices(GRID[:0])
    assert empty.element_spec == tf.TensorSpec((2,), tf.string)
    assert list(empty) == []


LISTS_OF_STRINGS = [["a", "héllo"], [], ["", "b" * 30, "c"], []]


@pytest.mark.parametrize("form", ["tf", "arrow", "chunks", "views", "polars"])
def test_rows_of_any_number_of_strings(tf, form):
    array = pa.array([["gone"], *LISTS_OF_STRINGS]).slice(1)
    value = {
        "tf": tf.ragged.constant(LISTS_OF_STRINGS),
        "arrow": array,
        "chunks": pa.chunked_array([array[:2], array[2:2], array[2:]]),
        "views": pa.array(LISTS_OF_STRINGS, pa.list_view(pa.large_string())),
        "polars": pl.Series(LISTS_OF_STRINGS),
    }[form]
    dataset = tfy.Dataset.from_tensor_slices({"words": value, "at": np.arange(4)})
    assert dataset.element_spec["words"] == tf.TensorSpec((None,), tf.string)
    expected = [[word.encode() for word in words] for words in LISTS_OF_STRINGS]
    assert found_words(dataset) == expected
    for row in dataset.shuffle(seed=1).as_numpy_iterator():
        assert row["words"].tolist() == expected[row["at"]]
    batch = next(dataset.padded_batch(3).as_numpy_iterator())["words"].tolist()
    assert batch == [words + [b""] * (3 - len(words)) for words in expected[:3]]
    one = tfy.Dataset.from_ragged(value)
    assert [row.tolist() for row in one.as_numpy_iterator()] == expected
    assert_resumes(lambda: tfy.Dataset.from_ragged(value).shuffle(seed=2).padded_batch(2))


def test_from_tensors_as_in_tf_data(tf):
    for value in ("one", WORDS, np.array(BYTES), (WORDS, 3, "x"), {"a": b"", "b": np.zeros(2)}):
        assert_agree(tf, lambda library, value=value: library.Dataset.from_tensors(value))
    assert_agree(tf, lambda library: library.Dataset.from_tensors("one").repeat(3).batch(2))


def test_generators_as_in_tf_data(tf):
    def rows():
        for at, word in enumerate(WORDS):
            yield word, WORDS[:at], at

    signature = (
        tf.TensorSpec((), tf.string),
        tf.TensorSpec((None,), tf.string),
        tf.TensorSpec((), tf.int64),
    )
    assert_agree(
        tf,
        lambda library: library.Dataset.from_generator(rows, output_signature=signature),
    )
    assert_agree(
        tf,
        lambda library: library.Dataset.from_generator(
            lambda: iter(WORDS), output_types=tf.string, output_shapes=()
        ).batch(3),
    )


LISTS = {
    "longest": lambda rows: rows.padded_batch(3),
    "shapes": lambda rows: rows.padded_batch(3, {"words": [8], "at": [None]}),
    "values": lambda rows: rows.padded_batch(
        3, padding_values={"words": "pad", "at": np.int64(-1)}
    ),
    "unbatch": lambda rows: rows.padded_batch(3, {"words": [8], "at": [4]}).unbatch(),
    "twice": lambda rows: rows.padded_batch(3, {"words": [8], "at": [4]}).unbatch().padded_batch(2),
    "batch": lambda rows: rows.padded_batch(3, {"words": [8], "at": [4]}).unbatch().batch(2),
    "buckets": lambda rows: rows.bucket_by_sequence_length(
        lambda row: tf.size(row["words"]), [2, 4], [2, 2, 2]
    ),
    "buckets to boundaries": lambda rows: rows.bucket_by_sequence_length(
        lambda row: tf.size(row["words"]), [2, 4, 9], [2] * 4, pad_to_bucket_boundary=True
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_strings_are_padded_as_in_tf_data(tf, name):
    def lists():
        for at in range(len(WORDS)):
            yield {"words": WORDS[:at], "at": np.arange(at % 3)}

    signature = {
        "words": tf.TensorSpec((None,), tf.string),
        "at": tf.TensorSpec((None,), tf.int64),
    }

    def plan(library):
        return LISTS[name](library.Dataset.from_generator(lists, output_signature=signature))

    assert_agree(tf, plan)
    if name != "batch":
        assert_resumes(lambda: plan(tfy))


@pytest.mark.parametrize("format", FORMATS)
def test_grids_of_strings_in_every_format(format, tmp_path):
    spec = {"words": tfy.TensorSpec((None,), "string"), "at": tfy.TensorSpec((), "int64")}
    rows = texts().with_format("numpy")
    lists = rows.map(
        lambda row: {"words": [row["text"]] * int(row["at"] % 3), "at": row["at"]},
        output_signature=spec,
    )
    padded = lists.padded_batch(3).with_format(format)
    expected = [[text] * (at % 3) + [b""] * (2 - at % 3) for at, text in enumerate(BYTES)][:3]
    assert np.asarray(next(iter(padded))["words"]).tolist() == expected
    last = list(padded)[-1]["words"]
    assert last.shape == (1, 0)
    if format == "tensorflow":
        assert padded.element_spec["words"] == tf.TensorSpec((None, None), tf.string)
    else:
        assert padded.element_spec["words"] == tfy.TensorSpec((None, None), "string")
    again = padded.map(lambda row: row["words"], output_signature=padded.element_spec["words"])
    assert np.asarray(next(iter(again))).tolist() == expected
    padded.save(tmp_path / "grids")
    loaded = tfy.Dataset.load(tmp_path / "grids")
    assert loaded.element_spec["words"] == tf.TensorSpec((None, None), tf.string)
    assert found_words(loaded) == found_words(padded)
    assert [batch["words"].numpy().tolist() for batch in padded.to_tf_data()] == found_words(padded)


def found_words(dataset):
    return [row["words"].tolist() for row in dataset.as_numpy_iterator()]


def plain(value):
    return value.numpy() if tf.is_tensor(value) else value


@pytest.mark.parametrize("format", FORMATS)
def test_functions_of_batches_of_strings(format):
    rows = texts().with_format(format)

    def upper(batch):
        text = [one.upper() for one in plain(batch["text"])]
        return {"text": text, "n": [len(one) for one in text]}

    expected = [text.upper() for text in BYTES]
    signature = {"text": tfy.TensorSpec((), "string"), "n": tfy.TensorSpec((), "int64")}
    for promised in (None, signature):
        mapped = rows.map(upper, batched=True, batch_size=3, output_signature=promised)
        assert found(mapped) == expected
        assert len(mapped) == len(WORDS)
        assert mapped.element_spec["text"].shape == ()
        assert found(mapped.batch(3)) == [expected[:3], expected[3:6], expected[6:]]
        assert found(mapped.batch(2)) == [expected[at : at + 2] for at in range(0, 7, 2)]
    long = [text for text in BYTES if len(text) > 3]

    def is_long(texts):
        return np.array([len(text) > 3 for text in plain(texts)])

    for kept in (
        rows.filter(lambda batch: is_long(batch["text"]), batched=True),
        rows.filter(is_long, batched=True, input_columns="text", batch_size=2),
        rows.shuffle(seed=1).filter(is_long, batched=True, input_columns=["text"]),
        rows.filter(lambda row: True).filter(is_long, batched=True, input_columns="text"),
    ):
        assert sorted(found(kept)) == sorted(long)
        assert list(itertools.chain(*found(kept.batch(2)))) == found(kept.batch(1).unbatch())
    assert_resumes(lambda: texts().filter(is_long, batched=True, input_columns="text").batch(2))
    assert_resumes(lambda: texts().with_format("numpy").map(upper, batched=True, batch_size=3))


def test_functions_of_batches_make_and_take_strings():
    numbers = tfy.Dataset.range(5).with_format("numpy")
    named = numbers.map(lambda x: x.astype("U"), batched=True, batch_size=2)
    assert list(named) == [b"0", b"1", b"2", b"3", b"4"]
    lengths = named.map(lambda x: np.array([len(text) for text in x]), batched=True)
    assert list(lengths) == [1] * 5
    short = texts().with_format("numpy").map(lambda row: {"t": row["text"][:1]}, batched=True)
    with pytest.raises(errors.InvalidArgumentError, match="returned 1 rows for a batch of 7"):
        next(iter(short))
    with pytest.raises(errors.InvalidArgumentError, match="is one string"):
        texts().with_format("numpy").map(lambda row: "x", batched=True)


def test_generators_of_strings_without_shapes():
    one = tfy.Dataset.from_generator(lambda: iter(WORDS), output_types=tf.string)
    assert list(one.as_numpy_iterator()) == BYTES
    pairs = tfy.Dataset.from_generator(lambda: enumerate(WORDS), output_types=(tf.int64, tf.string))
    assert [text for _, text in pairs.as_numpy_iterator()] == BYTES


def test_buckets_by_the_length_of_strings():
    expected = [[b"a", b""], [b"a\tb", b"end"]]
    native = texts().bucket_by_sequence_length("text", [2, 4], [2, 2, 2])
    called = texts().filter(lambda row: True).bucket_by_sequence_length("text", [2, 4], [2, 2, 2])
    for buckets in (native, called):
        batches = found(buckets)
        assert [batch for batch in batches if len(batch[0]) < 4] == expected
        assert sorted(itertools.chain(*batches)) == sorted(BYTES)
    assert_resumes(lambda: texts().bucket_by_sequence_length("text", [2, 4], [2, 2, 2]))
    tokens = {"text": WORDS, "tokens": tfy.Ragged(np.arange(7), np.arange(8))}
    both = tfy.Dataset.from_tensor_slices(tokens).bucket_by_sequence_length(None, [2], [3, 3])
    assert next(both.as_numpy_iterator())["tokens"].shape == (3, 1)
