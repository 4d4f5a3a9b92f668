"""Native crops, flips and padding. NumPy defines the results; the draws are pinned."""

from __future__ import annotations

import collections
import pickle

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from tensorferry import errors

from tests.support.arrays import NAMES, np_dtype, same

Pair = collections.namedtuple("Pair", ["image", "mask"])


def slices(tensors):
    return tfy.Dataset.from_tensor_slices(tensors).with_format("numpy")


def numbered(*shape: int, dtype: str = "int64") -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def arrays(dataset) -> list[np.ndarray]:
    return [np.asarray(x) for x in dataset.as_numpy_iterator()]


def streamed(array: np.ndarray):
    """The rows of an array as a stream with unknown shapes."""
    return tfy.Dataset.from_generator(
        lambda: iter(array),
        output_signature=tfy.TensorSpec((None,) * (array.ndim - 1), array.dtype),
    ).with_format("numpy")


shapes = st.lists(st.integers(0, 5), min_size=1, max_size=4)


@given(shapes, st.sampled_from(NAMES), st.data())
def test_a_flip_of_probability_one_equals_numpy(shape, name, data):
    axes = data.draw(
        st.lists(
            st.integers(-len(shape), len(shape) - 1),
            min_size=1,
            unique_by=lambda axis: axis % len(shape),
        )
    )
    array = (numbered(3, *shape) % 2 if name == "bool" else numbered(3, *shape) % 120).astype(
        np_dtype(name)
    )
    for made in (slices(array), streamed(array)):
        for row, flipped in zip(array, arrays(made.flip(axes, probability=1)), strict=True):
            same(flipped, np.flip(row, axes))


@given(shapes, st.sampled_from(NAMES), st.data())
def test_padding_equals_numpy(shape, name, data):
    more = data.draw(
        st.lists(st.integers(0, 3) | st.none(), min_size=len(shape), max_size=len(shape))
    )
    array = (numbered(3, *shape) % 2 if name == "bool" else numbered(3, *shape) % 120).astype(
        np_dtype(name)
    )
    target = [
        None if extra is None else length + extra for length, extra in zip(shape, more, strict=True)
    ]
    for made in (slices(array), streamed(array)):
        for row, padded in zip(array, arrays(made.pad_to(target, value=1)), strict=True):
            same(
                padded,
                np.pad(
                    row, [(0, extra or 0) for extra in more], constant_values=np_dtype(name).type(1)
                ),
            )


@given(
    shapes.filter(lambda shape: 0 not in shape),
    st.sampled_from(NAMES),
    st.integers(0, 2**64 - 1),
    st.data(),
)
def test_a_crop_is_a_window_of_its_element(shape, name, seed, data):
    size = data.draw(
        st.lists(st.none() | st.just(-1) | st.integers(1, 5), min_size=1, max_size=len(shape))
    )
    size = [
        length if length in (None, -1) else min(length, shape[axis])
        for axis, length in enumerate(size)
    ]
    array = (
        numbered(3, *shape) if name == "int64" else (numbered(3, *shape) % 2).astype(np_dtype(name))
    )
    out = [
        shape[axis] if length in (None, -1) else length for axis, length in enumerate(size)
    ] + shape[len(size) :]
    crops = [arrays(made.random_crop(size, seed)) for made in (slices(array), streamed(array))]
    for row, crop, other in zip(array, *crops, strict=True):
        same(crop, other)
        assert crop.shape == tuple(out)
        windows = sliding_window_view(row, out).reshape(-1, *out)
        assert any(
            np.array_equal(crop.astype(np.complex128), window.astype(np.complex128))
            for window in windows
        )


def test_crops_are_those_of_tf_image_with_uniform_positions():
    image = numbered(6, 7, 3)
    assert tf.image.random_crop(image, (2, 4, 3)).shape == (2, 4, 3)
    dataset = tfy.Dataset.from_tensors(image).repeat(6000).random_crop((2, 4, 3), seed=1)
    places = collections.Counter(
        divmod(int(crop[0, 0, 0]) // 3, 7) for crop in dataset.as_numpy_iterator()
    )
    assert set(places) == {(row, column) for row in range(5) for column in range(4)}
    assert all(abs(count - 300) < 4 * 17 for count in places.values())  # four standard deviations


def test_draws_are_the_same_in_every_version():
    rows = slices(np.tile(np.arange(10), (12, 1)))
    crops, flips = rows.random_crop(1, seed=7), rows.flip(0, seed=7)
    assert [int(x[0]) for x in crops] == PINNED_CROPS[0]
    assert [int(x[0]) for x in crops] == PINNED_CROPS[1]
    assert "".join("x" if x[0] else "." for x in flips) == "x...xxxx..xx"
    assert "".join("x" if x[0] else "." for x in flips) == ".x...x......"


PINNED_CROPS = [[1, 2, 3, 3, 3, 4, 2, 7, 6, 5, 1, 5], [9, 9, 7, 9, 9, 2, 3, 3, 5, 7, 9, 8]]


def test_parts_of_an_element_are_cropped_and_flipped_together():
    images = numbered(50, 8, 9, 3, dtype="float32")
    data = {"image": images, "mask": images[..., 0].astype(np.int32), "label": np.arange(50)}
    which = {"image": True, "mask": True}
    dataset = (
        slices(data)
        .random_crop((5, 4), seed=1, which=which)
        .flip(axis=1, seed=2, which=which)
        .flip(0, seed=2, which=which)
    )
    places = set()
    for batch in dataset.batch(16):
        np.testing.assert_array_equal(batch["image"][..., 0], batch["mask"])
        places.update(divmod(int(x) // 3 % 72, 9) for x in batch["mask"].min(axis=(1, 2)))
    assert len(places) > 15
    assert dataset.element_spec == {
        "image": tfy.TensorSpec((5, 4, 3), "float32"),
        "mask": tfy.TensorSpec((5, 4), "int32"),
        "label": tfy.TensorSpec((), "int64"),
    }


def test_structures_are_kept():
    pairs = slices(Pair(np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 4), bool)))
    for made in (pairs.random_crop((2, 2)), pairs.flip(0), pairs.pad_to((5, None))):
        assert type(next(iter(made))) is Pair


def test_flips_along_different_axes_with_one_seed_are_independent():
    corners = (
        slices(np.tile(np.array([[1, 2], [3, 4]]), (4000, 1, 1))).flip(0, seed=42).flip(1, seed=42)
    )
    counts = collections.Counter(int(x[0, 0]) for x in corners)
    assert all(
        abs(counts[corner] - 1000) < 4 * 28 for corner in (1, 2, 3, 4)
    )  # four standard deviations


def test_flips_happen_with_the_given_probability():
    rows = slices(np.tile(np.arange(2), (10_000, 1)))
    for probability, expected in ((0, 0), (0.2, 2000), (1, 10_000)):
        count = sum(int(x[0]) for x in rows.flip(0, probability, seed=3))
        assert abs(count - expected) <= (4 * 40 if 0 < probability < 1 else 0)


def pipeline(seed, stream: bool = False):
    """A pipeline with every augmentation."""
    array = numbered(23, 6, 6, 2, dtype="uint16")
    source = streamed(array) if stream else slices(array).shuffle(seed=seed)
    return (
        source.random_crop((4, 4), seed).flip((0, 1), seed=seed).pad_to((5, 4, 2), value=9).batch(3)
    )


@pytest.mark.parametrize("stream", [False, True])
def test_elements_do_not_depend_on_threads_and_differ_in_every_epoch(stream):
    epochs = []
    for threads in (1, 2, 5):
        dataset = pipeline(7, stream).with_options(
            tfy.Options(threads=threads, read_ahead=threads - 1)
        )
        epochs.append([[batch.tolist() for batch in dataset] for _ in range(3)])
    assert epochs[0] == epochs[1] == epochs[2]
    assert epochs[0][0] != epochs[0][1] != epochs[0][2] != epochs[0][0]


def test_an_element_is_the_same_alone_in_a_batch_and_in_a_repetition():
    dataset = pipeline(7)
    rounds = [row.tolist() for batch in dataset.repeat(2) for row in batch]
    singly = (
        slices(numbered(23, 6, 6, 2, dtype="uint16"))
        .shuffle(seed=7)
        .random_crop((4, 4), 7)
        .flip((0, 1), seed=7)
    )
    singly = singly.pad_to((5, 4, 2), value=9)
    assert rounds == [row.tolist() for _ in range(2) for row in singly]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("seed", [None, 7])
def test_it_resumes_at_every_position_with_drawn_seeds_too(stream, seed):
    whole = pipeline(seed, stream)
    iterator = iter(whole)
    states, batches = [iterator.state_dict()], []
    for batch in iterator:
        batches.append(batch.tolist())
        states.append(iterator.state_dict())
    for position, state in enumerate(states):
        resumed = iter(pipeline(seed, stream))
        resumed.load_state_dict(state)
        assert [batch.tolist() for batch in resumed] == batches[position:]


def test_pickled_plans_draw_alike():
    dataset = pipeline(7)
    assert [x.tolist() for x in pickle.loads(pickle.dumps(dataset))] == [
        x.tolist() for x in pipeline(7)
    ]


def test_a_cache_keeps_the_first_draws():
    dataset = slices(numbered(20, 9)).random_crop(3, seed=1).cache()
    assert [x.tolist() for x in dataset] == [x.tolist() for x in dataset]


def test_inside_tf_data_each_pass_is_the_next_epoch():
    ours, theirs = pipeline(7), pipeline(7).with_format("tensorflow").to_tf_data()
    assert theirs.element_spec == tf.TensorSpec((None, 5, 4, 2), tf.uint16)
    for _ in range(2):
        for a, b in zip(ours, theirs, strict=True):
            same(b, a)


def test_elements_of_many_shapes_can_be_batched_after_padding_or_cropping():
    def sentences():
        for length in (5, 2, 7):
            yield np.arange(length, dtype=np.int32)

    ragged = tfy.Dataset.from_generator(
        sentences, output_signature=tfy.TensorSpec((None,), "int32")
    )
    (padded,) = arrays(ragged.pad_to(7, value=-1).batch(3))
    assert padded.tolist() == [
        [0, 1, 2, 3, 4, -1, -1],
        [0, 1, -1, -1, -1, -1, -1],
        [0, 1, 2, 3, 4, 5, 6],
    ]
    (cropped,) = arrays(ragged.random_crop(2, seed=1).batch(3))
    assert cropped.shape == (3, 2)
    assert (np.diff(cropped) == 1).all()


def test_an_element_that_does_not_fit_is_an_error_and_the_next_one_follows():
    ragged = tfy.Dataset.from_generator(
        lambda: iter([np.zeros(3), np.zeros(1), np.zeros(4)]),
        output_signature=tfy.TensorSpec((None,), "float64"),
    ).with_format("numpy")
    cropped = iter(ragged.random_crop(2))
    assert next(cropped).shape == (2,)
    with pytest.raises(
        errors.InvalidArgumentError,
        match=r"random_crop: element 1: component 0, of shape \[1\]: it is smaller than the "
        r"crop, \[2\]",
    ):
        next(cropped)
    assert next(cropped).shape == (2,)
    padded = iter(ragged.pad_to([3]))
    assert next(padded).shape == next(padded).shape == (3,)
    with pytest.raises(
        errors.InvalidArgumentError,
        match=r"pad_to: element 2: component 0, of shape \[4\]: it is larger",
    ):
        next(padded)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda ds: ds.random_crop((5, 3)),
            errors.InvalidArgumentError,
            r"component 0 \(uint8\[4, 6, 3\]\): it is smaller than the crop",
        ),
        (
            lambda ds: ds.random_crop((2, 2)),
            errors.InvalidArgumentError,
            r"component 1 \(int64\[\]\): it has fewer dimensions",
        ),
        (
            lambda ds: ds.random_crop((0, 2)),
            errors.InvalidArgumentError,
            "size has to be at least 1, not 0",
        ),
        (lambda ds: ds.random_crop(()), errors.InvalidArgumentError, "at least 1"),
        (
            lambda ds: ds.random_crop((1.5,)),
            errors.InvalidTypeError,
            "size has to be a whole number",
        ),
        (lambda ds: ds.random_crop(None), errors.InvalidTypeError, "a length for each dimension"),
        (
            lambda ds: ds.random_crop((2,), seed="a"),
            errors.InvalidTypeError,
            "seed has to be a whole number",
        ),
        (
            lambda ds: ds.random_crop((2,), which=(True,)),
            errors.InvalidArgumentError,
            "does not nest like the elements",
        ),
        (
            lambda ds: ds.flip(3, which=(True, False)),
            errors.InvalidArgumentError,
            "it has 3 dimensions, none of them 3",
        ),
        (lambda ds: ds.flip(0), errors.InvalidArgumentError, r"component 1 \(int64\[\]\)"),
        (
            lambda ds: ds.flip((0, -3), which=(True, False)),
            errors.InvalidArgumentError,
            "axis -3 is named twice",
        ),
        (lambda ds: ds.flip((), which=(True, False)), errors.InvalidArgumentError, "no axis"),
        (
            lambda ds: ds.flip("x", which=(True, False)),
            errors.InvalidTypeError,
            "axis has to be a whole number",
        ),
        (
            lambda ds: ds.flip(0, 1.5, which=(True, False)),
            errors.InvalidArgumentError,
            "at least 0 and at most 1, not 1.5",
        ),
        (
            lambda ds: ds.flip(0, float("nan"), which=(True, False)),
            errors.InvalidArgumentError,
            "not NaN",
        ),
        (
            lambda ds: ds.flip(0, "often", which=(True, False)),
            errors.InvalidTypeError,
            "probability has to be a number",
        ),
        (
            lambda ds: ds.pad_to((4, 5, 3), which=(True, False)),
            errors.InvalidArgumentError,
            "it is larger than the shape to pad to",
        ),
        (
            lambda ds: ds.pad_to((9, 9), which=(True, False)),
            errors.InvalidArgumentError,
            "it has 3 dimensions, the shape to pad to",
        ),
        (
            lambda ds: ds.pad_to((9, 9, 3), value=256, which=(True, False)),
            errors.ValueOverflowError,
            "256",
        ),
        (
            lambda ds: ds.pad_to((9, 9, 3), value=0.5, which=(True, False)),
            errors.ValueOverflowError,
            "0.5",
        ),
        (
            lambda ds: ds.pad_to((9, 9, 3), value=1j, which=(True, False)),
            errors.InvalidTypeError,
            "complex128 -> uint8",
        ),
        (
            lambda ds: ds.pad_to((9, 9, 3), value=[1], which=(True, False)),
            errors.InvalidArgumentError,
            "value has to be a scalar",
        ),
        (
            lambda ds: ds.pad_to((9, -2, 3), which=(True, False)),
            errors.InvalidArgumentError,
            "shape has to be at least 0, not -2",
        ),
    ],
)
def test_impossible_arguments_are_refused_when_the_stage_is_made(call, error, message):
    dataset = slices((np.zeros((2, 4, 6, 3), np.uint8), np.arange(2)))
    with pytest.raises(error, match=message):
        call(dataset)


def test_parts_of_different_sizes_have_no_common_place():
    dataset = slices((np.zeros((2, 4, 6)), np.zeros((2, 4, 8))))
    with pytest.raises(
        errors.InvalidArgumentError,
        match="components 0 and 1 are cropped at the same place, but their dimensions 1 differ: "
        "6 and 8",
    ):
        dataset.random_crop((2, 2))
    assert dataset.random_crop((2, None)).element_spec[1].shape == (2, 8)


def test_a_state_of_another_augmentation_is_refused():
    state = iter(pipeline(7)).state_dict()
    with pytest.raises(errors.InvalidArgumentError, match="plan"):
        iter(pipeline(8)).load_state_dict(state)
