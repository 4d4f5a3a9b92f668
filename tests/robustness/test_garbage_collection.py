"""An object that holds a dataset over its own methods is collected; objects in use are not."""

import functools
import gc
import pickle
import threading
import time
import weakref

import numpy as np
import pytest
import tensorferry as tfy

Dataset = tfy.Dataset
NUMBERS = tfy.TensorSpec((), "int64")


@pytest.fixture(autouse=True)
def frozen():
    """Limits collections to the objects of a test, without those of the frameworks."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def numbers(n=6):
    return Dataset.range(n).with_format("numpy")


class Model:
    """Stages call its methods, so every dataset over one of them refers back to it."""

    def __init__(self):
        self.array = np.ones(1000)

    def same(self, *values):
        return values[0] if len(values) == 1 else values

    def true(self, x):
        return np.bool_(len(self.array) > 0)

    def trues(self, x):
        return np.full(len(x), self.true(x))

    def key(self, x):
        return np.int64(x % 2)

    def size(self, key):
        return np.int64(2 * bool(len(self.array)))

    def rows(self, x):
        return Dataset.range(2).with_format("numpy")

    def mapped_rows(self, x):
        return Dataset.range(2).with_format("numpy").map(self.same)

    def reduce(self, key, window):
        return window.batch(2)

    def step(self, state, x):
        return state + x, x

    def generate(self):
        for i in range(6):
            yield np.int64(i + self.array[0] - 1)

    def length(self, x):
        return np.int64(len(self.array) and 1)


STAGES = {
    "map": lambda m: numbers().map(m.same),
    "filter": lambda m: numbers().filter(m.true),
    "filter_batched": lambda m: numbers().filter(m.trues, batched=True).batch(2),
    "filter_columns": lambda m: (
        numbers().batch(1).enumerate().filter(m.true, input_columns=1).map(lambda i, x: x[0])
    ),
    "take_while": lambda m: numbers().take_while(m.true),
    "flat_map": lambda m: numbers().flat_map(m.rows),
    "flat_map_of_maps": lambda m: numbers().flat_map(m.mapped_rows),
    "interleave": lambda m: numbers().interleave(m.rows, cycle_length=2),
    "scan": lambda m: numbers().scan(np.int64(0), m.step),
    "group_by_window": lambda m: numbers().group_by_window(m.key, m.reduce, 2),
    "group_by_window_size": lambda m: numbers().group_by_window(
        m.key, m.reduce, window_size_func=m.size
    ),
    "bucket": lambda m: numbers().batch(1).bucket_by_sequence_length(m.length, [2], [1, 1]),
    "from_generator": lambda m: Dataset.from_generator(
        m.generate, output_signature=NUMBERS
    ).with_format("numpy"),
    "window": lambda m: numbers().map(m.same).window(2).flat_map(lambda w: w.batch(2)),
    "stages_after": lambda m: (
        numbers().map(m.same).shuffle(4, seed=1).batch(2).prefetch(2).repeat(2).take(3)
    ),
    "stages_between": lambda m: numbers().map(m.same).filter(m.true).batch(2).unbatch().map(m.same),
    "zip": lambda m: Dataset.zip(numbers().map(m.same), numbers().filter(m.true)).map(m.same),
    "concatenate": lambda m: numbers().map(m.same).concatenate(numbers().map(m.same)),
    "sample": lambda m: Dataset.sample_from_datasets(
        [numbers().map(m.same), numbers().map(m.same)], seed=1
    ),
    "cache": lambda m: numbers().map(m.same).cache(),
    "lambda": lambda m: numbers().map(lambda x: m.same(x)),
}
stages = pytest.mark.parametrize("make", STAGES.values(), ids=STAGES)


def _collected(reference, tries=1):
    for _ in range(tries):  # a thread may be inside a function
        gc.collect()
        if reference() is None:
            return True
        time.sleep(0.001)
    return False


def _forget(model):
    """A weak reference to an object without other outside references."""
    return weakref.ref(model)


@stages
def test_an_object_with_a_dataset_over_itself_is_collected(make):
    model = Model()
    model.dataset = make(model)
    assert len(list(model.dataset))
    reference = _forget(model)
    del model
    assert _collected(reference, 500)


@stages
def test_an_object_with_an_iterator_half_way_is_collected(make):
    model = Model()
    model.iterator = iter(make(model))
    next(model.iterator)
    reference = _forget(model)
    del model
    if make is STAGES["flat_map_of_maps"]:
        pytest.skip(
            "the dataset that a function returned is Rust's while it is iterated: see captured.rs"
        )
    assert _collected(reference, 500)


@stages
def test_threads_that_read_ahead_do_not_keep_it(make):
    model = Model()
    model.dataset = make(model).prefetch(2)
    model.iterator = iter(model.dataset)
    next(model.iterator)
    reference = _forget(model)
    del model
    if make is STAGES["flat_map_of_maps"]:
        pytest.skip("as above")
    assert _collected(reference, 500)


@stages
def test_objects_in_use_are_not_collected(make):
    """A dataset, a derived dataset and an iterator each keep the functions alive."""
    expected = [np.array(x) for x in make(Model())]

    def same(elements):
        gc.collect()
        for one, other in zip(elements, expected, strict=True):
            gc.collect()
            np.testing.assert_array_equal(one, other)

    for keep in (lambda d: d, lambda d: d.prefetch(1), lambda d: d.take(-1), iter):
        model = Model()
        model.dataset = make(model)  # a cycle, garbage unless something is kept
        kept = keep(model.dataset)
        del model
        same(kept)


def test_two_datasets_over_one_function():
    model = Model()
    mapped = numbers().map(model.same)
    model.mapped, model.other = mapped, mapped.batch(2)
    batches = model.other
    reference = _forget(model)
    del model, mapped
    assert not _collected(reference)
    assert [batch.tolist() for batch in batches] == [[0, 1], [2, 3], [4, 5]]
    del batches
    assert _collected(reference, 500)


def test_a_window_outlives_its_dataset():
    def mapped(window):
        inner = Model()
        inner.window = window.map(inner.same)  # a cycle
        return inner.window

    for windows in (
        numbers().window(3),
        numbers().window(3).map(mapped),
        numbers().map(abs).window(3).shuffle(2, seed=1).map(mapped),
    ):
        iterator = iter(windows)
        window = next(iterator)
        del windows, iterator
        gc.collect()
        assert len(list(window)) == 3


def test_a_dataset_that_a_function_returned_lives_while_it_is_iterated():
    def rows(x):
        inner = Model()
        inner.dataset = (
            Dataset.range(3).with_format("numpy").map(inner.same)
        )  # a cycle that only the iteration uses
        return inner.dataset

    for dataset in (
        numbers(2).flat_map(rows),
        numbers(2).interleave(rows, cycle_length=2),
        numbers(2).map(rows).flat_map(lambda d: d),
    ):
        iterator = iter(dataset)
        seen = []
        for value in iterator:
            gc.collect()
            seen.append(int(value))
        assert sorted(seen) == [0, 0, 1, 1, 2, 2]


def test_a_reduction_keeps_its_function():
    class Sum:
        def __init__(self):
            self.me = self

        def add(self, total, x):
            gc.collect()
            return total + x

    adder = Sum()
    reference = weakref.ref(adder)
    assert numbers().reduce(np.int64(0), adder.add) == 15
    del adder
    assert _collected(reference, 500)


def test_a_generator_that_refers_to_its_iterator_is_collected():
    class Holder:
        pass

    holder = Holder()

    def generate(held):
        yield from range(4)
        del held

    source = functools.partial(generate, holder)
    holder.iterator = iter(
        Dataset.from_generator(source, output_signature=NUMBERS).with_format("numpy")
    )
    assert next(holder.iterator) == 0
    gc.collect()
    assert next(holder.iterator) == 1
    reference = weakref.ref(holder)
    del holder, source
    assert _collected(reference, 500)


def test_a_generator_ends_with_its_iterator():
    ended = []

    def generate():
        try:
            yield from range(4)
        finally:
            ended.append(True)

    dataset = Dataset.from_generator(generate, output_signature=NUMBERS).with_format("numpy")
    for options in (tfy.Options(), tfy.Options(read_ahead=0)):
        iterator = iter(dataset.with_options(options))
        next(iterator)
        del iterator
        gc.collect()
    numbers(1).as_numpy_iterator()  # releases objects that a thread dropped
    assert ended


def test_copies_and_pickles_are_like_the_original():
    dataset = numbers().map(operator_neg)
    for copy in (
        dataset,
        dataset.__copy__(),
        pickle.loads(pickle.dumps(dataset)),
        dataset.with_format("numpy"),
    ):
        gc.collect()
        assert [int(x) for x in copy] == [0, -1, -2, -3, -4, -5]


def operator_neg(x):
    return -x


def test_threads_that_iterate_while_garbage_is_collected():
    failures = []

    def work():
        try:
            for _ in range(20):
                model = Model()
                model.dataset = numbers(20).map(model.same).flat_map(model.mapped_rows).batch(3)
                batches = model.dataset
                del model
                assert sum(len(batch) for batch in batches) == 40
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    before = gc.get_threshold()
    gc.set_threshold(20, 2, 2)
    try:
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    finally:
        gc.set_threshold(*before)
    assert not failures


def test_to_tf_data_keeps_and_releases_the_functions():
    pytest.importorskip("tensorflow")
    model = Model()
    model.dataset = numbers().map(model.same)
    reference = _forget(model)
    made = model.dataset.to_tf_data()
    iterator = iter(made)
    del model
    assert not _collected(reference)
    assert int(next(iterator)) == 0
    del made
    gc.collect()
    assert [int(x) for x in iterator] == [1, 2, 3, 4, 5]
    del iterator
    assert _collected(reference, 100)
