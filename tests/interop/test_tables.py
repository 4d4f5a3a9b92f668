"""Tables and columns of pandas, polars and Arrow: exact by column, with nulls and texts refused by
name.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
import tensorferry as tfy

from tests.support.arrays import same
from tests.support.processes import run_python

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

#: An integer that float64 does not hold.
BIG = 2**60 + 1
ARROW = {
    "int64": pa.int64(),
    "uint64": pa.uint64(),
    "bool": pa.bool_(),
    "float64": pa.float64(),
    "int8": pa.int8(),
}
PANDAS = {
    "int64": "Int64",
    "uint64": "UInt64",
    "bool": "boolean",
    "float64": "Float64",
    "int8": "Int8",
}
POLARS = {
    "int64": pl.Int64,
    "uint64": pl.UInt64,
    "bool": pl.Boolean,
    "float64": pl.Float64,
    "int8": pl.Int8,
}


def column(kind: str, values, dtype: str):
    """A column named "id" of a library."""
    if kind == "numpy":
        return pd.Series(np.array(values, dtype), name="id")
    if kind == "nullable":
        return pd.Series(values, dtype=PANDAS[dtype], name="id")
    if kind == "pandas arrow":
        return pd.Series(values, dtype=pd.ArrowDtype(ARROW[dtype]), name="id")
    if kind == "object":
        return pd.Series(values, dtype=object, name="id")
    if kind == "extension":
        return pd.array(values, dtype=PANDAS[dtype])
    if kind == "index":
        return pd.Index(values, dtype=PANDAS[dtype], name="id")
    if kind == "polars":
        return pl.Series("id", values, dtype=POLARS[dtype])
    if kind == "polars chunks":
        return pl.concat(
            [pl.Series("id", [value], dtype=POLARS[dtype]) for value in values], rechunk=False
        )
    if kind == "arrow":
        return pa.array(values, ARROW[dtype])
    if kind == "arrow slice":
        return pa.array([values[0], *values], ARROW[dtype])[1:]
    assert kind == "arrow chunks"
    return pa.chunked_array([values[:1], [], values[1:]], ARROW[dtype])


NULLABLE = [
    "nullable",
    "pandas arrow",
    "object",
    "extension",
    "index",
    "polars",
    "polars chunks",
    "arrow",
    "arrow chunks",
]
KINDS = ["numpy", *NULLABLE, "arrow slice"]
VALUES = {
    "int64": [BIG, -(2**63), 3],
    "uint64": [2**64 - 1, 2**63 + 1, 0],
    "bool": [True, False, True],
    "float64": [1.5, -0.0, 1e300],
    "int8": [-128, 127, 0],
}
NAMED = ["int64", "uint64", "bool", "float64", "int8"]


def functions(value):
    """The results of each function that keeps the dtype, as arrays."""
    slices = tfy.Dataset.from_tensor_slices(value).batch(100)
    yield tfy.tensor(value)
    yield next(slices.as_numpy_iterator())
    yield next(tfy.Dataset.from_tensors(value).as_numpy_iterator())
    yield next(tfy.Dataset.range(1).with_format("numpy").map(lambda _: value).as_numpy_iterator())
    shape = np.shape(np.asarray(tfy.tensor(value)))
    spec = tfy.TensorSpec(shape, tfy.tensor(value).dtype)
    yield next(
        tfy.Dataset.from_generator(lambda: [value], output_signature=spec).as_numpy_iterator()
    )


@pytest.mark.parametrize("dtype", NAMED)
@pytest.mark.parametrize("kind", KINDS)
def test_a_column_keeps_its_dtype_and_every_value(tf, tmp_path, kind, dtype):
    value, expected = column(kind, VALUES[dtype], dtype), np.array(VALUES[dtype], dtype)
    if kind == "object" and dtype == "int8":
        expected = expected.astype(np.int64)  # Python integers
    for found in functions(value):
        same(np.asarray(found), expected)
    same(tfy.convert_to_tensor(value).numpy(), expected)
    path = os.path.join(tmp_path, "column.npy")
    tfy.save(path, value)
    same(np.load(path), expected)
    tfy.save_npy(path, value)
    same(np.load(path), expected)
    out = np.empty(3, expected.dtype)
    tfy.convert_into(value, out)
    same(out, expected)
    assert tfy.can_convert(value, expected.dtype)
    assert tfy.value_range(value) == tfy.value_range(expected)
    if dtype != "float64":
        assert tfy.smallest_dtype(value) == tfy.smallest_dtype(expected)


@pytest.mark.parametrize("dtype", NAMED)
@pytest.mark.parametrize("kind", NULLABLE)
def test_a_null_is_an_error_that_names_its_column_and_row(tf, kind, dtype):
    value = column(kind, [VALUES[dtype][0], None, VALUES[dtype][2]], dtype)
    calls = [
        tfy.tensor,
        tfy.convert_to_tensor,
        lambda value: tfy.tensor(value, "int64"),
        lambda value: tfy.convert_to_tensor(value, "float32"),
        lambda value: tfy.can_convert(value, "int64"),
        tfy.smallest_dtype,
        tfy.value_range,
        tfy.Dataset.from_tensor_slices,
        tfy.Dataset.from_tensors,
        lambda value: tfy.convert_into(value, np.empty(3)),
        lambda value: tfy.save("nowhere.npy", value),
        lambda value: tfy.Dataset.from_tensor_slices({"id": value}),
        lambda value: list(tfy.Dataset.range(1).with_format("numpy").map(lambda _: value)),
    ]
    for call in calls:
        with pytest.raises(tfy.errors.InvalidArgumentError, match=r"null.*row 1") as caught:
            call(value)
        assert caught.value.code == "null_values"
        if getattr(value, "name", None):
            assert "'id'" in str(caught.value)


def frames(columns: dict):
    """The table in every library."""
    arrow = pa.table({name: pa.array(values) for name, values in columns.items()})
    yield pd.DataFrame(columns)
    yield pd.DataFrame({name: pd.array(values) for name, values in columns.items()})
    yield arrow.to_pandas(types_mapper=pd.ArrowDtype)
    yield pl.DataFrame(columns)
    yield arrow
    yield arrow.to_batches()[0]
    yield pa.concat_tables([arrow[:1], arrow[1:]])


def test_a_table_of_one_dtype_is_two_dimensional(tf):
    expected = np.array([[BIG, 1], [2, 3]])
    for frame in frames({"id": [BIG, 2], "y": [1, 3]}):
        for found in functions(frame):
            same(np.asarray(found), expected)
        same(tfy.convert_to_tensor(frame).numpy(), expected)
        same(tfy.tensor(frame, "float64", casting="saturate").numpy(), expected.astype(float))
        out = np.empty((2, 2), np.int64)
        tfy.convert_into(frame, out)
        same(out, expected)


def test_columns_of_different_dtypes_need_a_common_dtype_that_holds_them(tf):
    for frame in frames({"id": [7, 2], "x": [1.5, 2.5]}):
        same(tfy.tensor(frame).numpy(), np.array([[7, 1.5], [2, 2.5]]))
        same(
            tfy.convert_to_tensor(frame, tf.float32).numpy(),
            np.array([[7, 1.5], [2, 2.5]], np.float32),
        )
        assert not tfy.can_convert(frame, "int64")
    for frame in frames({"id": [BIG, 2], "x": [1.0, 3.0]}):
        for call in (
            tfy.tensor,
            tfy.convert_to_tensor,
            tfy.Dataset.from_tensor_slices,
            tfy.value_range,
            tfy.smallest_dtype,
        ):
            with pytest.raises(
                tfy.errors.ValueOverflowError, match=r"column 'id'.*1152921504606846977.*dict"
            ):
                call(frame)
        same(tfy.tensor(frame, "int64").numpy(), np.array([[BIG, 1], [2, 3]]))
        assert tfy.can_convert(frame, "int64")
        assert not tfy.can_convert(frame, "float64")
        with pytest.raises(tfy.errors.ValueOverflowError, match="column 'id'"):
            tfy.convert_into(frame, np.empty((2, 2)))


def test_a_dict_of_columns_keeps_their_dtypes():
    frame = pd.DataFrame({"id": [BIG, 2], "x": [1.5, 2.5], "ok": [True, False]})
    polars = pl.DataFrame({"id": [BIG, 2], "x": [1.5, 2.5], "ok": [True, False]})
    arrow = polars.to_arrow()
    for columns in (
        dict(frame),
        polars.to_dict(),
        dict(zip(arrow.column_names, arrow.columns, strict=True)),
    ):
        (batch,) = tfy.Dataset.from_tensor_slices(columns).batch(2).as_numpy_iterator()
        same(batch["id"], np.array([BIG, 2]))
        same(batch["x"], np.array([1.5, 2.5]))
        same(batch["ok"], np.array([True, False]))


def test_lists_of_columns_are_stacked_exactly():
    for kind in ("nullable", "polars", "arrow chunks"):
        rows = [column(kind, [BIG, 1], "int64"), column(kind, [2, 3], "int64")]
        (batch,) = tfy.Dataset.from_tensor_slices(rows).batch(2).as_numpy_iterator()
        same(batch, np.array([[BIG, 1], [2, 3]]))
        with pytest.raises(tfy.errors.InvalidArgumentError, match="null"):
            tfy.Dataset.from_tensor_slices([rows[0], column(kind, [None, 3], "int64")])


TEXTS = {
    "object": lambda: pd.Series(["a", "b"], dtype=object, name="name"),
    "string": lambda: pd.Series(["a", "b"], dtype="string", name="name"),
    "categorical": lambda: pd.Series(pd.Categorical(["a", "b"]), name="name"),
    "polars": lambda: pl.Series("name", ["a", "b"]),
    "polars categorical": lambda: pl.Series("name", ["a", "b"], dtype=pl.Categorical),
    "polars enum": lambda: pl.Series("name", ["a", "b"], dtype=pl.Enum(["a", "b"])),
    "arrow": lambda: pa.chunked_array([["a"], ["b"]]),
    "arrow dictionary": lambda: pa.array(["a", "b"]).dictionary_encode(),
}
OTHERS = {
    "dates": lambda: pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02"]), name="name"),
    "dates with a zone": lambda: pd.Series(
        pd.to_datetime(["2020-01-01"]).tz_localize("UTC"), name="name"
    ),
    "polars dates": lambda: pl.Series("name", ["2020-01-01"]).str.to_date(),
    "polars decimals": lambda: pl.Series("name", [1]).cast(pl.Decimal(10, 2)),
    "polars 128 bits": lambda: pl.Series("name", [1]).cast(pl.Int128),
    "polars lists": lambda: pl.Series("name", [[1], [2, 3]]),
    "arrow lists": lambda: pa.array([[1], [2, 3]]),
    "arrow decimals": lambda: pa.array([1]).cast(pa.decimal128(30, 2)),
    "arrow times": lambda: pa.array([1], pa.timestamp("s")),
    "arrow nothing": lambda: pa.nulls(2),
}


@pytest.mark.parametrize("name", [*TEXTS, *OTHERS])
def test_columns_without_numbers_are_refused_by_name(tf, name):
    value = (TEXTS | OTHERS)[name]()
    calls = [
        tfy.tensor,
        tfy.value_range,
        lambda value: tfy.convert_to_tensor(value, "int32"),
        *([] if name in TEXTS or "lists" in name else [tfy.Dataset.from_tensor_slices]),
    ]
    for call in calls:
        with pytest.raises(tfy.errors.InvalidArgumentError) as caught:
            call(value)
        assert getattr(value, "name", type(value).__name__) in str(caught.value)


@pytest.mark.parametrize("name", TEXTS)
def test_texts_convert_as_in_tensorflow(tf, name):
    found = tfy.convert_to_tensor(TEXTS[name]())
    assert found.dtype == tf.string
    assert found.numpy().tolist() == [b"a", b"b"]


def test_a_text_column_of_a_table_is_named(tf):
    for frame in frames({"id": [1, 2], "name": ["a", "b"]}):
        for call in (
            tfy.tensor,
            lambda frame: tfy.convert_to_tensor(frame, "int64"),
        ):
            with pytest.raises(tfy.errors.InvalidArgumentError, match="'name'"):
                call(frame)


def test_columns_of_arrays_and_other_encodings():
    expected = np.array([[BIG, 1], [2, 3]])
    lists = pa.array(expected.tolist(), pa.list_(pa.int64(), 2))
    for value in (
        pl.Series(expected.tolist(), dtype=pl.Array(pl.Int64, 2)),
        lists,
        pa.chunked_array([lists[:1], lists[1:]]),
    ):
        same(tfy.tensor(value).numpy(), expected)
    same(tfy.tensor(pa.FixedShapeTensorArray.from_numpy_ndarray(expected)).numpy(), expected)
    same(tfy.tensor(pa.array([BIG, 1, BIG]).dictionary_encode()).numpy(), np.array([BIG, 1, BIG]))
    same(tfy.tensor(pd.Series(pd.Categorical([BIG, 1, BIG]))).numpy(), np.array([BIG, 1, BIG]))
    same(tfy.tensor(pd.Series(pd.arrays.SparseArray([0, BIG, 0]))).numpy(), np.array([0, BIG, 0]))
    same(tfy.tensor(pd.RangeIndex(3)).numpy(), np.arange(3))
    with pytest.raises(tfy.errors.InvalidArgumentError, match="null"):
        tfy.tensor(pa.array([[1, None], [2, 3]], pa.list_(pa.int64(), 2)))
    with pytest.raises(tfy.errors.InvalidArgumentError, match="null"):
        tfy.tensor(pd.Series(pd.Categorical([1, None])))


def test_columns_may_share_a_name_and_frames_may_be_empty():
    with pytest.raises(tfy.errors.ValueOverflowError, match="column 'a'"):
        tfy.tensor(pd.DataFrame([[BIG, 1.5]], columns=["a", "a"]))
    same(
        tfy.tensor(pd.DataFrame({"a": np.empty(0, np.int32), "b": np.empty(0, np.int32)})).numpy(),
        np.empty((0, 2), np.int32),
    )
    with pytest.raises(tfy.errors.InvalidArgumentError, match="without columns"):
        tfy.tensor(pd.DataFrame())
    with pytest.raises(tfy.errors.InvalidTypeError, match=r"collect\(\)"):
        tfy.tensor(pl.LazyFrame({"a": [1]}))


def test_forbidden_copies_are_not_made():
    shared = pd.Series(np.arange(4), name="id")
    tensor = tfy.tensor(shared, copy=False)
    assert np.shares_memory(tensor.numpy(), shared.to_numpy())
    frame = pd.DataFrame({"id": [1, 2], "x": [1.5, 2.5]})
    for value in (
        frame,
        pl.DataFrame({"id": [1], "x": [2]}),
        pa.chunked_array([[1], [2]]),
        pl.Series([True, False]),
    ):
        with pytest.raises(tfy.errors.NotShareableError):
            tfy.tensor(value, copy=False)


def test_writes_to_a_table_do_not_change_its_tensor():
    memory = np.arange(4)
    for value in (pd.Series(memory, copy=False), pa.array(memory)):
        tensor = tfy.tensor(value)
        memory[0] = 9
        assert tensor.numpy()[0] == 0
        memory[0] = 0


def test_tables_import_no_library():
    print_loaded = """
        import sys, numpy as np, tensorferry as tfy
        class Table:
            def __array__(self, dtype=None, copy=None):
                return np.arange(3)
        assert tfy.tensor(Table()).shape == (3,)
        tfy.tensor([1, 2]); tfy.Dataset.from_tensor_slices([1, 2])
        print(sorted({"pandas", "polars", "pyarrow", "h5py", "zarr", "netCDF4"} & set(sys.modules)))
    """
    assert run_python(print_loaded).strip() == "[]"


def test_libraries_that_export_arrows_data():
    class Exports:
        def __init__(self, table):
            self.table = table

        @property
        def schema(self):
            return self.table.schema

        def __arrow_c_stream__(self, requested_schema=None):
            return self.table.__arrow_c_stream__(requested_schema)

    table = pa.table({"id": [BIG, 2], "y": [1, 3]})
    same(tfy.tensor(Exports(table)).numpy(), np.array([[BIG, 1], [2, 3]]))
    with pytest.raises(tfy.errors.InvalidArgumentError, match=r"'id'.*null"):
        tfy.tensor(Exports(pa.table({"id": [BIG, None]})))
