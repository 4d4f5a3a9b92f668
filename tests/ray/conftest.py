"""All tests of this folder have the cluster."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.ray_cluster import WANTED


def pytest_collection_modifyitems(items) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.ray)
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Without Ray, a file that imports it is skipped, unless the tests of Ray are asked for."""
    report = yield
    absent = re.compile(r"ModuleNotFoundError: (No module named 'ray|tensorferry\S* needs ray)")
    if not WANTED and report.failed and absent.search(str(report.longrepr)):
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), 1, "Skipped: make test RAY=1 installs Ray")
    return report


@pytest.fixture(autouse=True)
def _connected(connected) -> None:
    """Also tests that do not name it."""
