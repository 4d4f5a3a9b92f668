"""npz, safetensors and raw files, against those of NumPy and safetensors, in both directions."""

from __future__ import annotations

import io
import struct
import zipfile
from urllib.parse import unquote

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import tensorferry as tfy
from tensorferry import errors

from tests.support.arrays import NAMES, address, np_dtype, random_values, same
from tests.support.openers import openers
from tests.support.stored import check, write_records

MODES = ["map", "read"]
SHAPES = [(5, 3, 2), (4,), (0, 3), ()]


def everything(names):
    return {f"{name} {shape}": random_values(name, shape) for name in names for shape in SHAPES}


NUMPYS = [name for name in NAMES if name != "bfloat16"]


@openers(*MODES)
@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_archives_that_numpy_wrote_are_read(tmp_path, write, opener):
    expected = everything(NUMPYS)
    expected |= {
        "big-endian": np.arange(6, dtype=">i4"),
        "column-major": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    }
    write(tmp_path / "a.npz", **expected)
    check(opener.open(tmp_path / "a.npz"), expected)


@pytest.mark.parametrize("compress", [False, True])
def test_saved_archives_are_read_by_numpy(tmp_path, compress):
    expected = everything(NUMPYS)
    expected |= {
        "big-endian": np.arange(6, dtype=">i4"),
        "column-major": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    }
    tfy.save(tmp_path / "a.npz", expected, compress=compress)
    with np.load(tmp_path / "a.npz") as loaded:
        assert set(loaded.files) == set(expected)
        for name, value in expected.items():
            same(loaded[name], value)
        assert loaded["column-major"].flags.f_contiguous
    assert zipfile.ZipFile(tmp_path / "a.npz").testzip() is None
    check(tfy.open(tmp_path / "a.npz"), expected)


def test_stored_members_are_mapped_in_place_and_saved_ones_reach_tensorflow_uncopied(tmp_path):
    array = random_values("float32", (100, 16))
    np.savez(tmp_path / "a.npz", x=array)
    mapped = tfy.open(tmp_path / "a.npz", mode="map")["x"]
    same(mapped.numpy(), array)
    tfy.save(tmp_path / "b.npz", {"some": random_values("int8", (3,)), "x": array})
    mapped = tfy.open(tmp_path / "b.npz", mode="map")["x"]
    assert address(mapped.numpy()) % 64 == 0
    assert address(tfy.convert_to_tensor(mapped)) == address(mapped.numpy())


def test_an_archive_may_hold_other_members(tmp_path, opener):
    np.savez(
        tmp_path / "a.npz",
        x=np.arange(3),
        objects=np.array([{}], dtype=object),
        text=np.array(["a"]),
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("readme.txt", "not an array")
    arrays = opener.open(tmp_path / "a.npz")
    assert list(arrays) == ["x", "objects", "text"]
    same(arrays["x"][:], np.arange(3))
    for name in ["objects", "text"]:
        with pytest.raises(
            errors.InvalidArgumentError, match=rf"a\.npz/{name}\.npy: .*none of bool, the integers"
        ):
            arrays[name]
    with pytest.raises(KeyError):
        arrays["readme.txt"]
    assert [name for name, _ in arrays.items()] == ["x"]
    assert set(arrays.left_out) == {"objects", "text", "readme.txt"}
    with zipfile.ZipFile(tmp_path / "bz.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x.npy", b"whatever this is")
    with pytest.raises(errors.FileFormatError, match=r"bz\.npz.*Bzip2"):
        opener.open(tmp_path / "bz.npz")


SAFE = [name for name in NAMES if name not in ("complex64", "complex128")]


@openers(*MODES)
def test_safetensors_files_of_the_reference_are_read(tmp_path, opener):
    expected = everything(SAFE)
    safetensors.numpy.save_file(expected, tmp_path / "a.safetensors", metadata={"format": "np"})
    check(opener.open(tmp_path / "a.safetensors"), expected)


def test_saved_safetensors_files_are_read_by_the_reference(tmp_path):
    expected = everything(SAFE)
    tfy.save(tmp_path / "a.safetensors", expected)
    loaded = safetensors.numpy.load_file(tmp_path / "a.safetensors")
    assert set(loaded) == set(expected)
    for name, value in expected.items():
        assert loaded[name].dtype == value.dtype
        same(loaded[name], value)
    tfy.save(tmp_path / "a.safetensors", {"c": random_values("complex64")})
    same(tfy.open(tmp_path / "a.safetensors")["c"][:], random_values("complex64"))


def test_dtypes_that_tensors_lack_are_named_and_the_others_read(tmp_path, opener):
    eight = np.arange(4).astype(ml_dtypes.float8_e4m3fn)
    header = (
        b'{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]},'
        b'"b":{"dtype":"I16","shape":[2],"data_offsets":[4,8]}}'
    )
    content = (
        struct.pack("<Q", len(header))
        + header
        + eight.tobytes()
        + np.array([1, 2], "<i2").tobytes()
    )
    (tmp_path / "a.safetensors").write_bytes(content)
    arrays = opener.open(tmp_path / "a.safetensors")
    same(arrays["b"][:], np.array([1, 2], np.int16))
    with pytest.raises(
        errors.InvalidArgumentError,
        match=r"a\.safetensors: safetensors header: dtype F8_E4M3 is none",
    ):
        arrays["a"]


@openers(*MODES)
@pytest.mark.parametrize("name", NAMES)
def test_raw_files_have_the_given_dtype_and_shape(tmp_path, name, opener):
    array = random_values(name, (6, 4))
    array.tofile(tmp_path / "a.bin")
    for shape, expected in [
        (None, array.reshape(-1)),
        ((-1, 4), array),
        ((None, 2, 2), array.reshape(6, 2, 2)),
        ((2, 3), array.flat[:6].reshape(2, 3)),
    ]:
        same(
            np.asarray(opener.open_raw(tmp_path / "a.bin", np_dtype(name), shape)),
            np.asarray(expected),
        )
    size = array.itemsize
    same(
        opener.open_raw(tmp_path / "a.bin", name, offset=3 * size)[:2].numpy(),
        array.reshape(-1)[3:5],
    )
    if name != "bfloat16":
        array.astype(array.dtype.newbyteorder(">")).tofile(tmp_path / "big.bin")
        same(
            np.asarray(
                opener.open_raw(tmp_path / "big.bin", array.dtype.newbyteorder(">"), (-1, 4))
            ),
            array,
        )
    tfy.save(tmp_path / "b.bin", array)
    assert (tmp_path / "b.bin").read_bytes() == array.tobytes()


def test_raw_files_of_a_fractional_number_of_rows_are_refused(tmp_path, opener):
    (tmp_path / "a.bin").write_bytes(bytes(25))
    for arguments, code in [
        (("int64",), "malformed"),
        (("int8", (-1, 4)), "malformed"),
        (("int8", (26,)), "wrong_length"),
        (("int8", None, 26), "wrong_length"),
        (("int8", (-1, 0)), "malformed"),
        (("int8", (5, None)), "argument"),
        (("int8", (-2,)), "argument"),
        (("int8", None, -1), "argument"),
        (("int8", (2**62, 8)), "size_overflow"),
        (("U3",), "unsupported_dtype"),
        (("no dtype",), "unknown_dtype"),
    ]:
        with pytest.raises(errors.Error) as raised:
            opener.open_raw(tmp_path / "a.bin", *arguments)
        assert raised.value.code == code, arguments


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (".npz", ".safetensors"),
        (".safetensors", ".npz"),
        (".npz", ".tfrecord"),
        (".tfrecord", ".npz"),
    ],
)
@openers("read")
def test_every_format_converts_to_another(tmp_path, source, target, opener):
    expected = {"x": random_values("float32", (100, 3)), "y": random_values("int64", (100,))}
    tfy.save(tmp_path / f"a{source}", expected)
    tfy.save(tmp_path / f"b{target}", opener.open(tmp_path / f"a{source}"))
    check(opener.open(tmp_path / f"b{target}"), expected)


def test_shards_of_named_arrays(tmp_path, opener):
    parts = [
        {"x": random_values("float32", (rows, 2), rows), "y": random_values("int64", (rows,), rows)}
        for rows in (3, 1, 5)
    ]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in "xy"}
    for extension, options in [
        ("npz", {}),
        ("npz", {"compress": True}),
        ("safetensors", {}),
        ("tfrecord", {}),
    ]:
        for number, part in zip((1, 2, 10), parts, strict=True):
            tfy.save(tmp_path / f"part-{number}.{extension}", part, **options)
        check(opener.open(tmp_path / f"part-*.{extension}"), whole)
    tfy.save(tmp_path / "a-1.safetensors", {"a": random_values("int8")})
    tfy.save(tmp_path / "a-2.safetensors", {"b": random_values("int16")})
    check(
        opener.open(tmp_path / "a-*.safetensors"),
        {"a": random_values("int8"), "b": random_values("int16")},
    )


def test_a_failed_save_leaves_nothing_behind(tmp_path):
    tfy.save(tmp_path / "a.npz", {"x": [1]})
    for path, value, options in [
        ("a.npz", np.arange(3), {}),
        ("a.npy", {"x": np.arange(3)}, {}),
        ("a.xyz", np.arange(3), {}),
        ("a.npz", {"x": np.array(["text"])}, {}),
        ("a.npz", {"x": random_values("bfloat16")}, {}),
        ("a.npz", {5: np.arange(3)}, {}),
        ("a.safetensors", {"x": random_values("complex128")}, {}),
        ("a.safetensors", {"__metadata__": np.arange(3)}, {}),
        ("a.safetensors", {"x": np.arange(3)}, {"compress": True}),
        ("a.npy", np.arange(3), {"compress": True}),
        ("a.tfrecord", {"x": random_values("float64")}, {}),
        ("a.tfrecord", {"x": np.array([2**63], np.uint64)}, {}),
        ("a.tfrecord", {"x": np.arange(3), "y": np.arange(4)}, {}),
        ("a.tfrecord", {}, {}),
        ("a.tfrecord", np.array(5), {}),
    ]:
        with pytest.raises(tfy.Error):
            tfy.save(tmp_path / path, value, **options)
        assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]
    check(tfy.open(tmp_path / "a.npz"), {"x": np.array([1])})
    with pytest.raises(FileNotFoundError):
        tfy.save(tmp_path / "no such folder" / "a.npz", {"x": [1]})


def archive(**members) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", members.pop("method", zipfile.ZIP_STORED)) as made:
        for name, content in members.items():
            made.writestr(f"{name}.npy", content)
    return file.getvalue()


def npy(shape="(3,)", descr="<i8", data=bytes(24)) -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def safe(header: bytes | str, data=b"", length=None) -> bytes:
    header = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(dtype="I8", shape="[4]", offsets="[0,4]", name="x") -> str:
    return f'{{"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}'


GOOD_ZIP = archive(x=npy(), method=zipfile.ZIP_DEFLATED)
HOSTILE = {
    "empty.npz": b"",
    "only a magic.npz": b"PK\x03\x04",
    "truncated.npz": GOOD_ZIP[:-30],
    "no npy.npz": archive(x=b"not an array at all"),
    "truncated member.npz": archive(x=npy(data=bytes(23))),
    "empty member.npz": archive(x=b""),
    "huge shape.npz": archive(x=npy("(4611686018427387904, 4)")),
    "claims 2**40.npz": archive(x=npy("(1099511627776,)"), method=zipfile.ZIP_DEFLATED),
    "negative.npz": archive(x=npy("(-1,)")),
    "empty.safetensors": b"",
    "seven bytes.safetensors": bytes(7),
    "header of 2**63.safetensors": safe(entry(), bytes(4), 2**63),
    "header of 2**32.safetensors": safe(entry(), bytes(4), 2**32),
    "longer than file.safetensors": safe(entry(), b"", 10_000),
    "not json.safetensors": safe("{not json}", bytes(4)),
    "not utf-8.safetensors": safe(b'{"\xff\xff"}', bytes(4)),
    "nested.safetensors": safe("{" + '"a":{' * 10_000, bytes(4)),
    "offsets before.safetensors": safe(entry(offsets="[4,0]"), bytes(4)),
    "offsets past the end.safetensors": safe(entry(offsets="[0,400]", shape="[400]"), bytes(4)),
    "offsets overlap.safetensors": safe(
        '{"x":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},'
        + entry(offsets="[2,6]", name="y")[1:],
        bytes(6),
    ),
    "gap.safetensors": safe(entry(offsets="[4,8]"), bytes(8)),
    "left over.safetensors": safe(entry(), bytes(5)),
    "shape overflows.safetensors": safe(
        entry(shape="[4294967296,4294967296,4294967296]"), bytes(4)
    ),
    "shape of another size.safetensors": safe(entry(shape="[3]"), bytes(4)),
    "negative.safetensors": safe(entry(shape="[-4]"), bytes(4)),
    "unknown dtype.safetensors": safe(entry(dtype="I7"), bytes(4)),
    "65 dimensions.safetensors": safe(entry(shape=str([1] * 65), offsets="[0,1]"), bytes(1)),
    "short.tfrecord": bytes(11),
    "zeros.tfrecord": bytes(64),
    "length of 2**63.tfrecord": b"".join(
        (struct.pack("<Q", 2**63), b"\x8d\xd8\x4a\x66", bytes(20))
    ),
}


@openers(*MODES)
@pytest.mark.parametrize("which", HOSTILE)
def test_hostile_files_are_refused_with_their_name(tmp_path, which, opener):
    (tmp_path / which).write_bytes(HOSTILE[which])
    with pytest.raises(errors.Error) as refused:
        opener.open(tmp_path / which, which.rpartition(".")[2]).items()
    assert isinstance(refused.value, ValueError)
    assert refused.value.code in (
        "malformed",
        "wrong_length",
        "unsupported_dtype",
        "too_many_dimensions",
        "size_overflow",
    )
    assert which in unquote(str(refused.value))
    assert len(str(refused.value)) < 1000


@openers(*MODES)
def test_damaged_bytes_are_a_checksum_error_with_its_position(tmp_path, tf, opener):
    rows = random_values("uint8", (100, 20))
    write_records(tf, tmp_path / "a.tfrecord", [row.tobytes() for row in rows])
    content = bytearray((tmp_path / "a.tfrecord").read_bytes())
    content[36 * 50 + 12 + 7] ^= 4
    (tmp_path / "a.tfrecord").write_bytes(content)
    array = opener.open(tmp_path / "a.tfrecord")
    same(array[49], rows[49])
    with pytest.raises(
        errors.FileFormatError, match=rf"a\.tfrecord: tfrecord: at byte {36 * 50 + 12}: "
    ) as damaged:
        array[40:60]
    assert damaged.value.code == "checksum"
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "a.npz", x=rows)
        content = bytearray((tmp_path / "a.npz").read_bytes())
        content[1000] ^= 4
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(errors.FileFormatError, match=r"a\.npz/x\.npy"):
            opener.open(tmp_path / "a.npz").verify()
    with pytest.raises(errors.FileFormatError, match=r"a\.npz/x\.npy"):
        opener.open(tmp_path / "a.npz")["x"]
