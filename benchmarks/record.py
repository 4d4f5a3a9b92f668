"""The dated record of a run with its plot, and the chart that the README shows."""

import itertools
import json
import re
from datetime import date
from pathlib import Path

import chart
import machine
import plot
from rows import Row, bounds, from_json, table
from workloads import WORKLOADS

FOLDER = Path(__file__).with_name("record")
README = Path(__file__).parent.with_name("README.md")
COMMAND = "make bench"
SECTION = re.compile(r"(<!-- bench:start -->\n).*?(<!-- bench:end -->)", re.DOTALL)


def write(rows: list[Row], skipped: dict[str, str], names: list[str]) -> Path:
    """Write `record/<date>.json`, the same as a table, and the plot.

    `rows` are those of the workloads `names`. Other workloads that were recorded on the same day,
    on the same machine and with the same versions stay in the record. Beside a record of another
    machine, or of other versions, that of the day is `record/<date>-2.json`.
    """
    FOLDER.mkdir(exist_ok=True)
    path = _path(date.today().isoformat())
    rows, skipped = _merged(path, rows, skipped, names)
    found = {
        "date": date.today().isoformat(),
        "command": COMMAND,
        "machine": machine.describe(),
        "skipped": skipped,
        "rows": [row.to_json() for row in rows],
    }
    path.write_text(json.dumps(found, indent=1) + "\n")
    title = (
        f"# Measured by `{COMMAND}`, {date.today().isoformat()}\n\nOn {setting()}: medians, "
        "both sides in turns in one process."
    )
    parts = [title, table(rows)]
    if missed := bounds(rows):
        parts.append(f"## Short of the target\n\nWhat bounds these figures:\n\n{missed}")
    path.with_suffix(".md").write_text("\n\n".join(parts) + "\n")
    plot.draw(rows, path.with_suffix(".svg"), setting())
    return path


def _path(name: str) -> Path:
    """The record of a day on this machine, with these versions, which may be a new one."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    paths = (FOLDER / f"{each}.json" for each in names)
    here = machine.describe()
    return next(
        path
        for path in paths
        if not path.exists() or json.loads(path.read_text())["machine"] == here
    )


def _merged(
    path: Path, rows: list[Row], skipped: dict[str, str], names: list[str]
) -> tuple[list[Row], dict[str, str]]:
    if not path.exists():
        return rows, skipped
    old = json.loads(path.read_text())
    kept = [from_json(row) for row in old["rows"] if row["workload"] not in names]
    order = {name: place for place, name in enumerate(WORKLOADS)}
    return (
        sorted(kept + rows, key=lambda row: order[row.workload]),
        {name: why for name, why in old["skipped"].items() if name not in names} | skipped,
    )


def update_readme(record: Path) -> None:
    """Draw the chart from a record, and put it between the README's two marks."""
    found = json.loads(record.read_text())
    rows = [from_json(row) for row in found["rows"]]
    chart.draw(rows, FOLDER / "chart.svg", f"{setting()}; {found['date']}")
    text = README.read_text()
    if not SECTION.search(text):
        raise SystemExit(f"{README.name} has no '<!-- bench:start -->' and '<!-- bench:end -->'")
    place = record.relative_to(README.parent).with_suffix("").as_posix()
    section = (
        f"![Speed beside peers: {', '.join(panel.title for panel in chart.PANELS)}]"
        "(benchmarks/record/chart.svg)\n\n"
        f"Measured by `{COMMAND}` on {found['date']}: {setting()}. Medians, all sides in turns in "
        "one process, values checked. "
        f"[Every workload, with its target]({place}.md): reached or not, and what bounds it."
    )
    README.write_text(SECTION.sub(lambda found: f"{found[1]}\n{section}\n\n{found[2]}", text))


def setting() -> str:
    found = machine.describe()
    versions = found["versions"]
    tensorflow = versions.get("tensorflow-cpu") or versions.get("tensorflow", "?")
    return (
        f"{found['cpu']}, {found['cores']} cores, {found['memory_GiB']:.0f} GiB; Python "
        f"{found['python']}, "
        f"NumPy {versions.get('numpy', '?')}, TensorFlow {tensorflow}, "
        f"PyTorch {versions.get('torch', '?').partition('+')[0]}"
    )
