"""Without further threads, all work is done by the existing ones, or by the calling thread."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.support.processes import run_python

ARMED = """
    import ctypes, errno, os, signal, sys
    from pathlib import Path
    import numpy as np
    import tensorferry as tfy

    library = ctypes.CDLL(None)
    path = Path(sys.argv[1]) / "x.npy"
    x = np.arange(5_000_000, dtype=np.int32).reshape(20_000, 250)
    np.save(path, x)
    names = {str(at): x[at::40] for at in range(3)}

    def with_few_threads(work):
        # The number of threads started; the system may refuse any of them.
        library.fault_arm(4, ctypes.c_long(1000), errno.EAGAIN)
        expected = work()
        calls = library.fault_disarm()
        for after in range(min(calls, 4) + 1):
            library.fault_arm(4, ctypes.c_long(after), errno.EAGAIN)
            found = work()
            library.fault_disarm()
            assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)), (
                after,
                calls,
            )
        return calls
"""


@pytest.mark.parametrize("ring", ["io_uring", "threads"])
@pytest.mark.parametrize("mode", ["map", "read", "direct"])
def test_results_do_not_depend_on_the_number_of_threads(tmp_path, faults, mode, ring):
    code = """
    mode = sys.argv[2]
    archive, deflated, target = (path.with_name(name) for name in ("a.npz", "b.npz", "y.npy"))
    np.savez(archive, **names)
    np.savez_compressed(deflated, **names)

    def opened():
        rows = tfy.open(path, mode=mode)
        return (
            rows[7:19_000].numpy(),
            rows[[19_999, 3, 10_000]].numpy(),
            rows.astype("int64")[:].numpy(),
        )

    def members():
        for file in (archive, deflated):
            yield from (array[:].numpy() for array in tfy.open(file, mode=mode).values())

    def converted():
        out = np.empty(x.shape, np.float64)
        tfy.convert_into(x, out)
        return [out]

    def written():
        tfy.save(target, tfy.open(path, mode=mode))
        yield np.load(target)
        tfy.save(deflated, names, compress=True)
        yield from np.load(deflated).values()

    def streamed():
        rows = tfy.Dataset.from_tensor_slices(tfy.open(path, mode=mode)).with_format("numpy")
        for dataset in (rows.shuffle(seed=1), rows.shuffle(1024, seed=1, block=16), rows.skip(17)):
            yield np.concatenate(list(dataset.batch(1000).prefetch(4)))
        yield np.array(
            list(tfy.Dataset.range(1000).repeat().unique().take(100).with_format("numpy"))
        )
        yield np.concatenate(list(rows.map(lambda row: row + 1).batch(1000).prefetch(2).take(3)))

    started = [
        with_few_threads(lambda work=work: list(work()))
        for work in (opened, members, converted, written, streamed)
    ]
    # Reading the mapped file needs no thread.
    assert all(started) or (mode == "map" and all(started[1:])), started
    print("done")
    """
    environment = faults if ring == "io_uring" else faults | {"FAULT_RING": "none"}
    assert run_python(ARMED + code, str(tmp_path), mode, environment=environment).split() == [
        "done"
    ]


def test_a_signal_interrupts_work_without_threads(tmp_path, faults):
    code = """
    sparse = path.with_name("sparse.npy")
    np.save(sparse, np.zeros(0, np.int8))
    rows = np.lib.format.open_memmap(sparse, mode="w+", dtype=np.int8, shape=(1 << 16, 1 << 15))
    del rows

    class Enough(Exception):
        pass

    def handler(number, frame):
        raise Enough

    signal.signal(signal.SIGALRM, handler)
    library.fault_arm(4, ctypes.c_long(0), errno.EAGAIN)
    opened = tfy.open(sparse, mode="read")
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        tfy.save(path.with_name("copy.npy"), opened)
        raise SystemExit("it was not interrupted")
    except Enough:
        pass
    library.fault_disarm()
    assert not path.with_name("copy.npy").exists()
    assert (opened[:10].numpy() == 0).all()
    print("done")
    """
    assert run_python(ARMED + code, str(tmp_path), environment=faults).split() == ["done"]


@pytest.mark.parametrize("threads", [0, 2])
def test_the_command_needs_few_threads(tmp_path, faults, threads):
    source = tmp_path / "x.npy"
    np.save(source, np.arange(900_000, dtype=np.int64).reshape(-1, 3))
    few = faults | {"FAULT_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}

    def command(*arguments, environment):
        code = "import sys; from tensorferry._cli import main; sys.exit(main())"
        found = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=100,
        )
        assert found.returncode == 0, found.stderr
        return found.stdout

    both = (os.environ | {"OPENBLAS_NUM_THREADS": "1"}, os.environ | few)
    inspected = [
        command("inspect", source, "--json", environment=environment) for environment in both
    ]
    assert inspected[0] == inspected[1]
    for at, environment in enumerate(both):
        command(
            "convert", source, tmp_path / f"{at}.npz", "--dtype", "int32", environment=environment
        )
        command(
            "stream",
            source,
            "--batch",
            "1000",
            "--shuffle",
            "--mode",
            "direct",
            environment=environment,
        )
        command("check", source, environment=environment)
    with np.load(tmp_path / "0.npz") as many, np.load(tmp_path / "1.npz") as one:
        assert list(many) == list(one)
        assert all(np.array_equal(many[name], one[name]) for name in many)
