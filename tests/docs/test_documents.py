"""The code in the documents runs, and prints what they show.

The Python of a page runs in its order, in one namespace: sessions as doctests, and the other blocks
as they are.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import tomllib
from urllib.parse import urlsplit

import pytest

from tests.support.documents import PAGES, blocks, blocks_of, name
from tests.support.paths import ROOT
from tests.support.run_document import run
from tests.support.storage.seaweedfs import SeaweedFS

pytestmark = pytest.mark.slow

#: What is done with the blocks of each language.
LANGUAGES = {
    "pycon": "runs here",
    "python": "runs here",
    "rust": "runs with the doc tests of the crate tensorferry",
    "console": "runs in test_shell_sessions.py",
    "toml": "is parsed here",
    "text": "is not code",
}
PYTHON = [path for path in PAGES if blocks_of(path, "pycon", "python")]


def frameworks(text: str) -> list[str]:
    code = "".join(block.text for block in blocks(text, "pycon", "python"))
    names = ("torch", "jax", "grain")
    return [module for module in names if re.search(rf"\bimport {module}\b", code)]


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_block_has_a_language_whose_blocks_are_tested(path) -> None:
    unknown = [(b.line, b.language) for b in blocks_of(path) if b.language not in LANGUAGES]
    assert unknown == []


def test_the_readme_shows_sessions() -> None:
    assert ROOT / "README.md" in PYTHON


@pytest.fixture
def logs():
    """Keeps what a document changes of the root logger from other tests."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def use_bucket(store, monkeypatch) -> None:
    """Makes the bucket of the documents, and names its server in the environment."""
    own = SeaweedFS(urlsplit(store.server).port, "training")
    own.make()
    for key in own.names():
        own.delete(key)
    for key, value in store.options.items():
        monkeypatch.setenv(key.upper(), value)


@pytest.mark.usefixtures("logs")
@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_python_sessions_print_what_a_document_shows(path, tmp_path, monkeypatch, request) -> None:
    text = path.read_text(encoding="utf-8")
    for framework in frameworks(text):
        request.getfixturevalue(framework)
    # The sessions write files to the working directory.
    monkeypatch.chdir(tmp_path)
    if "s3://" in text:
        use_bucket(request.getfixturevalue("s3"), monkeypatch)
    if "torch" in frameworks(text):
        # TensorFlow is loaded here already, and has to be loaded after PyTorch's compiler.
        command = [sys.executable, "-m", "tests.support.run_document", str(path)]
        search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": search},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    else:
        assert run(path) == 0


def test_the_rust_of_every_document_is_in_the_doc_tests() -> None:
    library = (ROOT / "crates/tensorferry/src/lib.rs").read_text("utf-8")
    folder = ROOT / "crates/tensorferry/src"
    tested = {
        (folder / found).resolve() for found in re.findall(r'include_str!\("([^"]+)"\)', library)
    }
    assert {path for path in PAGES if blocks_of(path, "rust")} <= tested


@pytest.mark.parametrize("path", [p for p in PAGES if blocks_of(p, "toml")], ids=name)
def test_toml_of_a_document_names_crates_of_this_repository(path) -> None:
    for block in blocks_of(path, "toml"):
        for crate in tomllib.loads(block.text).get("dependencies", {}):
            assert (ROOT / "crates" / crate / "Cargo.toml").exists()
