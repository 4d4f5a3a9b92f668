"""Write the tables of docs/scale.md: a model of many workers that read one data set from S3. With
--check, fail if the page differs.

Every input says what it rests on: a choice, a measurement of this repository, its documentation, or
a public fact.
"""

import json
import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/scale.md"
#: A full run of the benchmarks.
RECORD = ROOT / "benchmarks/record/2026-11-25.json"
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

S3 = (
    "[Amazon's guide](https://docs.aws.amazon.com/AmazonS3/latest/userguide/"
    "optimizing-performance.html)"
)


@dataclass(frozen=True)
class Input:
    """A number of the model: how it is written, and what it rests on."""

    value: float
    what: str
    shown: str
    basis: str


def recorded(workload: str, what: str) -> float:
    """A figure of the recorded run of the benchmarks."""
    rows = json.loads(RECORD.read_text("utf-8"))["rows"]
    found = {row["ours"] for row in rows if row["workload"] == workload and row["what"] == what}
    (figure,) = found
    return float(figure)


#: Of the row of R1 and of M1 that the model uses.
RESUMED = "step 1,000,000 of 1,000,000,000 rows shuffled, batches of 32: "
LIMITED = "a file of 2,048 MiB, shuffled, memory_limit 256 MiB: memory added at the peak"
R1, M1 = (f"{name} in [the record](../benchmarks/record/{RECORD.stem}.md)" for name in ("R1", "M1"))
W16 = "W16, a run of 2026-11-30"

load = recorded("R1", f"{RESUMED}load_state_dict and the next batch")
peak = recorded("M1", LIMITED)

INPUTS = {
    "data": Input(100e12, "data", "100 TB", "chosen"),
    "workers": Input(1000, "workers, one process each", "1,000", "chosen"),
    "object": Input(10 * GIB, "size of an object", "10 GiB", "chosen"),
    "row": Input(4 * KIB, "size of a row", "4 KiB", "chosen"),
    "slow": Input(0.1e9, "a training step that uses little", "0.1 GB/s a worker", "chosen"),
    "fast": Input(
        0.50e9,
        "a worker in order, on a link that brought 0.78 GB/s",
        "0.50 GB/s",
        f"measured: {W16}",
    ),
    "block": Input(
        MIB,
        "bytes of a request of a shuffle in blocks; there were 123 for 123 MiB",
        "1 MiB",
        f"measured: {W16}",
    ),
    "cpu": Input(65e-6, "processor time of a request", "65 µs", f"measured: {W16}"),
    "open requests": Input(1, "requests to open an object", "1", f"measured: {W16}"),
    "open cpu": Input(135e-6, "processor time to open an object", "135 µs", f"measured: {W16}"),
    "open memory": Input(7.0 * KIB, "memory of an opened object", "7 KiB", f"measured: {W16}"),
    "load": Input(
        load,
        "loading a state, and the next batch from memory",
        f"{load * 1e6:.0f} µs",
        f"measured: {R1}",
    ),
    # Longer than in the record: it knows the rows of a batch, so that another size can resume.
    "state": Input(
        215, "size of a state as JSON", "215 bytes", "measured: R1, a run of 2026-11-30"
    ),
    "memory": Input(
        peak,
        "memory added at the peak with `memory_limit=256 * 2**20`",
        f"{peak / MIB:.0f} MiB",
        f"measured: {M1}",
    ),
    "buffer": Input(
        MIB,
        "buffers of a large request besides",
        "1 MiB",
        "documented: [object storage](guides/object-storage.md#memory)",
    ),
    "group": Input(
        64 * MIB,
        "most bytes of a group of a shuffle in blocks",
        "64 MiB",
        "documented: [object storage](guides/object-storage.md#shuffle)",
    ),
    "most": Input(
        256,
        "most requests under way from a worker",
        "256",
        "documented: [object storage](guides/object-storage.md#credentials-and-settings)",
    ),
    "first byte": Input(0.03, "time to the first byte", "30 ms", "the setting of W16"),
    "connection": Input(100e6, "speed of a connection", "0.1 GB/s", "the setting of W16"),
    "prefix": Input(5_500, "GET requests a second for each prefix", "5,500", f"public: {S3}"),
}


def value(name: str) -> float:
    return INPUTS[name].value


# ---- the model


def under_way(speed: float) -> float:
    """Requests that have to be under way at once, by Little's law."""
    lasts = value("first byte") + value("block") / value("connection")
    return speed / value("block") * lasts


def prefixes(speed: float) -> int:
    """Prefixes that the keys need for all workers."""
    return math.ceil(value("workers") * speed / value("block") / value("prefix"))


@dataclass(frozen=True)
class Layout:
    """How the workers share the data."""

    name: str
    part: float
    """The part of the data that a worker receives in an epoch."""
    opened: float
    """The part of the objects that it opens."""
    resumes: str
    """When a run may continue on another number of workers."""


def layouts() -> tuple[Layout, ...]:
    own = 1 / value("workers")
    return (
        Layout("a part for each worker", own, own, "between epochs"),
        Layout("one order, rows of 1 MiB or more", own, 1, "at any step"),
        # The groups at both ends of its part are shared with other workers.
        Layout(
            "one order, smaller rows", own + 2 * value("group") / value("data"), 1, "at any step"
        ),
    )


def objects(layout: Layout) -> int:
    """Objects that a worker opens."""
    return math.ceil(value("data") * layout.opened / value("object"))


def opening(layout: Layout) -> float:
    """Seconds until each worker has opened its objects, within the limits of S3 and its own."""
    each = objects(layout) * value("open requests")
    by_store = value("workers") * each / (prefixes(value("fast")) * value("prefix"))
    alone = math.ceil(each / value("most")) * value("first byte")
    return max(by_store, alone, each * value("open cpu"))


def regrouping() -> float:
    """Seconds to receive again the group of the shuffle in which a run was stopped."""
    return value("group") / value("fast")


def memory(layout: Layout) -> float:
    """Bytes of a worker, beside Python and the framework."""
    buffers = math.ceil(under_way(value("fast"))) * value("buffer")
    return value("memory") + buffers + objects(layout) * value("open memory")


def count(number: float) -> str:
    """Two or three digits: 87, 95.4 thousand, 9.31 million."""
    for factor, name in ((1e9, " billion"), (1e6, " million"), (1e4, " thousand")):
        if number >= factor:
            return f"{number / (1e3 if factor == 1e4 else factor):.3g}{name}"
    return f"{number:,.0f}"


def size(number: float) -> str:
    return f"{number / 1e12:.0f} TB" if number >= 1e12 else f"{number / 1e9:.0f} GB"


def seconds(number: float) -> str:
    if number >= 3600:
        return f"{number / 3600:.1f} h"
    if number >= 180:
        return f"{number / 60:.0f} min"
    return f"{number:.2g} s" if number < 10 else f"{number:.0f} s"


def reading() -> list[tuple[str, str, list[str]]]:
    speeds = (value("fast"), value("slow"))
    workers, block = value("workers"), value("block")
    together = [f"{workers * s / 1e9:.0f} GB/s" for s in speeds]
    return [
        ("all workers together", "workers × speed", together),
        ("an epoch", "data / all workers", [seconds(value("data") / workers / s) for s in speeds]),
        (
            "requests of an epoch",
            "data / block",
            [count(value("data") / block) for _ in speeds],
        ),
        ("requests/s", "all workers / block", [count(workers * s / block) for s in speeds]),
        ("requests/s of a worker", "speed / block", [count(s / block) for s in speeds]),
        (
            "prefixes that the keys need",
            "requests/s / 5,500",
            [count(prefixes(s)) for s in speeds],
        ),
        (
            "requests under way from a worker",
            "requests/s × (first byte + block / connection)",
            [count(math.ceil(under_way(s))) for s in speeds],
        ),
        (
            "processor time for requests",
            "requests/s × 65 µs",
            [f"{s / block * value('cpu') * 100:.2g} % of a core" for s in speeds],
        ),
    ]  # fmt: skip


def by_rows() -> list[tuple[str, str, list[str]]]:
    """What a shuffle row by row would take, with a request for each row."""
    speeds, row = (value("fast"), value("slow")), value("row")
    every = value("workers") / row
    return [
        ("requests/s", "all workers / row", [count(every * s) for s in speeds]),
        (
            "prefixes that the keys need",
            "requests/s / 5,500",
            [count(math.ceil(every * s / value("prefix"))) for s in speeds],
        ),
        (
            "processor time for requests",
            "requests/s × 65 µs",
            [f"{s / row * value('cpu'):.2g} cores a worker" for s in speeds],
        ),
    ]


def sharing() -> list[tuple[str, ...]]:
    """What each way to share the data takes, at the higher speed."""
    workers, found = value("workers"), layouts()
    received = [value("data") * each.part for each in found]
    rows: dict[str, list[str]] = {
        "received by a worker in an epoch": [size(each) for each in received],
        "an epoch, at 0.50 GB/s each": [seconds(each / value("fast")) for each in received],
        "objects that a worker opens": [count(objects(each)) for each in found],
        "requests to open them, all workers": [count(workers * objects(each)) for each in found],
        "time to open them": [seconds(opening(each)) for each in found],
        "memory of a worker": [f"{memory(each) / MIB:.0f} MiB" for each in found],
        "a resume: open, load, one group again": [
            seconds(opening(each) + value("load") + regrouping()) for each in found
        ],
        "on another number of workers": [each.resumes for each in found],
        "states of all workers": [f"{workers * value('state') / 1e3:.0f} kB"]
        + [f"{value('state'):.0f} bytes"] * 2,
    }
    return [(what, *shown) for what, shown in rows.items()]


# ---- the page


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def outputs(rows: list[tuple[str, str, list[str]]]) -> str:
    at = (f"at {INPUTS['fast'].shown} each", "at 0.1 GB/s each")
    return table(("", "follows from", *at), [(what, how, *shown) for what, how, shown in rows])


def tables() -> dict[str, str]:
    """The tables by the names of their places on the page."""
    inputs = [(each.what, each.shown, each.basis) for each in INPUTS.values()]
    return {
        "inputs": table(("input", "value", "rests on"), inputs),
        "reading": outputs(reading()),
        "by rows": outputs(by_rows()),
        "sharing": table(("", *(each.name for each in layouts())), sharing()),
    }


def filled(page: str) -> str:
    """The page with the tables between their marks."""
    for name, text in tables().items():
        place = re.compile(rf"(<!-- scale_model: {name} -->\n)(?:(?!<!--).)*(<!-- end -->\n)", re.S)
        page, found = place.subn(lambda at, text=text: f"{at[1]}\n{text}\n{at[2]}", page)
        if found != 1:
            raise SystemExit(f"{PAGE.name} has {found} places for the table {name!r}, not 1")
    return page


def main(arguments: list[str]) -> int:
    page = PAGE.read_text("utf-8")
    wanted = filled(page)
    if arguments == ["--check"]:
        if page != wanted:
            print(f"{PAGE} is not what this program writes. Run tools/scale_model.py.")
        return int(page != wanted)
    if arguments:
        print("usage: scale_model.py [--check]", file=sys.stderr)
        return 2
    PAGE.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
