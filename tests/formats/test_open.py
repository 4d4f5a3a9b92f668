"""tensorferry.open in every mode, against NumPy's reading of the same files."""

from __future__ import annotations

import os
import pathlib
import pickle

import numpy as np
import pytest
import tensorferry as tfy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorferry import errors

from tests.support.arrays import NAMES, address, np_dtype, same
from tests.support.openers import openers
from tests.support.processes import run_python

MODES = ["map", "read", "direct", "auto"]


def values(shape, name="int64", order="C", byte_order="=") -> np.ndarray:
    array = (np.arange(int(np.prod(shape))) % 120).reshape(shape)
    if name == "bool":
        array = array % 2
    return np.asarray(
        array.astype(np_dtype(name)), np_dtype(name).newbyteorder(byte_order), order=order
    )


@openers(*MODES)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "bfloat16"])
def test_every_dtype_order_and_shape_reads_as_numpy_reads_it(tmp_path, name, opener):
    for shape in [(), (0,), (0, 3), (3, 0), (7,), (5, 3, 2)]:
        for order, byte_order in [("C", "<"), ("F", "<"), ("C", ">"), ("F", ">")]:
            expected = values(shape, name, order, byte_order)
            np.save(tmp_path / "a.npy", expected)
            array = opener.open(tmp_path / "a.npy")
            assert (array.shape, array.dtype, array.ndim, array.nbytes) == (
                shape,
                np_dtype(name),
                len(shape),
                expected.nbytes,
            )
            same(np.asarray(array), expected)
            same(tfy.tensor(array), expected)
            if shape:
                same(array[1:4], expected[1:4])
                same(array[::-2], expected[::-2])
            if shape and shape[0]:
                same(array[-1], expected[-1])
                same(array[[2, 0, 2]], expected[[2, 0, 2]])


ROW = st.integers(-9, 8)
INDEX = st.one_of(
    ROW,
    st.slices(9),
    st.lists(ROW, max_size=12),
    st.lists(st.booleans(), min_size=9, max_size=9).map(np.array),
    st.lists(ROW, min_size=1, max_size=12).map(np.array),
    st.just(Ellipsis),
    st.none(),
)
REST = st.one_of(st.integers(-3, 2), st.slices(3), st.just(Ellipsis), st.none())


@pytest.fixture
def nine(tmp_path, opener):
    """Nine rows, in one file and in shards."""
    expected = values((9, 3))
    for number, part in enumerate(np.array_split(expected, [4, 4])):
        np.save(tmp_path / f"{number}.npy", np.asarray(part, order="F" if number else "C"))
    np.save(tmp_path / "whole.npy", expected)
    arrays = [opener.open(tmp_path / path) for path in ("whole.npy", "[0-9].npy")]
    return arrays, expected


@openers("map", "read")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(first=INDEX, rest=st.lists(REST, max_size=2))
def test_indexing_is_that_of_numpy(nine, first, rest):
    arrays, expected = nine
    ellipses = [part for part in [first, *rest] if part is Ellipsis]
    consumed = [part for part in [first, *rest] if part is not None and part is not Ellipsis]
    if len(ellipses) > 1 or len(consumed) > 2:
        return
    if isinstance(first, list | np.ndarray) and any(
        isinstance(part, int) or part is None for part in rest
    ):
        return  # NumPy moves the dimensions
    index = (first, *rest)
    if isinstance(first, list):
        index = (np.array(first, np.intp), *rest)
    for array in arrays:
        same(array[(first, *rest)], expected[index])
        if not rest:
            same(array[first], expected[index])


@openers("auto", "read")
def test_invalid_indices_are_refused(tmp_path, opener):
    np.save(tmp_path / "a.npy", values((4, 3)))
    array = opener.open(tmp_path / "a.npy")
    for index, code in [
        (4, "index_out_of_range"),
        (-5, "index_out_of_range"),
        ([0, 4], "index_out_of_range"),
        (np.array([True, False]), "index_out_of_range"),
        ((0, 3), "index_out_of_range"),
        ((0, 0, 0), "too_many_indices"),
        (1.0, "not_an_index"),
        ("x", "not_an_index"),
        (True, "not_an_index"),
        ([[0, 1]], "not_an_index"),
        ([0.5], "not_an_index"),
    ]:
        with pytest.raises(errors.Error) as raised:
            array[index]
        assert raised.value.code == code, index
    np.save(tmp_path / "scalar.npy", np.array(5))
    scalar = opener.open(tmp_path / "scalar.npy")
    same(scalar[()], np.array(5))
    same(scalar[...], np.array(5))
    for use in (lambda: scalar[0], lambda: len(scalar), lambda: iter(scalar)):
        with pytest.raises((TypeError, IndexError)):
            use()


@openers("map", "read")
def test_iteration_yields_rows_in_order(tmp_path, opener):
    expected = values((70_000, 40), "float32")  # more than is read at a time
    np.save(tmp_path / "a.npy", expected)
    array = opener.open(tmp_path / "a.npy")
    rows = list(array)
    assert len(rows) == len(array) == 70_000
    for at in [0, 1, 52_427, 52_428, 52_429, 69_999]:
        same(rows[at], expected[at])
    assert list(opener.open(tmp_path / "a.npy")[:0]) == []


def test_mapped_arrays_are_shared_and_read_arrays_are_not(tmp_path):
    expected = values((64, 16), "float32")
    np.save(tmp_path / "a.npy", expected)
    mapped, read = (tfy.open(tmp_path / "a.npy", mode=mode) for mode in ["map", "read"])
    where = address(mapped.numpy())
    assert where % 64 == 0
    assert not mapped.numpy().flags.writeable
    assert (
        address(np.asarray(mapped))
        == address(mapped[:].numpy())
        == address(tfy.tensor(mapped, copy=False))
        == where
    )
    assert address(mapped[3:]) == where + 3 * 64
    assert address(tfy.convert_to_tensor(mapped)) == where
    with pytest.raises(errors.NotShareableError, match='mode="map"'):
        read.numpy()
    for convert in (tfy.tensor, tfy.convert_to_tensor, tfy.Array.__array__):
        with pytest.raises(BufferError):
            convert(read, copy=False)
        same(convert(read), expected)
    np.save(tmp_path / "b.npy", expected)
    with pytest.raises(errors.NotShareableError, match="several files"):
        tfy.open([tmp_path / "a.npy", tmp_path / "b.npy"], mode="map").numpy()


@openers(*MODES)
def test_shards_are_sorted_by_number_or_taken_as_listed(tmp_path, opener):
    parts = {number: values((number, 2)) + number for number in (1, 2, 10)}
    for number, part in parts.items():
        np.save(tmp_path / f"part-{number}.npy", part)
    counted = np.concatenate([parts[1], parts[2], parts[10]])
    array = opener.open(str(tmp_path / "part-*.npy"))
    same(np.asarray(array), counted)
    names = [os.path.basename(path) for path in array.paths]
    assert names == ["part-1.npy", "part-2.npy", "part-10.npy"]
    same(array[[12, 0, 2, 3]], counted[[12, 0, 2, 3]])
    listed = opener.open([tmp_path / "part-10.npy", str(tmp_path / "part-[12].npy")])
    same(np.asarray(listed), np.concatenate([parts[10], parts[1], parts[2]]))
    np.save(tmp_path / "part-3.npy", values((3, 3)))
    with pytest.raises(
        errors.InvalidArgumentError,
        match=r"part-1\.npy holds int64\[1, 2\].*part-3\.npy holds int64\[3, 3\]",
    ):
        opener.open(tmp_path / "part-*.npy")
    np.save(tmp_path / "part-3.npy", values((3, 2), "int32"))
    with pytest.raises(errors.InvalidArgumentError, match=r"part-3\.npy holds int32"):
        opener.open(tmp_path / "part-*.npy")


def test_more_shards_than_a_process_may_have_open_files(tmp_path):
    code = """
        import resource, sys, numpy as np, tensorferry as tfy
        folder = sys.argv[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
        for number in range(1000):
            np.save(f"{folder}/{number}.npy", np.array([number]))
        for mode in ("map", "read"):
            array = tfy.open(f"{folder}/*.npy", mode=mode)
            rows = np.random.default_rng(0).permutation(1000)
            assert np.array_equal(array[rows].numpy(), rows)
    """
    run_python(code, str(tmp_path))


@pytest.mark.parametrize("mode", ["map", "read"])
def test_offsets_past_four_gib(tmp_path, mode):
    path = tmp_path / "big.npy"
    rows, row = 5 << 20, 1024
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (rows, row)}
        )
        end = file.tell() + rows * row
        file.truncate(end)
        file.seek(end - 2 * row)
        file.write(b"\7" * 2 * row)
    array = tfy.open(path, mode=mode)
    assert array.nbytes == rows * row
    same(array[-3:], np.repeat(np.array([0, 7, 7], np.uint8), row).reshape(3, row))
    same(array[[rows - 1, 0]], np.repeat(np.array([7, 0], np.uint8), row).reshape(2, row))
    raw = tfy.open_raw(path, "uint8", (2, row), offset=end - 2 * row, mode=mode)
    same(np.asarray(raw), np.full((2, row), 7, np.uint8))


def test_auto_maps_files_that_fit_in_memory_and_reads_the_rest(tmp_path):
    np.save(tmp_path / "small.npy", values((10,)))
    assert tfy.open(tmp_path / "small.npy").mode == "map"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with open(tmp_path / "large.bin", "wb") as file:
        file.truncate(2 * memory)
    large = tfy.open_raw(tmp_path / "large.bin", "uint8", (-1, 4096))
    assert large.mode != "map"
    same(large[-1], np.zeros(4096, np.uint8))
    os.truncate(tmp_path / "large.bin", 0)


def test_a_file_that_changes_after_opening_is_an_error(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, values((1000, 100), "float32"))
    for mode in ["read", "direct"]:
        array = tfy.open(path, mode=mode)
        os.truncate(path, 128 + 300_000)
        with pytest.raises(
            errors.FileFormatError,
            match=r"a\.npy: at byte 320128: 400 bytes were there .* 0 are left",
        ) as raised:
            array[800]
        assert raised.value.code == "short_read"
        dataset = tfy.Dataset.from_tensor_slices(array).batch(500).with_format("numpy")
        with pytest.raises(errors.FileFormatError, match=r"a\.npy"):
            list(dataset)
        np.save(path, values((1000, 100), "float32"))
        array = tfy.open(path, mode=mode)
        os.utime(path, ns=(1, 1))
        with pytest.raises(
            errors.FileFormatError, match="written to since it was opened"
        ) as raised:
            array[0]
        assert raised.value.code == "file_changed"
        os.unlink(path)
        np.save(path, values((1000, 100), "float32"))


def test_a_file_that_is_replaced_by_renaming_stays_as_it_was_opened(tmp_path):
    path = tmp_path / "a.npy"
    old = values((1000,))
    for mode in ["map", "read", "direct"]:
        tfy.save_npy(path, old)
        array = tfy.open(path, mode=mode)
        tfy.save_npy(path, old + 1)
        same(np.asarray(array), old)
        os.unlink(path)
        same(array[-1], old[-1])


@openers("map", "read")
def test_conversions_check_every_value_and_name_the_first_misfit(tmp_path, tf, opener):
    array = values((40_000, 30))  # more than is converted at a time
    np.save(tmp_path / "a.npy", array)
    opened = opener.open(tmp_path / "a.npy")
    same(tfy.tensor(opened, "uint8"), array.astype(np.uint8))
    converted = tfy.convert_to_tensor(opened, tf.int16)
    assert converted.dtype == tf.int16
    same(converted.numpy(), array.astype(np.int16))
    assert tfy.can_convert(opened, "uint8")
    assert tfy.smallest_dtype(opened) == np.uint8
    array[30_000, 7] = 300
    array[39_999, 29] = -1
    np.save(tmp_path / "a.npy", array)
    opened = opener.open(tmp_path / "a.npy")
    file = "" if opened.mode == "map" else r"a\.npy: "
    with pytest.raises(
        OverflowError,
        match=file + r"int64 -> uint8: 2 of 1200000 values do not fit \(first: \[30000, 7\] = 300",
    ):
        tfy.tensor(opened, "uint8")
    same(tfy.tensor(opened, "uint8", casting="wrap"), array.astype(np.uint8))


@openers("map", "read")
def test_datasets_of_files_equal_those_of_the_arrays(tmp_path, opener):
    x, y = values((50, 3), "float32"), values((50,))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    opened = {name: opener.open(tmp_path / f"{name}.npy") for name in "xy"}
    writable = np.array(y)
    pairs = [
        (tfy.Dataset.from_tensor_slices(opened), tfy.Dataset.from_tensor_slices({"x": x, "y": y})),
        (
            tfy.Dataset.from_tensor_slices((opened["x"], writable)),
            tfy.Dataset.from_tensor_slices((x, y)),
        ),
        (opener.from_files(tmp_path / "x.npy"), tfy.Dataset.from_tensor_slices(x)),
    ]
    for files, memory in pairs:
        for plan in (
            lambda dataset: dataset,
            lambda dataset: dataset.shuffle(50, seed=3, block=opener.block).repeat(2).batch(7),
            lambda dataset: dataset.window(4, 3, drop_remainder=True).flat_map(
                lambda *parts: zipped(parts).batch(4)
            ),
        ):
            ours, theirs = (list(plan(dataset).as_numpy_iterator()) for dataset in (files, memory))
            assert len(ours) == len(theirs)
            for a, b in zip(ours, theirs, strict=True):
                for left, right in zip(leaves(a), leaves(b), strict=True):
                    same(left, right)
    batch = next(iter(pairs[1][0].batch(50).with_format("numpy")))
    writable[:] = 0
    same(batch[1], y)


def zipped(parts):
    if len(parts) > 1:
        return tfy.Dataset.zip(parts)
    return tfy.Dataset.zip(parts[0]) if isinstance(parts[0], dict) else parts[0]


def leaves(element):
    if isinstance(element, dict):
        return [part for key in sorted(element) for part in leaves(element[key])]
    return (
        [part for inner in element for part in leaves(inner)]
        if isinstance(element, tuple)
        else [element]
    )


def test_pickles_hold_names_and_not_elements(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    array = values((1000, 10))
    np.save("a.npy", array)
    np.savez("b.npz", x=array)
    array.tofile("c.bin")
    opened = [
        tfy.open("a.npy", mode="read"),
        tfy.open("b.npz")["x"],
        tfy.open_raw("c.bin", "int64", (-1, 10)),
    ]
    cast = [array.astype("uint8").astype("float32") for array in opened]
    dataset = tfy.Dataset.from_tensor_slices(tuple(opened)).batch(10)
    names = tfy.open("b.npz")
    whole = tfy.Dataset.from_tensor_slices(names)
    pickled = [pickle.dumps(value) for value in [*opened, *cast, dataset, names, whole]]
    assert all(len(data) < 2000 for data in pickled)
    monkeypatch.chdir("/")
    *arrays, again, mapping, again_whole = [pickle.loads(data) for data in pickled]
    for one in arrays:
        same(np.asarray(one), array.astype(one.dtype))
    assert [one.dtype for one in arrays] == [np.int64] * 3 + [np.float32] * 3
    assert arrays[0].mode == "read"
    assert list(mapping) == ["x"]
    same(next(iter(again.with_format("numpy")))[0], array[:10])
    same(next(iter(again_whole.with_format("numpy")))["x"], array[0])
    np.save(tmp_path / "a.npy", array[:10])
    with pytest.raises(errors.FileFormatError, match=r"a\.npy: held int64 of shape \(1000, 10\)"):
        pickle.loads(pickled[0])


@openers("map", "read")
def test_an_array_in_another_dtype_is_saved_and_streamed_without_being_loaded(tmp_path, opener):
    array = values((40_000, 30))
    array[30_000, 7] = 300
    np.save(tmp_path / "p-1.npy", array[:10_000])
    np.save(tmp_path / "p-2.npy", array[10_000:])
    opened = opener.open(tmp_path / "p-*.npy")
    wide = opened.astype("float64")
    assert (wide.dtype, wide.shape, wide.mode) == (np.float64, array.shape, opened.mode)
    tfy.save(tmp_path / "wide.npy", wide)
    same(np.load(tmp_path / "wide.npy"), array.astype(np.float64))
    same(np.asarray(wide), array.astype(np.float64))
    same(wide[[5, 30_000, 4]], array[[5, 30_000, 4]].astype(np.float64))
    batch = next(iter(tfy.Dataset.from_tensor_slices(wide).batch(3).with_format("numpy")))
    same(batch, array[:3].astype(np.float64))
    narrow = opened.astype(np.uint8)
    same(narrow[:30_000], array[:30_000].astype(np.uint8))
    says = r"p-2\.npy: row 20000: int64 -> uint8: not all values fit \(first: \[30000, 7\] = 300"
    with pytest.raises(OverflowError, match=says):
        tfy.save(tmp_path / "narrow.npy", narrow)
    assert not (tmp_path / "narrow.npy").exists()
    tfy.save(tmp_path / "narrow.npy", opened.astype("uint8", "saturate"))
    same(np.load(tmp_path / "narrow.npy"), array.clip(0, 255).astype(np.uint8))
    with pytest.raises(TypeError):
        opened.astype("complex64").astype("int8")


def test_meaningless_arguments_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", values((4,)))
    (tmp_path / "b.xyz").write_bytes(b"????????????????????????")
    for arguments, code in [
        ((tmp_path / "a.npy", "jpeg"), "argument"),
        ((tmp_path / "a.npy", None, "mmap"), "argument"),
        (([],), "argument"),
        ((tmp_path / "b.xyz",), "argument"),
        ((tmp_path / "a.npy", "raw"), "argument"),
        ((5,), "wrong_type"),
        ((None,), "wrong_type"),
    ]:
        with pytest.raises(errors.Error) as raised:
            tfy.open(*arguments)
        assert raised.value.code == code, arguments
    with pytest.raises(FileNotFoundError) as missing:
        tfy.open(tmp_path / "missing.npy")
    assert missing.value.filename.endswith("missing.npy")
    with pytest.raises(FileNotFoundError, match="no file matches"):
        tfy.open(tmp_path / "none-*.npy")
    with pytest.raises(IsADirectoryError):
        tfy.open(tmp_path)
    with pytest.raises(TypeError):
        tfy.open([5])


def test_paths_of_every_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("päth [1].npy", values((3,)))
    (tmp_path / os.fsdecode(b"\xff.npy")).write_bytes((tmp_path / "päth [1].npy").read_bytes())
    for path in [
        "päth [1].npy",
        pathlib.Path("päth [1].npy"),
        os.fsencode("päth [1].npy"),
        b"\xff.npy",
        [b"\xff.npy"],
    ]:
        same(tfy.open(path)[:], values((3,)))


def test_attributes_and_repr_of_an_array(tmp_path):
    np.save(tmp_path / "a.npy", values((4, 2), "float32"))
    array = tfy.open(tmp_path / "a.npy", mode="map")
    assert (
        repr(array)
        == f'<tensorferry.Array shape=(4, 2) dtype=float32 mode=map, "{tmp_path / "a.npy"}">'
    )
    assert (array.size, array.itemsize) == (8, 4)
    assert array.paths == [tmp_path / "a.npy"]


@pytest.mark.slow
def test_ctrl_c_ends_a_long_read(tmp_path):
    code = """
        import signal, sys, threading, os, numpy as np, tensorferry as tfy

        with open(sys.argv[1], "wb") as file:
            file.truncate(64 << 30)
        array = tfy.open_raw(sys.argv[1], "uint8", (-1, 1 << 20), mode="read")
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            tfy.save(sys.argv[1] + ".npy", array)
        except KeyboardInterrupt:
            assert not os.path.exists(sys.argv[1] + ".npy")
            assert sorted(os.listdir(os.path.dirname(sys.argv[1]))) == [
                os.path.basename(sys.argv[1])
            ]
            print("ended")
    """
    assert run_python(code, str(tmp_path / "zeros.bin")) == "ended\n"


def test_streaming_a_file_takes_little_memory(tmp_path):
    code = """
        import resource, sys, numpy as np, tensorferry as tfy

        with open(sys.argv[1], "wb") as file:
            file.truncate(1 << 30)
        array = tfy.open_raw(sys.argv[1], "float32", (-1, 256), mode="read")
        dataset = (
            tfy.Dataset.from_tensor_slices(array)
            .shuffle(len(array), seed=1)
            .batch(1024)
            .with_format("numpy")
        )

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

        for _ in zip(range(5), dataset):
            pass
        before = peak()
        rows = sum(len(batch) for batch in dataset)
        tfy.save(sys.argv[1] + ".npy", array)
        assert rows == len(array)
        print((peak() - before) >> 20)
    """
    assert int(run_python(code, str(tmp_path / "zeros.bin"))) < 128
