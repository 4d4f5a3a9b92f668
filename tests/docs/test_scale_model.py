"""docs/scale.md shows what its program computes."""

from __future__ import annotations

import runpy
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

TOOL = ROOT / "tools/scale_model.py"
MODEL = runpy.run_path(str(TOOL))
PAGE = (ROOT / "docs/scale.md").read_text("utf-8")


def test_the_page_shows_what_the_model_computes() -> None:
    command = [sys.executable, str(TOOL), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("figure", ["477 thousand", "9,314", "5,500", "54 µs"])
def test_a_figure_that_was_changed_by_hand_is_written_anew(figure) -> None:
    assert figure in PAGE
    assert MODEL["filled"](PAGE.replace(figure, "1")) != PAGE.replace(figure, "1")
    tables = "".join(MODEL["tables"]().values())
    assert figure in tables


def test_a_page_without_a_place_for_a_table_is_an_error() -> None:
    with pytest.raises(SystemExit, match="0 places for the table 'sharing'"):
        MODEL["filled"](PAGE.replace("scale_model: sharing", "scale_model: another"))


def test_every_input_says_what_it_rests_on() -> None:
    kinds = ("chosen", "measured: ", "documented: ", "public: ", "the setting of W16")
    assert all(each.basis.startswith(kinds) for each in MODEL["INPUTS"].values())


def test_the_model_by_hand() -> None:
    """The main figures, computed once more from the inputs as the page shows them."""
    blocks = 100e12 / 2**20
    assert round(blocks / 1e6, 1) == 95.4
    a_second = 1000 * 0.5e9 / 2**20
    assert -(-a_second // 5500) == MODEL["prefixes"](0.5e9) == 87
    lasts = 0.03 + 2**20 / 1e8
    assert MODEL["under_way"](0.5e9) == pytest.approx(0.5e9 / 2**20 * lasts)
    parts, _, whole = MODEL["layouts"]()
    assert (MODEL["objects"](parts), MODEL["objects"](whole)) == (10, 9314)
    assert MODEL["opening"](whole) == pytest.approx(9_314_000 / (87 * 5500))
