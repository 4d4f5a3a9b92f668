"""What the README shows is what happens: its Python sessions run as one doctest, from the first to the last."""

import doctest
import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
SESSION = re.compile(r"^```pycon\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_python_sessions_print_what_the_readme_shows(tmp_path, monkeypatch):
    # The sessions write files where they stand.
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8")
    sessions = list(SESSION.finditer(text))
    assert sessions
    names: dict[str, object] = {}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for session in sessions:
        line = text.count("\n", 0, session.start(1))
        test = doctest.DocTestParser().get_doctest(session[1], names, README.name, str(README), line)
        assert test.examples
        runner.run(test, clear_globs=False)
        names.update(test.globs)
    assert runner.summarize().failed == 0
