"""The dated record of a run, its plot, and the README's section that shows both."""

import json
import re
from datetime import date
from pathlib import Path

import machine
import plot
from rows import Row, bounds, hardest, table

FOLDER = Path(__file__).with_name("record")
README = Path(__file__).parent.with_name("README.md")
COMMAND = "make bench"
SECTION = re.compile(r"(<!-- bench:start -->\n).*?(<!-- bench:end -->)", re.DOTALL)


def write(rows: list[Row], skipped: dict[str, str]) -> Path:
    """Write `record/<date>.json`, the same as a table, and the plot; a later run of the same day
    replaces them."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{date.today().isoformat()}.json"
    found = {
        "date": date.today().isoformat(),
        "command": COMMAND,
        "machine": machine.describe(),
        "skipped": skipped,
        "rows": [row.to_json() for row in rows],
    }
    path.write_text(json.dumps(found, indent=1) + "\n")
    title = (
        f"# Measured by `{COMMAND}`, {date.today().isoformat()}\n\nOn {_setting()}: medians, "
        "both sides in turns in one process."
    )
    path.with_suffix(".md").write_text(f"{title}\n\n{table(rows)}\n")
    plot.draw(rows, path.with_suffix(".svg"), _setting())
    return path


def update_readme(rows: list[Row], record: Path) -> None:
    """Put the table, the bounds of missed targets and the plot between the README's two marks."""
    text = README.read_text()
    if not SECTION.search(text):
        raise SystemExit(f"{README.name} has no '<!-- bench:start -->' and '<!-- bench:end -->'")
    place = record.relative_to(README.parent).with_suffix("").as_posix()
    missed = bounds(rows)
    parts = [
        (
            f"Measured by `{COMMAND}` on {_setting()}, {date.today().isoformat()}: medians, both "
            "sides in turns in one process."
        ),
        f"![How many times as fast as each peer]({place}.svg)",
        "Of each measurement, the peer that comes nearest:",
        table(hardest(rows)),
        f"What bounds the figures short of their target:\n\n{missed}" if missed else "",
        f"[Every peer]({place}.md), and [every repetition]({place}.json).",
    ]
    section = "\n\n".join(part for part in parts if part)
    README.write_text(SECTION.sub(lambda found: f"{found[1]}\n{section}\n\n{found[2]}", text))


def _setting() -> str:
    found = machine.describe()
    versions = found["versions"]
    tensorflow = versions.get("tensorflow-cpu") or versions.get("tensorflow", "?")
    return (
        f"{found['cpu']}, {found['cores']} cores, {found['memory_GiB']} GiB; Python "
        f"{found['python']}, "
        f"NumPy {versions.get('numpy', '?')}, TensorFlow {tensorflow}"
    )
