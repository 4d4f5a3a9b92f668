"""Plans of very many stages, and functions that return their own dataset: an error at a limit,
never a crash.
"""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
import tensorferry as tfy

from tests.support.processes import run_python

SCALAR = tfy.TensorSpec((), "int64")
#: The largest number of stages of a plan, and a number far beyond it.
FITS, TOO_MANY = 1500, 30_000

STAGES = {
    "take": lambda dataset: dataset.take(5),
    "skip": lambda dataset: dataset.skip(0),
    "cast": lambda dataset: dataset.cast(
        "int32" if dataset.element_spec.dtype == np.int64 else "int64"
    ),
    "filter": lambda dataset: dataset.filter(lambda x: True),
    "map": lambda dataset: dataset.map(lambda x: x, output_signature=SCALAR),
    "unique": lambda dataset: dataset.unique(),
    "cache": lambda dataset: dataset.cache(),
    "take_while": lambda dataset: dataset.take_while(lambda x: True),
    "prefetch": lambda dataset: dataset.prefetch(1),
}


def on_a_small_stack(work):
    """Runs a call on a thread with a stack of 512 KiB."""
    failed = []

    def run():
        try:
            work()
        except BaseException as error:
            failed.append(error)

    before = threading.stack_size(512 << 10)
    try:
        thread = threading.Thread(target=run)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join(120)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


def streamed(n):
    return tfy.Dataset.range(n).with_format("numpy").filter(lambda x: True)


@pytest.mark.parametrize("name", list(STAGES))
def test_plans_of_1500_stages_iterate_save_and_resume_on_a_small_stack(name):
    def work():
        for dataset in (tfy.Dataset.range(5).with_format("numpy"), streamed(5)):
            for _ in range(FITS):
                dataset = STAGES[name](dataset)
            iterator = iter(dataset)
            assert next(iterator) == 0
            resumed = iter(dataset)
            resumed.load_state_dict(iterator.state_dict())
            assert list(resumed) == list(iterator) == [1, 2, 3, 4]
            assert dataset.element_spec == SCALAR
            assert len(repr(dataset)) > FITS or name == "prefetch"
            assert list(copy.copy(dataset).take(1)) == [0]
            del dataset, iterator, resumed

    on_a_small_stack(work)


@pytest.mark.parametrize("name", list(STAGES))
def test_a_plan_of_too_many_stages_is_refused_when_it_is_made(name):
    made = [streamed(5)]

    def stack():
        for _ in range(TOO_MANY):
            made[0] = STAGES[name](made[0])

    with pytest.raises(RecursionError, match="more than 2000 stages") as refused:
        stack()
    assert isinstance(refused.value, tfy.errors.Error)
    assert refused.value.code == "too_deep"
    assert "save()" in str(refused.value)
    # Earlier stages are unaffected.
    assert next(iter(made[0])) == 0


def itself(method):
    """A dataset whose function returns that dataset."""
    made = {}
    numbers = tfy.Dataset.range(3).with_format("numpy")
    if method == "group_by_window":
        made["it"] = numbers.group_by_window(
            lambda x: 0, lambda key, window: made["it"], 1, output_signature=SCALAR
        )
    else:
        made["it"] = getattr(numbers, method)(lambda x: made["it"], output_signature=SCALAR)
    return made["it"]


@pytest.mark.parametrize("ahead", [None, 2])
@pytest.mark.parametrize("method", ["flat_map", "interleave", "group_by_window"])
def test_a_function_that_returns_its_own_dataset_is_a_recursion_error(method, ahead):
    def work():
        dataset = itself(method)
        dataset = dataset if ahead is None else dataset.prefetch(ahead)
        iterator = iter(dataset)
        for _ in range(3):
            with pytest.raises(RecursionError, match="return the dataset that calls it"):
                next(iterator)
        with pytest.raises(RecursionError):
            next(iter(dataset.batch(2)))

    work()
    on_a_small_stack(work)


@pytest.mark.parametrize("method", ["flat_map", "interleave"])
def test_nested_datasets_work_up_to_the_limit(method):
    def nested(levels):
        numbers = tfy.Dataset.range(1).with_format("numpy")
        inner = tfy.Dataset.range(2) if levels == 0 else nested(levels - 1)
        return getattr(numbers, method)(lambda x: inner, output_signature=SCALAR)

    on_a_small_stack(lambda: [list(nested(300))] == [[0, 1]] or pytest.fail("other numbers"))


def test_to_tf_data_of_a_deep_plan_is_the_same():
    tf = pytest.importorskip("tensorflow")
    dataset = tfy.Dataset.range(4)
    for _ in range(FITS):
        dataset = dataset.take(3)
    assert [int(x) for x in dataset.to_tf_data()] == [0, 1, 2]
    assert isinstance(dataset.to_tf_data(), tf.data.Dataset)


def test_batches_of_a_deep_plan_are_gathered_on_threads():
    rows = np.arange(40).reshape(20, 2)
    dataset = tfy.Dataset.from_tensor_slices(rows).with_format("numpy")
    for _ in range(FITS):
        dataset = dataset.skip(0)
    assert np.array_equal(np.concatenate(list(dataset.batch(3).prefetch(4))), rows)


def test_deep_plans_end_with_their_process():
    code = """
    import tensorferry as tfy
    dataset = tfy.Dataset.range(9).with_format("numpy").filter(lambda x: True)
    try:
        while True:
            dataset = dataset.take(5)
    except RecursionError:
        iterator = iter(dataset)
        next(iterator)
    print("done")
    """
    assert run_python(code).split() == ["done"]
