"""A run of ``fit`` that is killed continues, in a new process, as if it had not been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.processes import run_python

RUN = ROOT / "tests" / "support" / "keras_run.py"
FILE = "latest.safetensors"
BATCHES = 10  # of an epoch


def trained(
    backend: str, directory: str | Path, kill_after: int, save_freq: str = "3"
) -> list[str]:
    """The lines of a run, which has to end as expected."""
    done = subprocess.run(
        [sys.executable, str(RUN), str(directory), str(kill_after), save_freq],
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == (-signal.SIGKILL if kill_after else 0), done.stderr[-4000:]
    return done.stdout.splitlines()


def assert_continues(whole: list[str], backend: str, directory: Path, kills: list[int], freq: str):
    """Each run but the last is killed after a number of batches. Each prints what the whole
    run printed, from its backup on.
    """
    begin = 0
    for kill in [*kills, 0]:
        lines = trained(backend, directory, kill, freq)
        assert lines == (whole[begin : begin + len(lines)] if kill else whole[begin:])
        assert bool(kill) == (directory / FILE).exists()
        trained_on = sum("end" not in line for line in whole[: begin + len(lines)])
        saved = trained_on // int(freq) * int(freq)
        # The line of the end of an epoch comes after the backup of its last batch.
        begin = saved + max(saved - 1, 0) // BATCHES


@pytest.fixture(scope="module")
def whole() -> list[str]:
    """A run that was never interrupted, on ``to_tf_data()`` and without a backup."""
    return trained("tensorflow", "-", 0)


@pytest.mark.slow
def test_losses_are_those_of_the_run_that_was_not_killed(whole, tmp_path) -> None:
    # Between two backups; and in the resumed run, at a backup.
    assert_continues(whole, "tensorflow", tmp_path / "backup", [4, 6], "3")


@pytest.mark.slow
def test_a_backup_at_the_last_batch_resumes_with_the_validation(whole, tmp_path) -> None:
    assert_continues(whole, "tensorflow", tmp_path / "backup", [10], "5")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_resume_too(backend, tmp_path, request) -> None:
    request.getfixturevalue(backend)
    whole = trained(backend, tmp_path / "whole", 0)
    assert_continues(whole, backend, tmp_path / "backup", [17], "3")


KILLED_SAVES = """
    import ctypes, os, sys
    os.environ["KERAS_BACKEND"] = "jax"
    import keras
    from tensorferry.keras import _checkpoint
    from tensorferry.keras._checkpoint import Position

    directory, kind = sys.argv[1], int(sys.argv[2])
    path = os.path.join(directory, "latest.safetensors")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse")

    def save(number):
        model.set_weights([w * 0 + number for w in model.get_weights()])
        _checkpoint.write(path, model, Position(number, 0, 10, {"epoch": number}))

    save(1)
    number, killed = 1, 0
    while True:
        child = os.fork()
        if child == 0:
            ctypes.CDLL(None).fault_arm(kind, killed, -1)
            save(number + 1)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        found = _checkpoint.read(path)
        assert found.position.epoch in (number, number + 1), found.position
        weights = next(iter(found.values.values()))
        assert (weights == found.position.epoch).all()
        number = found.position.epoch
        if status == 0:
            break
        assert os.WTERMSIG(status) == 9
        killed += 1
    print(killed, number, sorted(os.listdir(directory)))
"""


@pytest.mark.parametrize("kind", [2, 3], ids=["write", "fsync"])
def test_a_kill_at_any_step_of_a_save_leaves_a_complete_backup(kind, faults, tmp_path) -> None:
    printed = run_python(KILLED_SAVES, str(tmp_path), str(kind), environment=faults)
    killed, _, files = printed.strip().splitlines()[-1].split(" ", 2)
    assert int(killed) > 0
    assert files == str([FILE])
