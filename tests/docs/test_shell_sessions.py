"""The shell sessions in the documents print what they show.

Times and sizes depend on the machine, and the files of some sessions are large. Such sessions run
on small files, and lines are compared without numbers and units.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tests.support.cli import COMMAND
from tests.support.documents import PAGES, blocks_of, name
from tests.support.paths import ROOT

CONSOLE = [path for path in PAGES if blocks_of(path, "console")]
COMMAND_LINE = ROOT / "docs/start/command-line.md"
#: Programs that are not run, and how their sessions are checked instead.
NOT_RUN = {"make", "pip", "git", "cargo", "cd"}
REPOSITORY = tomllib.loads((ROOT / "Cargo.toml").read_text("utf-8"))["workspace"]["package"][
    "repository"
]
#: The conversion that is killed: tests/cli kills such conversions and resumes them.
KILLED = "\nKilled\n"


def commands(session: str) -> list[str]:
    return [line.removeprefix("$ ") for line in session.splitlines() if line.startswith("$ ")]


def programs(path: Path) -> set[str]:
    text = "".join(block.text for block in blocks_of(path, "console"))
    return {shlex.split(command, comments=True)[0] for command in commands(text)}


def run(session: str, folder: Path) -> str:
    """What a shell prints for the commands of a session, in the form of the session."""
    # One shell for all, so that `$?` is the status of the previous command.
    script = "\n".join(
        f"status=$?; echo {shlex.quote('$ ' + command)}; (exit $status)\n{command}"
        for command in commands(session)
    )
    path = os.pathsep.join(
        [str(Path(COMMAND).parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    )
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )
    return done.stdout


def sessions(shown: str) -> list[str]:
    """The sessions of the sections of command-line.md whose headings match."""
    text = COMMAND_LINE.read_text("utf-8")
    sections = re.findall(rf"^## (?:{shown})\n.*?(?=^## )", text, re.DOTALL | re.MULTILINE)
    blocks = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    return [session for section in sections for session in blocks.findall(section)]


@pytest.mark.parametrize("path", CONSOLE, ids=name)
def test_commands_are_run_or_known(path) -> None:
    """Other pages show how to build and install: those commands must exist in the repository."""
    if path == COMMAND_LINE:
        return
    assert programs(path) <= NOT_RUN
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for command in commands("".join(block.text for block in blocks_of(path, "console"))):
        words = shlex.split(command, comments=True)
        if words[0] == "make":
            for target in (word for word in words[1:] if "=" not in word):
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), command
        elif words[:2] == ["pip", "install"]:
            what = [word for word in words[2:] if not word.startswith("-")]
            assert all(re.match(r"\.|tensorferry\b|git\+" + REPOSITORY, word) for word in what), (
                command
            )
        elif words[0] == "cargo" and words[1] == "add":
            assert (ROOT / "crates" / words[2] / "Cargo.toml").exists(), command


def test_shell_sessions_print_what_the_document_shows(tmp_path) -> None:
    shown = "".join(sessions("inspect|check|merge"))
    assert len(commands(shown)) > 5
    assert run(shown, tmp_path) == shown


def without_numbers(text: str) -> list[str]:
    """Lines with numbers and their units replaced."""
    units = r"(?: ?(?:[KMGT]iB|[KMGT]?B|ns|µs|ms|s)\b)?"
    return [re.sub(rf"\d[\d,.]*{units}", "N", line) for line in text.splitlines()]


@pytest.fixture
def tokens(tmp_path):
    """The files of the sessions, with a thousandth of the rows: three values are over 65,535."""
    rng = np.random.default_rng(7)
    for part in range(4):
        rows = rng.integers(0, 50_000, (300, 128))
        if part == 3:
            rows[123, 7:10] = 70_000
        np.save(tmp_path / f"tokens-{part}.npy", rows)
    return tmp_path


def test_conversions_print_what_the_document_shows_except_numbers(tokens) -> None:
    shown = [session for session in sessions("convert") if KILLED not in session]
    assert len(shown) == 1
    assert without_numbers(run(shown[0], tokens)) == without_numbers(shown[0])


def test_only_one_session_is_not_run() -> None:
    (killed,) = (session for session in sessions(".*") if KILLED in session)
    command, *_, last = commands(killed)
    assert last == f"{command} --resume"


def test_measurements_have_the_lines_that_the_document_shows(tokens) -> None:
    """What a line says after its label depends on the machine: which parts took time at all."""
    (shown,) = sessions("stream")

    def labels(text: str) -> list[str]:
        return [
            line if line.startswith(("$", "from_")) else line[:11] for line in text.splitlines()
        ]

    printed = run(shown, tokens).replace("(1200 x", "(1200000 x")
    assert labels(printed) == labels(shown)
