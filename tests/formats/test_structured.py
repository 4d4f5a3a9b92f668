"""Structured arrays and structured `.npy` files: dicts of their fields, as NumPy has them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tensorferry as tfy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorferry import errors

from tests.support.arrays import same
from tests.support.openers import openers

POINT = np.dtype([("x", ">f4"), ("y", "<i2", (2,))])
RECORD = np.dtype(
    [
        ("id", "<u8"),
        ("flag", "?"),
        (("a title", "vector"), ">f4", (3,)),
        ("name", "U3"),
        ("at", POINT, (2,)),
        ("when", "M8[s]"),
        ("z", "c8"),
        ("none", "f8", (0,)),
    ]
)
NAMES = ["id", "flag", "vector", "name", "at.x", "at.y", "when", "z", "none"]
LEFT_OUT = {"name", "when"}


def filled(shape, dtype=RECORD, seed: int = 0) -> np.ndarray:
    """Random values of every field that holds numbers."""
    random = np.random.default_rng(seed)
    array = np.zeros(shape, dtype)

    def fill(part) -> None:
        for name in part.dtype.names:
            if part.dtype[name].base.names:
                fill(part[name])
            elif part[name].dtype.kind in "biufc":
                values = random.integers(
                    0, 2 if part[name].dtype == bool else 100, part[name].shape
                )
                part[name][...] = values

    fill(array)
    return array


def field(array, name: str):
    for part in name.split("."):
        array = array[part]
    return array


def check(opened, expected: np.ndarray) -> None:
    for name in set(opened) - set(opened.left_out):
        same(np.asarray(opened[name]), np.asarray(field(expected, name)))


@openers("map", "read", "direct", "auto")
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("shape", [(), (0,), (7,), (5, 3), (4, 0)])
def test_each_field_of_a_file_is_an_array(tmp_path, shape, align, opener) -> None:
    expected = filled(shape, np.dtype(RECORD.descr, align=align) if align else RECORD)
    np.save(tmp_path / "a.npy", expected)
    opened = opener.open(tmp_path / "a.npy")
    assert isinstance(opened, tfy.Arrays)
    assert list(opened) == NAMES
    assert set(opened.left_out) == LEFT_OUT
    check(opened, expected)
    opened.verify()
    same(np.asarray(pickle.loads(pickle.dumps(opened))["id"]), expected["id"])
    with pytest.raises(errors.InvalidArgumentError, match="U3"):
        opened["name"]
    with pytest.raises(KeyError, match="vector"):
        opened["x"]


EMPTY = np.dtype([("id", "<i4"), ("none", [("x", "<i8"), ("y", "<f4", (2,))], (0,))])


@openers("map", "read", "direct")
def test_fields_without_elements_may_lie_behind_the_records(tmp_path, opener) -> None:
    expected = filled((5,), EMPTY)
    np.save(tmp_path / "a.npy", expected)
    opened = opener.open(tmp_path / "a.npy")
    check(opened, expected)
    rows = tfy.Dataset.from_tensor_slices(opened).with_format("numpy")
    assert [row["none.y"].shape for row in rows] == [(0, 2)] * 5
    (batch,) = rows.batch(5)
    same(batch["id"], expected["id"])
    same(batch["none.y"], expected["none"]["y"])


def test_a_mapped_field_shares_the_records(tmp_path) -> None:
    expected = filled((7,))
    np.save(tmp_path / "a.npy", expected)
    array = tfy.open(tmp_path / "a.npy", mode="map")["id"].numpy()
    assert array.strides == (RECORD.itemsize,)
    same(array, expected["id"])


@pytest.mark.parametrize("mode", ["map", "read"])
def test_column_major_records_are_mapped(tmp_path, mode) -> None:
    expected = np.asfortranarray(filled((5, 3)))
    np.save(tmp_path / "a.npy", expected)
    if mode == "map":
        check(tfy.open(tmp_path / "a.npy", mode=mode), expected)
        return
    with pytest.raises(errors.InvalidArgumentError, match=r"column-major.*mode"):
        tfy.open(tmp_path / "a.npy", mode=mode)


CODES = ["<i4", ">i4", "|u1", "?", "<f2", ">f8", "<c16", "S3", "<U2", "M8[ns]", "V5", ">u2"]


@st.composite
def dtypes(draw, depth: int = 0):
    fields = []
    for at in range(draw(st.integers(1, 4))):
        nested = depth < 2 and draw(st.integers(0, 4)) == 0
        kind = draw(dtypes(depth + 1)) if nested else draw(st.sampled_from(CODES))
        shape = draw(st.lists(st.integers(0, 3), max_size=2))
        fields.append((f"f{at}", kind, tuple(shape)) if shape else (f"f{at}", kind))
    return np.dtype(fields, align=draw(st.booleans()))


@openers("map", "read", "direct")
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_dtypes_are_read_as_numpy_reads_them(tmp_path, data, opener) -> None:
    dtype, count = data.draw(dtypes()), data.draw(st.integers(0, 9))
    parts = [filled((count,), dtype), filled((4,), dtype, seed=1)]
    for at, part in enumerate(parts):
        np.save(tmp_path / f"part-{at}.npy", part)
    expected = np.concatenate(parts)
    opened = opener.open([tmp_path / "part-0.npy", tmp_path / "part-1.npy"])
    check(opened, expected)
    if names := sorted(set(opened) - set(opened.left_out)):
        rows = tfy.Dataset.from_tensor_slices(opened).shuffle(seed=3, block=opener.block).batch(4)
        batches = list(rows.with_format("numpy"))
        order = list(
            tfy.Dataset.range(len(expected))
            .shuffle(seed=3, block=opener.block)
            .batch(4)
            .with_format("numpy")
        )
        for batch, indices in zip(batches, order, strict=True):
            for name in names:
                same(batch[name], field(expected[indices], name))


def test_files_with_other_fields_do_not_fit_together(tmp_path, opener) -> None:
    np.save(tmp_path / "a.npy", np.zeros(2, [("x", "i4")]))
    np.save(tmp_path / "b.npy", np.zeros(2, [("y", "i4")]))
    np.save(tmp_path / "c.npy", np.zeros(2, [("x", "i8")]))
    np.save(tmp_path / "d.npy", np.zeros(2, "i4"))
    for first, second, match in [
        ("a", "b", '"x".*"y"'),
        ("a", "c", "int32.*int64"),
        ("a", "d", "has fields"),
        ("d", "a", r"\('x'|'x'"),
    ]:
        with pytest.raises(errors.InvalidArgumentError, match=match):
            opener.open([tmp_path / f"{first}.npy", tmp_path / f"{second}.npy"])


def test_features_choose_fields(tmp_path, opener) -> None:
    np.save(tmp_path / "a.npy", filled((7,)))
    chosen = opener.open(tmp_path / "a.npy", features={"vector": tfy.TensorSpec((3,), "float32")})
    assert list(chosen) == ["vector"]
    with pytest.raises(errors.InvalidArgumentError, match="chosen"):
        opener.open(tmp_path / "a.npy", features={"vector": tfy.TensorSpec((2,), "float32")})
    np.save(tmp_path / "b.npy", np.zeros(3))
    with pytest.raises(errors.InvalidArgumentError, match="no features"):
        opener.open(tmp_path / "b.npy", features=["x"])


# In one store: the number of files is large.
@pytest.mark.parametrize("opener", ["map", "read", "s3"], indirect=True)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_with_changed_bytes_is_arrays_or_an_error(tmp_path, data, opener) -> None:
    path = tmp_path / "a.npy"
    np.save(path, filled((3,), np.dtype([("a", "<i4"), ("b", ">f8", (2,)), ("c", "S3")])))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 127))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    path.write_bytes(content)
    try:
        opened = opener.open(path, "npy")
    except (tfy.Error, OSError):
        return
    arrays = opened.values() if isinstance(opened, tfy.Arrays) else [opened]
    for array in arrays:
        np.asarray(array).tobytes()


@pytest.mark.parametrize("format", ["tensorflow", "torch", "jax", "numpy", "tensorferry"])
def test_a_structured_array_is_a_dict_of_its_fields(format, caplog) -> None:
    records = filled((9,), np.dtype([("id", "<i4"), ("when", "M8[s]"), ("at", POINT)]))
    dataset = tfy.Dataset.from_tensor_slices(records)
    assert "left out: field 'when'" in caplog.text
    assert [record.message for record in caplog.records if "id" in record.message] == []
    order = list(tfy.Dataset.range(9).shuffle(seed=5).batch(4).as_numpy_iterator())
    for batch, indices in zip(
        dataset.shuffle(seed=5).batch(4).with_format(format), order, strict=True
    ):
        assert set(batch) == {"id", "at"}
        assert set(batch["at"]) == {"x", "y"}
        rows = records[indices]
        for got, expected in [
            (batch["id"], rows["id"]),
            (batch["at"]["x"], rows["at"]["x"]),
            (batch["at"]["y"], rows["at"]["y"]),
        ]:
            np.testing.assert_array_equal(np.asarray(got), expected)
    first = next(iter(dataset.to_tf_data()))
    assert first["at"]["y"].numpy().tolist() == records["at"]["y"][0].tolist()
    again = pickle.loads(pickle.dumps(dataset)).with_format("numpy")
    assert [row["id"] for row in again] == records["id"].tolist()


def test_a_write_shows_in_elements_that_are_not_yet_made() -> None:
    records = filled((4,), np.dtype([("id", "<i4"), ("x", "u1")]))
    dataset = tfy.Dataset.from_tensor_slices(records).with_format("numpy")
    records["id"] = [5, 6, 7, 8]
    assert [int(row["id"]) for row in dataset] == [5, 6, 7, 8]


def test_structured_arrays_are_dicts_wherever_datasets_take_arrays() -> None:
    records = np.zeros(3, [("x", "i4")])
    pair = tfy.Dataset.from_tensor_slices((records, np.arange(3))).with_format("numpy")
    assert next(iter(pair))[0]["x"].dtype == np.int32
    whole = tfy.Dataset.from_tensors(records).with_format("numpy")
    assert next(iter(whole))["x"].shape == (3,)
    one = tfy.Dataset.from_tensors(records[0]).with_format("numpy")
    assert next(iter(one))["x"].shape == ()
    recarray = tfy.Dataset.from_tensor_slices(records.view(np.recarray)).with_format("numpy")
    assert len(list(recarray)) == 3


def test_text_fields_are_strings() -> None:
    records = np.array(
        [(1, "a", b"x"), (2, "b\u00fc", b"")], [("id", "i4"), ("u", "U3"), ("s", "S2")]
    )
    found = list(tfy.Dataset.from_tensor_slices(records).with_format("numpy"))
    assert [(row["id"], row["u"], row["s"]) for row in found] == [
        (1, b"a", b"x"),
        (2, "b\u00fc".encode(), b""),
    ]


def test_what_is_not_a_dict_of_numbers_is_refused() -> None:
    with pytest.raises(errors.InvalidArgumentError, match=r"no field.*'s'.*dates"):
        tfy.Dataset.from_tensor_slices(np.zeros(3, [("s", "M8[s]")]))
    with pytest.raises(errors.InvalidArgumentError, match="fields"):
        tfy.tensor(np.zeros(3, [("x", "i4")]))


def test_save_writes_fields_by_name(tmp_path) -> None:
    records = filled((4,), np.dtype([("id", "<i4"), ("at", POINT)]))
    tfy.save(tmp_path / "a.npz", records)
    with np.load(tmp_path / "a.npz") as found:
        assert set(found) == {"id", "at.x", "at.y"}
        np.testing.assert_array_equal(found["at.y"], records["at"]["y"])
    np.save(tmp_path / "a.npy", records)
    tfy.save(tmp_path / "b.npz", tfy.open(tmp_path / "a.npy"))
    with np.load(tmp_path / "b.npz") as found:
        np.testing.assert_array_equal(found["at.x"], records["at"]["x"])
    with pytest.raises(errors.InvalidArgumentError, match="has strings"):
        tfy.save(tmp_path / "c.npz", np.zeros(3, [("x", "i4"), ("s", "S3")]))
    with pytest.raises(errors.InvalidArgumentError, match="one array"):
        tfy.save(tmp_path / "c.npy", records)


TEXTS = np.dtype(
    [
        ("id", "<i4"),
        ("name", "U4"),
        ("inner", [("x", "<f4"), ("raw", "S3")]),
        ("pair", "S2", (2,)),
        ("when", "M8[s]"),
    ]
)


def with_texts(rows: int) -> np.ndarray:
    array = np.zeros(rows, TEXTS)
    array["id"] = np.arange(rows)
    array["name"] = [chr(0x430 + at % 7) * (at % 5) for at in range(rows)]
    array["inner"]["raw"] = [bytes([65 + at % 9]) * (at % 4) for at in range(rows)]
    return array


@openers("map", "read", "direct")
def test_strings_of_a_file_are_columns_of_a_dataset(tmp_path, caplog, opener) -> None:
    expected = with_texts(20)
    np.save(tmp_path / "part-1.npy", expected[:12])
    np.save(tmp_path / "part-2.npy", expected[12:])
    dataset = opener.from_files(tmp_path / "part-*.npy")
    assert [line for line in caplog.messages if "'pair'" in line]
    assert [line for line in caplog.messages if "'when'" in line]
    assert not [line for line in caplog.messages if "'name'" in line]
    for source in (dataset, pickle.loads(pickle.dumps(dataset))):
        rows = list(source.as_numpy_iterator())
        assert list(rows[0]) == ["id", "name", "inner.x", "inner.raw"]
        assert [row["id"] for row in rows] == expected["id"].tolist()
        assert [row["name"].decode() for row in rows] == expected["name"].tolist()
        assert [row["inner.raw"] for row in rows] == expected["inner"]["raw"].tolist()
    batches = list(dataset.shuffle(seed=1).batch(6).as_numpy_iterator())
    assert [len(batch["name"]) for batch in batches] == [6, 6, 6, 2]
    for batch in batches:
        names = [name.decode() for name in batch["name"]]
        assert names == expected["name"][batch["id"]].tolist()
    chosen = opener.from_files(tmp_path / "part-*.npy", features=["name"])
    assert [row["name"].decode() for row in chosen.as_numpy_iterator()] == expected["name"].tolist()


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_strings_and_records_in_an_archive_are_columns(tmp_path, write, opener) -> None:
    records = with_texts(6)
    objects = np.array([1, "x", None, 2, 3, 4], object)
    words = np.array(["a", "", "bc", "d", "e", "f"])
    write(tmp_path / "a.npz", n=np.arange(6), words=words, records=records, objects=objects)
    opened = opener.open(tmp_path / "a.npz")
    assert {"words", "records", "objects"} <= set(opened.left_out)
    rows = list(opener.from_files(tmp_path / "a.npz").as_numpy_iterator())
    assert set(rows[0]) == {"n", "words", "records"}
    assert [row["words"].decode() for row in rows] == words.tolist()
    assert [row["records"]["id"] for row in rows] == list(range(6))
    assert [row["records"]["inner"]["raw"] for row in rows] == records["inner"]["raw"].tolist()
    chosen = opener.from_files(tmp_path / "a.npz", features=["words"])
    assert [row["words"].decode() for row in chosen.as_numpy_iterator()] == words.tolist()
    with pytest.raises(errors.InvalidArgumentError, match="objects"):
        opener.from_files(tmp_path / "a.npz", features=["objects"])
