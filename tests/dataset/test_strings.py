"""Strings beside numbers, compared with tf.data: sources, batches, functions, states, files."""

from __future__ import annotations

import itertools
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import tensorferry as tfy
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorferry import errors

from tests.support.dataset_checks import assert_agree, assert_everywhere, assert_resumes

FORMATS = ["tensorflow", "torch", "jax", "numpy", "tensorferry"]
WORDS = ["a", "", "héllo", "数据", "a\tb", "x" * 300, "end"]
BYTES = [word.encode() for word in WORDS]
STRING_DTYPE = getattr(np.dtypes, "StringDType", None)


def hugging_face(words=WORDS):
    library = pytest.importorskip("datasets", reason="beside Hugging Face's datasets")
    return library.Dataset.from_dict({"text": words, "at": list(range(len(words)))})


def arrow(kind: pa.DataType) -> pa.Array:
    return pa.array(["skipped", *WORDS, "too"], pa.string()).cast(kind).slice(1, len(WORDS))


#: The same strings, as every library has them.
SOURCES = {
    "list": lambda: WORDS,
    "list of bytes": lambda: BYTES,
    "U": lambda: np.array(WORDS),
    "S": lambda: np.array(BYTES),
    "strided U": lambda: np.array([word for word in WORDS for _ in range(2)])[::2],
    "swapped U": lambda: np.array(WORDS).astype(">U300"),
    "strided S": lambda: np.array([word for word in BYTES for _ in range(2)])[::2],
    "objects": lambda: np.array(WORDS, object),
    "mixed objects": lambda: np.array([BYTES[0], *WORDS[1:]], object),
    **({"T": lambda: np.array(WORDS, STRING_DTYPE())} if STRING_DTYPE else {}),
    "tf.string": lambda: tf.constant(WORDS),
    "pandas objects": lambda: pd.Series(WORDS, dtype=object),
    "pandas string": lambda: pd.Series(WORDS, dtype="string"),
    "pandas arrow": lambda: pd.Series(WORDS, dtype=pd.ArrowDtype(pa.string())),
    "pandas categorical": lambda: pd.Series(pd.Categorical(WORDS)),
    "pandas index": lambda: pd.Index(WORDS, dtype=object),
    "polars": lambda: pl.Series(WORDS),
    "polars binary": lambda: pl.Series(BYTES),
    "polars categorical": lambda: pl.Series(WORDS, dtype=pl.Categorical),
    **{
        f"arrow {kind}": lambda kind=kind: arrow(kind)
        for kind in (
            pa.string(),
            pa.binary(),
            pa.large_string(),
            pa.large_binary(),
            pa.string_view(),
            pa.binary_view(),
        )
    },
    "arrow chunks": lambda: pa.chunked_array([WORDS[:2], [], WORDS[2:]]),
    "arrow dictionary": lambda: pa.array(WORDS).dictionary_encode(),
}


def texts(words=WORDS) -> tfy.Dataset:
    return tfy.Dataset.from_tensor_slices({"text": words, "at": np.arange(len(words))})


def found(dataset: tfy.Dataset) -> list:
    """The texts of the elements."""
    return [
        text if isinstance(text := element["text"], bytes) else text.tolist()
        for element in dataset.as_numpy_iterator()
    ]


@pytest.mark.parametrize("name", SOURCES)
def test_strings_of_every_library(name):
    dataset = tfy.Dataset.from_tensor_slices(SOURCES[name]())
    assert dataset.element_spec == tf.TensorSpec((), tf.string)
    assert list(dataset.as_numpy_iterator()) == BYTES
    assert len(dataset) == len(WORDS)
    batches = [batch.tolist() for batch in dataset.batch(3).as_numpy_iterator()]
    assert batches == [BYTES[:3], BYTES[3:6], BYTES[6:]]
    beside = tfy.Dataset.from_tensor_slices((SOURCES[name](), np.arange(len(WORDS))))
    assert [int(at) for _, at in beside.as_numpy_iterator()] == list(range(len(WORDS)))
    assert list(pickle.loads(pickle.dumps(dataset)).as_numpy_iterator()) == BYTES


@given(st.lists(st.binary(max_size=5) | st.text(max_size=5), max_size=20), st.integers(1, 7))
def test_objects_keep_every_byte(strings, size):
    array = np.empty(len(strings), object)
    array[:] = strings
    expected = [one.encode() if isinstance(one, str) else one for one in strings]
    if not strings:
        return
    dataset = tfy.Dataset.from_tensor_slices(array)
    assert list(dataset.as_numpy_iterator()) == expected
    rows = [batch.tolist() for batch in dataset.batch(size).as_numpy_iterator()]
    assert list(itertools.chain(*rows)) == expected
    order = list(dataset.shuffle(seed=3).as_numpy_iterator())
    rows = [batch.tolist() for batch in dataset.shuffle(seed=3).batch(size).as_numpy_iterator()]
    assert list(itertools.chain(*rows)) == order
    assert sorted(order) == sorted(expected)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=6), min_size=1, max_size=20))
def test_arrays_of_fixed_width_as_in_tensorflow(strings):
    for array in (np.array(strings), np.char.encode(np.array(strings), "utf-8")):
        expected = tf.constant(array).numpy().tolist()
        assert list(tfy.Dataset.from_tensor_slices(array).as_numpy_iterator()) == expected


def test_arrays_without_strings():
    for empty in (np.array([], "U3"), np.array([], "S3"), pa.array([], pa.string())):
        dataset = tfy.Dataset.from_tensor_slices(empty)
        assert dataset.element_spec == tf.TensorSpec((), tf.string)
        assert len(dataset) == 0
        assert list(dataset.batch(2)) == []


def test_many_strings_are_packed_in_parts():
    numbers = np.arange(70_000)
    dataset = tfy.Dataset.from_tensor_slices(numbers.astype("U"))
    (batch,) = dataset.batch(70_000).as_numpy_iterator()
    assert (batch.astype("U") == numbers.astype("U")).all()


# Pipelines of either library.
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


WRONG = {
    "three dimensions": (np.array([[["a", "b"]], [["c", "d"]]]), "of shape (2, 1, 2)"),
    "None": (np.array(["a", None], object), "row 1 is None"),
    "a number": (np.array(["a", 3], object), "row 1 is of type int"),
    "a number in a list": (["a", 3], "row 1 is of type int"),
    "nan": (pd.Series(["a", None, "b"], dtype=object), "row 1 is None"),
    "a null of pandas": (pd.Series(["a", None], dtype="string"), "row 1 is <NA>"),
    "a null of polars": (pl.Series(["a", None]), "row 1 is None"),
    "nulls of arrow": (pa.array(["a", None, None]), "has 2 nulls"),
    "nulls of views": (pa.array(["a", None]).cast(pa.string_view()), "has 1 nulls"),
    "a null in an arrow dictionary": (
        pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", None])),
        "has 1 nulls",
    ),
    "null lists of arrow": (pa.array([["a"], None]), "has 1 nulls"),
    "nulls in lists of arrow": (pa.array([["a"], ["b", None]]), "has 1 nulls"),
    **(
        {"NA": (np.array(["a", np.nan], STRING_DTYPE(na_object=np.nan)), "row 1 is nan")}
        if STRING_DTYPE
        else {}
    ),
    "a surrogate": (["a", "\ud800"], "surrogates not allowed"),
    "a surrogate in an array": (np.array(["a", "\ud800"]), "surrogates not allowed"),
    "a string": ("abc", "an array or a list of strings is due"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_column_of_strings_is_refused_by_name(name):
    value, words = WRONG[name]
    with pytest.raises((errors.InvalidArgumentError, errors.InvalidTypeError)) as caught:
        tfy.Dataset.from_tensor_slices({"text": value, "at": np.arange(2)})
    assert words in str(caught.value)
    assert 'component "text"' in str(caught.value)


def test_a_dataset_of_hugging_face_is_a_dict_of_its_columns():
    rows = hugging_face()
    for column in (rows["text"], rows.with_format("numpy")["text"]):
        assert list(tfy.Dataset.from_tensor_slices(column).as_numpy_iterator()) == BYTES
    with pytest.raises(errors.InvalidArgumentError, match="has 1 nulls"):
        tfy.Dataset.from_tensor_slices(hugging_face(["a", None])["text"])
    dataset = tfy.Dataset.from_tensor_slices(rows)
    assert dataset.element_spec == texts().element_spec
    assert found(dataset) == BYTES
    chosen = tfy.Dataset.from_tensor_slices(rows.select([3, 0]))
    assert [(row["text"], row["at"]) for row in chosen.as_numpy_iterator()] == [
        (BYTES[3], 3),
        (BYTES[0], 0),
    ]
    whole = next(tfy.Dataset.from_tensors(rows).as_numpy_iterator())
    assert whole["text"].tolist() == BYTES
    assert_resumes(lambda: tfy.Dataset.from_tensor_slices(hugging_face()).shuffle(seed=1).batch(2))
    custom = rows.with_transform(lambda batch: batch)
    with pytest.raises(errors.Error):
        tfy.Dataset.from_tensor_slices(custom)


def test_bytes_that_are_no_text_and_zeros():
    strings = [b"\xff\xfe", b"a\0b", b"\0", b"c\0"]
    for form in (strings, np.array(strings, object), pa.array(strings), tf.constant(strings)):
        assert list(tfy.Dataset.from_tensor_slices(form).as_numpy_iterator()) == strings
    fixed = np.array(strings)
    expected = tf.constant(fixed).numpy().tolist()
    assert list(tfy.Dataset.from_tensor_slices(fixed).as_numpy_iterator()) == expected
    fixed = pa.array([b"ab", b"\0\0"], pa.binary(2))
    assert list(tfy.Dataset.from_tensor_slices(fixed).as_numpy_iterator()) == [b"ab", b"\0\0"]
    numbers = np.array([b"", b""])
    assert list(tfy.Dataset.from_tensor_slices(numbers).as_numpy_iterator()) == [b"", b""]


def test_different_numbers_of_rows_are_refused():
    with pytest.raises(errors.InvalidArgumentError, match="different numbers of rows"):
        tfy.Dataset.from_tensor_slices((WORDS, np.arange(3)))
    with pytest.raises(errors.InvalidTypeError, match="one structure"):
        texts().concatenate(tfy.Dataset.from_tensor_slices({"text": [1, 2], "at": [1, 2]}))


def test_states_hold_no_strings():
    with pytest.raises(errors.InvalidTypeError, match="a running state holds numbers"):
        texts().reduce("", lambda state, row: state)
    signature = tf.TensorSpec((None, None, None), tf.string)
    with pytest.raises(errors.InvalidArgumentError, match="have to be of shape"):
        tfy.Dataset.from_generator(list, output_signature=signature)


def test_writable_arrays_are_copied_when_the_dataset_is_made():
    array = np.array(BYTES)
    dataset = tfy.Dataset.from_tensor_slices(array)
    array[:] = b"changed"
    assert list(dataset.as_numpy_iterator()) == BYTES


def test_specs_of_strings():
    spec = tfy.TensorSpec((), "string")
    assert spec == tfy.TensorSpec((), tf.string) == tfy.TensorSpec((), str)
    assert spec == tfy.TensorSpec((), np.dtype("S3")) == pickle.loads(pickle.dumps(spec))
    assert spec.dtype == np.dtype(object)
    assert repr(spec) == "TensorSpec(shape=(), dtype=string)"
    assert "dtype=string" in repr(texts())


def test_without_tensorflow():
    script = """
import sys, tensorferry as tfy
rows = tfy.Dataset.from_tensor_slices({"t": ["a", "bc"], "n": [1, 2]}).with_format("numpy")
print([row["t"] for row in rows], next(iter(rows.batch(2)))["t"].tolist(), rows.element_spec)
print(list(rows.map(lambda row: row["t"].decode()).batch(2)))
assert "tensorflow" not in sys.modules
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "[b'a', b'bc'] [b'a', b'bc']" in run.stdout
