"""Selections, elements by index, splits and samples, beside NumPy."""

from __future__ import annotations

import collections
import pickle
from typing import Any

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from tensorferry import errors

ROWS = np.random.default_rng(0).integers(0, 99, (50, 3))
Pair = collections.namedtuple("Pair", "x y")


def rows() -> tfy.Dataset:
    return tfy.Dataset.from_tensor_slices(ROWS).with_format("numpy")


def numbers(n: int = 10) -> tfy.Dataset:
    return tfy.Dataset.range(n).with_format("numpy")


def listed(dataset: Any) -> list[Any]:
    return [np.asarray(x).tolist() for x in dataset]


INDICES = {
    "list": [3, 3, -1, 0],
    "tuple": (3, 3, -1, 0),
    "no indices": [],
    "int64": np.array([3, 49, -50, 7]),
    "uint8": np.array([3, 49, 7], np.uint8),
    "int8, reversed": np.array([3, -49, 7], np.int8)[::-1],
    "big-endian": np.array([3, 49, -7], ">i4"),
    "tensor of TensorFlow": tf.constant([5, 4, -3]),
    "tensor of tensorferry": tfy.tensor([5, 4, -3]),
    "range": range(3, 40, 5),
    "range backwards": range(49, -1, -7),
    "range of negative numbers": range(-3, 0),
    "mask": ROWS[:, 0] > 40,
    "mask of no element": np.zeros(50, bool),
    "list of bools": [True, False] * 25,
    "permutation": np.random.default_rng(1).permutation(50),
}


@pytest.mark.parametrize("indices", INDICES.values(), ids=INDICES)
def test_select_is_indexing_in_numpy(indices: Any) -> None:
    expected = ROWS[np.asarray(indices, None if len(indices) else int)]
    dataset = rows().select(indices)
    assert len(dataset) == len(expected)
    assert listed(dataset) == expected.tolist()
    if not isinstance(indices, tuple):
        assert listed(rows()[indices]) == expected.tolist()
    batches = [batch.tolist() for batch in dataset.batch(7)]
    assert [row for batch in batches for row in batch] == expected.tolist()
    assert listed(pickle.loads(pickle.dumps(dataset))) == expected.tolist()


def test_select_of_torch_and_jax_tensors() -> None:
    jnp, torch = pytest.importorskip("jax.numpy"), pytest.importorskip("torch")
    for indices in (torch.tensor([5, -1]), jnp.asarray([5, -1])):
        assert listed(rows().select(indices)) == ROWS[[5, -1]].tolist()
    assert rows()[torch.tensor(5)].tolist() == ROWS[5].tolist()


@pytest.mark.parametrize("mode", ["map", "read"])
def test_indices_in_a_file_larger_than_what_is_loaded_are_read_in_place(mode, tmp_path) -> None:
    n = (64 << 20) // 8 + 1000
    given = np.random.default_rng(2).integers(-n, n, n)
    np.save(tmp_path / "indices.npy", given)
    opened = tfy.open(tmp_path / "indices.npy", mode=mode)
    dataset = numbers(n).select(opened)
    expected = np.where(given < 0, given + n, given)
    for start in (0, n - 100):
        assert next(iter(dataset[start:].batch(100))).tolist() == expected[start:][:100].tolist()
    shuffled = next(iter(dataset.shuffle(seed=1).batch(1000)))
    in_memory = next(iter(numbers(n).select(given).shuffle(seed=1).batch(1000)))
    assert shuffled.tolist() == in_memory.tolist()
    again = pickle.loads(pickle.dumps(dataset))
    assert again[5] == expected[5]
    # A state applies wherever the indices are.
    iterator = iter(dataset.batch(10))
    next(iterator)
    other = iter(numbers(n).select(given).batch(10))
    other.load_state_dict(iterator.state_dict())
    assert next(other).tolist() == next(iterator).tolist()
    given[7] = n
    np.save(tmp_path / "bad.npy", given)
    with pytest.raises(errors.InvalidIndexError, match=f"index {n} at position 7 is out of range"):
        numbers(n).select(tfy.open(tmp_path / "bad.npy", mode=mode))


def test_later_writes_change_neither_the_selection_nor_its_pickle() -> None:
    indices, weights = np.array([1, 2]), np.array([1.0, 0.0])
    picked, drawn = numbers().select(indices), numbers(2).sample(5, weights)
    indices[:], weights[:] = 0, [0.0, 1.0]
    for dataset in (picked, pickle.loads(pickle.dumps(picked))):
        assert listed(dataset) == [1, 2]
    for dataset in (drawn, pickle.loads(pickle.dumps(drawn))):
        assert listed(dataset) == [0] * 5


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([0, 10, 99], IndexError, "index 10 at position 1 is out of range: .* 10 elements"),
        ([-11], IndexError, "index -11 at position 0"),
        (range(0, 20, 5), IndexError, "index 10 at position 2"),
        ([1.0], TypeError, "integers or bools, not float32"),
        ("abc", ValueError, "select: .* is text"),
        ([[1, 2]], ValueError, r"not int32 of shape \[1, 2\]"),
        (3, ValueError, r"not int32 of shape \[\]"),
        ([True, False], ValueError, "the mask has 2 values and the dataset 10 elements"),
        (np.array([2**64 - 1], np.uint64), IndexError, "18446744073709551615"),
    ],
)
def test_wrong_indices_are_refused(indices, error, message) -> None:
    with pytest.raises(error, match=message):
        numbers().select(indices)


SLICES = [
    slice(None),
    slice(3),
    slice(2, 5),
    slice(-3, None),
    slice(None, -3),
    slice(None, None, 3),
    slice(None, None, -1),
    slice(8, 1, -3),
    slice(20, 30),
    slice(5, 2),
    slice(-100, 100, 4),
    slice(np.int64(1), np.int64(9), np.int64(2)),
]


@pytest.mark.parametrize("key", SLICES, ids=str)
@pytest.mark.parametrize("n", [0, 1, 10])
def test_a_slice_is_that_of_a_list(key: slice, n: int) -> None:
    expected = list(range(n))[key]
    dataset = numbers(n)[key]
    assert listed(dataset) == expected
    assert len(dataset) == len(expected)
    assert listed(pickle.loads(pickle.dumps(dataset))) == expected
    assert [x for batch in dataset.batch(4) for x in batch.tolist()] == expected


def test_slices_of_an_infinite_dataset_count_from_its_start() -> None:
    endless = numbers(5).repeat()
    assert listed(endless[3:12:2]) == [3, 0, 2, 4, 1]
    assert listed(endless[7:].take(2)) == [2, 3]
    assert endless[12] == 2
    assert listed(endless.select([7, 3])) == [2, 3]
    for wrong in (slice(-1, None), slice(None, -1), slice(None, None, 2), slice(9, 1, -1)):
        with pytest.raises(errors.InvalidArgumentError, match="infinite"):
            endless[wrong]
    with pytest.raises(IndexError, match="no last element"):
        endless[-1]
    with pytest.raises(IndexError, match="infinite"):
        endless.select([-1])


@pytest.mark.parametrize("format", ["tensorflow", "torch", "jax", "numpy", "tensorferry"])
@pytest.mark.parametrize(
    "structure",
    [
        lambda a: a,
        lambda a: (a, a[:, 0]),
        lambda a: {"b": a, "a": (a[:, 1], None)},
        lambda a: Pair(a[:, 0], {"z": a}),
    ],
)
def test_elements_by_index_are_those_of_the_iteration(format, structure) -> None:
    if format in ("torch", "jax"):
        pytest.importorskip(format)
    dataset = tfy.Dataset.from_tensor_slices(structure(ROWS[:9])).with_format(format)
    expected = list(dataset)
    indices = [4, 0, 8, 4, -2]
    for at, element in zip(indices, dataset.__getitems__(indices), strict=True):
        for one in (dataset[at], element):
            left, right = tf.nest.flatten(one), tf.nest.flatten(expected[at])
            # DataLoader gets PyTorch's tensors in the place of TensorFlow's.
            if format != "tensorflow" or one is not element:
                assert type(one) is type(expected[at])
                assert [type(x) for x in left] == [type(x) for x in right]
            for x, y in zip(left, right, strict=True):
                assert (None if x is None else np.asarray(x).tolist()) == (
                    None if y is None else np.asarray(y).tolist()
                )
    assert dataset.__getitems__([]) == []


def test_elements_of_unknown_shape_are_read_one_by_one() -> None:
    ragged = numbers().batch(3).map(lambda x: x + 1)
    assert [x.tolist() for x in ragged.__getitems__([3, 0])] == [[10], [1, 2, 3]]
    assert ragged[-1].tolist() == [10]
    window = numbers().window(3)
    assert listed(window[1]) == [3, 4, 5]


def test_an_index_follows_set_epoch_and_not_the_iterations() -> None:
    shuffled = numbers().shuffle(seed=3)
    first, second = (listed(shuffled) for _ in range(2))
    assert [int(shuffled[at]) for at in range(10)] == first != second
    shuffled.set_epoch(1)
    assert [int(shuffled[at]) for at in range(10)] == second
    derived = shuffled.batch(4)
    assert derived[0].tolist() == second[:4]
    assert [int(x) for x in pickle.loads(pickle.dumps(shuffled)).__getitems__([2, 1])] == [
        second[2],
        second[1],
    ]


@pytest.mark.parametrize("key", ["x", True, np.True_, None, ..., (1, 2), 1.5, {}, object()])
def test_keys_that_are_no_index_are_refused(key: Any) -> None:
    with pytest.raises(TypeError, match="indexed by a whole number, a slice"):
        numbers()[key]


@pytest.mark.parametrize("at", [10, -11, 2**70, -(2**70)])
def test_an_index_out_of_range_is_an_index_error(at: int) -> None:
    with pytest.raises(IndexError, match="out of range: the dataset has 10 elements"):
        numbers()[at]
    with pytest.raises(IndexError, match="out of range"):
        numbers().__getitems__([0, at])


STREAMED = {
    "filter": lambda: numbers().filter(lambda x: x > 1),
    "from_generator": lambda: tfy.Dataset.from_generator(
        lambda: iter([1]), output_signature=tfy.TensorSpec((), "int64")
    ),
}


@pytest.mark.parametrize("make", STREAMED.values(), ids=STREAMED)
@pytest.mark.parametrize(
    "call",
    [
        lambda d: d.select([0]),
        lambda d: d[0],
        lambda d: d[:2],
        lambda d: d[[0]],
        lambda d: d.split(0.5),
        lambda d: d.sample(3),
    ],
)
def test_a_dataset_without_random_access_says_what_to_do(make, call) -> None:
    with pytest.raises((ValueError, TypeError), match=r"no random access .*load"):
        call(make())


def test_a_dataset_is_no_array() -> None:
    jnp = pytest.importorskip("jax.numpy")
    for convert in (np.asarray, np.array, tf.convert_to_tensor, jnp.asarray, tfy.tensor):
        with pytest.raises((TypeError, ValueError), match=r"to_tf_data\(\)|not an array"):
            convert(numbers())
    assert listed(list(numbers())) == list(range(10))
    assert listed(reversed(numbers())) == list(range(9, -1, -1))
    assert 3 in numbers()


def test_indexing_while_tensorflow_traces_is_refused() -> None:
    dataset = tfy.Dataset.range(3)

    @tf.function
    def traced():
        return dataset[0]

    with pytest.raises(errors.FailedPreconditionError, match=r"inside tf\.function"):
        traced()


@pytest.mark.parametrize("n", [0, 1, 7, 10, 4097])
@pytest.mark.parametrize(
    "sizes",
    [
        0.8,
        0.0,
        1.0,
        [0.8, 0.1, 0.1],
        [1.0],
        (0.5, 0.5),
        np.array([0.3, 0.7], np.float32),
        [1 / 3] * 3,
    ],
    ids=str,
)
def test_fractions_of_a_split_cover_everything_once(n: int, sizes: Any) -> None:
    parts = numbers(n).split(sizes)
    fractions = [sizes, 1 - sizes] if isinstance(sizes, float) else list(sizes)
    assert len(parts) == len(fractions)
    for part, fraction in zip(parts, fractions, strict=True):
        assert abs(len(part) - fraction * n) <= 1
    together = [x for part in parts for x in listed(part)]
    assert sorted(together) == list(range(n))
    assert listed(numbers(n).split(sizes)[0]) == listed(parts[0])
    in_order = numbers(n).split(sizes, shuffle=False)
    assert [x for part in in_order for x in listed(part)] == list(range(n))


def test_a_split_is_the_same_in_every_epoch_process_and_pickle() -> None:
    train, test = numbers(100).split(0.8, seed=7)
    first = listed(train)
    assert first == listed(train)
    train.set_epoch(5)
    assert first == listed(train) == listed(pickle.loads(pickle.dumps(train)))
    assert first != listed(numbers(100).split(0.8, seed=8)[0])
    assert listed(numbers(100).split(0.8)[1]) == listed(numbers(100).split(0.8, seed=0)[1])
    passes = [listed(train.shuffle(seed=1)) for _ in range(2)]
    assert set(passes[0]) == set(passes[1]) == set(first)
    assert not set(first) & set(listed(test))
    assert listed(numbers(10).split([3, 5, 2])[1]) == listed(numbers(10).split([3, 5, 2])[1])
    assert [len(part) for part in numbers(10).split(3)] == [3, 7]


def test_a_state_resumes_in_its_part_only() -> None:
    train, test = numbers(20).split(0.5)
    iterator = iter(train)
    seen = [int(next(iterator)) for _ in range(3)]
    state, rest = iterator.state_dict(), listed(iterator)
    resumed = iter(numbers(20).split(0.5)[0])
    resumed.load_state_dict(state)
    assert seen + listed(resumed) == seen + rest
    with pytest.raises(errors.InvalidArgumentError, match="state is of another plan"):
        iter(test).load_state_dict(state)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([0.8, 0.3], "add up to 1.1, not to 1"),
        ([0.7, 0.2], "add up to 0.9, not to 1. Give one for every part"),
        (1.5, "from 0 to 1, not 1.5"),
        ([0.5, float("nan")], "from 0 to 1, not nan"),
        (-0.1, "from 0 to 1"),
        ([5, 6], "do not add up to the 10"),
        (11, "do not add up to the 10"),
        (-1, "at least 0, not -1"),
        ([], "no parts"),
        ([0.5, 5], "whole number"),
        ("half", "whole number"),
        (True, "whole number"),
    ],
)
def test_sizes_that_do_not_add_up_are_refused(sizes: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        numbers().split(sizes)


def test_a_split_that_would_leak_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the parts would mix\. Split before shuffle"):
        numbers().shuffle(seed=1).split(0.8)
    with pytest.raises(ValueError, match="infinite"):
        numbers().repeat().split(0.8)
    fixed = numbers().shuffle(seed=1, reshuffle_each_iteration=False)
    assert sorted(x for part in fixed.split(0.8) for x in listed(part)) == list(range(10))


def test_samples_follow_weights_seeds_and_epochs() -> None:
    drawn = numbers(4).sample(20_000, weights=[1, 0, 2, 5], seed=3)
    counts = np.bincount(listed(drawn.batch(20_000))[0], minlength=4)
    assert counts[1] == 0
    assert np.abs(counts / 20_000 - np.array([1, 0, 2, 5]) / 8).max() < 0.02
    first, second = (listed(drawn.take(50)) for _ in range(2))
    assert first != second
    once = numbers(4).sample(50, seed=3, rerandomize_each_iteration=False)
    assert listed(once) == listed(once) == listed(pickle.loads(pickle.dumps(once)))
    unseeded = numbers(100).sample()
    unseeded.set_epoch(0)
    assert len(unseeded) == 100
    copies = [pickle.loads(pickle.dumps(unseeded)) for _ in range(2)]
    assert listed(copies[0]) == listed(copies[1])


def test_balanced_weights_draw_every_class_equally_often() -> None:
    labels = np.array([0] * 90 + [1] * 9 + [2])
    weights = tfy.balanced_weights(labels)
    assert [weights[labels == c].sum() for c in range(3)] == pytest.approx([1.0] * 3)
    drawn = tfy.Dataset.from_tensor_slices(labels).sample(30_000, weights, seed=1)
    counts = np.bincount(np.concatenate(list(drawn.batch(1000).as_numpy_iterator())))
    assert np.abs(counts / 10_000 - 1).max() < 0.05
    assert tfy.balanced_weights([]).tolist() == []
    with pytest.raises(ValueError, match="one dimension"):
        tfy.balanced_weights([[1]])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], "1 weights for 10 elements"),
        ([-1.0] + [1.0] * 9, "at position 0 is -1"),
        ([float("inf")] * 10, "finite"),
        ([0] * 10, "all weights are 0"),
        ([1j] * 10, "one dimension of numbers"),
        ([[1.0] * 10], "one dimension of numbers"),
    ],
)
def test_wrong_weights_are_refused(weights: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        numbers().sample(3, weights)


def test_samples_of_nothing() -> None:
    assert listed(numbers(0).sample()) == []
    with pytest.raises(ValueError, match="the dataset is empty"):
        numbers(0).sample(1)


def test_parts_reach_tf_data() -> None:
    dataset = tfy.Dataset.from_tensor_slices(ROWS)
    for part in (
        dataset.select([4, -1, 4]),
        dataset[::-7],
        dataset.split(0.3)[1],
        dataset.sample(9, seed=1),
    ):
        expected = listed(part.as_numpy_iterator())
        part.set_epoch(0)
        assert listed(part.to_tf_data().as_numpy_iterator()) == expected


def test_parts_agree_with_hugging_face_datasets() -> None:
    hugging_face = pytest.importorskip("datasets", reason="beside Hugging Face's datasets")
    theirs = hugging_face.Dataset.from_dict({"x": list(range(50)), "label": ROWS[:, 0].tolist()})
    ours = tfy.Dataset.from_tensor_slices({"x": np.arange(50), "label": ROWS[:, 0]})
    ours = ours.with_format("numpy")

    def agree(dataset: Any, reference: Any) -> None:
        assert [int(row["x"]) for row in dataset] == list(reference["x"])

    agree(ours.select([3, 3, 49, 0]), theirs.select([3, 3, 49, 0]))
    agree(ours.select(range(5, 40, 3)), theirs.select(range(5, 40, 3)))
    kept = {"batched": True, "input_columns": "label"}
    agree(
        ours.filter(lambda label: label > 40, **kept),
        theirs.filter(lambda label: [value > 40 for value in label], **kept),
    )
    agree(
        ours.filter(lambda label, x: (label > 40) & (x > 9), input_columns=["label", "x"]),
        theirs.filter(lambda label, x: label > 40 and x > 9, input_columns=["label", "x"]),
    )
    split = theirs.train_test_split(test_size=0.2, seed=1)
    assert [len(part) for part in ours.split(0.8)] == [len(split["train"]), len(split["test"])]
    split = theirs.train_test_split(test_size=0.2, shuffle=False)
    for part, reference in zip(ours.split(0.8, shuffle=False), split.values(), strict=True):
        agree(part, reference)
