"""Files eight times larger than the memory limit of a process: streamed, shuffled and converted,
every row once.
"""

from __future__ import annotations

import pytest

from tests.support.arrays import numbered_file
from tests.support.processes import LIMITED, run_python

pytestmark = pytest.mark.slow

#: The limit of a process, on top of the memory of the imported libraries.
ALLOWED = 64 << 20
WIDTH = 1024
ROWS = 8 * ALLOWED // (4 * WIDTH)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file of numbered rows."""
    path = numbered_file(tmp_path_factory.mktemp("large") / "rows.npy", ROWS, WIDTH)
    yield path
    path.unlink()


OPENED = (
    LIMITED
    + """
    path, allowed, mode = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    limit("data", allowed)
    try:
        np.zeros(2 * allowed, np.uint8)
        raise SystemExit("there is no limit")
    except MemoryError:
        pass
    rows = tfy.open(path, mode=mode)
    assert rows.nbytes >= 8 * allowed
"""
)


@pytest.mark.parametrize("mode", ["read", "direct"])
@pytest.mark.parametrize("order", ["in order", "shuffled"])
def test_streaming_a_file_stays_within_the_limit(large, mode, order):
    code = """
    dataset = tfy.Dataset.from_tensor_slices(rows)
    if sys.argv[4] == "shuffled":
        dataset = dataset.shuffle(seed=7)
    dataset = dataset.cast("int64").batch(256).prefetch(8).with_format("numpy")
    dataset = dataset.with_options(tfy.Options(memory_limit=allowed // 4))
    seen = np.zeros(len(rows), bool)
    at, in_order = 0, True
    for batch in dataset:
        numbers = batch[:, 0]
        assert batch.dtype == np.int64 and (batch == numbers[:, None]).all()
        in_order &= np.array_equal(numbers, np.arange(at, at + len(numbers)))
        at += len(numbers)
        seen[numbers] = True
    assert at == len(rows) and seen.all() and in_order == (sys.argv[4] == "in order")
    print("done")
    """
    assert run_python(
        OPENED + code, str(large), str(ALLOWED), mode, order, timeout=300
    ).split() == ["done"]


@pytest.mark.parametrize("mode", ["read", "direct"])
def test_rewriting_a_file_stays_within_the_limit(large, mode, tmp_path):
    code = """
    target = Path(sys.argv[4])
    tfy.save(target, rows)
    assert target.stat().st_size >= 8 * allowed
    assert (tfy.open(target, mode="read")[-1].numpy() == len(rows) - 1).all()
    target.unlink()
    print("done")
    """
    assert run_python(
        OPENED + code,
        str(large),
        str(ALLOWED),
        mode,
        str(tmp_path / "x.safetensors.npy"),
        timeout=300,
    ).split() == ["done"]


MEASURED = """
    import sys, time
    from pathlib import Path
    import numpy as np
    import tensorferry as tfy

    def status(field):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(field + ":")).split()[1]) * 1024

    path, limit, mode = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    rows = tfy.open(path, mode=mode)
    assert rows.nbytes >= 8 * limit
    dataset = tfy.Dataset.from_tensor_slices(rows)
    if sys.argv[4] != "in order":
        dataset = dataset.shuffle(int(sys.argv[4]), seed=7, block=64)
    # Requests far more readahead than the limit allows.
    dataset = (
        dataset.batch(256)
        .prefetch(1 << 20)
        .with_format("numpy")
        .with_options(tfy.Options(memory_limit=limit))
    )
    sum(
        len(batch)
        for batch in tfy.Dataset.from_tensor_slices(rows[:4].numpy()).with_format("numpy")
    )  # set-up is not counted
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    seen = np.zeros(len(rows), bool)
    for at, batch in enumerate(dataset):
        if at % 100 == 0:
            time.sleep(0.05)  # readahead fills up
        seen[batch[:, 0]] = True
    assert seen.all()
    print(status("VmHWM") - before)
"""


@pytest.mark.parametrize("mode", ["read", "direct"])
@pytest.mark.parametrize("group", ["in order", "2048", "4096", "8192"])
def test_batches_groups_and_readers_stay_within_the_memory_limit(large, mode, group):
    """Groups of 8, 16 and 32 MiB: of the groups' share of 64 MiB, three of the first fit, or one of
    the last.
    """
    grown = int(run_python(MEASURED, str(large), str(ALLOWED), mode, group, timeout=300))
    assert grown <= ALLOWED, f"{grown / 2**20:.1f} MiB"
