"""One row of the result: a figure of tensorferry and one of a peer.

The ratio is the speed relative to the peer (2.0: half the time; 0.5: twice the time). A target in
time, such as "at most 1.5 times the peer's", becomes "at least 0.67".
"""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

RATES = ("B/s", "rows/s", "batches/s")
"""The units in which more is better."""


@dataclass(frozen=True)
class Row:
    """A measurement of tensorferry and of one peer, in `unit`, with its target."""

    workload: str
    """C1 to R1, as in the README's table."""
    what: str
    ours: float
    peer_name: str
    peer: float
    unit: str = "s"
    """"s", "B" and "requests" (less is better) or one of `RATES` (more is better)."""
    target: float | None = None
    """The least ratio that reaches the target; None for rows without a target."""
    target_least: float | None = None
    """The least figure that reaches the target, if it is a rate independent of the peer."""
    target_most: float | None = None
    """The largest figure that reaches the target, if it is a number of bytes, requests or seconds
    independent of the peer.
    """
    bound: str = ""
    """The bound of a figure that misses its target, with the measurement that shows it."""
    samples: dict[str, list[float]] = field(default_factory=dict)
    """Every repetition behind the medians, by name."""

    @property
    def ratio(self) -> float | None:
        """The speed relative to the peer; None for counts."""
        if self.unit not in ("s", *RATES) or self.ours <= 0 or self.peer <= 0:
            return None
        return self.ours / self.peer if self.unit in RATES else self.peer / self.ours

    @property
    def target_ratio(self) -> float | None:
        """The ratio at which the target is reached."""
        if self.ratio is None:
            return None
        if self.target_least is not None:
            return self.target_least / self.peer
        return self.target if self.target_most is None else self.peer / self.target_most

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None without a target."""
        if self.target_most is not None:
            return self.ours <= self.target_most
        if self.target_least is not None:
            return self.ours >= self.target_least
        if self.target is None or self.ratio is None:
            return None
        return self.ratio >= self.target

    @property
    def target_text(self) -> str:
        """The target in words."""
        if self.target_most is not None:
            return f"<= {quantity(self.target_most, self.unit)}"
        if self.target_least is not None:
            return f">= {quantity(self.target_least, self.unit)}"
        return "" if self.target is None else f">= {self.target:.2g}x"

    def at(self, level: str) -> "Row":
        """The row, measured with the vector instructions of a level."""
        return replace(self, what=f"{self.what}; {level}")

    def to_json(self) -> dict[str, Any]:
        """The row for the record, with figures of four significant digits, more than they are
        accurate to.
        """
        found = asdict(self) | {"ratio": self.ratio, "reached": self.reached}
        found["samples"] = {
            name: [_short(value) for value in values] for name, values in self.samples.items()
        }
        return {
            name: _short(value) if isinstance(value, float) else value
            for name, value in found.items()
        }


def from_json(found: dict[str, Any]) -> Row:
    """The row that :meth:`Row.to_json` made this of."""
    return Row(**{part.name: found[part.name] for part in fields(Row)})


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def quantity(value: float, unit: str) -> str:
    """A figure with a fitting prefix: `1.02 us`, `23.1 GB/s`, `9.5 M rows/s`, `2.0 GiB`."""
    if unit == "s":
        for factor, name in ((1e-6, "ns"), (1e-3, "us"), (1.0, "ms")):
            if value < factor:
                return f"{_digits(value / factor * 1000)} {name}"
        return f"{_digits(value)} s"
    if unit == "B/s":
        return f"{_digits(value / 1e9)} GB/s"
    if unit in RATES:
        factor, name = (1e9, "G ") if value >= 1e9 else (1e6, "M ") if value >= 1e6 else (1.0, "")
        return f"{_digits(value / factor)} {name}{unit}"
    if unit == "requests":
        return _digits(value)
    for power, name in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if abs(value) >= 1024**power:
            return f"{_digits(value / 1024**power)} {name}"
    return f"{value:.0f} B"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows: list[Row]) -> str:
    """The rows as one Markdown table, readable as plain text."""
    heading = [
        "",
        "What",
        "tensorferry",
        "Peer",
        "Peer's figure",
        "Times as fast",
        "Target",
        "Reached",
    ]
    body = [
        [
            row.workload,
            row.what,
            quantity(row.ours, row.unit),
            row.peer_name,
            quantity(row.peer, row.unit),
            "" if row.ratio is None else f"{_digits(row.ratio)}x",
            row.target_text,
            {True: "yes", False: "no", None: ""}[row.reached],
        ]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in [heading, *body]) for i in range(len(heading))]
    lines = [heading, ["-" * width for width in widths], *body]
    cells = (
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines
    )
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def bounds(rows: list[Row]) -> str:
    """A line for each bound of figures that miss their target, with those figures."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.reached is False:
            reasons.setdefault((row.workload, row.bound or "not explained"), []).append(
                f"{row.what}, beside {row.peer_name}"
            )
    return "\n".join(
        f"* {workload}: {bound}. Short of the target: {'; '.join(which)}."
        for (workload, bound), which in reasons.items()
    )
