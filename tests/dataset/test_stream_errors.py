"""Streams continue after an invalid element, after a failing function, and after an empty pass."""

from __future__ import annotations

import contextlib
import itertools

import numpy as np
import pytest
import tensorferry as tfy

SCALAR = tfy.TensorSpec((), "int64")


def outcomes(iterator, most: int = 50) -> list:
    """All elements, with "error" in place of a raised exception."""
    seen: list = []
    while len(seen) < most:
        try:
            seen.append(np.asarray(next(iterator)).tolist())
        except StopIteration:
            return seen
        except Exception:
            seen.append("error")
    raise AssertionError(f"no end: {seen}")


# Invalid elements for a specification of one scalar int64, and the mismatch.
WRONG = {
    "None": None,
    "a string": "no",
    "bytes": b"no",
    "a tuple": (1, 2),
    "an empty tuple": (),
    "a dict": {"x": 1},
    "a list of strings": ["a"],
    "an object": object(),
    "another shape": np.zeros(3, np.int64),
    "a fraction": 1.5,
    "too large": 2**70,
    "complex": 1j,
    "strings": np.array(["a"]),
    "objects": np.array([None], object),
    "masked": np.ma.masked_array([1], [True]),
}


class Numbers:
    """An iterable that is not a generator, so that it continues after raising."""

    def __init__(self, elements) -> None:
        self.elements = elements

    def __iter__(self):
        return iter(self.elements)


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("kind", ["generator", "iterable"])
def test_a_generator_continues_after_an_invalid_element(name, kind):
    def generator():
        yield 0
        yield WRONG[name]
        yield 2
        yield WRONG[name]
        yield WRONG[name]
        yield 5

    make = generator if kind == "generator" else lambda: Numbers(list(generator()))
    dataset = tfy.Dataset.from_generator(make, output_signature=SCALAR).with_format("numpy")
    expected = [0, "error", 2, "error", "error", 5]
    assert outcomes(iter(dataset)) == expected
    assert outcomes(iter(dataset.prefetch(2))) == expected
    assert outcomes(iter(dataset.map(lambda x: x + 0, output_signature=SCALAR))) == expected
    assert sorted(map(str, outcomes(iter(dataset.shuffle(3, seed=1))))) == sorted(
        map(str, expected)
    )
    assert outcomes(iter(dataset.take(3).repeat(2))) == [0, "error", 2] * 2
    for position in range(6):
        iterator = iter(dataset)
        assert outcomes(itertools.islice(iterator, 0)) == []
        for _ in range(position):
            with contextlib.suppress(ValueError, TypeError):
                next(iterator)
        resumed = iter(dataset)
        resumed.load_state_dict(iterator.state_dict())
        assert outcomes(resumed) == expected[position:]


@pytest.mark.parametrize(
    "wrong",
    [
        (1,),
        (1, 2, 3),
        1,
        {"x": 1, "y": 2},
        (1, None),
        (None, None),
        ("a", 1),
        (np.zeros(2), 1),
        ((1, 2), 3),
    ],
)
def test_invalid_pairs_are_errors_at_their_element(wrong):
    def generator():
        yield from [(1, 10), wrong, (2, 20)]

    dataset = tfy.Dataset.from_generator(generator, output_signature=(SCALAR, SCALAR)).with_format(
        "numpy"
    )
    iterator = iter(dataset)
    assert tuple(map(int, next(iterator))) == (1, 10)
    with pytest.raises(Exception, match="from_generator"):
        next(iterator)
    assert tuple(map(int, next(iterator))) == (2, 20)
    assert next(iterator, None) is None


def test_a_raising_generator_ends_and_a_raising_iterator_need_not():
    def generator():
        yield 1
        raise KeyError("mine")

    class Stubborn:
        def __init__(self):
            self.at = 0

        def __iter__(self):
            return self

        def __next__(self):
            self.at += 1
            if self.at == 2:
                raise KeyError("mine")
            if self.at > 4:
                raise StopIteration
            return self.at

    for make, expected in [(generator, [1, "error"]), (Stubborn, [1, "error", 3, 4])]:
        assert (
            outcomes(
                iter(tfy.Dataset.from_generator(make, output_signature=SCALAR).with_format("numpy"))
            )
            == expected
        )


def test_an_element_that_raises_stop_iteration_is_an_error_and_not_the_end():
    class Odd:
        dtype = np.dtype("int64")

        def __array__(self, dtype=None, copy=None):
            raise StopIteration

    dataset = tfy.Dataset.from_generator(
        lambda: Numbers([1, Odd(), 3]), output_signature=SCALAR
    ).with_format("numpy")
    assert outcomes(iter(dataset)) == [1, "error", 3]


def fail_at_2(x, *more):
    if int(x) % 10 == 2:
        raise ValueError("two")
    return x


def source():
    return tfy.Dataset.range(6).with_format("numpy")


def keep(x):
    return fail_at_2(x) >= 0


FAILING = {
    "map": (lambda d: d.map(fail_at_2), [0, 1, "error", 3, 4, 5]),
    "filter": (lambda d: d.filter(keep), [0, 1, "error", 3, 4, 5]),
    "take_while": (lambda d: d.take_while(keep), [0, 1, "error", 3, 4, 5]),
    "scan": (
        lambda d: d.scan(np.int64(0), lambda s, x: (s + fail_at_2(x), s + x)),
        [0, 1, "error", 4, 8, 13],
    ),
    "flat_map": (
        lambda d: d.flat_map(lambda x: tfy.Dataset.from_tensors(fail_at_2(x)).repeat(2)),
        [0, 0, 1, 1, "error", 3, 3, 4, 4, 5, 5],
    ),
    "interleave": (
        lambda d: d.interleave(lambda x: tfy.Dataset.from_tensors(fail_at_2(x)), cycle_length=2),
        [0, 1, "error", 3, 4, 5],
    ),
    "group_by_window": (
        lambda d: d.group_by_window(
            lambda x: fail_at_2(x) * 0, lambda k, w: w, window_size=5, output_signature=SCALAR
        ),
        ["error", 0, 1, 3, 4, 5],
    ),
}


@pytest.mark.parametrize("name", FAILING)
@pytest.mark.parametrize("behind", ["plain", "prefetch", "repeat", "stream"])
def test_a_stage_continues_after_its_function_fails(name, behind):
    derive, expected = FAILING[name]
    start = source().filter(lambda x: True) if behind == "stream" else source()
    after = {"prefetch": lambda d: d.prefetch(3), "repeat": lambda d: d.repeat(2)}.get(
        behind, lambda d: d
    )
    dataset = after(derive(start))
    expected = expected * 2 if behind == "repeat" else expected
    assert outcomes(iter(dataset)) == expected
    for position in range(len(expected) + 1):
        iterator = iter(dataset)
        for _ in range(position):
            with contextlib.suppress(ValueError):
                next(iterator)
        state = iterator.state_dict()
        assert state["position"] == position
        resumed = iter(dataset)
        resumed.load_state_dict(state)
        assert outcomes(resumed) == expected[position:]


def test_a_batch_with_a_failed_element_is_one_error():
    assert outcomes(iter(source().map(fail_at_2).batch(2))) == [[0, 1], "error", [4, 5]]


def test_to_tf_data_continues_too(tf):
    def generator():
        yield from [0, None, 2, "x", 4]

    real = tfy.Dataset.from_generator(generator, output_signature=SCALAR).to_tf_data()
    assert outcomes(iter(real)) == [0, "error", 2, "error", 4]
    assert outcomes(iter(source().map(fail_at_2).to_tf_data())) == [0, 1, "error", 3, 4, 5]
    assert outcomes(iter(source().filter(keep).to_tf_data())) == [0, 1, "error", 3, 4, 5]


class Passes:
    """Passes of the given numbers of elements."""

    def __init__(self, *counts: int) -> None:
        self.counts, self.at = counts, 0

    def __call__(self):
        count = self.counts[self.at % len(self.counts)]
        self.at += 1
        yield from (100 * self.at + i for i in range(count))


@pytest.mark.parametrize("counts", [(0, 1), (2, 0), (1, 0, 3), (0, 0, 2), (0,), (2,), (3, 0, 0, 1)])
@pytest.mark.parametrize("count", [None, 0, 1, 2, 5])
def test_repeat_counts_empty_passes_like_tf_data(tf, counts, count):
    theirs = tf.data.Dataset.from_generator(
        Passes(*counts), output_signature=tf.TensorSpec((), tf.int64)
    ).repeat(count)
    expected = [int(x) for x in theirs.take(12)]

    def ours():
        return tfy.Dataset.from_generator(Passes(*counts), output_signature=SCALAR).repeat(count)

    assert [int(x) for x in ours().take(12).as_numpy_iterator()] == expected
    assert [int(x) for x in itertools.islice(ours().as_numpy_iterator(), 12)] == expected
    assert [int(x) for x in ours().take(12).to_tf_data()] == expected
    assert [int(x) for x in ours().to_tf_data().take(12)] == expected
    assert [x.numpy().tolist() for x in ours().take(12).batch(5).to_tf_data()] == [
        x.numpy().tolist() for x in theirs_again(tf, counts, count).take(12).batch(5)
    ]
    assert ours().cardinality() == int(theirs.cardinality())


def theirs_again(tf, counts, count):
    return tf.data.Dataset.from_generator(
        Passes(*counts), output_signature=tf.TensorSpec((), tf.int64)
    ).repeat(count)


def test_a_filter_that_rejects_a_whole_epoch_does_not_end_later_ones():
    turns = itertools.count()

    def every_other(x):
        return (next(turns) // 4) % 2 == 1

    dataset = tfy.Dataset.range(4).with_format("numpy").filter(every_other).repeat(4)
    assert outcomes(iter(dataset)) == [0, 1, 2, 3] * 2


def test_an_endless_repeat_of_an_empty_dataset_ends_in_to_tf_data_too(tf):
    for make in (
        lambda d: d.filter(lambda x: False).repeat(),
        lambda d: d.filter(lambda x: False).repeat().batch(2),
        lambda d: d.filter(lambda x: False).repeat().take(5),
        lambda d: (
            d.filter(lambda x: False)
            .repeat()
            .map(lambda y: y, output_signature=SCALAR)
            .shuffle(4)
            .prefetch(1)
        ),
        lambda d: d.filter(lambda y: y < 0).repeat().concatenate(d),
    ):
        ours = make(source())
        assert [np.asarray(x).tolist() for x in ours.to_tf_data()] == outcomes(
            ours.as_numpy_iterator()
        )
    endless = source().map(lambda x: x).repeat()
    assert int(endless.filter(lambda x: x > 2).batch(2).take(3).to_tf_data().cardinality()) in (
        -2,
        3,
    )
    assert int(source().repeat().shuffle(5).to_tf_data().cardinality()) == -1


def test_a_long_repeat_of_an_empty_dataset_can_be_interrupted():
    dataset = source().filter(lambda x: False).repeat(10**12)
    state_is_kept = dataset.prefetch(1)
    iterator = iter(state_is_kept)
    assert iterator.state_dict()["position"] == 0
    del iterator
