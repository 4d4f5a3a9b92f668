"""Assemble the pages of the site: `pages.py FOLDER PICTURES`.

The pages are docs/ and the Markdown files of the root. Links keep working: those between pages lead
to pages, those to other files to the repository, those to crates to their documentation. Markdown
is written for GitHub; lists are indented as the generator needs them.
"""

import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "https://github.com/tensorferry/tensorferry"
#: Pages outside docs/, and where the site has them.
PROJECT = {
    "ARCHITECTURE.md": "project/architecture.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "RELEASING.md": "project/releasing.md",
    "SECURITY.md": "project/security.md",
    "README.md": "index.md",
}

FENCE = re.compile(r" *(`{3,})")
ITEM = re.compile(r"(?:[*+-]|\d+\.) +")
CODE = re.compile(r"(`+[^`]+`+)")
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
MENTION = re.compile(r"(?<![\w/`(\[])(docs/[\w/-]+\.md)\b(?!\])")
PICTURE = re.compile(r"^<!-- picture: ([\w-]+\.\w+): (.+) -->$", re.MULTILINE)


class BrokenLinkError(Exception):
    """A link to a file that does not exist."""


def pages() -> dict[str, Path]:
    """The path of each page in the site, and the file that it comes from."""
    found = {str(path.relative_to(ROOT / "docs")): path for path in (ROOT / "docs").rglob("*.md")}
    return found | {page: ROOT / name for name, page in PROJECT.items() if page not in found}


def destination(target: str, source: Path, page: str) -> str:
    """The link of a page for a link of its file."""
    path, mark, anchor = target.partition("#")
    if not path or "://" in path or path.startswith("mailto:"):
        return target
    file = Path(os.path.normpath(source.parent / path))
    if not file.is_relative_to(ROOT) or not file.exists():
        raise BrokenLinkError(f"{source.relative_to(ROOT)}: broken link: {target}")
    name = str(file.relative_to(ROOT))
    inside = name.removeprefix("docs/") if name.startswith("docs/") else PROJECT.get(name)
    if inside is None and name.startswith("crates/") and name.count("/") == 1:
        inside = f"rust/{file.name.replace('-', '_')}/index.html"
    if inside is None:
        return f"{REPOSITORY}/{'tree' if file.is_dir() else 'blob'}/main/{name}{mark}{anchor}"
    return os.path.relpath(inside, Path(page).parent) + mark + anchor


def linked(line: str, source: Path, page: str) -> str:
    """A line of prose with the links of the site."""

    def rewrite(link: re.Match[str]) -> str:
        return f"{link[1]}[{link[2]}]({destination(link[3], source, page)})"

    def mention(path: re.Match[str]) -> str:
        if not (ROOT / path[1]).exists():
            return path[1]
        here = os.path.relpath(path[1].removeprefix("docs/"), Path(page).parent)
        return f"[{path[1]}]({here})"

    # Links first: their text may be code.
    line = LINK.sub(rewrite, line)
    parts = CODE.split(line)
    return "".join(part if at % 2 else MENTION.sub(mention, part) for at, part in enumerate(parts))


def indented(text: str, prose) -> str:
    """Markdown with the content of lists indented by four columns; `prose` changes lines outside
    code blocks.
    """
    lines: list[str] = []
    columns: list[int] = []  # where the content of each open list item begins
    fence = ""
    for line in text.splitlines():
        content = line.lstrip(" ")
        column = len(line) - len(content)
        if fence:
            inside = line[columns[-1] :] if columns and line[: columns[-1]].isspace() else line
            lines.append("    " * len(columns) + inside if inside else "")
            fence = "" if content.rstrip() == fence else fence
            continue
        if not content:
            lines.append("")
            continue
        while columns and column < columns[-1]:
            columns.pop()
        opened = FENCE.match(line)
        item = None if opened else ITEM.match(content)
        if item and lines and lines[-1] and not columns and not ITEM.match(lines[-1].lstrip()):
            lines.append("")
        base = columns[-1] if columns else 0
        kept = line[base:]
        lines.append("    " * len(columns) + (kept if opened else prose(kept)))
        if opened:
            fence = opened[1]
        elif item:
            columns.append(column + len(item[0]))
    return "\n".join(lines) + "\n"


def with_pictures(text: str, page: str, pictures: Path) -> str:
    """Pictures at the comments that ask for them. A picture leads to itself in full size, or
    to the page that it shows.
    """
    folder = os.path.relpath("pictures", Path(page).parent)

    def show(comment: re.Match[str]) -> str:
        name, words = comment[1], comment[2]
        # The one that needs Chromium may be missing.
        image = (
            f"![{words}]({folder}/{name}){{ .picture }}" if (pictures / name).exists() else words
        )
        shown = Path(name).with_suffix(".html")
        large = shown if (pictures / shown).exists() else name
        return f"[{image}]({folder}/{large})" if (pictures / large).exists() else words

    return PICTURE.sub(show, text)


def main(folder: Path, pictures: Path) -> int:
    problems = []

    def prose(line: str) -> str:
        try:
            return linked(line, source, page)
        except BrokenLinkError as error:
            problems.append(error)
            return line

    for page, source in sorted(pages().items()):
        text = indented(source.read_text("utf-8"), prose)
        file = folder / page
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(with_pictures(text, page, pictures), "utf-8")
    shutil.copytree(Path(__file__).parent / "assets", folder / "assets", dirs_exist_ok=True)
    shutil.copytree(pictures, folder / "pictures", dirs_exist_ok=True)
    for problem in problems:
        print(problem, file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
