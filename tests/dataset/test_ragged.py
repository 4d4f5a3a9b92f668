"""Rows of different lengths: their sources, and batches of them, beside tf.RaggedTensor."""

from __future__ import annotations

import itertools
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorferry import errors

from tests.support.arrays import NAMES, np_dtype
from tests.support.dataset_checks import assert_resumes, assert_same_elements, plain

lengths_of_rows = st.lists(st.integers(0, 7), max_size=12)


def rows_of(lengths: list[int], dtype: str = "int32") -> tuple[np.ndarray, np.ndarray]:
    """Values and row splits."""
    values = np.arange(1, sum(lengths) + 1).astype(dtype)
    return values, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def ragged(lengths: list[int], dtype: str = "int32") -> tfy.Dataset:
    return tfy.Dataset.from_ragged(*rows_of(lengths, dtype))


def naive(lengths: list[int]) -> list[list[int]]:
    values, splits = rows_of(lengths)
    return [values[a:b].tolist() for a, b in itertools.pairwise(splits)]


LENGTHS = [3, 0, 1, 7, 2, 2, 0, 5, 1]


@given(lengths_of_rows)
def test_every_row_is_an_element(lengths):
    dataset = ragged(lengths)
    assert plain(dataset) == naive(lengths)
    assert len(dataset) == len(lengths)
    assert dataset.element_spec == tf.TensorSpec((None,), tf.int32)
    values, _ = rows_of(lengths)
    assert plain(tfy.Dataset.from_ragged(values, row_lengths=np.array(lengths, int))) == naive(
        lengths
    )


@pytest.mark.parametrize("name", NAMES)
def test_values_of_every_dtype(name):
    values = np.zeros(5, np_dtype(name))
    values[3:] = 1
    got = list(tfy.Dataset.from_ragged(values, [0, 2, 5]).as_numpy_iterator())
    assert [row.dtype for row in got] == [values.dtype] * 2
    assert [row.tobytes() for row in got] == [values[:2].tobytes(), values[2:].tobytes()]


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "int64", "uint64"])
def test_splits_of_every_integer_dtype(dtype):
    dataset = tfy.Dataset.from_ragged(np.arange(5), np.array([0, 2, 5], dtype))
    assert plain(dataset) == [[0, 1], [2, 3, 4]]


def test_splits_that_are_changed_later_do_not_matter():
    splits = np.array([0, 2, 5])
    dataset = tfy.Dataset.from_ragged(np.arange(5), splits)
    splits[1] = 99
    assert plain(dataset) == [[0, 1], [2, 3, 4]]


def test_rows_of_several_dimensions():
    values = np.arange(12).reshape(6, 2)
    batch = next(tfy.Dataset.from_ragged(values, [0, 2, 6]).padded_batch(2).as_numpy_iterator())
    assert batch.shape == (2, 4, 2)
    assert batch[0].tolist() == [[0, 1], [2, 3], [0, 0], [0, 0]]


@pytest.mark.parametrize("mode", ["map", "read", "direct"])
def test_values_and_splits_in_files(tmp_path, mode):
    values, splits = rows_of(LENGTHS)
    np.save(tmp_path / "values.npy", values)
    np.save(tmp_path / "splits.npy", splits)
    try:
        opened = tfy.open(tmp_path / "values.npy", mode=mode)
    except (OSError, errors.Error):
        pytest.skip("the file system has no direct reads")
    dataset = tfy.Dataset.from_ragged(opened, tfy.open(tmp_path / "splits.npy", mode=mode))
    assert plain(dataset) == naive(LENGTHS)
    batches = plain(shuffled(ragged(LENGTHS)).padded_batch(4))
    assert plain(shuffled(dataset).padded_batch(4)) == batches
    again = pickle.loads(pickle.dumps(shuffled(dataset)))
    assert plain(again.padded_batch(4)) == batches


def test_a_ragged_tensor_of_tensorflow():
    tensor = tf.RaggedTensor.from_row_splits(*rows_of(LENGTHS))
    assert plain(tfy.Dataset.from_ragged(tensor)) == tensor.to_list()
    both = tfy.Dataset.from_tensor_slices({"x": tensor, "y": np.arange(9)})
    assert [element["x"].tolist() for element in both.as_numpy_iterator()] == tensor.to_list()
    theirs = tf.data.Dataset.from_tensor_slices(tensor)
    assert_same_elements(tfy.Dataset.from_tensor_slices(tensor), theirs)
    twice = tf.ragged.constant([[[1, 2], []], [[3]]])
    with pytest.raises(errors.InvalidArgumentError, match="rows of rows"):
        tfy.Dataset.from_ragged(twice)


def test_nested_tensors_of_torch():
    torch = pytest.importorskip("torch")
    rows = [torch.tensor(row, dtype=torch.int64) for row in naive(LENGTHS)]
    with warnings.catch_warnings():  # PyTorch calls them a prototype
        warnings.simplefilter("ignore")
        nested = torch.nested.nested_tensor(rows, layout=torch.strided)
    assert plain(tfy.Dataset.from_ragged(nested)) == naive(LENGTHS)


#: Jagged tensors import Triton, which ends a process that has imported TensorFlow.
JAGGED = """
import torch, tensorferry as tfy
rows = [torch.arange(n) for n in (3, 0, 2)]
nested = torch.nested.nested_tensor(rows, layout=torch.jagged)
made = tfy.Dataset.from_ragged(nested).with_format("numpy")
assert [row.tolist() for row in made] == [[0, 1, 2], [], [0, 1]]
narrowed = torch.nested.narrow(torch.arange(12).reshape(3, 4), 1, torch.tensor([0, 1, 0]),
                               torch.tensor([2, 3, 0]), layout=torch.jagged)
made = tfy.Dataset.from_ragged(narrowed).with_format("numpy")
assert [row.tolist() for row in made] == [[0, 1], [5, 6, 7], []]
(batch,) = tfy.Dataset.from_ragged(nested).ragged_batch(3).with_format("torch")
again = torch.nested.nested_tensor_from_jagged(*batch)
assert [row.tolist() for row in again.unbind()] == [[0, 1, 2], [], [0, 1]]
"""


def test_jagged_tensors_of_torch():
    pytest.importorskip("torch")
    run = subprocess.run([sys.executable, "-c", JAGGED], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_lists_of_arrow():
    pyarrow = pytest.importorskip("pyarrow")
    rows = naive(LENGTHS)
    for kind in (pyarrow.list_(pyarrow.int32()), pyarrow.large_list(pyarrow.int32())):
        array = pyarrow.array(rows, kind)
        assert plain(tfy.Dataset.from_ragged(array)) == rows
        assert plain(tfy.Dataset.from_ragged(array.slice(2, 4))) == rows[2:6]
        chunked = pyarrow.chunked_array([array.slice(2, 4), array.slice(9), array], kind)
        assert plain(tfy.Dataset.from_ragged(chunked)) == rows[2:6] + rows
        assert plain(tfy.Dataset.from_ragged(array.slice(9))) == []
    with pytest.raises(errors.InvalidArgumentError, match="null"):
        tfy.Dataset.from_ragged(pyarrow.array([[1], None]))
    with pytest.raises(errors.InvalidArgumentError, match="null"):
        tfy.Dataset.from_ragged(pyarrow.array([[1, None]]))
    with pytest.raises(errors.InvalidArgumentError, match="rows of rows"):
        tfy.Dataset.from_ragged(pyarrow.array([[[1]]]))
    view = pyarrow.ListViewArray.from_arrays([3, 0], [2, 3], pyarrow.array(range(5)))
    assert plain(tfy.Dataset.from_ragged(view)) == [[3, 4], [0, 1, 2]]


def test_columns_of_lists():
    pyarrow, pandas = pytest.importorskip("pyarrow"), pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    rows = naive(LENGTHS)
    column = pandas.Series(rows, dtype=pandas.ArrowDtype(pyarrow.list_(pyarrow.int64())))
    assert plain(tfy.Dataset.from_ragged(column)) == rows
    assert plain(tfy.Dataset.from_ragged(polars.Series(rows))) == rows
    assert plain(tfy.Dataset.from_ragged(pandas.Series(rows))) == rows


def test_lists_are_packed_once():
    rows = [np.array([1, 2], np.int16), np.array([], np.int16), np.array([3], np.int16)]
    dataset = tfy.Dataset.from_ragged(rows)
    assert dataset.element_spec == tf.TensorSpec((None,), tf.int16)
    assert plain(dataset) == [[1, 2], [], [3]]
    objects = np.empty(3, object)
    objects[:] = rows
    assert plain(tfy.Dataset.from_ragged(objects)) == [[1, 2], [], [3]]
    wide = tfy.Dataset.from_ragged([[1], [], [2**40]])
    assert wide.element_spec == tf.TensorSpec((None,), tf.int64)
    assert plain(wide) == [[1], [], [2**40]]
    with pytest.raises(errors.Error, match="no common one"):
        tfy.Dataset.from_ragged([[1], np.array([0.5])])
    with pytest.raises(errors.Error, match="row 1 is a number"):
        tfy.Dataset.from_ragged([[1], 2])
    with pytest.raises(errors.Error, match="more than their length"):
        tfy.Dataset.from_ragged([np.zeros((1, 2)), np.zeros((1, 3))])


def test_structures_of_rows_and_arrays():
    dataset = tfy.Dataset.from_ragged(
        ({"tokens": naive(LENGTHS), "mask": tfy.Ragged(*rows_of(LENGTHS))}, np.arange(9))
    )
    first = next(dataset.as_numpy_iterator())
    assert first[0]["tokens"].tolist() == first[0]["mask"].tolist() == naive(LENGTHS)[0]
    with pytest.raises(errors.InvalidArgumentError, match="numbers of rows: 9"):
        tfy.Dataset.from_ragged((naive(LENGTHS), np.arange(8)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1, 2, 3], [0, 2]), "runs from 0 to 2, but there are 3 values"),
        (([1, 2, 3], [0, 2, 1, 3]), "falls from 2 to 1"),
        (([1, 2, 3], []), "row_splits"),
        (([1, 2, 3], [0.0, 3.0]), "whole numbers"),
        (([1, 2, 3], [[0, 3]]), "one dimension"),
        ((np.float32(3), [0, 1]), "scalar"),
        ((np.zeros((2, 3)),), "one length"),
    ],
)
def test_rows_that_cannot_be(arguments, words):
    with pytest.raises(errors.Error, match=words):
        tfy.Dataset.from_ragged(*arguments)


def test_splits_and_lengths_exclude_each_other():
    with pytest.raises(errors.InvalidArgumentError, match="not both"):
        tfy.Dataset.from_ragged([1], [0, 1], row_lengths=[1])
    with pytest.raises(errors.InvalidArgumentError, match="sums to 2"):
        tfy.Dataset.from_ragged([1], row_lengths=[2])


def generated(dataset: tfy.Dataset) -> tfy.Dataset:
    """The same elements, whose lengths are not known before they are read."""
    whole = list(dataset.as_numpy_iterator())
    spec = tfy.TensorSpec((None,), "int32")
    return tfy.Dataset.from_generator(lambda: iter(whole), output_signature=spec)


def shuffled(rows: tfy.Dataset, **options) -> tfy.Dataset:
    """The rows in another order, which is the same in every epoch."""
    return rows.shuffle(seed=4, reshuffle_each_iteration=False, **options)


PLANS = {
    "in order": lambda rows: rows,
    "shuffled": lambda rows: shuffled(rows),
    "shuffled in blocks": lambda rows: shuffled(rows, block=2),
    "sharded": lambda rows: rows.shard(2, 1),
    "repeated": lambda rows: rows.repeat(3).skip(2).take(11),
    "concatenated": lambda rows: shuffled(rows.concatenate(rows.skip(3))),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("drop", [False, True])
def test_batches_are_those_of_tf_data(plan, drop):
    rows = plan(ragged(LENGTHS))
    whole = list(rows.as_numpy_iterator())
    spec = tf.TensorSpec((None,), tf.int32)
    theirs = tf.data.Dataset.from_generator(lambda: iter(whole), output_signature=spec)
    for ours, other in [
        (rows.padded_batch(4, drop_remainder=drop), theirs.padded_batch(4, drop_remainder=drop)),
        (
            rows.padded_batch(2, [9], -1, drop_remainder=drop),
            theirs.padded_batch(2, [9], -1, drop_remainder=drop),
        ),
        (rows.ragged_batch(4, drop_remainder=drop), theirs.ragged_batch(4, drop_remainder=drop)),
        (
            rows.ragged_batch(4, drop, tf.int32),
            theirs.ragged_batch(4, drop, tf.int32),
        ),
    ]:
        assert_same_elements(ours, other)
        assert_same_elements(ours.to_tf_data(), other)
        assert ours.element_spec == other.element_spec


@pytest.mark.parametrize("no_padding", [False, True])
@pytest.mark.parametrize("drop", [False, True])
def test_buckets_are_those_of_tf_data(no_padding, drop):
    boundaries, sizes = ([1, 2, 3, 4, 5, 6, 7], [2] * 8) if no_padding else ([2, 4], [2, 3, 2])
    rows = ragged([3, 0, 1, 7, 2, 2, 0, 5, 1, 1, 3, 7])
    options = {"no_padding": no_padding, "drop_remainder": drop}
    theirs = rows.to_tf_data().bucket_by_sequence_length(
        lambda row: tf.shape(row)[0], boundaries, sizes, **options
    )
    for length in (None, len):
        ours = rows.bucket_by_sequence_length(length, boundaries, sizes, **options)
        assert_same_elements(ours, theirs)
        assert ours.element_spec == theirs.element_spec
    assert "component 0" in str(ours)


def test_the_length_of_a_part_makes_the_buckets():
    rows = tfy.Dataset.from_ragged({"x": naive(LENGTHS), "y": np.arange(9)})
    by_key = rows.bucket_by_sequence_length("x", [2, 4], [2, 3, 2])
    by_function = rows.with_format("numpy").bucket_by_sequence_length(
        lambda element: len(element["x"]), [2, 4], [2, 3, 2]
    )
    assert plain(by_key) == plain(by_function)
    assert plain(rows.bucket_by_sequence_length(None, [2, 4], [2, 3, 2])) == plain(by_key)
    shuffled = rows.shuffle(seed=1).bucket_by_sequence_length("x", [2, 4], [2, 3, 2])
    seen = [int(y) for batch in shuffled.as_numpy_iterator() for y in batch["y"]]
    assert sorted(seen) == list(range(9))
    with pytest.raises(errors.InvalidArgumentError, match="no part 'z'"):
        rows.bucket_by_sequence_length("z", [2], [1, 1])
    streamed = generated(ragged(LENGTHS))
    assert plain(streamed.bucket_by_sequence_length(None, [2, 4], [2, 3, 2])) == plain(
        ragged(LENGTHS).bucket_by_sequence_length(None, [2, 4], [2, 3, 2])
    )


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_batches_resume_at_every_position(plan):
    rows = lambda: plan(ragged(LENGTHS))  # noqa: E731
    assert_resumes(lambda: rows().padded_batch(2))
    assert_resumes(lambda: rows().ragged_batch(2))
    assert_resumes(lambda: rows().bucket_by_sequence_length(None, [2, 4], [2, 3, 2]))


def test_ragged_batches_of_streams_are_the_same():
    rows = ragged(LENGTHS)
    assert [repr(b) for b in generated(rows).ragged_batch(4)] == [
        repr(b) for b in rows.ragged_batch(4)
    ]


def test_every_format_has_its_ragged_batches():
    batches = ragged([2, 0, 3]).ragged_batch(3)
    (ours,) = batches.with_format("numpy")
    assert isinstance(ours, tfy.Ragged)
    assert (ours.values.tolist(), ours.row_splits.tolist()) == ([1, 2, 3, 4, 5], [0, 2, 2, 5])
    (ours,) = batches.with_format("tensorferry")
    assert isinstance(ours, tfy.Ragged)
    (theirs,) = batches
    assert theirs.to_list() == [[1, 2], [], [3, 4, 5]]
    torch = pytest.importorskip("torch")
    (nested,) = batches.with_format("torch")
    assert isinstance(nested.values, torch.Tensor)
    assert nested.row_splits.tolist() == [0, 2, 2, 5]
    pytest.importorskip("jax")
    (jagged,) = batches.with_format("jax")
    assert jagged.values.tolist() == [1, 2, 3, 4, 5]


def test_functions_get_ragged_batches():
    batches = ragged([2, 0, 3]).ragged_batch(2)
    assert plain(batches.map(lambda rows: rows.row_lengths())) == [[2, 0], [3]]
    assert plain(batches.map(lambda rows: tf.reduce_sum(rows, axis=1))) == [[3, 0], [12]]


def test_casts_apply_to_rows():
    rows = ragged(LENGTHS, "int64")
    cast = rows.cast("float32")
    assert_same_elements(
        cast.padded_batch(4),
        rows.with_format("numpy")
        .map(lambda x: x.astype("float32"))
        .padded_batch(4)
        .with_format("tensorflow"),
    )
    wide = tfy.Dataset.from_ragged(np.array([1, 2, 300]), [0, 2, 3]).cast("uint8")
    with pytest.raises(errors.ValueOverflowError, match="element 1"):
        list(wide.padded_batch(2))


def test_a_state_of_other_rows_is_refused():
    iterator = iter(ragged(LENGTHS).padded_batch(2))
    next(iterator)
    state = iterator.state_dict()
    with pytest.raises(errors.InvalidArgumentError, match="plan"):
        iter(ragged([*LENGTHS, 1]).padded_batch(2)).load_state_dict(state)
    assert len(str(state)) < 400


@pytest.mark.parametrize("stage", ["batch", "padded_batch", "ragged_batch", "unbatch", "rebatch"])
def test_ragged_batches_are_not_rows(stage):
    # Two rows of three values have as many values as row splits.
    batches = tfy.Dataset.from_ragged([[1, 2], [3]]).ragged_batch(2)
    for dataset in (batches, tfy.Dataset.zip({"a": batches, "b": tfy.Dataset.range(1).batch(1)})):
        with pytest.raises(errors.InvalidArgumentError, match=f"{stage}: .*ragged batches"):
            getattr(dataset, stage)(*([] if stage == "unbatch" else [2]))


@pytest.mark.parametrize("make", ["arrow", "record batch", "polars", "pandas"])
def test_tables_with_lists_or_strings_are_dicts_of_columns(make):
    pyarrow, polars = pytest.importorskip("pyarrow"), pytest.importorskip("polars")
    pandas = pytest.importorskip("pandas")
    columns = {"ids": [[1, 2], [], [3]], "label": [0, 1, 0], "text": ["a", "", "c"]}
    arrow = pyarrow.table(columns)
    table = {
        "arrow": lambda: arrow,
        "record batch": lambda: arrow.to_batches()[0],
        "polars": lambda: polars.DataFrame(columns),
        "pandas": lambda: arrow.to_pandas(types_mapper=pandas.ArrowDtype),
    }[make]()
    dataset = tfy.Dataset.from_tensor_slices(table).with_format("numpy")
    found = [{key: np.asarray(part).tolist() for key, part in one.items()} for one in dataset]
    assert found == [
        {"ids": ids, "label": label, "text": text.encode()}
        for ids, label, text in zip(*columns.values(), strict=True)
    ]
    padded = dataset.map(lambda one: {key: one[key] for key in ("ids", "label")}).padded_batch(3)
    assert plain(padded) == [{"ids": [[1, 2], [0, 0], [3, 0]], "label": [0, 1, 0]}]
    beside = tfy.Dataset.from_tensor_slices((table, [5, 6, 7]))
    assert [int(number) for _, number in beside.as_numpy_iterator()] == [5, 6, 7]


def test_lists_of_one_length_are_rows_too():
    pyarrow, polars = pytest.importorskip("pyarrow"), pytest.importorskip("polars")
    fixed = pyarrow.array([[9, 9], [1, 2], [3, 4]], pyarrow.list_(pyarrow.int64(), 2))[1:]
    assert plain(tfy.Dataset.from_ragged(fixed)) == [[1, 2], [3, 4]]
    series = polars.Series([[1, 2], [3, 4]], dtype=polars.Array(polars.Int64, 2))
    assert plain(tfy.Dataset.from_ragged(series)) == [[1, 2], [3, 4]]
    assert tfy.Dataset.from_tensor_slices(fixed).element_spec.shape == (2,)
    with pytest.raises(errors.InvalidArgumentError, match="1 nulls"):
        tfy.Dataset.from_ragged(pyarrow.array([[1, 2], None], fixed.type))


@pytest.mark.parametrize(
    ("rows", "dtype"),
    [
        ([[1, 2], [], [3.5]], "float32"),
        ([(1, 2.5), (3,)], "float32"),
        ([[np.float64(1.5)], [1]], "float64"),
        ([[1.5], [2**40]], "float32"),
        ([[1], [2**40]], "int64"),
    ],
)
def test_numbers_of_lists_have_one_dtype(rows, dtype):
    dataset = tfy.Dataset.from_ragged(rows)
    assert plain(dataset) == [list(map(float, row)) if "f" in dtype else row for row in rows]
    assert dataset.element_spec.dtype == dtype


def test_whole_numbers_that_a_float_does_not_hold_are_refused():
    with pytest.raises(errors.ValueOverflowError, match="from_ragged: row 1"):
        tfy.Dataset.from_ragged([[1.5], [2**25 + 1]])
    with pytest.raises(errors.InvalidTypeError, match="bool, int32"):
        tfy.Dataset.from_ragged([[True], [1]])
