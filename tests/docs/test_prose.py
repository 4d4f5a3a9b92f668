"""`tools/prose.py` finds dialect and long lines, and accepts plain English."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).parents[2] / "tools" / "prose.py"
findings = runpy.run_path(str(CHECK))["findings"]

# Raw strings: the check does not take them for prose.
DIALECT = {
    r"Whoever": r"Whoever reads in order waits.",
    r"nobody": r"so that nobody waits",
    r"somebody's": r"It is somebody's.",
    r"of ours": r"a tensor of ours",
    r"of yours": r"It writes into memory of yours.",
    r"of the user's": r"a function of the user's",
    r"of the kernel's": r"The lock of the kernel's is held.",
    r"gone on with": r"It cannot be gone on with.",
    r"goes on from": r"The pass goes on from there.",
    r"is there already": r"out.npy is there already",
    r"is no dataset": r"The value is no dataset.",
    r"are no arrays": r"These are no arrays.",
    r"What is shared is": r"What is shared is held.",
    r"What lies so is": r"What lies so is read at once.",
    r"That is what": r"That is what a lock is for.",
    r"Has the system": r"Has the system write the pages.",
    r"Who wants": r"Who wants wrapping says so.",
    r"Who reads": r"It waits. Who reads goes first.",
    r"be had": r"Elements can be had by their index.",
    r"so many": r"A reader so many chunks ahead yields.",
    r"in no time": r"stacked, in no time",
    r"dear to": r"It may be dear to a user.",
}
FOUND = r"2: is no dataset (write: is not a)"
PLAIN = [
    r"There is no dataset. It is no longer open, and is no larger than before.",
    r"The user's function runs here. The end of the array's first row is in memory.",
    r"It names what is wrong. What is a plan? It is a description.",
    r"The system has pages. So many files are open that the limit is reached.",
    r"It is a function of the index, and goes on top of the stack.",
    r"`whoever` is a name, and so is ``nobody``.",
]
WRITTEN_AS = {
    "md": "# Title\n\n* {0}\n",
    "rs": "//! Module.\n\nfn f() {{\n    // {0}\n}}\n",
    "py": '"""{0}"""\n',
}


def checked(name: str, text: str) -> list[str]:
    return [f"{line}: {problem}" for line, problem in findings(text, Path(name).suffix)]


@pytest.mark.parametrize("suffix", WRITTEN_AS)
def test_each_rule_finds_its_dialect(suffix) -> None:
    for words, sentence in DIALECT.items():
        found = checked(f"a.{suffix}", WRITTEN_AS[suffix].format(sentence))
        assert len(found) == 1, (sentence, found)
        assert found[0].partition(": ")[2].startswith(f"{words} (write: ")


@pytest.mark.parametrize("suffix", WRITTEN_AS)
def test_plain_english_passes(suffix) -> None:
    for sentence in PLAIN:
        assert checked(f"a.{suffix}", WRITTEN_AS[suffix].format(sentence)) == []


def test_a_phrase_is_found_across_lines() -> None:
    no_dataset = "no dataset"
    text = f"first\nIt is\n{no_dataset}.\n"
    assert checked("a.md", text) == [FOUND]
    comments = f"x = 1\n# It is\n# {no_dataset}.\n"
    assert checked("a.py", comments) == [FOUND]
    assert checked("a.rs", comments.replace("#", "///").replace("x = 1", "")) == [FOUND]
    message = f'const A: char = \'"\';\nf("it is \\\n    {no_dataset}");\n'
    assert checked("a.rs", message) == [FOUND]
    parts = f'f(\n    "it is "\n    "{no_dataset}"\n)\n'
    assert checked("a.py", parts) == [FOUND]


def test_code_is_not_prose() -> None:
    name = "who" + "ever"
    assert checked("a.py", f'{name} = r"{name}"\n') == []
    assert checked("a.rs", f"fn {name}<'a>({name}: &'a str) {{}}\n") == []
    assert checked("a.md", f"```python\n{name} = 1\n```\n") == []


def test_long_lines_are_found_with_exceptions_for_what_cannot_be_wrapped() -> None:
    long = "a word " * 15
    assert checked("a.rs", f"// short\n// {long}\n") == ["2: 108 columns (at most: 100)"]
    assert checked("a.py", f"x = 1\n# {long}\n") == ["2: 107 columns (at most: 100)"]
    assert checked("a.md", f"{long}\n") == []
    for line in (f"/// | {long} |", f"// https://{long}", "1, " * 40, f'r"{long}"'):
        assert checked("a.rs", line + "\n") == []


def test_the_exit_status_says_whether_anything_was_found(tmp_path) -> None:
    (tmp_path / "a.md").write_text("It is a dataset.\n")
    (tmp_path / "b.md").write_text(f"\nIt is {'no dataset'}.\n")
    for names, status, output in (
        (["a.md"], 0, ""),
        (["a.md", "b.md"], 1, f"b.md:{FOUND}\n"),
    ):
        done = subprocess.run(
            [sys.executable, str(CHECK), *names],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (status, output, "")
