"""Settings and fixtures of all tests: the frameworks, and file operations that fail."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import pytest
from hypothesis import HealthCheck, settings

# The machine may be busy: no deadline, and the same examples in every run.
settings.register_profile(
    "tests",
    deadline=None,
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")

pytest_plugins = ["tests.support.storage.fixtures", "tests.support.ray_cluster"]

# In the background of a shell and under nohup, these signals are ignored, also by child processes
# that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def faults(tmp_path_factory) -> dict[str, str]:
    """The environment of a process whose file operations can be made to fail."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler to build what makes operations fail")
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    subprocess.run(
        [
            compiler,
            "-O1",
            "-Wall",
            "-Werror",
            "-shared",
            "-fPIC",
            "-o",
            library,
            Path(__file__).parent / "support" / "faults.c",
            "-ldl",
        ],
        check=True,
    )
    root = str(Path(__file__).parents[1])  # for `tests.support` in that process
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"LD_PRELOAD": str(library), "PYTHONPATH": path}


FRAMEWORKS = os.environ.get("TENSORFERRY_FRAMEWORKS")
_ABSENT = re.compile(r"ModuleNotFoundError: .*?\b(?P<name>tensorflow|keras|jax|torch)\b")

# What documents show is in the formats of frameworks.
if FRAMEWORKS == "none":
    collect_ignore = ["docs/test_documents.py", "docs/test_docstrings.py"]


def pytest_collection_modifyitems(items) -> None:
    """Files with slow tests come first, then those with many: the last file runs alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in slow, -tests[item.path], str(item.path)))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """With FRAMEWORKS=none, a file that imports a framework is skipped."""
    report = yield
    if FRAMEWORKS == "none" and report.failed and (absent := _ABSENT.search(str(report.longrepr))):
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), 1, f"Skipped: {absent['name']} is not installed")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """With FRAMEWORKS=none, a test that imports a framework or needs its tensors is skipped."""
    report = yield
    if FRAMEWORKS == "none" and report.failed and (absent := _ABSENT.search(str(report.longrepr))):
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1] or 0, f"Skipped: no {absent['name']}")
    return report


def _framework(name: str):
    if FRAMEWORKS == "all":
        return __import__(name)
    return pytest.importorskip(
        name, reason=f"{name} is not installed; make test FRAMEWORKS=all installs it"
    )


@pytest.fixture(scope="session")
def tf():
    """TensorFlow, installed in every run."""
    import tensorflow

    return tensorflow


@pytest.fixture(scope="session")
def jax():
    """JAX, installed in every run."""
    import jax

    return jax


@pytest.fixture(scope="session")
def torch():
    """PyTorch, if installed. FRAMEWORKS=all requires it."""
    return _framework("torch")


@pytest.fixture(scope="session")
def grain():
    """Grain, if installed. FRAMEWORKS=all requires it."""
    return _framework("grain")
