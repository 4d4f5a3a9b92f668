"""Damaged, changing and failing files: reads are right or errors that name the file; writes are
complete or absent.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import errors

from tests.support import stored
from tests.support.arrays import same
from tests.support.processes import run_python

SEEDS = 100
EVERY_FORMAT = pytest.mark.parametrize("name", stored.FORMATS)
EVERY_MODE = pytest.mark.parametrize("mode", ["map", "read", "direct"])
# The modes in which a file may change under an open array. Truncating a mapped file ends the
# process (docs/reference/formats.md).
READING = pytest.mark.parametrize("mode", ["read", "direct"])


def attempt(name: str, read: Callable[[], stored.Read]) -> tuple[stored.Read | None, str]:
    """The content of a file, or None and the code of a refusal, which names the file."""
    refused = None
    try:
        return read(), ""
    except errors.Error as error:
        refused = error
    assert name in str(refused), str(refused)
    return None, refused.code


def whole(path: Path, mode: str) -> stored.Read | None:
    return attempt(path.name, lambda: stored.read(stored.open_all(path, mode)))[0]


@EVERY_MODE
@EVERY_FORMAT
def test_a_truncated_file_is_refused_or_is_its_first_rows(tmp_path, name, mode):
    path = tmp_path / name
    expected = stored.write(path)
    good = path.read_bytes()
    # A format without a length or an end mark can be truncated between two rows.
    may_be_shorter = path.suffix in (".bin", ".tfrecord")
    refused = 0
    for seed in range(SEEDS):
        path.write_bytes(good[: np.random.default_rng(seed).integers(len(good))])
        found = whole(path, mode)
        refused += found is None
        if found is not None:
            assert may_be_shorter, seed
            assert stored.prefix(found, expected), seed
    assert refused > SEEDS // 2


@EVERY_MODE
@EVERY_FORMAT
def test_flipped_bits_are_found_by_checksums_and_harmless_elsewhere(tmp_path, name, mode):
    path = tmp_path / name
    expected = stored.write(path)
    good = np.fromfile(path, np.uint8)
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        damaged = good.copy()
        for at in rng.integers(len(good), size=rng.integers(1, 5)):
            damaged[at] ^= 1 << rng.integers(8)
        damaged.tofile(path)
        found = whole(path, mode)
        if found is not None and stored.FORMATS[name]:
            # No checksum covers the names in an archive's directory. Arrays under a known name are
            # right.
            assert stored.equal(
                {n: found[n] for n in expected.keys() & found.keys()},
                {n: expected[n] for n in found if n in expected},
            )


@READING
@EVERY_FORMAT
def test_a_file_that_is_truncated_while_it_is_open_is_an_error_or_was_read_before(
    tmp_path, name, mode
):
    path = tmp_path / name
    expected = stored.write(path)
    good = path.read_bytes()
    refused = 0
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        path.write_bytes(good)
        opened = stored.open_all(path, mode)
        os.truncate(path, rng.integers(len(good)))
        found, code = attempt(name, lambda opened=opened, rng=rng: stored.read(opened, rng))
        assert (
            code in ("short_read", "file_changed")
            if found is None
            else stored.equal(found, expected)
        ), seed
        refused += found is None
    # Members decompressed by `open` are in memory.
    assert refused == (0 if name == "deflated.npz" else SEEDS)


@READING
@EVERY_FORMAT
def test_a_file_that_is_written_to_while_it_is_open_is_an_error_or_was_read_before(
    tmp_path, name, mode
):
    path = tmp_path / name
    expected = stored.write(path)
    for size in (0, 1, 5000):
        stored.write(path)
        os.utime(path, ns=(1, 1))
        opened = stored.open_all(path, mode)
        with path.open("r+b") as file:
            file.seek(0, os.SEEK_END if size else os.SEEK_SET)
            file.write(b"\0" * (size or 200))
        found, code = attempt(
            name, lambda opened=opened: stored.read(opened, np.random.default_rng(0))
        )
        assert code == "file_changed" if found is None else stored.equal(found, expected)


@EVERY_MODE
@EVERY_FORMAT
def test_an_unlinked_file_stays_readable_while_open(tmp_path, name, mode):
    path = tmp_path / name
    expected = stored.write(path)
    opened = stored.open_all(path, mode)
    path.unlink()
    assert stored.equal(stored.read(opened, np.random.default_rng(0)), expected)


ARMED = """
    import contextlib, ctypes, errno, sys
    from pathlib import Path
    import numpy as np
    import tensorferry as tfy
    from tests.support import stored

    PREAD, WRITE, FSYNC = 1, 2, 3
    library = ctypes.CDLL(None)

    @contextlib.contextmanager
    def armed(which, after=-1, error=-1):
        calls = []
        library.fault_arm(which, ctypes.c_long(after), error)
        try:
            yield calls
        finally:
            calls.append(library.fault_disarm())

    folder, name = Path(sys.argv[1]), sys.argv[2]
"""


@EVERY_FORMAT
def test_failing_reads_are_errors_and_the_next_ones_are_right(tmp_path, faults, name):
    code = """
    path = folder / name
    expected = stored.write(path)
    seen = set()

    def attempt(after, error, rng):
        try:
            with armed(PREAD, after, error) as calls:
                opened = stored.open_all(path, "read")
                found = stored.read(opened, rng)
        except OSError as raised:
            assert raised.errno == error, raised
            assert name in str(raised), raised
            return None, calls[0]
        return found, calls[0]

    found, calls = attempt(-1, -1, np.random.default_rng(0))
    assert stored.equal(found, expected) and calls > 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        found, _ = attempt(seed % calls, [errno.EIO, errno.ESTALE][seed % 2], rng)
        assert found is None, seed
        found, _ = attempt(
            seed % calls, errno.EINTR, rng
        )  # retried silently
        assert stored.equal(found, expected), seed
        found, _ = attempt(0, 0, rng)  # every read is short
        assert stored.equal(found, expected), seed
    opened = stored.open_all(path, "read")
    dataset = tfy.Dataset.from_tensor_slices(opened).batch(3).prefetch(2).with_format("numpy")
    if name != "deflated.npz":
        try:
            with armed(PREAD, 0, errno.EIO):
                list(dataset)
            raise SystemExit("no error")
        except OSError as raised:
            assert raised.errno == errno.EIO and name in str(raised), raised
            assert "batch" in raised.__notes__[0], raised.__notes__
    batches = list(dataset)
    assert stored.equal(
        {n: np.concatenate([batch[n] for batch in batches]) for n in expected}, expected
    )
    print("done")
    """
    assert run_python(ARMED + code, str(tmp_path), name, environment=faults).split() == ["done"]


@EVERY_FORMAT
def test_failing_writes_leave_only_the_old_file(tmp_path, faults, name):
    code = """
    path = folder / name
    expected = stored.write(path)
    old = path.read_bytes()
    source = folder / "source.npy"
    np.save(source, np.arange(300_000, dtype=np.uint8).reshape(-1, 50))

    def save():
        array = tfy.open(source, mode="read")
        if path.suffix in (".npy", ".bin"):
            tfy.save(path, array)
        else:
            tfy.save(path, {"x": array}, compress=name == "deflated.npz")

    kinds = {WRITE: errno.ENOSPC, FSYNC: errno.EIO}
    calls = {}
    for which in kinds:
        with armed(which) as counted:
            save()
        calls[which] = counted[0]
        assert counted[0] > 0, which
    new = path.read_bytes()
    assert new != old
    for seed in range(100):
        which = list(kinds)[seed % 2]
        path.write_bytes(old)
        try:
            with armed(
                which, np.random.default_rng(seed).integers(min(calls[which], 40)), kinds[which]
            ):
                save()
            raise SystemExit(f"no error: {which}, seed {seed}")
        except OSError as raised:
            # The directory is synced last: if that fails, the file already has its name.
            late = which == FSYNC and path.read_bytes() == new
            assert raised.errno == kinds[which] and name in str(raised), raised
        assert late or path.read_bytes() == old, seed
        assert sorted(folder.iterdir()) == sorted([path, source]), list(folder.iterdir())
    with armed(WRITE, 0, 0):  # every write is short
        save()
    assert path.read_bytes() == new
    print("done")
    """
    assert run_python(ARMED + code, str(tmp_path), name, environment=faults).split() == ["done"]


def test_a_full_disk_is_an_error_that_keeps_source_and_target(tmp_path):
    """On a file system of 1 MiB, if this user may mount one."""
    mount = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    within = f'mount -t tmpfs -o size=1m none "{tmp_path}" && exec "$@"'
    if (
        subprocess.run([*mount, within, "sh", "true"], capture_output=True, check=False).returncode
        != 0
    ):
        pytest.skip("this user may not mount a file system")
    code = """
    import errno, sys
    from pathlib import Path
    import numpy as np
    import tensorferry as tfy
    folder = Path(sys.argv[1])
    target = folder / "target.npy"
    source = np.arange(200_000, dtype=np.int32)
    tfy.save(target, source[:100_000])
    old = target.read_bytes()
    for save in (
        lambda: tfy.save(target, source),
        lambda: tfy.save(folder / "new.npz", {"x": source}),
        lambda: tfy.Dataset.from_tensor_slices(source).save(folder / "dataset"),
    ):
        try:
            save()
            raise SystemExit("no error")
        except OSError as raised:
            assert raised.errno == errno.ENOSPC, raised
        assert target.read_bytes() == old
        assert list(folder.iterdir()) == [target], list(folder.iterdir())
    print("done")
    """
    command = [*mount, within, "sh", sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert found.stdout.split() == ["done"], found.stderr[-4000:]


def test_a_killed_write_leaves_no_file_of_that_name(tmp_path):
    path = tmp_path / "a.npy"
    tfy.save(path, stored.X)
    code = """
    import sys
    import numpy as np
    import tensorferry as tfy
    array = np.ones((4000, 1000))
    print("ready", flush=True)
    while True:
        tfy.save(sys.argv[1], array)
    """
    sizes = set()
    for seed in range(10):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(path)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        child.stdout.readline()
        try:
            child.wait(timeout=np.random.default_rng(seed).uniform(0, 0.2))
        except subprocess.TimeoutExpired:
            child.kill()
        child.wait()
        child.stdout.close()
        array = tfy.open(path)[:].numpy()
        sizes.add(len(array))
        same(array, stored.X if len(array) == stored.ROWS else np.ones((4000, 1000)))
    assert sizes <= {stored.ROWS, 4000}
