"""Arrays of h5py, zarr, netCDF4 and similar libraries: read a batch at a time, in order, by one
thread.
"""

from __future__ import annotations

import os
import pickle
import threading

import numpy as np
import pytest
import tensorferry as tfy

from tests.support.arrays import same
from tests.support.processes import run_python

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")
netCDF4 = pytest.importorskip("netCDF4")

ROWS = np.arange(60 * 3, dtype=np.int32).reshape(60, 3)


def stored(kind: str, folder, values=ROWS):
    """The values as an array of a library."""
    path = os.path.join(folder, kind)
    if kind.startswith("h5py"):
        options = {
            "h5py": {},
            "h5py chunks": {"chunks": (7, *values.shape[1:]), "compression": "gzip"},
        }[kind]
        return h5py.File(path, "w").create_dataset("x", data=values, **options)
    if kind == "zarr":
        array = zarr.create_array(
            path, shape=values.shape, dtype=values.dtype, chunks=(7, *values.shape[1:])
        )
        array[...] = values
        return array
    if kind == "netCDF4":
        file = netCDF4.Dataset(path, "w")
        names = [
            file.createDimension(f"d{at}", length).name for at, length in enumerate(values.shape)
        ]
        variable = file.createVariable("x", values.dtype, names)
        variable[...] = values
        return variable
    return ArrayLike(values)


class ArrayLike:
    """The smallest array-like."""

    def __init__(self, values):
        self.values, self.asked = values, []

    @property
    def shape(self):
        return self.values.shape

    @property
    def dtype(self):
        return self.values.dtype

    def __getitem__(self, key):
        assert isinstance(key, slice)
        self.asked.append((key.start, key.stop))
        return self.values[key]

    def __array__(self, dtype=None, copy=None):
        self.asked.append("all")
        return self.values


KINDS = ["h5py", "h5py chunks", "zarr", "netCDF4", "like"]


@pytest.fixture(params=KINDS)
def array(request, tmp_path):
    return stored(request.param, tmp_path)


def rows(dataset) -> np.ndarray:
    return np.concatenate(list(dataset.as_numpy_iterator()))


def test_batches_in_order_shuffled_and_sharded(array):
    dataset = tfy.Dataset.from_tensor_slices(array)
    assert len(dataset) == 60
    same(rows(dataset.batch(7)), ROWS)
    same(np.stack(list(dataset.as_numpy_iterator())), ROWS)
    for seed in range(3):
        memory = tfy.Dataset.from_tensor_slices(ROWS).shuffle(seed=seed).batch(16)
        same(rows(dataset.shuffle(seed=seed).batch(16)), rows(memory))
    parts = [rows(dataset.shuffle(seed=1).shard(3, at).batch(4)) for at in range(3)]
    same(np.sort(np.concatenate(parts), 0), ROWS)
    same(rows(dataset.skip(50).repeat(2).batch(6)), np.concatenate([ROWS[50:]] * 2))


def test_beside_arrays_in_structures(array):
    labels = np.arange(60)
    dataset = (
        tfy.Dataset.from_tensor_slices({"x": array, "y": labels, "again": (array,)})
        .shuffle(seed=4)
        .batch(9)
    )
    for batch in dataset.as_numpy_iterator():
        same(batch["x"], ROWS[batch["y"]])
        same(batch["again"][0], ROWS[batch["y"]])


def test_a_state_resumes_exactly(array):
    dataset = tfy.Dataset.from_tensor_slices(array).shuffle(seed=2).batch(8).with_format("numpy")
    iterator = iter(dataset)
    first = [next(iterator) for _ in range(3)]
    state = iterator.state_dict()
    rest = list(iterator)
    again = iter(dataset)
    again.load_state_dict(state)
    same(np.concatenate(list(again)), np.concatenate(rest))
    same(np.sort(np.concatenate(first + rest), 0), ROWS)


def test_conversions_read_the_whole_array(tf, tmp_path, array):
    same(tfy.tensor(array).numpy(), ROWS)
    same(tfy.tensor(array, "uint8").numpy(), ROWS.astype(np.uint8))
    same(tfy.convert_to_tensor(array, tf.int64).numpy(), ROWS.astype(np.int64))
    assert tfy.value_range(array) == (0, 179)
    assert tfy.smallest_dtype(array) == np.uint8
    assert tfy.can_convert(array, "uint8")
    assert not tfy.can_convert(array, "int8")
    out = np.empty((60, 3))
    tfy.convert_into(array, out)
    same(out, ROWS.astype(float))
    tfy.save(tmp_path / "all.npy", array)
    same(np.load(tmp_path / "all.npy"), ROWS)
    same(next(tfy.Dataset.from_tensors(array).as_numpy_iterator()), ROWS)
    with pytest.raises(tfy.errors.NotShareableError):
        tfy.tensor(array, copy=False)


def test_an_array_like_reaches_tf_data(tf, array):
    dataset = (
        tfy.Dataset.from_tensor_slices(array)
        .shuffle(seed=3, reshuffle_each_iteration=False)
        .batch(8)
    )
    same(np.concatenate(list(dataset.to_tf_data().as_numpy_iterator())), rows(dataset))


def test_rows_are_requested_once_in_order_and_merged():
    array = ArrayLike(np.arange(20_000 * 1000, dtype=np.uint8).reshape(20_000, 1000))
    dataset = tfy.Dataset.from_tensor_slices(array)
    array.asked.clear()
    assert len(list(dataset.batch(5000).as_numpy_iterator())) == 4
    assert array.asked == [(0, 5000), (5000, 10_000), (10_000, 15_000), (15_000, 20_000)]
    array.asked.clear()
    (batch,) = dataset.shuffle(seed=1).take(64).batch(64).as_numpy_iterator()
    asked = list(array.asked)
    assert asked == sorted(asked)
    assert sum(stop - start for start, stop in asked) < 64 * 20  # without the rows between them
    same(
        np.sort(batch[:, 0]),
        np.sort(array.values[:, 0][[*map(int, row_numbers(batch, array.values))]]),
    )
    array.asked.clear()
    next(dataset.repeat().take(3).batch(3).as_numpy_iterator())
    assert array.asked == [(0, 3)]


def row_numbers(batch, values):
    return [np.flatnonzero((values == row).all(1))[0] for row in batch]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["bool", "int8", "uint64", "float16", "float64", ">i4", ">f8"])
def test_array_likes_of_every_dtype(tmp_path, kind, name):
    if kind == "netCDF4" and name in ("bool", "float16", ">i4", ">f8"):
        pytest.skip("netCDF has no such dtype")
    values = (np.arange(40).reshape(20, 2) % 2).astype(name)
    dataset = tfy.Dataset.from_tensor_slices(stored(kind, tmp_path, values))
    assert dataset.with_format("numpy").element_spec == tfy.TensorSpec((2,), values.dtype)
    same(rows(dataset.batch(6)), values)
    same(rows(dataset.cast("float32").batch(6)), values.astype(np.float32))


@pytest.mark.parametrize("dtype", ["int32", np.int32])
def test_a_dtype_may_be_a_name_or_a_type(dtype):
    class Named(ArrayLike):
        def __array__(self, dtype=None, copy=None):
            raise AssertionError("read whole")

    Named.dtype = dtype
    same(rows(tfy.Dataset.from_tensor_slices(Named(ROWS)).batch(7)), ROWS)


def test_an_array_that_changes_its_length_is_an_error(tmp_path):
    file = h5py.File(tmp_path / "x.h5", "w")
    array = file.create_dataset("x", data=ROWS, maxshape=(None, 3), chunks=(5, 3))
    like = ArrayLike(ROWS)
    for value, change in (
        (array, lambda: array.resize(30, 0)),
        (like, lambda: setattr(like, "values", ROWS[:30])),
    ):
        dataset = tfy.Dataset.from_tensor_slices(value).batch(8)
        change()
        with pytest.raises(tfy.errors.Error, match=r"shape was \(60, 3\).*\(30, 3\)"):
            list(dataset.as_numpy_iterator())


def test_the_rows_read_must_have_the_declared_dtype_and_shape():
    class Lies(ArrayLike):
        def __getitem__(self, key):
            return self.values[key][:1]

    with pytest.raises(tfy.errors.Error, match="came back"):
        list(tfy.Dataset.from_tensor_slices(Lies(ROWS)).batch(8).as_numpy_iterator())

    class Fails(ArrayLike):
        def __getitem__(self, key):
            if key.start:
                raise OSError("the disk is gone")
            return self.values[key]

    with pytest.raises(OSError, match="the disk is gone"):
        list(tfy.Dataset.from_tensor_slices(Fails(ROWS)).batch(8).as_numpy_iterator())


def test_missing_values_of_netcdf_are_an_error_that_names_the_variable(tf, tmp_path):
    file = netCDF4.Dataset(tmp_path / "x.nc", "w")
    file.createDimension("d", 8)
    variable = file.createVariable("wind", np.int32, ["d"], fill_value=-1)
    variable[:] = np.arange(8)
    same(rows(tfy.Dataset.from_tensor_slices(variable).batch(3)), np.arange(8, dtype=np.int32))
    same(tfy.tensor(variable).numpy(), np.arange(8, dtype=np.int32))
    variable[5] = np.ma.masked
    one = lambda value: list(tfy.Dataset.from_tensors(value).as_numpy_iterator())  # noqa: E731
    for call in (tfy.tensor, tfy.convert_to_tensor, tfy.value_range, one):
        with pytest.raises(tfy.errors.InvalidTypeError, match=r"'wind'.*missing"):
            call(variable)
    with pytest.raises(tfy.errors.InvalidTypeError, match=r"'wind'.*missing"):
        list(tfy.Dataset.from_tensor_slices(variable).batch(3).as_numpy_iterator())
    variable.set_auto_mask(False)
    same(tfy.tensor(variable).numpy(), np.array([0, 1, 2, 3, 4, -1, 6, 7], np.int32))


def test_scaled_variables_of_netcdf_are_read_as_netcdf_reads_them(tmp_path):
    file = netCDF4.Dataset(tmp_path / "x.nc", "w")
    file.createDimension("d", 8)
    variable = file.createVariable("t", np.int16, ["d"])
    variable.scale_factor, variable.add_offset = 0.5, 10.0
    variable[:] = np.arange(8) / 2
    dataset = tfy.Dataset.from_tensor_slices(variable)
    assert dataset.element_spec.dtype == "float64"
    same(rows(dataset.batch(3)), np.arange(8) / 2)


def test_arrays_of_texts_and_structures_are_refused_by_name(tmp_path):
    file = h5py.File(tmp_path / "x.h5", "w")
    texts = file.create_dataset("names", data=["a", "b"])
    records = file.create_dataset("pairs", data=np.zeros(2, [("a", "i4"), ("b", "f4")]))
    for value in (texts, records):
        with pytest.raises(tfy.errors.InvalidArgumentError, match=value.name):
            tfy.Dataset.from_tensor_slices(value)


def test_scalars_and_arrays_without_rows(tmp_path):
    file = h5py.File(tmp_path / "x.h5", "w")
    assert (
        len(tfy.Dataset.from_tensor_slices(file.create_dataset("none", data=np.empty((0, 3))))) == 0
    )
    scalar = file.create_dataset("scalar", data=7)
    assert tfy.tensor(scalar).numpy() == 7
    assert list(tfy.Dataset.from_tensors(scalar).as_numpy_iterator()) == [7]
    with pytest.raises(tfy.errors.InvalidArgumentError, match="scalar"):
        tfy.Dataset.from_tensor_slices(scalar)
    empty_rows = file.create_dataset("thin", data=np.empty((4, 0)))
    assert rows(tfy.Dataset.from_tensor_slices(empty_rows).batch(3)).shape == (4, 0)


def test_pickling_is_left_to_the_array(tmp_path):
    dataset = tfy.Dataset.from_tensor_slices(stored("zarr", tmp_path)).shuffle(seed=1).batch(8)
    same(rows(pickle.loads(pickle.dumps(dataset))), rows(dataset))
    for kind in ("h5py", "netCDF4"):
        with pytest.raises(tfy.errors.InvalidTypeError, match=f"{kind}.*cannot be pickled"):
            pickle.dumps(tfy.Dataset.from_tensor_slices({"x": stored(kind, tmp_path)}).batch(8))


def test_one_thread_at_a_time_reads():
    inside, most = [0], [0]

    class Counts(ArrayLike):
        def __getitem__(self, key):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            threading.Event().wait(0.001)
            inside[0] -= 1
            return self.values[key]

    dataset = tfy.Dataset.from_tensor_slices(Counts(ROWS)).batch(4).prefetch(4)
    readers = [threading.Thread(target=lambda: list(dataset.as_numpy_iterator())) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert most == [1]


def test_only_the_rows_of_a_batch_are_read(tmp_path):
    """200 MB, of which a batch takes 8 MB."""
    code = """
        import resource, sys, h5py, numpy as np, tensorferry as tfy

        with h5py.File(sys.argv[1], "w") as file:
            file.create_dataset(
                "x", shape=(25_000, 2000), dtype="f4", chunks=(50, 2000), fillvalue=1
            )
        array = h5py.File(sys.argv[1])["x"]
        dataset = (
            tfy.Dataset.from_tensor_slices(array)
            .batch(1000)
            .with_format("numpy")
            .with_options(tfy.Options(read_ahead=0))
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert sum(len(batch) for batch in dataset) == 25_000
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """
    assert int(run_python(code, str(tmp_path / "x.h5"))) < 100
