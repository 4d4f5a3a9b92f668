"""What the documents show is what happens: the Python sessions of each run as one doctest, from the first to the last."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SESSION = re.compile(r"^```pycon\n(.*?)^```$", re.DOTALL | re.MULTILINE)
DOCUMENTS = [
    path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if SESSION.search(path.read_text("utf-8"))
]


def test_the_readme_shows_sessions() -> None:
    assert ROOT / "README.md" in DOCUMENTS


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_python_sessions_print_what_a_document_shows(path, tmp_path, monkeypatch) -> None:
    # The sessions write files where they stand.
    monkeypatch.chdir(tmp_path)
    text = path.read_text(encoding="utf-8")
    names: dict[str, object] = {}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for session in SESSION.finditer(text):
        line = text.count("\n", 0, session.start(1))
        test = doctest.DocTestParser().get_doctest(session[1], names, path.name, str(path), line)
        assert test.examples
        runner.run(test, clear_globs=False)
        names.update(test.globs)
    assert runner.summarize().failed == 0
