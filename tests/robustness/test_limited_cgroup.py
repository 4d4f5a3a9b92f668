"""Files eight times larger than the memory of a control group: streamed, shuffled, converted and
saved without a kill.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.arrays import numbered_file
from tests.support.cli import COMMAND
from tests.support.processes import run_python

pytestmark = pytest.mark.slow

# The limit of the group, page cache included, on top of the memory of the imported libraries.
ALLOWED = 64 << 20
IMPORTED = 64 << 20
WIDTH = 1024
ROWS = 8 * (ALLOWED + IMPORTED) // (4 * WIDTH)


def _places() -> list[tuple[Path, dict[str, str]]]:
    """Where to make a group, and the files of its limits, in version 1 and version 2."""
    first = {"memory.limit_in_bytes": "{}", "memory.memsw.limit_in_bytes": "{}"}
    second = {"memory.max": "{}", "memory.swap.max": "0"}
    places = [(Path("/sys/fs/cgroup/memory"), first)]
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = [line.removeprefix("0::") for line in lines if line.startswith("0::")]
    return places + [(Path("/sys/fs/cgroup") / name.lstrip("/"), second) for name in own]


@pytest.fixture(scope="module")
def group():
    """A control group with little memory."""
    for parent, limits in _places():
        folder = parent / f"tensorferry-test-{os.getpid()}"
        with contextlib.suppress(OSError):
            folder.mkdir()
            try:
                for name, value in limits.items():
                    if name in ("memory.limit_in_bytes", "memory.max") or (folder / name).exists():
                        (folder / name).write_text(value.format(ALLOWED + IMPORTED))
                yield folder
                return
            finally:
                folder.rmdir()
    pytest.skip("no control group with a limit of memory can be made here")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file of numbered rows, none of it in the page cache on behalf of the group."""
    path = numbered_file(tmp_path_factory.mktemp("large") / "rows.npy", ROWS, WIDTH)
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    yield path
    path.unlink()


def test_a_process_over_the_limit_is_killed(group):
    code = (
        "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); "
        "bytearray(os.urandom(1 << 20) * int(sys.argv[2]))"
    )
    arguments = [str(group / "cgroup.procs"), str(2 * (ALLOWED + IMPORTED) >> 20)]
    assert (
        subprocess.run(
            [sys.executable, "-c", code, *arguments], check=False, timeout=100
        ).returncode
        == -signal.SIGKILL
    )


INSIDE = """
    import os, subprocess, sys
    from pathlib import Path
    import numpy as np

    group, path, mode = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    (group / "cgroup.procs").write_text(str(os.getpid()))
    import tensorferry as tfy

    rows = tfy.open(path, mode=mode)
    # A file of up to half of the limit is mapped.
    assert rows.mode == ("direct" if mode == "auto" else mode), rows.mode
"""
MODES = pytest.mark.parametrize("mode", ["auto", "read", "direct"])


@MODES
def test_a_process_in_a_small_group_streams_every_row_once(group, large, mode):
    code = """
    for order in ("in order", "shuffled", "in blocks"):
        dataset = tfy.Dataset.from_tensor_slices(rows)
        if order == "shuffled":
            dataset = dataset.shuffle(seed=7).take(len(rows) // 4)
        if order == "in blocks":
            dataset = dataset.shuffle(2048, seed=7, block=64)
        dataset = (
            dataset.batch(256)
            .prefetch(100)
            .with_format("numpy")
            .with_options(tfy.Options(memory_limit=48 << 20))
        )
        seen = np.zeros(len(rows), np.int64)
        for batch in dataset:
            assert (batch == batch[:, :1]).all()
            np.add.at(seen, batch[:, 0], 1)
        assert seen.sum() == len(rows) // (4 if order == "shuffled" else 1) and seen.max() == 1, (
            order
        )
    print("done")
    """
    assert run_python(INSIDE + code, str(group), str(large), mode, timeout=300).split() == ["done"]


@MODES
def test_a_process_in_a_small_group_saves_and_converts(group, large, mode, tmp_path):
    code = """
    target = Path(sys.argv[4])
    tfy.save(target, rows)
    copy = tfy.open(target, mode="read")
    assert copy.shape == rows.shape and all(
        (copy[at].numpy() == at).all() for at in range(0, len(rows), 997)
    )
    target.unlink()
    if Path(sys.argv[5]).exists():
        command = [
            sys.argv[5],
            "convert",
            str(path),
            str(target),
            "--dtype",
            "uint32",
            "--memory-limit",
            "16M",
            "--quiet",
            "--mode",
            mode,
        ]
        subprocess.run(command, check=True)
        converted = tfy.open(target, mode="read")
        assert converted.dtype == np.uint32
        assert converted.shape == rows.shape and all(
            (converted[at].numpy() == at).all() for at in range(0, len(rows), 997)
        )
        target.unlink()
    print("done")
    """
    assert run_python(
        INSIDE + code,
        str(group),
        str(large),
        mode,
        str(tmp_path / "copy.npy"),
        COMMAND,
        timeout=300,
    ).split() == ["done"]
