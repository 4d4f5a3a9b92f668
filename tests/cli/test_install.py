"""The command that the package installs: the Rust one, in a Python process."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tests.support.cli import COMMAND, handles_signals, until
from tests.support.paths import ROOT

MODULE = [sys.executable, "-m", "tensorferry"]
SCRIPT = Path(sys.executable).with_name("tensorferry")


def commands() -> list[list[str]]:
    """Every installed way to start the command."""
    return [MODULE, *([[str(SCRIPT)]] if SCRIPT.exists() else [])]


def test_the_entry_point_is_the_function_that_runs_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module, function = project["scripts"]["tensorferry"].split(":")
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("command", commands(), ids=lambda command: Path(command[-1]).name)
def test_output_and_exit_status_are_those_of_the_binary(command, tmp_path) -> None:
    np.save(tmp_path / "good.npy", np.arange(12))
    (tmp_path / "bad.npy").write_bytes((tmp_path / "good.npy").read_bytes()[:-1])
    for arguments in (
        ["check", "good.npy"],
        ["check", "bad.npy", "good.npy"],
        ["inspect", "good.npy"],
        ["inspect", "none.npy"],
        ["inspect", "--json", "good.npy"],
        ["no-such-command"],
        ["--version"],
        ["--help"],
        [],
        ["check", "\udcff.npy"],
    ):
        ours, theirs = (
            subprocess.run([*way, *arguments], cwd=tmp_path, capture_output=True, check=False)
            for way in (command, [COMMAND])
        )
        assert (ours.returncode, ours.stdout, ours.stderr) == (
            theirs.returncode,
            theirs.stdout,
            theirs.stderr,
        ), arguments


@pytest.mark.parametrize(
    "command", [*commands(), [COMMAND]], ids=lambda command: Path(command[-1]).name
)
def test_ctrl_c_ends_it_quietly(command, tmp_path) -> None:
    # A sparse file: slow to read, and small on the disk.
    with open(tmp_path / "large.bin", "wb") as file:
        file.truncate(64 << 30)
    process = subprocess.Popen(
        [*command, "inspect", "--raw-dtype", "float64", str(tmp_path / "large.bin")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    until(lambda: handles_signals(process), process)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out, said) == (128 + signal.SIGINT, b"", b"")
    assert os.listdir(tmp_path) == ["large.bin"]
