"""The sessions in the documents print the documented output. The Python sessions of a document run
as one doctest.
"""

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import COMMAND
from tests.support.paths import ROOT

SESSION = re.compile(r"^```pycon\n(.*?)^```$", re.DOTALL | re.MULTILINE)
DOCUMENTS = [
    path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if SESSION.search(path.read_text("utf-8"))
]


def test_the_readme_shows_sessions() -> None:
    assert ROOT / "README.md" in DOCUMENTS


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_sessions_print_what_a_document_shows(path, tmp_path, monkeypatch, request) -> None:
    text = path.read_text(encoding="utf-8")
    if re.search(r"^(?:>>>|\.\.\.) .*\btorch\b", text, re.MULTILINE):
        request.getfixturevalue("torch")
    # The sessions write files to the working directory.
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for session in SESSION.finditer(text):
        line = text.count("\n", 0, session.start(1))
        test = doctest.DocTestParser().get_doctest(session[1], names, path.name, str(path), line)
        assert test.examples
        runner.run(test, clear_globs=False)
        names.update(test.globs)
    assert runner.summarize().failed == 0


# Sections whose output is the same on every machine.
SHELL = re.compile(r"^## (?:inspect|check)\n.*?(?=^## )", re.DOTALL | re.MULTILINE)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_shell_sessions_print_what_the_document_shows(tmp_path) -> None:
    text = (ROOT / "docs/start/command-line.md").read_text("utf-8")
    sessions = "".join(
        session[1] for section in SHELL.finditer(text) for session in CONSOLE.finditer(section[0])
    )
    commands = [line.removeprefix("$ ") for line in sessions.splitlines() if line.startswith("$ ")]
    assert len(commands) > 5
    # One shell for all, so that `$?` is the status of the previous command.
    script = "\n".join(
        f"status=$?; echo {shlex.quote('$ ' + command)}; (exit $status)\n{command}"
        for command in commands
    )
    path = os.pathsep.join(
        [str(Path(COMMAND).parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    )
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )
    assert done.stdout == sessions
