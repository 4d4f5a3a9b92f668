"""The code blocks of the documents."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

#: What users read. CONTRIBUTING and ARCHITECTURE describe the repository.
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)(```+)(.*)$")


@dataclass
class Block:
    """A fenced block: its language, its text, and the number of its first line from 0."""

    language: str
    text: str
    line: int


def blocks(text: str, *languages: str) -> list[Block]:
    """The blocks of a page, in order; of these languages only, if some are given."""
    found: list[Block] = []
    lines = text.splitlines(keepends=True)
    at = 0
    while at < len(lines):
        opened = FENCE.match(lines[at].rstrip("\n"))
        if opened:
            end = next(
                number for number in range(at + 1, len(lines)) if lines[number].strip() == opened[2]
            )
            inside = textwrap.dedent("".join(lines[at + 1 : end]))
            found.append(Block(opened[3].strip(), inside, at + 1))
            at = end
        at += 1
    return [block for block in found if not languages or block.language in languages]


def blocks_of(path: Path, *languages: str) -> list[Block]:
    return blocks(path.read_text("utf-8"), *languages)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))
