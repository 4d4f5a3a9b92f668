"""Check the prose and the line lengths of the repository: `prose.py [file ...]`.

Prose is Markdown, comments, docstrings and string literals, without code spans and code blocks.
Raw strings in Python are patterns or test data. Recorded benchmarks stay as they were recorded.
"""

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

WIDTH = 100
RECORDED = "benchmarks/record/"

# What to write, and what not. A space stands for any white space: a phrase is also found across
# lines.
RULES = {
    instead: re.compile(rf"\b(?:{pattern})\b".replace(" ", r"\s+"), re.IGNORECASE)
    for instead, pattern in {
        "the role, as in `the caller`": r"who(?:so)?ever|(?:no|some|any|every)body(?:'s)?",
        "the owner first, as in `your array`": r"of (?:ours|yours|theirs)|of the user's"
        r"|of (?:the|an?) \w+'s(?=[.,;:)]| (?:that|which|is|are)\b)",
        "continue, resume": r"(?:go|goes|going|gone|went) on (?:with|from|exactly|after|where)",
        "already exists": r"(?:is|are|was|were) there (?:already|yet|too)",
        "is not a": r"(?<!there\s)(?:is|are|was|were) no "
        r"(?!longer|more|less|fewer|other|\w+er than)\w+",
        "the subject": r"what (?:is|are|was|were|has|lies|comes|fits|holds|needs) "
        r"(?:[^\s.,;:()?|]+ ){1,4}?(?:is|are|was|were)",
        "the purpose": r"(?:that|this|it) is what",
        "make, ask": r"(?:has|have|had|lets?) the (?:system|kernel|disk|compiler)",
        "the purpose, as in `To avoid this, ...`": r"who wants"
        r"|(?<=[.:;(]\s)who \w+s(?! [^.]*\?)",
        "available, accessible": r"be had",
        "the number": r"so many(?! (?:\w+ ){1,5}that)",
        "silently, quickly": r"in no time|dear to|without a word",
    }.items()
}
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
# URLs, tables in doc comments, and lines without letters.
EXEMPT = re.compile(r"://|^\s*//[/!] \||^(?!.*[A-Za-z]{2})")

RUST = re.compile(
    r"""(?P<comment>//[^\n]*)
    |(?P<raw>\bb?r(?P<hashes>\#*)".*?"(?P=hashes))
    |(?P<string>"(?:\\.|[^"\\])*"|/\*.*?\*/)
    |'(?:\\u\{\w+\}|\\.|[^'\\])'""",
    re.DOTALL | re.VERBOSE,
)
STRINGS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}

# Consecutive lines of prose, each with its number.
Block = list[tuple[int, str]]


def of_markdown(text: str) -> Iterator[Block]:
    block: Block = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or re.match(r"\s*(?:[*-]|\d+\.|#+|\|) ", line):
            yield block
            block = []
        block.append((number, line))
    yield block


def of_rust(text: str) -> Iterator[Block]:
    block: Block = []
    end = 0
    for token in RUST.finditer(text):
        between = text[end : token.start()]
        if not (token["comment"] and between.isspace() and between.count("\n") == 1):
            yield block
            block = []
        first = text.count("\n", 0, token.start()) + 1
        if token["comment"]:
            block.append((first, re.sub("^//[/!]?", "", token[0])))
        elif token.lastgroup:
            block += enumerate(token[0].replace("\\\n", "\n").split("\n"), first)
        end = token.end()
    yield block


def of_python(text: str) -> Iterator[Block]:
    block: Block = []
    kind = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.NL, tokenize.NEWLINE):
            continue
        if token.type != kind or (kind == tokenize.COMMENT and token.start[0] > block[-1][0] + 1):
            yield block
            block, kind = [], token.type
        is_raw = re.match(r"""b?rb?(?:'|"(?!""))""", token.string, re.IGNORECASE)
        if kind == tokenize.COMMENT or (kind in STRINGS and not is_raw):
            words = token.string.strip("#\"'")
            block += enumerate(words.split("\n"), token.start[0])
    yield block


READERS = {".md": of_markdown, ".rs": of_rust, ".py": of_python, ".pyi": of_python}


def findings(text: str, suffix: str) -> Iterator[tuple[int, str]]:
    """Line numbers of a file's text, and what is wrong there."""
    for block in READERS[suffix](text):
        prose = "\n".join(line for _, line in block)
        prose = CODE.sub(lambda code: re.sub(r"\S", "x", code[0]), prose)
        for instead, pattern in RULES.items():
            for found in pattern.finditer(prose):
                number = block[prose.count("\n", 0, found.start())][0]
                yield number, f"{' '.join(found[0].split())} (write: {instead})"
    if suffix != ".md":
        yield from long_lines(text, suffix)


def long_lines(text: str, suffix: str) -> Iterator[tuple[int, str]]:
    """Lines over the width, outside of Rust's raw strings."""
    exempt: set[int] = set()
    for token in RUST.finditer(text) if suffix == ".rs" else ():
        if token["raw"]:
            first = text.count("\n", 0, token.start()) + 1
            exempt.update(range(first, first + token[0].count("\n") + 1))
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > WIDTH and number not in exempt and not EXEMPT.search(line):
            yield number, f"{len(line)} columns (at most: {WIDTH})"


def main() -> None:
    files = sys.argv[1:] or subprocess.check_output(["git", "ls-files"], text=True).splitlines()
    failed = False
    for path in map(Path, files):
        if path.suffix in READERS and path.exists() and not str(path).startswith(RECORDED):
            for number, problem in sorted(findings(path.read_text("utf-8"), path.suffix)):
                failed = True
                print(f"{path}:{number}: {problem}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
