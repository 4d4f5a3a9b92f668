"""The chart of the README: a few workloads that users know by name, each beside its peers."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
from rows import RATES, Row, quantity

OURS, PEER = "#2a7f4f", "#b8bec6"
INK, FAINT = "#24292f", "#57606a"


@dataclass(frozen=True)
class Panel:
    """One workload: which rows, and how its peers are called."""

    title: str
    note: str
    workload: str
    what: str
    """The start of the text of its rows."""
    peers: dict[str, str]
    """The names of peers in the rows, and on the chart."""


PANELS = (
    Panel(
        "Shuffled batches from memory",
        "rows of 100 int32, batches of 1,024, as tf.Tensor",
        "W2",
        "batches of 1,024, as tf.Tensor",
        {
            "permutation, np.take(out=)": "NumPy: permutation, take",
            "torch DataLoader, sampler of batches": "PyTorch DataLoader",
            "tf.data shuffle(100000).batch": "tf.data",
        },
    ),
    Panel(
        "Shuffled batches from a file that is not in memory",
        "the same rows in a .npy of 3.2 GB, nothing cached",
        "W5",
        "",
        {
            "the same after madvise(MADV_RANDOM)": "np.memmap, MADV_RANDOM",
            "np.memmap, rows[order], order drawn before": "np.memmap",
        },
    ),
    Panel(
        "model.fit",
        "one epoch of 60,000 x 784, batches of 1,024, a small dense model",
        "K1",
        "model.fit, one epoch of 60,000 x 784, batches of 1,024",
        {
            "fit(numpy arrays)": "fit(NumPy arrays)",
            "tf.data from_tensor_slices.shuffle.batch.prefetch": "tf.data",
        },
    ),
    Panel(
        "Token windows",
        "32 random windows of 1,024 from a file of a billion uint16, x and y as int64",
        "W4",
        "",
        {
            "sliding_window_view[idx].astype": "NumPy: sliding_window_view",
            "nanoGPT: torch.stack of astype(np.int64)": "nanoGPT's loader",
        },
    ),
    Panel(
        "A small array to a tensor",
        "100 int32, read-only; less is better",
        "C1",
        "100 int32, shared, a is read-only",
        {
            "from_dlpack(a.__dlpack__())": "from_dlpack, unchecked",
            "tf.convert_to_tensor(a)": "tf.convert_to_tensor",
        },
    ),
)


def workloads() -> list[str]:
    """The workloads that the chart shows."""
    return [panel.workload for panel in PANELS]


def draw(rows: list[Row], path: Path, setting: str) -> None:
    """Draws the panels one below the other, and the setting below them. Every workload must be
    among the rows.
    """
    found = [_bars(panel, rows) for panel in PANELS]
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "tensorferry", "font.size": 9})
    heights = [len(bars) + 1.0 for _, bars in found]
    figure, axes = plt.subplots(
        len(PANELS), figsize=(8, 0.27 * sum(heights)), height_ratios=heights, facecolor="white"
    )
    for panel, (unit, bars), axis in zip(PANELS, found, axes, strict=True):
        _panel(axis, panel, unit, bars)
    legend = "In brackets: how many times as fast tensorferry is."
    figure.text(0.01, 0.005, f"{legend}\n{setting}", fontsize=7, color=FAINT)
    figure.subplots_adjust(left=0.27, right=0.88, top=0.95, bottom=0.05, hspace=0.55)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _bars(panel: Panel, rows: list[Row]) -> tuple[str, dict[str, float]]:
    """The unit and the figures of a panel, the best CPU level where there are several."""
    bars: dict[str, float] = {}
    unit = ""
    for name, shown in panel.peers.items():
        matching = [
            row
            for row in rows
            if row.workload == panel.workload
            and row.what.startswith(panel.what)
            and row.peer_name == name
            and not row.what.endswith(("; baseline", "; avx2"))
        ]
        if not matching:
            raise SystemExit(f"{panel.workload} has no row {panel.what!r} beside {name!r}")
        bars.setdefault("tensorferry", matching[0].ours)
        bars[shown] = matching[0].peer
        unit = matching[0].unit
    return unit, bars


def _panel(axis: plt.Axes, panel: Panel, unit: str, bars: dict[str, float]) -> None:
    places, values = range(len(bars)), list(bars.values())
    axis.barh(places, values, height=0.72, color=[OURS, *[PEER] * (len(bars) - 1)])
    for place, value in zip(places, values, strict=True):
        text = quantity(value, unit) + _ratio(values[0], value, unit, first=place == 0)
        axis.text(
            value + 0.01 * max(values),
            place,
            text,
            va="center",
            fontsize=8,
            color=INK,
            clip_on=False,
        )
    axis.set_yticks(places, list(bars), color=INK)
    axis.get_yticklabels()[0].set_fontweight("bold")
    axis.set_xlim(0, 1.12 * max(values))
    axis.invert_yaxis()
    axis.set_xticks([])
    axis.tick_params(left=False)
    axis.spines[:].set_visible(False)
    axis.set_title(panel.title, loc="left", x=-0.42, fontsize=10, fontweight="bold", color=INK)
    axis.set_title(panel.note, loc="right", x=1.13, fontsize=8, color=FAINT)


def _ratio(ours: float, peer: float, unit: str, *, first: bool) -> str:
    """How many times as fast tensorferry is as this peer."""
    if first:
        return ""
    ratio = ours / peer if unit in RATES else peer / ours
    return f"  ({ratio:.1f}x)" if ratio < 10 else f"  ({ratio:,.0f}x)"
