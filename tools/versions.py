"""Check that one version stands everywhere: `versions.py [--tag TAG] [--notes]`.

The version is that of the workspace in `Cargo.toml`. The crates depend on each other, and
`CITATION.cff` names itself, by the same version. `CHANGELOG.md` begins with `## Unreleased` or with
the section of this version. With `--tag`, for a release, the tag is `v` and this version, and the
section has a date. `--notes` prints that section.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADING = re.compile(r"^## (?P<name>\S+)(?: - (?P<date>\d{4}-\d\d-\d\d))?$", re.MULTILINE)


def sections(changelog: str) -> Iterator[tuple[str, str | None, str]]:
    """Name, date and text of each section, the newest first."""
    headings = list(HEADING.finditer(changelog))
    ends = [heading.start() for heading in headings[1:]] + [len(changelog)]
    for heading, end in zip(headings, ends, strict=True):
        yield heading["name"], heading["date"], changelog[heading.end() : end].strip()


def problems(root: Path, tag: str | None) -> Iterator[str]:
    workspace = tomllib.loads((root / "Cargo.toml").read_text("utf-8"))["workspace"]
    version = workspace["package"]["version"]
    for name, wanted in workspace["dependencies"].items():
        if "path" in wanted and wanted.get("version") != version:
            yield f"Cargo.toml: {name} is {wanted.get('version')}, not {version}"
    citation = root / "CITATION.cff"
    if citation.exists():
        cited = re.search(r"""^version: ["']?([^"'\s]+)""", citation.read_text("utf-8"), re.M)
        if not cited or cited[1] != version:
            yield f"CITATION.cff: version is {cited and cited[1]}, not {version}"
    name, date, _ = next(sections((root / "CHANGELOG.md").read_text("utf-8")), ("", None, ""))
    if tag is None and name not in ("Unreleased", version):
        yield f"CHANGELOG.md: begins with {name!r}, not with Unreleased or {version}"
    if tag is not None and (name, bool(date)) != (version, True):
        yield f"CHANGELOG.md: does not begin with `## {version} - YYYY-MM-DD`"
    if tag is not None and tag != f"v{version}":
        yield f"the tag is {tag}, not v{version}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of the repository")
    parser.add_argument("--tag", help="the tag of a release, such as v1.2.3")
    parser.add_argument("--notes", action="store_true", help="print the newest section")
    arguments = parser.parse_args()
    found = list(problems(arguments.root, arguments.tag))
    for problem in found:
        print(problem, file=sys.stderr)
    if arguments.notes and not found:
        changelog = (arguments.root / "CHANGELOG.md").read_text("utf-8")
        print(next(sections(changelog))[2])
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
