"""A Ray cluster of three nodes with a processor each, which all tests of a process share, and
which tests are run with it.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator

import pytest

from tests.support.paths import ROOT

#: The tests of Ray are a run of their own, in one process: two clusters at once disturb each other.
WANTED = os.environ.get("TENSORFERRY_RAY") == "1"
NODES = 3


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if item.get_closest_marker("ray") is None:
            continue
        # Ray's own warnings, of this Python and of its own next versions.
        item.add_marker(pytest.mark.filterwarnings("ignore"))
        if not WANTED:
            item.add_marker(pytest.mark.skip(reason="make test RAY=1 runs the tests of Ray"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[object]:
    """The cluster, to which this process is connected."""
    import ray
    from ray.cluster_utils import Cluster

    # Workers import the functions of tests.
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("PYTHONPATH", path)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Reports of Train's workers are looked for at this interval.
        patch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")
        patch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "15")
        cluster = Cluster()
        for at in range(NODES):
            options = {"include_dashboard": False} if at == 0 else {}
            cluster.add_node(num_cpus=1, object_store_memory=200 << 20, **options)
        # For processes that tests start. Another cluster may run on this machine.
        patch.setenv("RAY_ADDRESS", cluster.address)
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        logging.getLogger("ray").setLevel(logging.ERROR)
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        try:
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


@pytest.fixture
def connected(cluster) -> Iterator[object]:
    """The cluster; a test has Ray Data's default settings, with small blocks."""
    from ray.data import DataContext

    before = DataContext.get_current().copy()
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = 64 << 10
    yield cluster
    DataContext._set_current(before)
