"""The command's help, error messages and shell completion."""

from __future__ import annotations

import os
import pty
import subprocess

import numpy as np
import pytest

from tests.support.cli import COMMAND, completed, refused, run

COMMANDS = ["inspect", "check", "convert", "stream"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.arange(12).reshape(4, 3))
    (tmp_path / "dir").mkdir()
    (tmp_path / "text.dat").write_text("hello world, this is text\n")
    (tmp_path / "empty.npy").touch()
    return tmp_path


def arguments(command, path):
    return [command, path, *(["out.npy"] if command == "convert" else [])]


@pytest.mark.parametrize("command", ["inspect", "convert", "stream"])
@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("missing.npy", 3, "missing.npy: open: No such file or directory"),
        ("dir", 3, "dir: open: is a directory"),
        ("empty.npy", 1, "empty.npy: npy: at byte 0: the file is empty"),
        (
            "text.dat",
            2,
            "text.dat: neither its first bytes nor its extension tell its format. Pass --format, "
            "one of npy, npz, ",
        ),
        ("-", 2, "-: arrays are read from files, not from stdin."),
        ("p-*.npy", 2, "no file matches p-*.npy"),
        ("/dev/null", 3, "/dev/null: open: not a regular file"),
    ],
)
def test_unreadable_input_is_reported_in_one_line(folder, command, path, status, says) -> None:
    said = refused(*arguments(command, path), status=status)
    assert said.startswith(f"tensorferry: error: {says}")
    assert said.count("\n") == 1
    assert not (folder / "out.npy").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="another user can be tried by root alone")
@pytest.mark.parametrize("command", ["inspect", "convert", "stream"])
def test_missing_permission_is_reported(folder, command) -> None:
    (folder / "a.npy").chmod(0o600)
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    folder.chmod(0o777)
    for parent in folder.parents:
        if parent.name.startswith("pytest"):
            parent.chmod(0o755)
    try:
        said = refused(*arguments(command, "a.npy"), status=3, **nobody)
    except PermissionError:
        pytest.skip("the command itself may be run by root alone")
    assert "a.npy: open: Permission denied" in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["stream", "a.npy", "--batch", "0"], "'--batch <ROWS>': it has to be at least 1"),
        (["stream", "a.npy", "--threads", "-1"], "unexpected argument '-1'"),
        (["stream", "a.npy", "--steps", "9" * 30], "'--steps <BATCHES>': too large"),
        (
            ["convert", "a.npy", "o.npy", "--shard-rows", "many"],
            "'--shard-rows <ROWS>': not a whole number",
        ),
        (
            ["convert", "a.npy", "o.npy", "--memory-limit", "lots"],
            '"lots" is not a number of bytes, such as 64M',
        ),
        (
            ["convert", "a.npy", "o.npy", "--casting", "same_kind"],
            "[possible values: checked, saturate, wrap]",
        ),
        (["convert", "a.npy", "o.npy", "--dtype", "int128"], '"int128" is not one of bool, int8, '),
        (
            ["convert", "a.npy", "o.xyz"],
            "o.xyz: its extension does not name a format. Pass --to, one of npy, npz, ",
        ),
        (["convert", "a.npy"], "<SRC>"),
        (["check", "a.npy", "--mode", "map"], "unexpected argument '--mode'"),
        (["convrt"], "a similar subcommand exists: 'convert'"),
    ],
)
def test_a_mistake_is_reported_with_the_way_out(folder, options, says) -> None:
    assert says in refused(*options, status=2)
    assert sorted(os.listdir(folder)) == ["a.npy", "dir", "empty.npy", "text.dat"]


def test_without_arguments_it_shows_its_help() -> None:
    done = subprocess.run([COMMAND], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == run("--help").stdout


@pytest.mark.parametrize("name", ["日本語", "bad\udcff\udcfe", "-dash", "line\nbreak"])
def test_files_may_have_any_name(folder, name) -> None:
    source = folder / f"{name}.npy"
    (folder / "a.npy").rename(source)
    # A terminal is shown printable characters only.
    done = subprocess.run([COMMAND, "inspect", source], capture_output=True, check=True)
    assert done.stdout.count(b"\n") > 6
    assert b"shape     (4, 3)" in done.stdout.splitlines()[3]
    for command in (
        ["check", source],
        ["stream", source],
        ["convert", source, folder / f"o{name}.npy"],
    ):
        subprocess.run([COMMAND, *command], capture_output=True, check=True)
    assert np.load(folder / f"o{name}.npy").shape == (4, 3)
    if name == "-dash":
        assert "-d" in refused("inspect", "-dash.npy", status=2)
        run("inspect", "--", "-dash.npy")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["in"], "inspect"),
        (["convert", "--cas"], "--casting"),
        (["convert", "--casting", "s"], "saturate"),
        (["stream", "a.npy", "--mode", ""], "auto map read direct"),
        (["convert", "a.npy", "o", "--to", "np"], "npy npz"),
        (["completions", "f"], "fish"),
        (["do"], "doctor"),
    ],
)
def test_bash_completes_words(words, expected) -> None:
    assert " ".join(completed(*words)) == expected


@pytest.mark.parametrize("no_color", [False, True])
def test_mistakes_are_coloured_on_a_terminal_unless_no_color_is_set(no_color) -> None:
    master, slave = pty.openpty()
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE")
    }
    environment |= {"TERM": "xterm", **({"NO_COLOR": "1"} if no_color else {})}
    subprocess.run([COMMAND, "inspect", "--bogus"], stderr=slave, check=False, env=environment)
    os.close(slave)
    said = os.read(master, 4096)
    os.close(master)
    assert b"--bogus" in said
    assert (b"\x1b[" in said) == (not no_color)
