"""Sources of datasets, and elements in each format: values, dtypes, and visibility of writes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from tensorferry import errors

from tests.support.arrays import NAMES, at_offset, freeze, np_dtype, same

GRID = np.arange(24, dtype=np.int32).reshape(6, 4)


class HasArray:
    """Like a pandas Series: convertible to an array."""

    def __init__(self, array) -> None:
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype=dtype)


class HasDlpack:
    def __init__(self, array) -> None:
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def packed_field() -> np.ndarray:
    records = np.zeros(6, np.dtype([("a", np.uint8), ("b", np.int32, 4)]))
    records["b"] = GRID
    return records["b"]


LAYOUTS = {
    "an array": lambda: GRID,
    "Fortran order": lambda: np.asfortranarray(GRID),
    "transposed": lambda: np.ascontiguousarray(GRID.T).T,
    "strided": lambda: np.repeat(GRID, 2, axis=1)[:, ::2],
    "reversed": lambda: GRID[::-1].copy()[::-1],
    "big-endian": lambda: GRID.astype(">i4"),
    "unaligned": lambda: at_offset(GRID, 4),
    "a packed field": packed_field,
    "has __array__": lambda: HasArray(GRID),
    "has __dlpack__": lambda: HasDlpack(GRID.copy()),
    "a tensor": lambda: tfy.tensor(GRID),
    "a tensor of TensorFlow's": lambda: tf.constant(GRID),
    "a variable": lambda: tf.Variable(GRID),
    "a list of arrays": lambda: list(GRID),
}


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_every_source_has_the_same_rows(name) -> None:
    dataset = tfy.Dataset.from_tensor_slices(LAYOUTS[name]())
    assert dataset.element_spec == tf.TensorSpec((4,), tf.int32)
    same(np.stack(list(dataset.as_numpy_iterator())), GRID)
    same(next(dataset.batch(6).as_numpy_iterator()), GRID)
    same(next(tfy.Dataset.from_tensors(LAYOUTS[name]()).as_numpy_iterator()), GRID)


def test_broadcast_sources_are_read() -> None:
    same(
        next(
            tfy.Dataset.from_tensor_slices(np.broadcast_to(GRID[0], (6, 4)))
            .batch(6)
            .as_numpy_iterator()
        ),
        GRID[[0] * 6],
    )


def test_tensors_of_frameworks_are_sources(torch, jax) -> None:
    for value in (torch.tensor(GRID), jax.numpy.asarray(GRID)):
        same(next(tfy.Dataset.from_tensor_slices(value).batch(6).as_numpy_iterator()), GRID)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_memory_mapped_arrays_are_sources(tmp_path, mode) -> None:
    np.save(tmp_path / "rows.npy", GRID)
    dataset = (
        tfy.Dataset.from_tensor_slices(np.load(tmp_path / "rows.npy", mmap_mode=mode))
        .shuffle(seed=1)
        .batch(6)
    )
    same(np.sort(next(dataset.as_numpy_iterator()), axis=0), GRID)


@pytest.mark.parametrize(
    "value",
    [np.array([object()]), np.array(["2020"], "M8[Y]"), [["a"]]],
)
def test_values_without_numbers_are_refused_with_the_way_out(value) -> None:
    for make in (tfy.Dataset.from_tensor_slices, tfy.Dataset.from_tensors):
        with pytest.raises(errors.InvalidArgumentError, match=r"unique\(return_inverse=True\)"):
            make(value)


def test_a_masked_array_is_refused_with_the_way_out() -> None:
    with pytest.raises(errors.InvalidTypeError, match="filled"):
        tfy.Dataset.from_tensor_slices(np.ma.masked_array([1, 2], [True, False]))


WAYS = {
    "batch": lambda dataset: dataset.batch(3),
    "rows": lambda dataset: dataset,
    "shuffle": lambda dataset: dataset.shuffle(seed=1).batch(3),
    "prefetch": lambda dataset: dataset.batch(3).prefetch(2),
    "window": lambda dataset: dataset.window(3).flat_map(lambda window: window.batch(3)),
    "cache": lambda dataset: dataset.cache().batch(3),
    "map": lambda dataset: dataset.map(lambda row: row).batch(3),
    "unbatch": lambda dataset: dataset.batch(3).unbatch(),
}


@pytest.mark.parametrize("format", ["numpy", "tensorferry", "tensorflow"])
@pytest.mark.parametrize("name", sorted(WAYS))
def test_returned_elements_never_change(name, format) -> None:
    array = tfy.empty((6, 16), np.int32)  # aligned, so only the sharing rule prevents sharing
    array[:] = np.arange(96).reshape(6, 16)
    elements, before = [], []
    for element in WAYS[name](tfy.Dataset.from_tensor_slices(array).with_format(format)):
        elements.append(element)
        before.append(np.array(element))
        array += 1000
    array[:] = -1
    for element, was in zip(elements, before, strict=True):
        same(element, was)


def test_elements_in_tf_data_never_change() -> None:
    array = tfy.empty((6, 16), np.int32)
    array[:] = 7
    elements = list(tfy.Dataset.from_tensor_slices(array).batch(3).to_tf_data())
    array[:] = -1
    assert all((element.numpy() == 7).all() for element in elements)


FORMATS = ["numpy", "tensorferry", "tensorflow", "torch", "jax"]


def as_numpy(element) -> np.ndarray:
    """The values of a framework's tensor; bfloat16 by its bits where NumPy does not know it."""
    if type(element).__module__ == "torch" and str(element.dtype) == "torch.bfloat16":
        import torch

        return element.view(torch.int16).numpy().view(np_dtype("bfloat16"))
    return element.numpy() if isinstance(element, tfy.Tensor) else np.asarray(element)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("format", FORMATS)
def test_every_dtype_in_every_format(request, format, name) -> None:
    if format in ("torch", "jax"):
        request.getfixturevalue(format)
    values = freeze(np.arange(6).astype(np_dtype(name)))
    dataset = tfy.Dataset.from_tensor_slices(values).batch(6).with_format(format)
    (element,) = dataset
    # Unless jax_enable_x64 is set, JAX has no 64-bit dtypes.
    known = (
        {"int64": "int32", "uint64": "uint32", "float64": "float32", "complex128": "complex64"}
        if format == "jax"
        else {}
    )
    same(as_numpy(element), values.astype(np_dtype(known.get(name, name))))


@pytest.mark.parametrize(
    ("name", "value"), [("int64", 2**40), ("uint64", 2**32), ("float64", 1e300)]
)
def test_values_beyond_the_dtypes_of_jax_are_errors(jax, name, value) -> None:
    dataset = tfy.Dataset.from_tensor_slices(np.array([1, value], name)).batch(2).with_format("jax")
    with pytest.raises(OverflowError, match=name):
        list(dataset)


def test_only_torch_tensors_are_writable(torch) -> None:
    array = freeze(np.arange(64, dtype=np.int32))
    dataset = tfy.Dataset.from_tensor_slices(array).batch(64)
    (numpy,), (ours,), (theirs,) = (
        dataset.with_format(format) for format in ("numpy", "tensorferry", "torch")
    )
    assert not numpy.flags.writeable
    assert not np.asarray(ours).flags.writeable
    theirs += 1
    for copies in (dataset.repeat(2), dataset.cache(), dataset.prefetch(1)):
        for element in copies.with_format("torch"):
            same(element.numpy(), array)
            element[:] = -1
    same(array, np.arange(64, dtype=np.int32))
