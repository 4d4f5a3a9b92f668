"""The HTML report of `tensorferry inspect`."""

from __future__ import annotations

import base64
import os
import re
import subprocess

import numpy as np
import pytest

from tests.support.cli import COMMAND, refused, run
from tests.support.report import Page, page, saved


def test_the_report_is_one_page_that_loads_nothing(tmp_path) -> None:
    name = "<b>&\"'"
    rng = np.random.default_rng(2)
    np.savez(
        tmp_path / f"{name}.npz",
        **{"a<i>": rng.normal(size=(500, 80)), "e": np.zeros((0, 4)), "s": np.int64(7)},
    )
    parsed = page(
        tmp_path,
        tmp_path / f"{name}.npz",
        *saved(tmp_path, "c", rng.normal(size=9) + 1j),
        *saved(tmp_path, "b", [True]),
    )
    assert parsed.counts["section"] == 5
    assert "b" not in parsed.counts
    assert "i" not in parsed.counts
    assert f"{name}.npz: a<i>" in parsed.text
    assert "the first 64 of 80" in parsed.text


def test_the_report_has_the_numbers_of_columns_and_rows(tmp_path) -> None:
    array = np.arange(60, dtype=np.uint64).reshape(20, 3) + 2**63
    parsed = page(tmp_path, *saved(tmp_path, "x", array))
    for value in (array.min(), array[:, 1].max(), array[10, 2]):
        assert str(value) in parsed.text
    assert str(array[6, 0] + 0) not in parsed.text.split("Rows")[1]


@pytest.mark.parametrize(
    ("array", "count"),
    [
        (np.random.default_rng(0).integers(0, 256, (40, 9, 8), np.uint8), 32),
        (np.random.default_rng(0).integers(0, 256, (3, 9, 8, 3)), 3),
        (np.random.default_rng(0).random((2, 9, 8, 4), np.float32), 2),
        (np.random.default_rng(0).random((2, 9, 8, 1)) < 0.5, 2),
        (np.random.default_rng(0).normal(size=(2, 9, 8)) * 1000, 0),
        (np.random.default_rng(0).integers(0, 256, (3, 9, 8, 2)), 0),
        (np.zeros((0, 9, 8), np.uint8), 0),
        (np.random.default_rng(0).integers(0, 256, (2, 700, 8), np.uint8), 0),
        (np.random.default_rng(0).integers(0, 256, (1, 700, 600), np.uint8), 1),
    ],
    ids=lambda value: str(getattr(value, "shape", value)),
)
def test_rows_shaped_like_images_are_drawn(array, count, tmp_path, tf) -> None:
    parsed = page(tmp_path, *saved(tmp_path, "images", array))
    pictures = drawn(parsed, tf)
    assert len(pictures) == count
    for at, picture in enumerate(pictures):
        image = array[at * len(array) // count]
        scale = 255 if image.dtype.kind in "fb" else 1
        step = -(-max(image.shape[:2]) // 256)
        assert np.array_equal(picture, np.round(np.atleast_3d(image)[::step, ::step] * scale))


def drawn(parsed: Page, tf) -> list[np.ndarray]:
    pictures = [value for name, value in parsed.attributes if name == "src"]
    return [
        tf.io.decode_png(base64.b64decode(picture.partition(",")[2])).numpy()
        for picture in pictures
    ]


def test_images_use_the_full_brightness_range(tmp_path, tf) -> None:
    digits = np.random.default_rng(0).integers(0, 17, (5, 8, 8))
    parsed = page(tmp_path, *saved(tmp_path, "digits", digits))
    assert "0 is black, 16 is white" in parsed.text
    assert np.array_equal(drawn(parsed, tf)[4][..., 0], np.round(digits[4] / 16 * 255))
    signed = np.random.default_rng(0).random((3, 3, 8, 8)) * 2 - 1
    parsed = page(tmp_path, *saved(tmp_path, "signed", signed))
    assert "-1 is black, 1 is white" in parsed.text
    assert np.array_equal(
        drawn(parsed, tf)[2], np.round((signed[2].transpose(1, 2, 0) + 1) / 2 * 255)
    ), "channels first"


def test_a_single_image_is_drawn_whole(tmp_path, tf) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (600, 300, 3)).astype(">i2")
    parsed = page(tmp_path, *saved(tmp_path, "photo", photo))
    (picture,) = drawn(parsed, tf)
    assert np.array_equal(picture, photo[::3, ::3])
    assert "one pixel of 3 by 3 is drawn" in parsed.text


def test_the_counts_of_the_report_agree_with_numpy(tmp_path) -> None:
    # Quarters: the rounding of printed edges moves none of them across an edge.
    values = np.floor(np.random.default_rng(3).exponential(size=5000) * 4) / 4
    run("inspect", *saved(tmp_path, "x", values), "--report", tmp_path / "x.html")
    table = (tmp_path / "x.html").read_text().split("Counts in numbers")[1].split("</table>")[0]
    rows = re.findall(r"<th scope=.row.>(\S+) to (\S+)</th><td>([\d,]+)</td>", table)
    edges = [float(rows[0][0]), *(float(end) for _, end, _ in rows)]
    counts = [int(count.replace(",", "")) for *_, count in rows]
    assert sum(counts) == 5000
    assert np.histogram(values, edges)[0].tolist() == counts


def drawn_line(path: str) -> list[tuple[int, float]]:
    points = [pair.split() for pair in re.split("[ML]", path)[1:]]
    return [(int(x), float(y)) for x, y in points]


@pytest.mark.parametrize("dtype", [">f4", "<f8", "<f2"])
def test_a_signal_is_drawn_in_its_order(tmp_path, dtype) -> None:
    signal = np.sin(np.arange(2000) / 3).astype(dtype)
    signal[400:405] = np.nan
    parsed = page(tmp_path, *saved(tmp_path, "x", signal))
    (line,) = re.findall(r'<path d="([^"]*)"', (tmp_path / "out.html").read_text())
    assert "Values in order, the least and greatest of each 5" in parsed.text
    assert line.count("M") == 2, "a gap where there is no number"
    parts = signal.astype(float).reshape(400, 5)
    low, high = np.nanmin(signal).astype(float), np.nanmax(signal).astype(float)
    ends = [
        (at, end)
        for at in range(400)
        if at != 80
        for end in sorted({parts[at].min(), parts[at].max()})
    ]
    found = drawn_line(line)
    assert [at for at, _ in found] == [at for at, _ in ends]
    assert np.allclose(
        [y for _, y in found],
        [100 * (1 - (end - low) / (high - low)) for _, end in ends],
        atol=0.006,
    )


def test_a_long_signal_is_drawn_by_a_sample(tmp_path) -> None:
    signal = np.arange(3 << 20, dtype=np.float64)
    parsed = page(tmp_path, *saved(tmp_path, "x", signal))
    assert "Values in order, one of each 6,554" in parsed.text
    (line,) = re.findall(r'<path d="([^"]*)"', (tmp_path / "out.html").read_text())
    assert [at for at, _ in drawn_line(line)] == list(range(480))
    for other in (np.arange(2000), np.ones(20), np.ones((20, 2)) * [1.0, 2.0]):
        assert "Values in order" not in page(tmp_path, *saved(tmp_path, "y", other)).text


def test_a_report_of_many_arrays_is_bounded(tmp_path) -> None:
    rng = np.random.default_rng(4)
    images = {
        f"{'n' * 300}{at}": rng.integers(0, 256, (32, 200, 250), np.uint8) for at in range(20)
    }
    np.savez(tmp_path / "many.npz", **images)
    parsed = page(tmp_path, tmp_path / "many.npz")
    assert (tmp_path / "out.html").stat().st_size < 32 << 20
    assert parsed.counts["section"] < 20
    assert "Only the first" in parsed.text
    assert all(name[-30:] in parsed.text for name in images), "all are in the overview"


def test_a_failing_report_replaces_neither_data_nor_a_report(tmp_path) -> None:
    path = saved(tmp_path, "x", np.arange(3))
    assert "has to end in .html" in refused("inspect", *path, "--report", *path, status=2)
    np.save(tmp_path / "y", np.arange(3))
    os.rename(tmp_path / "y.npy", tmp_path / "y.html")
    done = subprocess.run(
        [COMMAND, "inspect", tmp_path / "y.html", "--report", tmp_path / "y.html"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "one of the files" in done.stderr
    assert np.load(tmp_path / "y.html").tolist() == [0, 1, 2]
    (tmp_path / "old.html").write_text("old")
    refused("inspect", tmp_path / "none.npy", "--report", tmp_path / "old.html", status=3)
    assert (tmp_path / "old.html").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["old.html", "x.npy", "y.html"]
