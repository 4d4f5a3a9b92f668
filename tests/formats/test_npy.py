"""open_npy and save_npy against NumPy, and against malformed files."""

from __future__ import annotations

import os
import pathlib
import struct

import numpy as np
import pytest
import tensorferry
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorferry import errors, open_npy, save_npy

from tests.support.arrays import NAMES, address, np_dtype, same
from tests.support.paths import NPY_FILES

GOLDENS = sorted(NPY_FILES.glob("**/*.npy"))
FILE_NAMES = [name for name in NAMES if name != "bfloat16"]


@pytest.mark.parametrize("name", FILE_NAMES)
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (7,), (2, 3, 4)])
def test_arrays_saved_by_numpy_open_unchanged(tmp_path, name, shape):
    for order, byte_order in [("C", "<"), ("F", "<"), ("C", ">"), ("F", ">")]:
        array = np.asarray(
            (np.arange(int(np.prod(shape))) % 2).reshape(shape),
            np.dtype(name).newbyteorder(byte_order),
            order=order,
        )
        np.save(tmp_path / "a.npy", array)
        tensor = open_npy(tmp_path / "a.npy")
        assert tensor.shape == shape
        assert tensor.strides == np.load(tmp_path / "a.npy").strides or not array.size
        same(tensor.numpy(), array)
        same(tensor.to_tensorflow().numpy(), array)


@pytest.mark.parametrize("name", FILE_NAMES)
def test_saved_arrays_load_unchanged_in_numpy(tmp_path, name):
    base = (np.arange(24) % 2).astype(name).reshape(4, 6)
    views = [
        base,
        base.T,
        np.asfortranarray(base),
        base[::-1, ::2],
        base[0, 0],
        base[:0],
        np.broadcast_to(base[0], (3, 6)),
    ]
    for array in [*views, base.astype(base.dtype.newbyteorder(">"))]:
        save_npy(tmp_path / "a.npy", array)
        same(np.load(tmp_path / "a.npy"), array)
        same(open_npy(tmp_path / "a.npy").numpy(), array)
    save_npy(tmp_path / "a.npy", tensorferry.tensor(base)[::-1])
    same(np.load(tmp_path / "a.npy"), base[::-1])


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_format_version(tmp_path, version, opener):
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array(file, np.arange(10).reshape(2, 5), version=version)
    same(opener.open_npy(tmp_path / "a.npy").numpy(), np.arange(10).reshape(2, 5))


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda path: path.name)
def test_committed_files_open_as_numpy_loads_them(golden, opener):
    try:
        expected = np.load(golden)
    except ValueError:
        with pytest.raises((ValueError, OSError)):
            opener.open_npy(golden)
        return
    if (
        expected.dtype.kind not in "biufc"
        or expected.dtype.itemsize > 16
        or expected.dtype.name in ("longdouble", "float128")
    ):
        with pytest.raises(errors.Error) as refused:
            opener.open_npy(golden)
        assert refused.value.code == "unsupported_dtype"
        return
    same(opener.open_npy(golden).numpy(), expected)


def test_an_opened_file_is_mapped_and_reaches_tensorflow_uncopied(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(1000))
    tensor = open_npy(tmp_path / "a.npy")
    where = address(tensor.numpy())
    assert where % 64 == 0
    assert address(tensor.to_tensorflow()) == where
    assert address(tensorferry.convert_to_tensor(tensor, copy=False)) == where
    mapped = [
        line for line in pathlib.Path("/proc/self/maps").read_text().splitlines() if "a.npy" in line
    ]
    assert mapped
    assert all(" r--" in line for line in mapped)
    os.unlink(tmp_path / "a.npy")
    same(tensor.numpy(), np.arange(1000))


def test_every_kind_of_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = "päth with spaces\n.npy"
    for path in ["a.npy", b"b.npy", tmp_path / "c.npy", odd, os.fsencode("d.npy")]:
        save_npy(path, [1, 2])
        same(open_npy(path).numpy(), np.array([1, 2]))
    save_npy(b"\xff\xfe.npy", [3])
    same(open_npy(b"\xff\xfe.npy").numpy(), np.array([3]))
    for path in [5, None, 1.5, object()]:
        with pytest.raises(TypeError):
            open_npy(path)
        with pytest.raises(TypeError):
            save_npy(path, [1])
    with pytest.raises((ValueError, OSError), match=r"(?i)nul"):
        open_npy("a\0b.npy")


def test_failures_of_the_system_are_os_errors(tmp_path):
    with pytest.raises(FileNotFoundError) as refused:
        open_npy(tmp_path / "missing.npy")
    assert refused.value.errno == 2
    assert str(refused.value.filename).endswith("missing.npy")
    with pytest.raises(OSError, match="directory"):
        open_npy(tmp_path)
    with pytest.raises(FileNotFoundError):
        save_npy(tmp_path / "no such folder" / "a.npy", [1])
    with pytest.raises(OSError, match=r"."):
        save_npy(tmp_path, [1])
    os.mkfifo(tmp_path / "pipe.npy")
    os.symlink("loop.npy", tmp_path / "loop.npy")
    with pytest.raises(OSError, match=r"."):
        open_npy(tmp_path / "loop.npy")


def test_a_failed_save_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "a.npy"
    save_npy(path, [1, 2, 3])
    for value in (
        np.zeros(3, np_dtype("bfloat16")),
        np.array(["a"]),
        np.zeros(2, "M8[s]"),
        np.ma.masked_equal([0, 1], 0),
        object(),
    ):
        with pytest.raises((TypeError, ValueError)):
            save_npy(path, value)
    assert os.listdir(tmp_path) == ["a.npy"]
    same(np.load(path), np.array([1, 2, 3]))


def test_saving_over_an_open_file_leaves_the_open_one_whole(tmp_path):
    path = tmp_path / "a.npy"
    save_npy(path, np.arange(100_000))
    tensor = open_npy(path)
    save_npy(path, np.zeros(3))
    same(tensor.numpy(), np.arange(100_000))
    same(open_npy(path).numpy(), np.zeros(3))
    save_npy(path, open_npy(path)[::-1])  # from the same file


def test_permissions_are_those_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        save_npy(tmp_path / "a.npy", [1])
        with open(tmp_path / "plain", "w"):
            pass
    finally:
        os.umask(before)
    assert os.stat(tmp_path / "a.npy").st_mode == os.stat(tmp_path / "plain").st_mode
    os.chmod(tmp_path / "a.npy", 0o604)
    save_npy(tmp_path / "a.npy", [2])
    assert os.stat(tmp_path / "a.npy").st_mode & 0o777 in (0o604, 0o644)


def npy(
    header: bytes | str, data: bytes = b"", version: int = 1, length: int | None = None
) -> bytes:
    header = header.encode() if isinstance(header, str) else header
    size = len(header) if length is None else length
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + struct.pack("<H" if version == 1 else "<I", size)
        + header
        + data
    )


GOOD = "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }"
HOSTILE = {
    "empty": b"",
    "only magic": b"\x93NUMPY",
    "magic and version": b"\x93NUMPY\x01\x00",
    "another magic": b"\x93NUMPX\x01\x00" + bytes(100),
    "a zip": b"PK\x03\x04" + bytes(100),
    "version 0": npy(GOOD, bytes(24), version=0),
    "version 4": npy(GOOD, bytes(24), version=4),
    "truncated data": npy(GOOD + " " * 70 + "\n", bytes(23)),
    "no data": npy(GOOD + "\n"),
    "header longer than file": npy(GOOD, length=60_000),
    "header of 4 GiB": npy(GOOD, version=2, length=2**32 - 1),
    "no header": npy(""),
    "not UTF-8": npy(
        b"{'descr': '\xff\xfe', 'fortran_order': False, 'shape': (3,)}\n", bytes(24), version=3
    ),
    "huge shape": npy(
        "{'descr': '<i8', 'fortran_order': False, 'shape': (4611686018427387904, 4), }\n", bytes(24)
    ),
    "shape beyond 64 bits": npy(
        "{'descr': '<i8', 'fortran_order': False, 'shape': (36893488147419103232,), }\n", bytes(24)
    ),
    "shape that wraps to its size": npy(
        "{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296, 0), }\n" * 2
    ),
    "negative shape": npy(
        "{'descr': '<i8', 'fortran_order': False, 'shape': (-3,), }\n", bytes(24)
    ),
    "shape is a number": npy("{'descr': '<i8', 'fortran_order': False, 'shape': 3, }\n", bytes(24)),
    "shape of strings": npy(
        "{'descr': '<i8', 'fortran_order': False, 'shape': ('3',), }\n", bytes(24)
    ),
    "65 dimensions": npy(
        f"{{'descr': '<i8', 'fortran_order': False, 'shape': ({'1, ' * 65}), }}\n", bytes(24)
    ),
    "a million dimensions": npy(
        f"{{'descr': '<i8', 'fortran_order': False, 'shape': ({'1,' * 10**6}), }}\n",
        bytes(24),
        version=2,
    ),
    "nested brackets": npy("(" * 60_000, bytes(24)),
    "order is an integer": npy(
        "{'descr': '<i8', 'fortran_order': 0, 'shape': (3,), }\n", bytes(24)
    ),
    "missing key": npy("{'descr': '<i8', 'shape': (3,), }\n", bytes(24)),
    "extra key": npy(
        "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), 'more': 1, }\n", bytes(24)
    ),
    "unfinished": npy("{'descr': '<i8', 'fortran_order': False, 'shape': (3,", bytes(24)),
    "code": npy("__import__('os').system('true')", bytes(24)),
    "objects": npy("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }\n", bytes(24)),
    "strings": npy("{'descr': '<U3', 'fortran_order': False, 'shape': (3,), }\n", bytes(36)),
    "datetime": npy("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (3,), }\n", bytes(24)),
    "longdouble": npy("{'descr': '<f16', 'fortran_order': False, 'shape': (3,), }\n", bytes(48)),
    "3-byte integers": npy(
        "{'descr': '<i3', 'fortran_order': False, 'shape': (3,), }\n", bytes(24)
    ),
}


def test_fields_are_not_one_array(tmp_path):
    """`open` reads them: see test_structured.py."""
    np.save(tmp_path / "a.npy", np.zeros(3, [("a", "<i4")]))
    with pytest.raises(errors.InvalidArgumentError, match=r"a\.npy") as refused:
        open_npy(tmp_path / "a.npy")
    assert refused.value.code == "unsupported_dtype"


@pytest.mark.parametrize("which", HOSTILE)
def test_hostile_files_are_refused_with_their_name(tmp_path, which, opener):
    path = tmp_path / "hostile.npy"
    path.write_bytes(HOSTILE[which])
    with pytest.raises(errors.Error) as refused:
        opener.open_npy(path)
    assert isinstance(refused.value, ValueError)
    assert refused.value.code in (
        "malformed",
        "wrong_length",
        "unsupported_dtype",
        "size_overflow",
        "too_many_dimensions",
    )
    assert "hostile.npy" in str(refused.value)
    assert len(str(refused.value)) < 2000


# In one store: the number of files is large.
@pytest.mark.parametrize("opener", ["auto", "s3"], indirect=True)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_with_changed_bytes_is_an_array_or_an_error(tmp_path, data, opener):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(20, dtype=np.int32).reshape(4, 5))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 127))] = data.draw(st.integers(0, 255))
    content = (
        content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    )
    path.write_bytes(content)
    try:
        array = opener.open_npy(path).numpy()
    except tensorferry.Error:
        return
    array.tobytes()  # all of its bytes are readable
    assert array.nbytes <= len(content)
