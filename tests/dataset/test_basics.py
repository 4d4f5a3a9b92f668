"""Structures, formats, sources and states of datasets, against tf.data where it defines them."""

from __future__ import annotations

import collections
import copy
import gc
import json
import pickle
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from tensorferry import errors

from tests.support.arrays import NAMES, np_dtype
from tests.support.dataset_checks import plain

Point = collections.namedtuple("Point", ["x", "y"])


STRUCTURES = {
    "array": np.arange(6).reshape(3, 2),
    "list": [[1, 2], [3, 4], [5, 6]],
    "floats": [1.0, 2.0, 3.0],
    "tuple": (np.arange(3), np.arange(3.0)),
    "dict": {"b": np.arange(3), "a": np.arange(3.0)},
    "namedtuple": Point(np.arange(3), {"z": np.arange(3, dtype=np.uint8), "c": [1.5, 2.5, 3.5]}),
    "nested": (np.arange(3), (np.arange(3), {"k": np.arange(3)})),
    "none": (np.arange(3), None),
    "ordered": collections.OrderedDict([("z", np.arange(3)), ("a", np.arange(3.0))]),
}


@pytest.mark.parametrize("value", STRUCTURES.values(), ids=STRUCTURES)
def test_structures_dtypes_and_specs_equal_tf_data(value):
    ours, theirs = tfy.Dataset.from_tensor_slices(value), tf.data.Dataset.from_tensor_slices(value)
    assert ours.element_spec == theirs.element_spec
    assert len(ours) == len(theirs)
    for a, b in zip(ours.batch(2), theirs.batch(2), strict=True):
        tf.nest.assert_same_structure(a, b)
        assert repr(a) == repr(b)
        assert all(isinstance(leaf, tf.Tensor) for leaf in tf.nest.flatten(a) if leaf is not None)


@pytest.mark.parametrize("value", STRUCTURES.values(), ids=STRUCTURES)
def test_from_tensors_is_one_element(value):
    ours, theirs = tfy.Dataset.from_tensors(value), tf.data.Dataset.from_tensors(value)
    assert ours.element_spec == theirs.element_spec
    assert [repr(element) for element in ours] == [repr(element) for element in theirs]


def test_elements_have_the_requested_format():
    dataset = tfy.Dataset.from_tensor_slices({"a": np.arange(4, dtype=np.int32)}).batch(4)
    kinds = {"numpy": np.ndarray, "tensorferry": tfy.Tensor, "tensorflow": tf.Tensor}
    for format, kind in kinds.items():
        (element,) = dataset.with_format(format)
        assert isinstance(element["a"], kind)
        np.testing.assert_array_equal(np.asarray(element["a"]), np.arange(4))
    with pytest.raises(errors.InvalidArgumentError, match="torch"):
        dataset.with_format("keras")


@pytest.mark.torch
def test_only_torch_tensors_are_writable_and_they_are_copies():
    torch = pytest.importorskip("torch")
    array = np.arange(4, dtype=np.int32)
    array.flags.writeable = False
    (element,) = tfy.Dataset.from_tensor_slices(array).batch(4).with_format("torch")
    assert isinstance(element, torch.Tensor)
    element += 1
    np.testing.assert_array_equal(array, np.arange(4))


@pytest.mark.jax
def test_jax_arrays():
    jax = pytest.importorskip("jax")
    (element,) = (
        tfy.Dataset.from_tensor_slices(np.arange(4, dtype=np.int32)).batch(4).with_format("jax")
    )
    assert isinstance(element, jax.Array)


@pytest.mark.jax
@pytest.mark.parametrize("x64", [False, True])
def test_element_spec_in_jax_matches_the_elements(x64):
    jax = pytest.importorskip("jax")
    arrays = {name: np.ones((3, 2), np_dtype(name)) for name in NAMES}
    jax.config.update("jax_enable_x64", x64)
    try:
        dataset = tfy.Dataset.from_tensor_slices(arrays).with_format("jax")
        (batch,) = dataset.batch(3)
        for name, spec in dataset.batch(3).element_spec.items():
            assert (spec.dtype, spec.shape) == (batch[name].dtype, (None, 2))
        assert (dataset.element_spec["int64"].dtype == np.int64) is x64
        assert repr(dataset.element_spec) in repr(dataset)
        (window,) = dataset.window(3)
        assert dataset.window(3).element_spec == {
            name: tfy.DatasetSpec(part.element_spec) for name, part in window.items()
        }
        mapped = dataset.map(lambda element: element)
        for name, array in next(iter(mapped)).items():
            assert (
                array.dtype == mapped.element_spec[name].dtype == dataset.element_spec[name].dtype
            )
    finally:
        jax.config.update("jax_enable_x64", False)


def test_element_spec_outside_tensorflow_is_that_of_tensorferry():
    dataset = (
        tfy.Dataset.from_tensor_slices((np.zeros((4, 2), np.float32), np.arange(4)))
        .batch(3)
        .with_format("numpy")
    )
    assert dataset.element_spec == (
        tfy.TensorSpec((None, 2), "float32"),
        tfy.TensorSpec((None,), np.int64),
    )
    spec = tfy.TensorSpec((None, 2), "float32")
    assert spec.dtype == np.float32
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert len({spec, tfy.TensorSpec([None, 2], np.float32)}) == 1
    with pytest.raises(AttributeError):
        spec.shape = ()


def test_a_returned_batch_never_changes():
    array = np.arange(4)
    iterator = iter(tfy.Dataset.from_tensor_slices(array).batch(2).with_format("numpy"))
    first = next(iterator)
    array[:] = -1
    assert first.tolist() == [0, 1]
    assert next(iterator).tolist() == [-1, -1]  # the source is shared, not copied


def test_rows_of_a_read_only_array_are_shared():
    array = tfy.empty((64, 16), "int32")
    array[...] = 7
    array.flags.writeable = False
    (batch,) = tfy.Dataset.from_tensor_slices(array).batch(64).with_format("numpy")
    assert np.shares_memory(batch, array)
    assert not batch.flags.writeable


@pytest.mark.parametrize(
    "value",
    [tf.range(3), np.arange(3)[::-1], np.arange(3).astype(">i4"), range(3), tfy.tensor([1, 2, 3])],
)
def test_sources_of_every_kind(value):
    expected = np.asarray(value)
    assert plain(tfy.Dataset.from_tensor_slices(value)) == expected.tolist()


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.array([None, 1]), errors.InvalidArgumentError),
        (np.array(["2020"], "M8[D]"), errors.InvalidArgumentError),
        (np.ma.masked_array([1, 2], [True, False]), errors.InvalidTypeError),
        (3, errors.InvalidArgumentError),
        ((np.arange(3), np.arange(4)), errors.InvalidArgumentError),
        ((), errors.InvalidArgumentError),
        ([[1, 2], [3]], errors.InvalidArgumentError),
    ],
)
def test_values_without_numbers_are_refused_when_the_pipeline_is_built(value, kind):
    with pytest.raises(kind):
        tfy.Dataset.from_tensor_slices(value)


def test_cardinality_len_and_truth():
    dataset = tfy.Dataset.range(10)
    assert len(dataset) == 10
    assert dataset.cardinality() == 10
    assert dataset.cardinality().numpy() == 10
    endless, unknown = dataset.repeat(), dataset.with_format("numpy").filter(lambda x: x > 3)
    assert (endless.cardinality(), unknown.cardinality()) == (
        tf.data.INFINITE_CARDINALITY,
        tf.data.UNKNOWN_CARDINALITY,
    )
    for one in (endless, unknown):
        assert one
        with pytest.raises(TypeError, match="len"):
            len(one)


def test_stages_of_index_arithmetic_agree_with_tf_data():
    def pipelines(dataset):
        base = dataset.range(10)
        yield base.skip(2).take(5).repeat(2)
        yield base.shard(3, 1).enumerate(start=5)
        yield base.concatenate(dataset.range(3)).batch(4, drop_remainder=True)
        yield dataset.zip((base, {"x": base.skip(3)}))
        yield dataset.zip(base, base.take(2))
        yield base.take(-1).skip(-1)
        yield base.repeat(0)
        yield dataset.range(2, 9, 3, output_type=tf.int32).prefetch(2)
        yield dataset.range(9, 2, -3).take(np.int64(2)).take(tf.constant(2, tf.int64))

    for ours, theirs in zip(pipelines(tfy.Dataset), pipelines(tf.data.Dataset), strict=True):
        assert ours.element_spec == theirs.element_spec
        assert ours.cardinality() == theirs.cardinality().numpy()
        assert [repr(element) for element in ours] == [repr(element) for element in theirs]


@pytest.mark.parametrize(
    "build",
    [
        lambda dataset: dataset.batch(0),
        lambda dataset: dataset.batch(-1),
        lambda dataset: dataset.shard(3, 3),
        lambda dataset: dataset.shard(0, 0),
        lambda dataset: dataset.shard(3, -1),
        lambda dataset: dataset.prefetch(-2),
        lambda dataset: dataset.batch("2"),
        lambda dataset: dataset.batch(2.5),
        lambda dataset: dataset.batch(True),
        lambda dataset: dataset.concatenate(dataset.enumerate()),
        lambda dataset: dataset.concatenate([1]),
        lambda dataset: dataset.filter(3),
        lambda dataset: dataset.zip([dataset]),
        lambda dataset: dataset.apply(lambda _: 3),
        lambda dataset: type(dataset)(),
    ],
)
def test_wrong_arguments_are_refused_when_the_pipeline_is_built(build):
    with pytest.raises((ValueError, TypeError)):
        build(tfy.Dataset.range(10))


def test_filter_and_take_while():
    ours, theirs = tfy.Dataset.range(10), tf.data.Dataset.range(10)
    for stage in ("filter", "take_while"):
        expected = [repr(x) for x in getattr(theirs, stage)(lambda x: x % 5 < 3)]
        assert [repr(x) for x in getattr(ours, stage)(lambda x: x % 5 < 3)] == expected
    pairs = tfy.Dataset.zip(ours, ours).with_format("numpy")
    assert len(list(pairs.filter(lambda a, b: a == b))) == 10  # a tuple is unpacked into arguments
    with pytest.raises(errors.InvalidArgumentError, match="one bool"):
        list(ours.with_format("numpy").filter(lambda x: x))


def test_an_exception_surfaces_at_its_element_and_iteration_continues():
    class Wrong(Exception):
        pass

    raised = Wrong("three")

    def predicate(x):
        if x == 3:
            raise raised
        return True

    iterator = iter(tfy.Dataset.range(6).with_format("numpy").filter(predicate))
    assert [int(next(iterator)) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Wrong) as caught:
        next(iterator)
    assert caught.value is raised
    assert caught.value.__notes__ == ["in filter, at its element 3"]
    assert [int(x) for x in iterator] == [4, 5]


def test_a_stop_iteration_of_a_function_does_not_end_the_iteration():
    def predicate(x):
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(tfy.Dataset.range(3).with_format("numpy").filter(predicate))


def test_a_generator_is_checked_not_wrapped():
    def numbers():
        yield 1
        yield 300
        yield 2

    spec = tfy.TensorSpec((), "uint8")
    iterator = iter(tfy.Dataset.from_generator(numbers, output_signature=spec).with_format("numpy"))
    assert next(iterator) == 1
    with pytest.raises(OverflowError, match="300"):
        next(iterator)


def test_from_generator_agrees_with_tf_data():
    def make(n):
        for i in range(n):
            yield {"a": i, "b": ([i, i + 1], np.float32(i))}

    signature = {
        "a": tf.TensorSpec((), tf.int64),
        "b": (tf.TensorSpec((2,), tf.int32), tf.TensorSpec((), tf.float32)),
    }
    ours, theirs = (
        d.from_generator(make, args=(3,), output_signature=signature)
        for d in (tfy.Dataset, tf.data.Dataset)
    )
    assert ours.element_spec == theirs.element_spec
    assert [repr(x) for x in ours] == [repr(x) for x in theirs]
    assert [repr(x) for x in ours] == [repr(x) for x in theirs]  # a new generator for each pass
    old = tfy.Dataset.from_generator(lambda: iter([1, 2]), output_types=tf.int64, output_shapes=())
    assert old.element_spec == tf.TensorSpec((), tf.int64)
    assert plain(old) == [1, 2]


def test_scan_and_reduce_agree_with_tf_data():
    def total(state, x):
        return state + x, state * x

    results = []
    for dataset in (tfy.Dataset, tf.data.Dataset):
        numbers = dataset.range(5)
        scanned = numbers.scan(np.int64(1), total)
        results.append(
            (
                [repr(x) for x in scanned],
                repr(numbers.reduce(np.int64(0), lambda state, x: state + x)),
            )
        )
    assert results[0] == results[1]
    pair = tfy.Dataset.range(4).reduce(
        (np.int64(0), np.int64(1)), lambda state, x: (state[0] + x, state[1] * 2)
    )
    assert [int(x) for x in pair] == [6, 16]


def test_native_stages():
    dataset = tfy.Dataset.from_tensor_slices(
        {"x": np.array([[0, 255]], np.uint8), "y": np.array([2])}
    )
    spec = dataset.cast({"x": tf.float32}).with_format("numpy").element_spec
    assert spec == {"x": tfy.TensorSpec((2,), "float32"), "y": tfy.TensorSpec((), "int64")}
    assert plain(dataset.cast("int32")) == [{"x": [0, 255], "y": 2}]
    assert plain(dataset.scale(2, 1, which={"x": True})) == [{"x": [1.0, 511.0], "y": 2}]
    assert plain(dataset.one_hot(3, which={"y": True})) == [{"x": [0, 255], "y": [0.0, 0.0, 1.0]}]
    assert plain(dataset.lookup(np.array([5, 6, 7]), which={"y": True})) == [
        {"x": [0, 255], "y": 7}
    ]
    with pytest.raises(OverflowError):
        list(dataset.cast("int8"))
    for wrong in ({"z": "int8"}, ("int8", "int8")):
        with pytest.raises(errors.InvalidArgumentError, match="nest"):
            dataset.cast(wrong)


def test_a_state_resumes_here_and_elsewhere():
    dataset = tfy.Dataset.range(10).batch(3)
    whole = [repr(x) for x in dataset]
    for position in range(len(whole) + 1):
        iterator = iter(dataset)
        for _ in range(position):
            next(iterator)
        state = json.loads(json.dumps(iterator.state_dict()))
        assert state["position"] == position
        resumed = iter(dataset)
        resumed.load_state_dict(state)
        assert [repr(x) for x in resumed] == whole[position:]
    with pytest.raises(errors.InvalidArgumentError, match=r"range\(0, 10"):
        iter(tfy.Dataset.range(11).batch(3)).load_state_dict(state)
    for damaged in (
        None,
        {},
        {**state, "data": "AAAA"},
        {**state, "data": "?"},
        {**state, "data": 3},
        {**state, "version": 9},
    ):
        with pytest.raises(errors.InvalidArgumentError):
            iter(dataset).load_state_dict(damaged)


def test_every_iteration_is_the_next_epoch():
    dataset = tfy.Dataset.range(3)
    assert [iter(dataset).state_dict()["epoch"] for _ in range(3)] == [0, 1, 2]
    state = iter(dataset).state_dict()
    fresh = tfy.Dataset.range(3)
    iter(fresh).load_state_dict(state)
    assert iter(fresh).state_dict()["epoch"] == 4


def keep_odd(x):
    return x % 2 == 1


def test_datasets_pickle_as_plans(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.arange(12).reshape(6, 2))
    mapped = np.load(path, mmap_mode="r")
    pipelines = [
        tfy.Dataset.from_tensor_slices({"a": np.arange(5)}).batch(2).skip(1).with_format("numpy"),
        tfy.Dataset.zip(tfy.Dataset.range(3), tfy.Dataset.range(4)).with_options(
            tfy.Options(threads=1)
        ),
        tfy.Dataset.range(6).with_format("numpy").filter(keep_odd),
        tfy.Dataset.from_npy(path).cast("int32"),
        tfy.Dataset.from_tensor_slices((mapped[2:], mapped[:4])),
    ]
    for dataset in pipelines:
        for again in (
            pickle.loads(pickle.dumps(dataset)),
            copy.copy(dataset),
            copy.deepcopy(dataset),
        ):
            assert again.element_spec == dataset.element_spec
            assert plain(again) == plain(dataset)
    huge = np.memmap(tmp_path / "huge", np.uint8, "w+", shape=1 << 20)
    huge.flush()
    assert (
        len(
            pickle.dumps(
                tfy.Dataset.from_tensor_slices(np.memmap(tmp_path / "huge", np.uint8, "r"))
            )
        )
        < 1000
    )
    with pytest.raises(errors.InvalidTypeError, match="filter"):
        pickle.dumps(pipelines[0].filter(lambda x: True))


def test_one_iterator_serves_several_threads():
    iterator = iter(tfy.Dataset.range(2000).with_format("numpy"))
    seen = [[] for _ in range(4)]
    threads = [
        threading.Thread(target=lambda mine: mine.extend(int(x) for x in iterator), args=(mine,))
        for mine in seen
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(x for mine in seen for x in mine) == list(range(2000))
    assert all(mine == sorted(mine) for mine in seen)


def test_a_function_that_uses_its_own_iterator_is_an_error():
    holder = []
    dataset = tfy.Dataset.range(3).with_format("numpy").filter(lambda x: next(holder[0]) is None)
    holder.append(iter(dataset))
    with pytest.raises(RuntimeError, match="uses the"):
        next(holder[0])


def test_a_dataset_releases_its_arrays():
    array = np.arange(3)
    gone = weakref.ref(array)
    dataset = tfy.Dataset.from_tensor_slices(array).batch(2)
    list(dataset)
    del array, dataset
    gc.collect()
    assert gone() is None


def test_the_names_and_defaults_of_tf_data_are_kept():
    import inspect

    for name in dir(tfy.Dataset):
        theirs = getattr(tf.data.Dataset, name, None)
        ours = getattr(tfy.Dataset, name)
        if (
            name.startswith("_")
            or theirs is None
            or not callable(ours)
            or name in ("range", "element_spec", "shuffle")
        ):  # shuffle needs no buffer_size
            continue
        expected = inspect.signature(theirs).parameters
        actual = inspect.signature(ours).parameters
        shared = {key: (p.default, p.kind) for key, p in actual.items() if key in expected}
        assert list(shared.items()) == [
            (key, (p.default, p.kind)) for key, p in expected.items()
        ], name


def test_without_tensorflow_the_error_names_the_way_out():
    program = """
import sys
sys.modules["tensorflow"] = None
import tensorferry as tfy
dataset = tfy.Dataset.range(3)
assert [int(x) for x in dataset.with_format("numpy")] == [0, 1, 2]
try:
    list(dataset)
except ImportError as error:
    assert 'with_format("numpy")' in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_importing_does_not_import_a_framework():
    program = (
        "import sys, tensorferry; assert not {'tensorflow', 'torch', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
