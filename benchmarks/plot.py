"""The plot of speeds relative to peers, for timed rows with a target, on a logarithmic scale."""

from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
from rows import Row

LONGEST = 30
"""The end of the axis. A label gives the value of a longer bar."""
TICKS = (0.5, 1, 2, 5, 10, 20)
COLOURS = {True: "#2a7f4f", False: "#c2572b"}


def draw(rows: list[Row], path: Path, setting: str) -> None:
    """Draw the rows that have a ratio and a target as bars around 1, with a tick at each target."""
    shown = [row for row in rows if row.ratio is not None and row.target_ratio is not None]
    if not shown:
        return
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "tensorferry", "font.size": 8})
    figure, axes = plt.subplots(figsize=(10, 0.7 + 0.21 * len(shown)))
    places = range(len(shown))
    ratios = [row.ratio or 1.0 for row in shown]
    lengths = [min(ratio, LONGEST) for ratio in ratios]
    axes.barh(
        places,
        [length - 1 for length in lengths],
        left=1,
        height=0.7,
        color=[COLOURS[bool(row.reached)] for row in shown],
    )
    targets = [row.target_ratio or 1.0 for row in shown]
    axes.scatter(
        [min(target, LONGEST) for target in targets],
        places,
        marker="|",
        s=60,
        color="black",
        zorder=3,
        label="target",
    )
    for place, ratio, length in zip(places, ratios, lengths, strict=True):
        axes.text(
            max(length, 1) * 1.05,
            place,
            f"{ratio:,.2f}" if ratio < 100 else f"{ratio:,.0f}",
            va="center",
            fontsize=7,
        )
    axes.set_yticks(places, [f"{row.workload}  {row.what}  /  {row.peer_name}" for row in shown])
    axes.set_xscale("log")
    axes.set_xlim(0.8 * min(1, *ratios, *targets), 2 * LONGEST)
    axes.set_xticks(TICKS, [str(tick) for tick in TICKS])
    axes.minorticks_off()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("times as fast as the peer (more is better)")
    axes.set_title(setting, fontsize=7, loc="right")
    axes.legend(loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
