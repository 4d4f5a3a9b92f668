"""`scale` with numbers and with arrays for each channel, beside NumPy; parts chosen by name."""

from __future__ import annotations

import collections
import itertools
from typing import Any

import numpy as np
import pytest
import tensorferry as tfy
import torch
from tensorferry import errors

from tests.support.dataset_checks import assert_everywhere

Sample = collections.namedtuple("Sample", "image mask label")
RANDOM = np.random.default_rng(3)
MEAN, STD = np.array([123.7, 116.3, 103.5]), np.array([58.4, 57.1, 57.4])


def images(dtype: str = "uint8", shape: tuple[int, ...] = (7, 5, 4, 3)) -> np.ndarray:
    return RANDOM.integers(0, 100, shape).astype(dtype)


def expected(x: np.ndarray, mul: Any, add: Any) -> np.ndarray:
    """Rounded to float32 at each step."""
    single = np.float32
    return x.astype(single) * np.asarray(mul, single) + np.asarray(add, single)


def slices(data: Any) -> Any:
    return tfy.Dataset.from_tensor_slices(data).with_format("numpy")


def rows(dataset: Any) -> np.ndarray:
    return np.stack(list(dataset.with_format("numpy")))


@pytest.mark.parametrize("shape", [(), (3,), (1,), (4, 3), (4, 1), (5, 1, 1), (1, 4, 1), (5, 4, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float64", "bool"])
def test_arrays_broadcast_as_in_numpy(shape: tuple[int, ...], dtype: str) -> None:
    x = images(dtype)
    mul, add = RANDOM.normal(size=shape), RANDOM.normal(size=3)
    dataset = tfy.Dataset.from_tensor_slices(x)
    for scaled, factors in (
        (dataset.scale(mul, add), (mul, add)),
        (dataset.scale(mul), (mul, 0.0)),
        (dataset.scale(2.5, mul), (2.5, mul)),
        (dataset.scale(mul.astype(np.float32), add), (mul, add)),
    ):
        assert np.array_equal(rows(scaled), expected(x, *factors))
        assert np.array_equal(
            np.concatenate(list(scaled.batch(3).with_format("numpy"))), rows(scaled)
        )


def test_a_large_row_is_scaled_by_channels_first_and_last() -> None:
    x = images(shape=(3, 90, 40, 3))
    last = tfy.Dataset.from_tensor_slices(x).scale(1 / STD, -MEAN / STD)
    assert np.array_equal(rows(last), expected(x, 1 / STD, -MEAN / STD))
    first = x.transpose(0, 3, 1, 2)
    factors = [value.reshape(3, 1, 1) for value in (1 / STD, -MEAN / STD)]
    scaled = tfy.Dataset.from_tensor_slices(first).scale(*factors)
    assert np.array_equal(rows(scaled), expected(first, *factors))


@pytest.mark.parametrize("format", ["tensorflow", "torch", "jax", "numpy", "tensorferry"])
def test_every_format_and_every_kind_of_array(format: Any) -> None:
    x = images()
    for mul in (MEAN, MEAN.tolist(), torch.from_numpy(MEAN), tfy.tensor(MEAN)):
        dataset = tfy.Dataset.from_tensor_slices(x).scale(mul, -1).batch(7).with_format(format)
        assert np.array_equal(np.asarray(next(iter(dataset))), expected(x, MEAN, -1))


def test_resumed_pickled_and_inside_tf_data() -> None:
    x = images()
    assert_everywhere(
        lambda: tfy.Dataset.from_tensor_slices(x).shuffle(seed=1).scale(1 / STD, -MEAN).batch(2)
    )
    assert_everywhere(
        lambda: tfy.Dataset.from_tensor_slices((x, x)).scale((MEAN, None), which=(True, True))
    )


def test_other_factors_are_another_plan() -> None:
    dataset = tfy.Dataset.from_tensor_slices(images())
    state = iter(dataset.scale(MEAN)).state_dict()
    iter(dataset.scale(MEAN)).load_state_dict(state)
    for other in (dataset.scale(STD), dataset.scale(MEAN, STD), dataset.scale(MEAN[:1])):
        with pytest.raises(errors.Error):
            iter(other).load_state_dict(state)


def test_a_structure_gives_each_part_its_own_factors() -> None:
    x, y, z = images(), np.arange(7), np.arange(7.0)
    data = {"image": x, "label": y, "weight": z}
    dataset = tfy.Dataset.from_tensor_slices(data).with_format("numpy")

    def batch(scaled: Any) -> dict[str, np.ndarray]:
        return next(iter(scaled.batch(7)))

    got = batch(dataset.scale({"image": 1 / STD, "weight": 2}, {"weight": 1.0}))
    assert np.array_equal(got["image"], expected(x, 1 / STD, 0))
    assert np.array_equal(got["weight"], expected(z, 2, 1))
    assert got["label"].dtype == np.int64
    got = batch(dataset.scale({"image": 1 / STD}, -1.0))
    assert np.array_equal(got["image"], expected(x, 1 / STD, -1))
    assert got["weight"].dtype == float
    got = batch(dataset.scale(2.0, {"image": MEAN}, which=["image", "label"]))
    assert np.array_equal(got["image"], expected(x, 2, MEAN))
    assert got["label"].dtype == np.int64
    pair = tfy.Dataset.from_tensor_slices((x, z)).with_format("numpy")
    got = next(iter(pair.scale((MEAN, None)).batch(7)))
    assert np.array_equal(got[0], expected(x, MEAN, 0))
    assert got[1].dtype == float


def test_elements_of_unknown_shape() -> None:
    elements = [np.ones((n, 3), np.uint8) * n for n in (1, 4, 0, 2)]
    for shape in ((None, 3), (None, None), None):
        dataset = tfy.Dataset.from_generator(
            lambda: iter(elements), output_signature=tfy.TensorSpec(shape, "uint8")
        ).with_format("numpy")
        for got, was in zip(dataset.scale(MEAN, 1), elements, strict=True):
            assert np.array_equal(got, expected(was, MEAN, 1))
            assert got.shape == was.shape
        # Refused at once if the length is known, else at the first element.
        with pytest.raises(errors.InvalidArgumentError, match="broadcast"):
            next(iter(dataset.scale(MEAN[:2])))


def test_empty_datasets_empty_rows_and_scalars() -> None:
    for shape in ((0, 4, 3), (5, 0, 3), (2, 4, 0)):
        x = np.zeros(shape, np.uint8)
        mul = np.ones(shape[-1:])
        scaled = tfy.Dataset.from_tensor_slices(x).scale(mul, 1.0).with_format("numpy")
        assert len(list(scaled)) == shape[0]
        for got in scaled.batch(2):
            assert got.shape[1:] == shape[1:]
            assert got.dtype == np.float32
    assert rows(tfy.Dataset.range(3).scale(np.float64(2), np.array(1))).tolist() == [1, 3, 5]


def test_factors_that_cannot_be_used() -> None:
    dataset = tfy.Dataset.from_tensor_slices({"x": images(), "y": np.arange(7)})
    for call, words in (
        (
            lambda: dataset.scale(np.ones(2), which="x"),
            r"scale: component \"x\" .*\[2\].*broadcast",
        ),
        (lambda: dataset.scale(np.ones(3)), r"component \"y\".*broadcast.*which"),
        (lambda: dataset.scale(np.ones((2, 5, 4, 3)), which="x"), "broadcast"),
        (lambda: dataset.scale(np.array([1, np.nan, 1]), which="x"), "finite"),
        (lambda: dataset.scale({"x": 1e300}), "finite"),
        (lambda: dataset.scale(np.ones(3, complex), which="x"), "real"),
        (lambda: dataset.scale({"z": 1.0}), "nest"),
    ):
        with pytest.raises(errors.InvalidArgumentError, match=words):
            call()
    for wrong in ("x", ["a"], [None]):
        with pytest.raises((errors.Error, TypeError, ValueError)):
            dataset.scale(wrong)


def test_parts_are_chosen_by_name() -> None:
    data = Sample(images(), images(), np.arange(7) % 3)

    def same(stage: Any, names: Any, flags: dict[str, bool]) -> None:
        fields = Sample(*(flags.get(name, False) for name in Sample._fields))
        for source, which in ((data, fields), (data._asdict(), flags)):
            got, want = (
                # A new source, because passes over one are its successive epochs.
                next(iter(stage(slices(source), chosen).batch(7)))
                for chosen in (names, which)
            )
            pairs = zip(got, want, strict=True)
            if isinstance(got, dict):
                pairs = zip(got.values(), want.values(), strict=True)
            for one, other in pairs:
                assert one.dtype == other.dtype
                assert np.array_equal(one, other)

    both = {"image": True, "mask": True}
    for stage in (
        lambda dataset, which: dataset.scale(1 / STD, which=which),
        lambda dataset, which: dataset.cast("int32", which=which),
        lambda dataset, which: dataset.flip(0, 1, which=which),
        lambda dataset, which: dataset.random_crop((2, 2), 1, which=which),
        lambda dataset, which: dataset.pad_to((9, 9, 3), which=which),
    ):
        same(stage, ["image", "mask"], both)
        same(stage, "image", {"image": True})
    same(lambda dataset, which: dataset.one_hot(3, which=which), "label", {"label": True})
    same(lambda dataset, which: dataset.lookup([5, 6, 7], which=which), ["label"], {"label": True})


def test_a_name_selects_all_that_is_under_it() -> None:
    data = {"x": {"a": np.arange(3), "b": np.arange(3)}, "y": np.arange(3)}
    scaled = tfy.Dataset.from_tensor_slices(data).with_format("numpy").scale(2, which="x")
    dtypes = dict(scaled.element_spec["x"].items())
    assert [str(spec.dtype) for spec in dtypes.values()] == ["float32", "float32"]
    assert str(scaled.element_spec["y"].dtype) == "int64"


def test_names_that_are_not_there() -> None:
    keyed = tfy.Dataset.from_tensor_slices({"image": images(), "label": np.arange(7)})
    pair = tfy.Dataset.from_tensor_slices((images(), np.arange(7)))
    with pytest.raises(errors.InvalidArgumentError, match="'imgae'; there are 'image', 'label'"):
        keyed.scale(2, which="imgae")
    with pytest.raises(errors.InvalidArgumentError, match="'z'"):
        keyed.cast("int32", which=["image", "z"])
    with pytest.raises(errors.InvalidArgumentError, match="parts have no names"):
        pair.scale(2, which="image")
    with pytest.raises(errors.InvalidArgumentError, match=r"which=\[\] selects no part"):
        keyed.one_hot(2, which=[])


def test_scaling_is_the_same_whatever_surrounds_it() -> None:
    """All ways to reach a row: alone, in batches of any size, after other maps, in any order."""
    x = images("int16", (11, 6, 3))
    want = expected(np.flip(x, axis=1), 1 / STD, MEAN)
    for size, threads in itertools.product((1, 4, 11), (1, 3)):
        dataset = tfy.Dataset.from_tensor_slices(x).flip(0, 1).scale(1 / STD, MEAN).batch(size)
        dataset = (
            dataset.prefetch(3).with_options(tfy.Options(threads=threads)).with_format("numpy")
        )
        assert np.array_equal(np.concatenate(list(dataset)), want)
