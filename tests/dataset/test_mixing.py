"""Mixtures of datasets, and random numbers: compared with tf.data where it defines them, pinned
elsewhere.
"""

from __future__ import annotations

import collections
import pickle

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorferry import errors

Point = collections.namedtuple("Point", ["x", "y"])
sample = tfy.Dataset.sample_from_datasets
choose = tfy.Dataset.choose_from_datasets


def ints(dataset) -> list[int]:
    return [int(x) for x in dataset.as_numpy_iterator()]


def tens(library, *lengths: int) -> list:
    """Datasets 0 1 2 ..., 10 11 12 ..., 20 21 22 ..."""
    return [library.Dataset.range(10 * at, 10 * at + length) for at, length in enumerate(lengths)]


def assert_resumes_everywhere(dataset, count: int) -> None:
    """Whether an iteration resumes exactly from each of its first positions."""
    dataset = dataset.with_format("numpy")
    whole = [np.asarray(x).tolist() for x in dataset.take(count)]
    recipe = pickle.dumps(dataset)
    iterator = iter(dataset)
    for position in range(len(whole)):
        resumed = iter(pickle.loads(recipe))
        resumed.load_state_dict(iterator.state_dict())
        assert [np.asarray(next(resumed)).tolist() for _ in whole[position:]] == whole[position:]
        assert np.asarray(next(iterator)).tolist() == whole[position]


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=4),
    st.lists(st.integers(0, 3), max_size=20),
    st.booleans(),
    st.booleans(),
)
def test_choices_equal_tf_data(lengths, choice, stop, endless):
    choice = np.array([which % len(lengths) for which in choice], np.int64)
    results = []
    for library in (tfy, tf.data):
        turns = library.Dataset.from_tensor_slices(choice)
        # tf.data searches an endless choice of empty datasets for ever.
        turns = (
            turns.repeat()
            if endless and len(choice) and set(choice) == set(range(len(lengths)))
            else turns
        )
        mixed = library.Dataset.choose_from_datasets(
            tens(library, *lengths), turns, stop_on_empty_dataset=stop
        )
        results.append((ints(mixed), mixed.element_spec, int(mixed.cardinality().numpy())))
    assert results[0] == results[1]


def test_choosing_stops_at_an_empty_dataset_unless_told_otherwise():
    turns = tfy.Dataset.from_tensor_slices(np.array([0, 0, 0, 1]))
    assert ints(choose(tens(tfy, 2, 2), turns)) == [0, 1]
    assert ints(choose(tens(tfy, 2, 2), turns, stop_on_empty_dataset=False)) == [0, 1, 10]


def test_shapes_that_differ_are_unknown_in_the_spec():
    for mix in (
        lambda library, datasets: library.Dataset.choose_from_datasets(
            datasets, library.Dataset.range(2)
        ),
        lambda library, datasets: library.Dataset.sample_from_datasets(datasets),
    ):
        for shapes in [((2, 3), (2, 3)), ((2, 3), (4, 3)), ((2,), (2, 1))]:
            ours, theirs = (
                mix(
                    library, [library.Dataset.from_tensors(np.zeros(shape)) for shape in shapes]
                ).element_spec
                for library in (tfy, tf.data)
            )
            assert ours == theirs


def test_structures_and_the_first_format_are_kept():
    datasets = [
        tfy.Dataset.from_tensor_slices(Point(np.arange(3) + at, {"k": np.zeros(3)})).with_format(
            "numpy"
        )
        for at in (0, 10)
    ]
    for mixed in (sample(datasets, seed=1), choose(datasets, tfy.Dataset.range(2))):
        assert mixed.element_spec == Point(
            tfy.TensorSpec((), "int64"), {"k": tfy.TensorSpec((), "float64")}
        )
        element = next(iter(mixed))
        assert type(element) is Point
        assert isinstance(element.x, np.int64)


def test_sampling_keeps_the_order_and_every_element_of_each_dataset():
    mixed = ints(sample(tens(tfy, 7, 3, 9), weights=[0.5, 0.2, 0.3], seed=5))
    for at, length in enumerate((7, 3, 9)):
        assert [x for x in mixed if x // 10 == at] == list(range(10 * at, 10 * at + length))
    assert len(mixed) == 19


def test_the_order_of_a_seed_is_pinned():
    assert ints(sample(tens(tfy, 5, 5), seed=7)) == PINNED_ALIKE
    assert ints(sample(tens(tfy, 5, 5, 5), weights=[0.6, 0.3, 0.1], seed=3)) == PINNED_WEIGHTED
    assert ints(sample(tens(tfy, 5, 5), seed=2**64 - 1)) == PINNED_GREATEST
    assert ints(tfy.Dataset.random(seed=1).take(4)) == PINNED_RANDOM


PINNED_ALIKE = [10, 11, 12, 0, 13, 14, 1, 2, 3, 4]
PINNED_WEIGHTED = [0, 1, 2, 20, 10, 21, 3, 11, 12, 4, 22, 13, 14, 23, 24]
PINNED_GREATEST = [10, 11, 0, 12, 13, 14, 1, 2, 3, 4]
PINNED_RANDOM = [24176110, 710746706, 826489242, 585225468]


def test_proportions_are_those_of_the_weights():
    endless = [tfy.Dataset.from_tensors(at).repeat() for at in range(4)]
    mixed = sample(endless, weights=np.array([6, 0, 3, 1], np.float32), seed=1).take(10_000)
    counts = np.bincount(ints(mixed), minlength=4)
    assert counts[1] == 0
    assert np.all(np.abs(counts - [6000, 0, 3000, 1000]) < 200)  # four standard deviations


@pytest.mark.parametrize(
    "weights", [[1, 2], (0.5, 1), np.array([0.25, 0.5]), tf.constant([3.0, 6.0])]
)
def test_weights_are_numbers_of_any_kind(weights):
    assert ints(sample(tens(tfy, 9, 9), weights=weights, seed=3)) == ints(
        sample(tens(tfy, 9, 9), weights=[1.0, 2.0], seed=3)
    )


def test_an_ended_dataset_is_dropped_or_ends_the_mix():
    everything = ints(sample(tens(tfy, 2, 9), seed=3))
    until = ints(sample(tens(tfy, 2, 9), seed=3, stop_on_empty_dataset=True))
    assert sorted(everything) == [0, 1, *range(10, 19)]
    assert until == everything[: len(until)]
    assert 1 in until
    assert len(until) < len(everything)


@pytest.mark.parametrize("stop", [False, True])
def test_cardinalities_equal_tf_data(stop):
    def cardinalities(library) -> list:
        finite, endless = library.Dataset.range(3), library.Dataset.range(3).repeat()
        mixes = [
            [finite],
            [endless],
            [finite, finite],
            [endless, endless],
            *([[finite, endless]] if not stop else []),
        ]
        return [
            int(
                library.Dataset.sample_from_datasets(mix, stop_on_empty_dataset=stop)
                .cardinality()
                .numpy()
            )
            for mix in mixes
        ] + [
            int(
                library.Dataset.sample_from_datasets([finite, endless], [1.0, 0.0])
                .cardinality()
                .numpy()
            )
        ]

    assert cardinalities(tfy) == cardinalities(tf.data)


def test_a_mix_that_stops_is_not_infinite():
    mixed = sample(
        [tfy.Dataset.range(3), tfy.Dataset.range(3).repeat()], stop_on_empty_dataset=True
    )
    assert mixed.cardinality() == -2
    with pytest.raises(TypeError, match="only iterating tells"):
        len(mixed)


def test_iterations_draw_alike_unless_told_otherwise():
    for seed in (None, 3):
        alike, anew = (
            sample(tens(tfy, 9, 9), seed=seed, rerandomize_each_iteration=each)
            for each in (None, True)
        )
        assert ints(alike) == ints(alike)
        assert ints(anew) != ints(anew)
        alike, anew = (tfy.Dataset.random(seed, each).take(9) for each in (False, True))
        assert ints(alike) == ints(alike)
        assert ints(anew) != ints(anew)


def test_shuffles_inside_a_mix_advance_to_their_next_epoch():
    mixed = sample([tfy.Dataset.range(9).shuffle(seed=1), tfy.Dataset.range(10, 19)], seed=1)
    first, second = ints(mixed), ints(mixed)
    assert first != second
    assert [x // 10 for x in first] == [x // 10 for x in second]


@pytest.mark.parametrize("seed", [None, 11])
def test_a_mix_resumes_at_every_position_with_a_drawn_seed_too(seed):
    datasets = [
        tfy.Dataset.range(6).shuffle(seed=1),
        tfy.Dataset.range(10, 15).filter(is_even),
        tfy.Dataset.range(20, 23).repeat(2),
    ]
    assert_resumes_everywhere(sample(datasets, [0.5, 0.25, 0.25], seed), 15)
    assert_resumes_everywhere(sample(datasets, seed=seed, stop_on_empty_dataset=True).batch(2), 4)
    turns = tfy.Dataset.random(seed).take(30).map(modulo_3)
    assert_resumes_everywhere(choose(datasets, turns, stop_on_empty_dataset=False), 12)


def is_even(x):
    return x % 2 == 0


def modulo_3(x):
    return x % 3


def test_a_state_of_another_mix_is_refused():
    state = iter(sample(tens(tfy, 5, 5), [0.5, 0.5], seed=1)).state_dict()
    for other in (
        sample(tens(tfy, 5, 5), [0.4, 0.6], seed=1),
        sample(tens(tfy, 5, 5), [0.5, 0.5], seed=2),
        sample(tens(tfy, 5, 6), [0.5, 0.5], seed=1),
    ):
        with pytest.raises(errors.InvalidArgumentError, match="plan"):
            iter(other).load_state_dict(state)


def test_random_numbers_are_int64_below_2_to_the_32_without_end():
    ours, theirs = tfy.Dataset.random(seed=4), tf.data.Dataset.random(seed=4)
    assert ours.element_spec == theirs.element_spec
    assert ours.cardinality() == theirs.cardinality().numpy() == -1
    numbers = np.array(ints(ours.take(4000)))
    assert numbers.min() >= 0
    assert numbers.max() < 2**32
    assert abs(numbers.mean() / 2**31 - 1) < 4 * 0.0092  # standard deviations of a uniform mean
    assert [x.tolist() for x in ours.batch(7).take(2).as_numpy_iterator()] == [
        numbers[:7].tolist(),
        numbers[7:14].tolist(),
    ]
    assert_resumes_everywhere(tfy.Dataset.random().batch(3), 5)


def test_a_bad_choice_is_an_error_at_its_element():
    turns = tfy.Dataset.from_tensor_slices(np.array([0, 2, -1, 1]))
    iterator = iter(choose(tens(tfy, 3, 3), turns).with_format("numpy"))
    assert next(iterator) == 0
    with pytest.raises(
        errors.InvalidArgumentError, match="element 1: choice_dataset names dataset 2 of 2"
    ):
        next(iterator)
    with pytest.raises(
        errors.InvalidArgumentError, match="element 2: choice_dataset names dataset -1 of 2"
    ):
        next(iterator)
    assert next(iterator) == 10


def built_by(library) -> list:
    """Arguments that both tf.data and tensorferry refuse."""
    range, from_tensors = library.Dataset.range, library.Dataset.from_tensors
    sampled, chosen = library.Dataset.sample_from_datasets, library.Dataset.choose_from_datasets
    return [
        lambda: sampled([]),
        lambda: chosen([], range(3)),
        lambda: sampled([range(3), range(3)], [1.0]),
        lambda: sampled([range(3), range(3)], [[1.0, 2.0]]),
        lambda: sampled([range(3), from_tensors(1.0)]),
        lambda: sampled([range(3), from_tensors((np.int64(1),))]),
        lambda: chosen([range(3), from_tensors(1.0)], range(2)),
        lambda: chosen([range(3)], range(3, output_type=tf.int32)),
        lambda: chosen([range(3)], range(3).batch(2)),
        lambda: chosen([range(3)], from_tensors((np.int64(0),))),
        lambda: chosen([range(3)], [0, 1]),
    ]


@pytest.mark.parametrize(
    ("ours", "theirs"), list(zip(built_by(tfy), built_by(tf.data), strict=True))
)
def test_arguments_refused_by_tf_data_are_the_same_kind_of_error(ours, theirs):
    with pytest.raises((TypeError, ValueError)) as expected:
        theirs()
    with pytest.raises(expected.type):
        ours()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (tfy.Dataset.range(3),),
            errors.InvalidTypeError,
            "datasets has to be a list of datasets, not a Dataset",
        ),
        (
            ([tfy.Dataset.range(3), 5],),
            errors.InvalidTypeError,
            r"datasets\[1\] has to be a tensorferry.Dataset, not a builtins.int",
        ),
        (
            ([tfy.Dataset.range(3)] * 2, [1.0, -1.0]),
            errors.InvalidArgumentError,
            "finite and not negative",
        ),
        (
            ([tfy.Dataset.range(3)] * 2, [1.0, np.nan]),
            errors.InvalidArgumentError,
            "finite and not negative",
        ),
        (
            ([tfy.Dataset.range(3)] * 2, "ab"),
            errors.InvalidArgumentError,
            "weights has to be a list of numbers",
        ),
        (
            ([tfy.Dataset.range(3)] * 2, tfy.Dataset.range(3)),
            errors.InvalidTypeError,
            "choose_from_datasets",
        ),
        (
            ([tfy.Dataset.range(3)] * 2, tf.data.Dataset.range(3)),
            errors.InvalidTypeError,
            "choose_from_datasets",
        ),
        (
            ([tfy.Dataset.range(3)] * 2, None, 1.5),
            errors.InvalidTypeError,
            "seed has to be a whole number",
        ),
    ],
)
def test_arguments_that_only_tensorferry_refuses_name_the_way_out(arguments, error, message):
    with pytest.raises(error, match=message):
        sample(*arguments)


def test_a_mix_inside_tf_data():
    mixed = sample(tens(tfy, 5, 5), seed=7)
    assert [int(x) for x in mixed.to_tf_data()] == ints(mixed)
    numbers = tfy.Dataset.random(seed=7).take(3)
    assert [int(x) for x in numbers.to_tf_data()] == ints(numbers)
