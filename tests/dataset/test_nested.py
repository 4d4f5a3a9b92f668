"""flat_map and interleave against the real tf.data in the same test."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import errors
from tensorferry.dataset._functions.tracing import StandIn

from tests.support.dataset_checks import Theirs, assert_agree, assert_everywhere, assert_resumes
from tests.support.processes import run_python

GRID = np.arange(12, dtype=np.int32).reshape(4, 3)
PAIRS = {"x": np.arange(6.0).reshape(3, 2), "y": np.arange(3, dtype=np.uint8)}


def counted(x):
    return tfy.Dataset.range(x)


def doubled(x):
    return tfy.Dataset.range(x).map(times_two)


def times_two(x):
    return x * 2


def cells(row):
    return tfy.Dataset.from_tensor_slices(row)


def shuffled(x):
    return tfy.Dataset.range(5).shuffle(seed=3)


FLAT_MAPS = {
    "ranges": lambda d: d.Dataset.range(4).flat_map(lambda x: d.Dataset.range(x)),
    "rows": lambda d: d.Dataset.from_tensor_slices(GRID).flat_map(
        lambda row: d.Dataset.from_tensor_slices(row)
    ),
    "a structure": lambda d: d.Dataset.from_tensor_slices(PAIRS).flat_map(
        lambda e: d.Dataset.range(2).map(lambda i: (i, {"z": tf_int(i)}))
    ),
    "a tuple unpacked": lambda d: d.Dataset.from_tensor_slices((GRID, GRID)).flat_map(
        lambda a, b: d.Dataset.range(2).batch(2, drop_remainder=True)
    ),
    "windows": lambda d: d.Dataset.range(7).window(3, shift=1).flat_map(lambda w: w.batch(3)),
    "full windows": lambda d: (
        d.Dataset.from_tensor_slices(GRID)
        .window(2, 1, drop_remainder=True)
        .flat_map(lambda w: w.batch(2, drop_remainder=True))
    ),
    "windows of pairs": lambda d: (
        d.Dataset.from_tensor_slices((GRID, np.arange(4.0)))
        .window(3)
        .flat_map(lambda a, b: d.Dataset.zip((a, b.skip(1))).batch(2))
    ),
    "windows of dicts": lambda d: (
        d.Dataset.from_tensor_slices(PAIRS).window(2).flat_map(lambda w: d.Dataset.zip(w))
    ),
    "nested twice": lambda d: d.Dataset.range(3).flat_map(
        lambda x: d.Dataset.range(3).flat_map(lambda y: d.Dataset.range(2))
    ),
    "of a stream": lambda d: (
        d.Dataset.range(6).filter(lambda x: x % 2 == 0).flat_map(lambda x: d.Dataset.range(x))
    ),
    "numbers beside a dataset": lambda d: (
        d.Dataset.range(4)
        .map(lambda x: (x, d.Dataset.range(x).batch(2)))
        .flat_map(lambda x, inner: d.Dataset.zip((inner, inner)))
    ),
    "maps of windows": lambda d: (
        d.Dataset.range(7).window(3).map(lambda w: w.batch(2)).flat_map(lambda w: w)
    ),
    "sums of windows": lambda d: (
        d.Dataset.range(7)
        .window(3)
        .map(lambda w: w.reduce(np.int64(0), lambda total, x: total + x))
        .batch(2)
    ),
    "windows inside": lambda d: (
        d.Dataset.range(5)
        .flat_map(lambda x: d.Dataset.range(x).window(2))
        .flat_map(lambda w: w.batch(2))
    ),
    "none at all": lambda d: d.Dataset.range(3).flat_map(lambda x: d.Dataset.range(0)),
}


def tf_int(x):
    import tensorflow

    return tensorflow.cast(x, tensorflow.int32)


@pytest.mark.parametrize("name", FLAT_MAPS)
def test_flat_map_agrees_with_tf_data(tf, name) -> None:
    assert_agree(tf, FLAT_MAPS[name])


INTERLEAVES = {
    "in blocks": lambda d: d.Dataset.range(1, 4).interleave(
        lambda x: d.Dataset.range(4), cycle_length=2, block_length=2
    ),
    "windows": lambda d: (
        d.Dataset.range(10).window(3).interleave(lambda w: w.batch(2), cycle_length=3)
    ),
    "parallel": lambda d: d.Dataset.range(5).interleave(
        lambda x: d.Dataset.range(x), 3, 2, num_parallel_calls=2, deterministic=True
    ),
    "of a stream": lambda d: (
        d.Dataset.range(9)
        .filter(lambda x: x % 2 == 1)
        .interleave(lambda x: d.Dataset.range(x), cycle_length=3, block_length=2)
    ),
}


@pytest.mark.parametrize("name", INTERLEAVES)
def test_interleave_agrees_with_tf_data(tf, name) -> None:
    assert_agree(tf, INTERLEAVES[name])


@pytest.mark.parametrize(("cycle", "block"), list(itertools.product([1, 2, 3, 7], [1, 2, 5])))
def test_interleave_takes_turns_like_tf_data(tf, cycle, block) -> None:
    lengths = [3, 0, 5, 1, 0, 0, 4, 2]
    assert_agree(
        tf,
        lambda d: d.Dataset.from_tensor_slices(lengths).interleave(
            lambda n: d.Dataset.range(tf_long(n)).enumerate(100),
            cycle_length=cycle,
            block_length=block,
        ),
    )


def tf_long(x):
    import tensorflow

    return tensorflow.cast(x, tensorflow.int64)


def test_interleave_by_default_takes_turns_with_eight_datasets_one_element_each(tf) -> None:
    def make(d, **kwargs):
        return d.Dataset.range(20).interleave(lambda x: d.Dataset.range(3), **kwargs)

    eight = [int(x) for x in make(Theirs(tf), cycle_length=8)]
    assert [int(x) for x in make(tfy)] == eight
    assert [int(x) for x in make(tfy, cycle_length=-1, block_length=1)] == eight
    assert [int(x) for x in make(tfy, cycle_length=2)] != eight


@pytest.mark.parametrize("method", ["flat_map", "interleave"])
@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x,
        lambda x: None,
        lambda x: (tfy.Dataset.range(2), tfy.Dataset.range(2)),
        "no function",
    ],
)
def test_a_function_must_return_a_dataset(method, wrong) -> None:
    for format in ("tensorflow", "numpy"):
        with pytest.raises(TypeError, match=f"{method}: "):
            getattr(tfy.Dataset.range(3).with_format(format), method)(wrong)


@pytest.mark.parametrize("method", ["flat_map", "interleave"])
def test_a_dataset_of_tf_data_is_refused_with_the_way_out(tf, method) -> None:
    with pytest.raises(errors.InvalidTypeError, match=rf"to_tf_data\(\)\.{method}"):
        getattr(tfy.Dataset.range(3), method)(lambda x: tf.data.Dataset.range(3))


def test_lengths_less_than_one_are_refused_when_the_stage_is_made() -> None:
    for wrong in ({"cycle_length": 0}, {"cycle_length": -2}, {"block_length": 0}):
        with pytest.raises(
            ValueError, match=f"interleave: {next(iter(wrong))} has to be at least 1"
        ):
            tfy.Dataset.range(3).interleave(counted, **wrong)


EVERYWHERE = {
    "flat_map": lambda: tfy.Dataset.range(4).flat_map(counted),
    "flat_map of maps": lambda: tfy.Dataset.range(4).flat_map(doubled),
    "flat_map of a stream": lambda: tfy.Dataset.range(7).filter(odd).flat_map(counted),
    "flat_map of slices": lambda: tfy.Dataset.from_tensor_slices(GRID).flat_map(cells),
    "flat_map of shuffles": lambda: tfy.Dataset.range(3).flat_map(shuffled),
    "flat_map of windows": lambda: tfy.Dataset.range(7).window(3, shift=2).flat_map(batched),
    "interleave": lambda: tfy.Dataset.range(6).interleave(counted, cycle_length=3, block_length=2),
    "interleave of a stream": lambda: (
        tfy.Dataset.range(6).filter(odd).interleave(counted, cycle_length=2)
    ),
    "batches of an interleave": lambda: (
        tfy.Dataset.range(6).interleave(shuffled).batch(4).shuffle(3, seed=1)
    ),
}


def odd(x):
    return x % 2 == 1


def batched(window):
    return window.batch(2)


@pytest.mark.parametrize("name", EVERYWHERE)
def test_they_resume_at_every_position_pickle_and_go_into_tf_data(name) -> None:
    assert_everywhere(EVERYWHERE[name])


def test_shuffles_inside_differ_for_each_element_and_epoch() -> None:
    dataset = (
        tfy.Dataset.range(3)
        .with_format("numpy")
        .flat_map(lambda x: tfy.Dataset.range(50).shuffle(seed=1))
    )
    passes = [[int(x) for x in dataset] for _ in range(2)]
    orders = [tuple(numbers[at : at + 50]) for numbers in passes for at in (0, 50, 100)]
    assert len(set(orders)) == 6
    assert all(sorted(order) == list(range(50)) for order in orders)


def test_a_shuffle_inside_resumes_with_its_drawn_seed() -> None:
    def make():
        return (
            tfy.Dataset.range(2)
            .with_format("numpy")
            .flat_map(lambda x: tfy.Dataset.range(20).shuffle())
        )

    iterator = iter(make())
    head = [int(next(iterator)) for _ in range(8)]
    resumed = iter(make())
    resumed.load_state_dict(iterator.state_dict())
    assert sorted(head + [int(next(resumed)) for _ in range(12)]) == list(range(20))


def test_shapes_are_known_unless_the_function_looks_at_values(tf) -> None:
    rows = tfy.Dataset.from_tensor_slices(GRID).with_format("numpy")
    assert rows.window(2).flat_map(batched).element_spec == tfy.TensorSpec((None, 3), "int32")
    assert rows.batch(2).flat_map(cells).element_spec == tfy.TensorSpec((3,), "int32")
    pair = (tfy.TensorSpec((3,), "int32"), tfy.TensorSpec((4,), "float64"))
    assert (
        rows.batch(2)
        .flat_map(lambda x: tfy.Dataset.from_tensor_slices((x, np.zeros((2, 4)))))
        .element_spec
        == pair
    )

    def looking(x):
        return tfy.Dataset.from_tensor_slices(x + 1)

    # Then dtype and rank come from the first element or from the user.
    assert rows.batch(2).flat_map(looking).element_spec == tfy.TensorSpec((None,), "int32")
    given = rows.batch(2).flat_map(looking, output_signature=tfy.TensorSpec((3,), "int32"))
    assert given.element_spec == tfy.TensorSpec((3,), "int32")
    assert [x.tolist() for x in given] == (GRID + 1).tolist()
    # In the format "tensorflow" the function is traced.
    assert rows.with_format("tensorflow").flat_map(looking).element_spec == tf.TensorSpec(
        (), tf.int32
    )


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x + 1,
        lambda x: 1 + x,
        lambda x: x == 1,
        lambda x: bool(x),
        lambda x: f"{x}",
        lambda x: str(x),
        lambda x: repr(x),
        lambda x: int(x),
        lambda x: x.shape,
        lambda x: hasattr(x, "shape"),
        lambda x: hash(x),
        lambda x: np.array(x),
        lambda x: np.array([x, x]),
        lambda x: [1, 2][x],
        lambda x: np.maximum(x, 1),
        lambda x: tfy.Dataset.range(x),
        lambda x: tfy.tensor(x),
    ],
)
def test_a_function_that_reads_its_argument_is_called_with_the_first_element(look) -> None:
    seen = []

    def function(x):
        seen.append(type(x).__name__)
        look(x)
        return tfy.Dataset.range(2)

    tfy.Dataset.range(1, 3).with_format("numpy").flat_map(function)
    assert seen == ["StandIn", "int64"]


def test_a_dataset_with_another_spec_is_an_error_at_its_element() -> None:
    made = [
        tfy.Dataset.range(1),
        tfy.Dataset.range(1).cast("int32"),
        tfy.Dataset.range(1).enumerate(),
        tfy.Dataset.range(1).batch(1),
    ]
    iterator = iter(tfy.Dataset.range(4).with_format("numpy").flat_map(lambda x: made[x]))
    assert int(next(iterator)) == 0
    with pytest.raises(
        errors.InvalidArgumentError, match=r"flat_map: element 1: .*int32\[\].*int64\[\]"
    ):
        next(iterator)
    with pytest.raises(errors.InvalidArgumentError, match=r"\(\*, \*\)") as raised:
        next(iterator)
    assert "in flat_map, at its element 2" in raised.value.__notes__
    with pytest.raises(errors.InvalidArgumentError, match="flat_map: element 3: "):
        next(iterator)
    with pytest.raises(StopIteration):
        next(iterator)


def test_datasets_inside_may_differ_in_length() -> None:
    def make(rows):
        return rows.flat_map(
            lambda row: tfy.Dataset.from_tensor_slices(row[: row[0] + 1]).window(2)
        )

    rows = tfy.Dataset.from_tensor_slices(np.array([[0, 1, 2], [2, 4, 6], [1, 3, 5]])).with_format(
        "numpy"
    )
    assert make(rows).element_spec == tfy.DatasetSpec(tfy.TensorSpec((), "int64"))
    assert [[int(x) for x in window] for window in make(rows)] == [[0], [2, 4], [6], [1, 3]]
    maps = rows.map(lambda row: tfy.Dataset.from_tensors(row[: row[0] + 1]))
    assert maps.element_spec == tfy.DatasetSpec(tfy.TensorSpec((None,), "int64"))
    assert [x.tolist() for dataset in maps for x in dataset] == [[0], [2, 4, 6], [1, 3]]
    other = rows.map(lambda row: tfy.Dataset.from_tensors(row if row[0] else row[0]))
    with pytest.raises(
        errors.InvalidArgumentError, match=r"map: element 1: .*int64\[3\].*int64\[\]"
    ):
        list(other)


def test_an_exception_of_the_function_costs_its_dataset_and_iteration_continues() -> None:
    def fragile(x):
        if x == 1:
            raise KeyError("one")
        return tfy.Dataset.range(2)

    spec = tfy.TensorSpec((), "int64")
    for method in ("flat_map", "interleave"):
        iterator = iter(
            getattr(tfy.Dataset.range(3).with_format("numpy"), method)(
                fragile, output_signature=spec
            )
        )
        seen = [int(next(iterator)) for _ in range(2 if method == "flat_map" else 1)]
        with pytest.raises(KeyError) as raised:
            next(iterator)
        assert f"in {method}, at its element 1" in raised.value.__notes__
        assert sorted(seen + [int(x) for x in iterator]) == [0, 0, 1, 1]


def test_the_spec_over_an_empty_dataset_comes_from_zeros_or_output_signature() -> None:
    nothing = tfy.Dataset.range(0).with_format("numpy")
    assert nothing.flat_map(counted).element_spec == tfy.TensorSpec((), "int64")
    with pytest.raises(ValueError, match="output_signature"):
        nothing.flat_map(lambda x: tfy.Dataset.range(1 // int(x)))
    assert list(nothing.flat_map(counted, output_signature=tfy.TensorSpec((), "int64"))) == []


def test_the_spec_of_windows_is_known_without_reading() -> None:
    started = []

    def numbers():
        started.append(1)
        yield from range(4)

    dataset = tfy.Dataset.from_generator(
        numbers, output_signature=tfy.TensorSpec((), "int64")
    ).with_format("numpy")
    windows = dataset.window(2).flat_map(lambda w: w.batch(2))
    assert started == []
    assert [x.tolist() for x in windows] == [[0, 1], [2, 3]]
    # A function that reads its window is called with the first window.
    sums = dataset.window(2).flat_map(
        lambda w: tfy.Dataset.from_tensors(np.int64(sum(int(x) for x in w)))
    )
    assert sums.element_spec == tfy.TensorSpec((), "int64")
    assert [int(x) for x in sums] == [1, 5]


def test_a_function_inside_is_traced_once_and_not_for_each_dataset(tf) -> None:
    traced = []

    def double(y):
        if tf.is_symbolic_tensor(y):
            traced.append(1)
        return y * 2

    def even(y):
        if tf.is_symbolic_tensor(y):
            traced.append(1)
        return y % 2 == 0

    dataset = tfy.Dataset.range(6).flat_map(
        lambda x: tfy.Dataset.range(5).filter(even).map(lambda y: double(y)).map(double)
    )
    traced.clear()
    for _ in range(2):
        assert [int(x) for x in dataset] == [0, 8, 16] * 6
    assert len(traced) == 3


def test_closures_of_a_function_inside_are_part_of_it(tf) -> None:
    def make(d):
        kinds = [tf.int32, tf.float32, tf.int64]

        def cast(dtype):
            return lambda y: tf.cast(y, dtype)

        by_kind = [
            d.Dataset.range(4).batch(2).map(cast(dtype)).map(lambda y: tf.cast(y, tf.float64))
            for dtype in kinds
        ]
        return by_kind[0].concatenate(by_kind[1]).concatenate(by_kind[2])

    flat = tfy.Dataset.range(3).flat_map(lambda x: make(tfy))
    assert [x.numpy().tolist() for x in flat] == [x.numpy().tolist() for x in make(Theirs(tf))] * 3
    # A length computed from a value inside differs for each element.
    ramps = tfy.Dataset.range(4).flat_map(
        lambda x: tfy.Dataset.range(1).map(lambda y: tf.fill([x], y))
    )
    assert [x.shape for x in ramps] == [(0,), (1,), (2,), (3,)]


def test_nested_functions_resume_inside_each_other() -> None:
    assert_resumes(
        lambda: tfy.Dataset.range(3).flat_map(
            lambda x: tfy.Dataset.range(3).interleave(
                lambda y: tfy.Dataset.range(2), cycle_length=2
            ),
        )
    )
    assert_resumes(lambda: tfy.Dataset.range(3).repeat(2).flat_map(counted).repeat(2))


@pytest.mark.parametrize("format", ["jax", "torch", "tensorferry", "numpy"])
def test_functions_receive_tensors_and_datasets_of_the_format(request, format) -> None:
    if format in ("jax", "torch"):
        request.getfixturevalue(format)
    rows = tfy.Dataset.from_tensor_slices(GRID).with_format(format)
    kind = type(next(iter(rows)))
    seen = []

    def slices(row):
        seen.append(type(row))
        return tfy.Dataset.from_tensor_slices(row)

    def batch(key, window):
        seen.extend(type(row) for row in window)
        return window.batch(2)

    assert [int(x) for x in rows.flat_map(slices)] == list(range(12))
    assert [x.shape for x in rows.group_by_window(lambda row: int(row[0]) % 2, batch, 2)] == [
        (2, 3),
        (2, 3),
    ]
    assert set(seen) == {kind, StandIn}


def test_ctrl_c_ends_an_endless_search_for_elements() -> None:
    program = """
    import os, signal, threading
    import tensorferry as tfy

    D = tfy.Dataset
    numbers = D.range(5).repeat().with_format("numpy")
    nothing = {
        "flat_map": lambda: numbers.flat_map(lambda x: D.range(0)),
        "interleave": lambda: numbers.interleave(lambda x: D.range(0)),
        "inside": lambda: numbers.flat_map(lambda x: numbers.filter(lambda x: False)),
        "group_by_window": lambda: numbers.group_by_window(
            lambda x: x, lambda key, window: window.take(0), 3
        ),
    }
    for name, make in nothing.items():
        for read_ahead in (0, None):
            iterator = iter(make().with_options(tfy.Options(read_ahead=read_ahead)))
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                next(iterator)
            except KeyboardInterrupt:
                print(name, end=" ")
    """
    assert run_python(program).split() == [
        name for name in ("flat_map", "interleave", "inside", "group_by_window") for _ in range(2)
    ]


def test_lambdas_are_not_pickled() -> None:
    with pytest.raises(TypeError, match="flat_map: a lambda"):
        pickle.dumps(tfy.Dataset.range(3).flat_map(lambda x: tfy.Dataset.range(2)))
