"""Each method against the real tf.data, where tf.data defines the result."""

from __future__ import annotations

import json
import pickle
from collections import namedtuple

import numpy as np
import pytest
import tensorferry as tfy

from tests.support.arrays import freeze
from tests.support.dataset_checks import Theirs

Pair = namedtuple("Pair", "a b")

IMAGES = freeze(np.arange(30, dtype=np.int32).reshape(10, 3))
LABELS = np.arange(10, dtype=np.int64)


def flat(tf, dataset) -> list:
    return [[leaf.numpy().tolist() for leaf in tf.nest.flatten(element)] for element in dataset]


def slices(library):
    return library.Dataset.from_tensor_slices({"image": IMAGES, "label": LABELS})


def windows(dataset):
    return [[x.numpy().tolist() for x in window] for window in dataset]


PIPELINES = {
    "batch": lambda d: slices(d).batch(3),
    "batch, drop_remainder": lambda d: slices(d).batch(3, drop_remainder=True),
    "batch of batches": lambda d: slices(d).batch(2).batch(3, True),
    "take and skip": lambda d: slices(d).skip(2).take(5).batch(2),
    "take(-1), skip(-1)": lambda d: slices(d).take(-1).concatenate(slices(d).skip(-1)),
    "repeat": lambda d: slices(d).repeat(2).batch(4),
    "repeat(0)": lambda d: slices(d).repeat(0),
    "endless": lambda d: slices(d).repeat().batch(4).take(7),
    "shard": lambda d: slices(d).shard(3, 1),
    "enumerate": lambda d: slices(d).enumerate(5),
    "zip": lambda d: d.Dataset.zip((slices(d), d.Dataset.range(4))),
    "zip of two": lambda d: d.Dataset.zip(d.Dataset.range(3), d.Dataset.range(10, 0, -3)),
    "concatenate": lambda d: d.Dataset.range(3).concatenate(d.Dataset.range(2)).batch(4),
    "from_tensors": lambda d: d.Dataset.from_tensors((IMAGES, {"x": LABELS})),
    "a list is one tensor": lambda d: d.Dataset.from_tensor_slices([[1, 2], [3, 4]]),
    "namedtuple": lambda d: d.Dataset.from_tensor_slices(Pair(IMAGES, LABELS)).batch(3),
    "map": lambda d: d.Dataset.range(5).map(lambda x: (x * 2, {"y": x + 1})).batch(2),
    "map of a tuple": lambda d: d.Dataset.from_tensor_slices((IMAGES, LABELS)).map(
        lambda image, label: image[0]
    ),
    "map to a list": lambda d: d.Dataset.range(3).map(
        lambda x: [x, [x, x + 1], (x, [[x, x], [x, x]])]
    ),
    "filter": lambda d: d.Dataset.range(10).filter(lambda x: x % 3 == 0).batch(2),
    "take_while": lambda d: d.Dataset.range(10).take_while(lambda x: x < 4),
    "unique": lambda d: d.Dataset.from_tensor_slices([1, 2, 1, 3, 2]).unique(),
    "cache": lambda d: slices(d).cache().prefetch(2),
    "prefetch": lambda d: slices(d).batch(2).prefetch(2),
    "range": lambda d: d.Dataset.range(2, 11, 4, output_type="int32"),
}


@pytest.mark.parametrize("name", [name for name in PIPELINES if name != "range"])
def test_values_structures_specs_and_cardinality_equal_tf_data(tf, name) -> None:
    ours, theirs = PIPELINES[name](tfy), PIPELINES[name](Theirs(tf))
    assert flat(tf, ours) == flat(tf, theirs)
    assert ours.cardinality() == theirs.cardinality().numpy() == ours.cardinality().numpy()
    assert tf.nest.map_structure(str, ours.element_spec) == tf.nest.map_structure(
        str, theirs.element_spec
    )
    for mine, other in zip(ours, theirs, strict=True):
        tf.nest.assert_same_structure(mine, other)
        for a, b in zip(tf.nest.flatten(mine), tf.nest.flatten(other), strict=True):
            assert isinstance(a, tf.Tensor)
            assert a.dtype == b.dtype
    if theirs.cardinality().numpy() < 0:
        with pytest.raises(TypeError):
            len(ours)
    else:
        assert len(ours) == len(theirs)


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_to_tf_data_yields_the_same_elements(tf, name) -> None:
    ours = PIPELINES[name](tfy)
    real = ours.to_tf_data()
    assert isinstance(real, tf.data.Dataset)
    assert real.element_spec == ours.element_spec
    assert real.cardinality().numpy() == ours.cardinality()
    for _ in range(2):
        assert flat(tf, real) == flat(tf, ours)


def test_windows_are_datasets_of_each_component(tf) -> None:
    def make(d):
        return d.Dataset.range(7).window(3, shift=2)

    assert windows(make(tfy)) == windows(make(Theirs(tf))) == [[0, 1, 2], [2, 3, 4], [4, 5, 6], [6]]
    first = next(iter(slices(tfy).window(2)))
    assert [image.numpy().tolist() for image in first["image"]] == IMAGES[:2].tolist()
    with pytest.raises(ValueError, match="flat_map"):
        make(tfy).to_tf_data()


def test_a_list_in_a_result_is_one_tensor_and_the_outermost_a_tuple(tf) -> None:
    def lists(x):
        return [x, {"a": [x, x + 1]}, [[1.5, 2], [3, 4]]]

    theirs = list(tf.data.Dataset.range(3).map(lists))
    for dataset in (tfy.Dataset.range(3), tfy.Dataset.range(3).with_format("numpy")):
        ours = list(dataset.map(lists))
        tf.nest.assert_same_structure(ours, theirs)
        for a, b in zip(tf.nest.flatten(ours), tf.nest.flatten(theirs), strict=True):
            assert (np.asarray(a).dtype, np.asarray(a).tolist()) == (
                b.numpy().dtype,
                b.numpy().tolist(),
            )
    # Numbers beside arrays take their dtype; mixed dtypes or shapes are refused.
    (mixed,) = (
        tfy.Dataset.range(1)
        .with_format("numpy")
        .map(lambda x: (np.float32(x), [np.float32(1), 0.1]))
    )
    assert mixed[1].dtype == np.float32

    def other_dtypes(x):
        return x, [x, tf.cast(x, tf.float32)]

    def other_shapes(x):
        return x, [x, [x, x]]

    for wrong, kind in ((other_dtypes, TypeError), (other_shapes, ValueError)):
        with pytest.raises(kind):
            tf.data.Dataset.range(1).map(wrong)
        for format in ("tensorflow", "numpy"):
            with pytest.raises(kind, match="map: a list in what the function returned"):
                tfy.Dataset.range(1).with_format(format).map(wrong)
    assert tf.data.Dataset.range(2).reduce([0, 1], lambda state, x: state + 1).numpy().tolist() == [
        2,
        3,
    ]
    assert tfy.Dataset.range(2).reduce([0, 1], lambda state, x: state + 1).numpy().tolist() == [
        2,
        3,
    ]


def test_scan_and_reduce(tf) -> None:
    def make(d):
        return d.Dataset.range(5).scan(np.int64(0), lambda state, x: (state + x, state * x))

    assert flat(tf, make(tfy)) == flat(tf, make(Theirs(tf)))
    assert int(tfy.Dataset.range(5).reduce(np.int64(0), lambda state, x: state + x)) == 10


@pytest.mark.parametrize(
    "build",
    [
        lambda: tfy.Dataset.range(3).batch(0),
        lambda: tfy.Dataset.range(3).shard(3, 3),
        lambda: tfy.Dataset.range(3).window(0),
        lambda: tfy.Dataset.range(3).shuffle(0),
        lambda: tfy.Dataset.range(3).repeat().shuffle(),
        lambda: tfy.Dataset.from_tensor_slices((IMAGES, LABELS[:3])),
        lambda: tfy.Dataset.from_tensor_slices(np.int32(1)),
        lambda: tfy.Dataset.from_tensor_slices(np.array(["2020"], "M8[D]")),
    ],
)
def test_impossible_arguments_are_refused_when_the_dataset_is_made(build) -> None:
    with pytest.raises(ValueError, match=r"\w+: "):
        build()


def test_concatenating_other_dtypes_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="concatenate"):
        tfy.Dataset.range(3).concatenate(tfy.Dataset.from_tensor_slices([1.5]))


def numbers(dataset) -> list[int]:
    return [int(x) for x in dataset.with_format("numpy")]


@pytest.mark.parametrize("n", [1, 2, 10, 4096, 4097, 65_537, 262_145])
def test_a_shuffle_visits_every_element_once(n) -> None:
    seen = np.concatenate(
        list(tfy.Dataset.range(n).shuffle(seed=7).batch(1000).as_numpy_iterator())
    )
    assert np.array_equal(np.sort(seen), np.arange(n))


def test_every_iteration_is_another_epoch() -> None:
    dataset = tfy.Dataset.range(100).shuffle(seed=7).with_format("numpy")
    first, second = ([int(x) for x in dataset] for _ in range(2))
    assert first != second
    assert numbers(tfy.Dataset.range(100).shuffle(seed=7).repeat(2)) == first + second
    fixed = (
        tfy.Dataset.range(100).shuffle(seed=7, reshuffle_each_iteration=False).with_format("numpy")
    )
    assert [int(x) for x in fixed] == [int(x) for x in fixed] == first


def test_to_tf_data_reshuffles_each_pass_like_iteration(tf) -> None:
    def make():
        return tfy.Dataset.range(100).shuffle(seed=7)

    real, ours = make().to_tf_data(), make().with_format("numpy")
    for _ in range(3):
        assert [int(x) for x in real] == [int(x) for x in ours]


PLANS = {
    "shuffled batches": lambda: tfy.Dataset.range(20).shuffle(seed=3).batch(3).prefetch(2),
    "repeated": lambda: tfy.Dataset.range(5).shuffle(seed=3).repeat(3),
    "filtered": lambda: tfy.Dataset.range(20).filter(lambda x: x % 3 == 0).batch(2),
    "mapped": lambda: tfy.Dataset.range(8).map(lambda x: x * 2).batch(3),
    "buffered": lambda: tfy.Dataset.range(20).filter(lambda x: x % 2 == 0).shuffle(4, seed=1),
}


@pytest.mark.parametrize("name", sorted(PLANS))
def test_a_state_of_every_position_resumes_exactly(name) -> None:
    dataset = PLANS[name]().with_format("numpy")
    whole = [x.tolist() for x in iter(PLANS[name]().with_format("numpy"))]
    for position in range(len(whole) + 1):
        iterator = iter(PLANS[name]().with_format("numpy"))
        assert [next(iterator).tolist() for _ in range(position)] == whole[:position]
        state = json.loads(json.dumps(iterator.state_dict()))
        assert len(pickle.dumps(state)) < 1024
        resumed = iter(dataset)
        resumed.load_state_dict(state)
        assert [x.tolist() for x in resumed] == whole[position:]


def test_an_unseeded_shuffle_resumes_with_its_drawn_seed() -> None:
    def make():
        return tfy.Dataset.range(50).shuffle().with_format("numpy")

    iterator = iter(make())
    head = [int(next(iterator)) for _ in range(20)]
    other = iter(make())
    other.load_state_dict(iterator.state_dict())
    assert sorted(head + [int(x) for x in other]) == list(range(50))


def test_a_run_resumes_with_another_number_of_shards() -> None:
    def shard(count, index):
        return (
            tfy.Dataset.range(40).shuffle(seed=5).shard(count, index).batch(2).with_format("numpy")
        )

    seen = []
    for index in range(4):
        iterator = iter(shard(4, index))
        seen += [x for _ in range(2) for x in next(iterator).tolist()]
        state = iterator.state_dict()
    for index in range(3):
        iterator = iter(shard(3, index))
        iterator.load_state_dict(state)
        seen += [x for batch in iterator for x in batch.tolist()]
    assert sorted(seen) == list(range(40))


def test_a_state_of_another_plan_is_refused_with_the_difference() -> None:
    state = iter(tfy.Dataset.range(10).batch(3).take(2)).state_dict()
    with pytest.raises(ValueError, match=r"batch\(3\).*batch\(4\)"):
        iter(tfy.Dataset.range(10).batch(4).take(2)).load_state_dict(state)


def test_writing_to_a_source_does_not_change_earlier_batches() -> None:
    array = np.arange(6)
    iterator = iter(tfy.Dataset.from_tensor_slices(array).batch(3).with_format("numpy"))
    first = next(iterator)
    array += 100
    assert first.tolist() == [0, 1, 2]
    assert next(iterator).tolist() == [103, 104, 105]


def test_a_frozen_source_is_shared() -> None:
    array = tfy.empty((64, 16), np.int32)
    array[:] = 1
    freeze(array)
    batch = next(iter(tfy.Dataset.from_tensor_slices(array).batch(32).with_format("numpy")))
    assert np.shares_memory(batch, array)


def test_a_value_that_does_not_fit_is_an_error_at_its_element_and_iteration_continues() -> None:
    iterator = iter(
        tfy.Dataset.from_tensor_slices(np.array([1, 300, 2])).cast("uint8").with_format("numpy")
    )
    assert int(next(iterator)) == 1
    with pytest.raises(OverflowError, match="cast: element 1: int64 -> uint8"):
        next(iterator)
    assert int(next(iterator)) == 2


def test_an_exception_of_a_function_keeps_its_class_and_iteration_continues() -> None:
    def fragile(x):
        if x == 1:
            raise KeyError("one")
        return x

    spec = tfy.TensorSpec((), "int64")
    iterator = iter(tfy.Dataset.range(3).with_format("numpy").map(fragile, output_signature=spec))
    assert int(next(iterator)) == 0
    with pytest.raises(KeyError, match="one"):
        next(iterator)
    assert int(next(iterator)) == 2


def test_generated_values_are_checked_not_wrapped() -> None:
    dataset = tfy.Dataset.from_generator(
        lambda: iter([1, 300]), output_signature=tfy.TensorSpec((), "uint8")
    ).with_format("numpy")
    iterator = iter(dataset)
    assert int(next(iterator)) == 1
    with pytest.raises(OverflowError):
        next(iterator)


def test_native_maps() -> None:
    dataset = tfy.Dataset.from_tensor_slices((np.arange(4), np.arange(4))).cast(("uint8", None))
    assert [str(spec.dtype) for spec in dataset.with_format("numpy").element_spec] == [
        "uint8",
        "int64",
    ]
    scaled = tfy.Dataset.range(4).scale(0.5, 1).batch(4).with_format("numpy")
    assert next(iter(scaled)).tolist() == [1.0, 1.5, 2.0, 2.5]
    assert next(iter(tfy.Dataset.range(2).one_hot(3).batch(2).with_format("numpy"))).tolist() == [
        [1, 0, 0],
        [0, 1, 0],
    ]
    assert next(
        iter(tfy.Dataset.range(2).lookup([[7, 8], [9, 10]]).batch(2).with_format("numpy"))
    ).tolist() == [[7, 8], [9, 10]]


def test_datasets_are_pickled_as_plans() -> None:
    dataset = tfy.Dataset.from_tensor_slices(np.arange(9)).shuffle(seed=3).batch(2)
    again = pickle.loads(pickle.dumps(dataset))
    assert [x.tolist() for x in again.as_numpy_iterator()] == [
        x.tolist() for x in dataset.as_numpy_iterator()
    ]


@pytest.mark.jax
def test_formats(tf, jax) -> None:
    dataset = tfy.Dataset.from_tensor_slices(np.arange(4, dtype=np.int32)).batch(4)
    assert isinstance(next(iter(dataset)), tf.Tensor)
    assert isinstance(next(iter(dataset.with_format("jax"))), jax.Array)
    assert isinstance(next(iter(dataset.with_format("tensorferry"))), tfy.Tensor)
    with pytest.raises(ValueError, match="with_format"):
        dataset.with_format("mxnet")
