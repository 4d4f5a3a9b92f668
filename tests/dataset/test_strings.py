"""Strings beside numbers, compared with tf.data: sources, functions, states, files."""

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

from tests.support.dataset_checks import assert_resumes
from tests.support.strings import BYTES, STRING_DTYPE, WORDS, found, texts


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
