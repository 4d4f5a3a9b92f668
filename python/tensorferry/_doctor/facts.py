"""Facts about this interpreter, for ``tensorferry doctor``, as the JSON that the command reads.

Frameworks are probed in a process each, so that one that aborts or hangs is a fact and not the end.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from tensorferry._doctor.probe import MARK, PROBES, Probed
from tensorferry._version import __version__

#: Packages whose objects tensorferry takes or makes; their versions are read, not imported.
PACKAGES = (
    "numpy ml_dtypes pandas polars pyarrow h5py zarr netCDF4 safetensors scipy datasets grain ray "
    "torchdata tqdm cloudpickle"
).split()

#: Frameworks may otherwise reserve all memory of a GPU that others are using.
ENVIRONMENT = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}

#: The child looks for modules where this process does.
PROBE = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from tensorferry._doctor.probe import main
main(sys.argv[2])
"""

ISSUES = "https://github.com/tensorferry/tensorferry/issues"


def facts(seconds: int) -> str:
    """The facts as a JSON document.

    Args:
        seconds: how long a framework may take; 0 imports none.
    """
    packages = {name: version for name in PACKAGES if (version := _version(name))}
    frameworks = {name: _framework(name, seconds) for name in PROBES}
    sections = [
        _section("python", {name: (text, text) for name, text in _python().items()}),
        _section("packages", {name: (text, text) for name, text in packages.items()}),
        _section("frameworks", {name: found[:2] for name, found in frameworks.items()}),
    ]
    problems = [problem for *_, problem in frameworks.values() if problem]
    return json.dumps({"sections": sections, "problems": problems})


def _section(name: str, facts: dict[str, tuple[str, Any]]) -> dict[str, Any]:
    """A section of facts, each for people and for ``--json``."""
    return {
        "name": name,
        "facts": [
            {"name": fact, "text": text, "value": value} for fact, (text, value) in facts.items()
        ],
    }


def _python() -> dict[str, str]:
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    methods = multiprocessing.get_all_start_methods()
    libc = " ".join(platform.libc_ver())
    return {
        "version": f"{platform.python_implementation()} {platform.python_version()}"
        + (", free-threaded" if free_threaded else ""),
        "executable": sys.executable or "unknown",
        **({"C library": libc} if libc.strip() else {}),
        "start method": multiprocessing.get_start_method(allow_none=True) or methods[0],
        "tensorferry": f"{__version__}, {Path(__file__).parent.parent}",
    }


def _version(package: str) -> str | None:
    """The version in a package's metadata, ``None`` if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _framework(name: str, seconds: int) -> tuple[str, Probed | None, dict[str, str] | None]:
    """A framework: for people, for ``--json``, and its problem."""
    try:
        found = importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        return "not installed", None, None
    if seconds == 0:
        version = _version(name)
        return f"{version or 'unknown version'}, not imported", {"version": version}, None
    probed = _probe(name, seconds)
    version = probed.get("version") or _version(name) or "unknown version"
    error, step = probed.get("error"), probed.get("step")
    if error is None:
        works = ", ".join(probed.get("works", []))
        devices = ", ".join(probed.get("devices", []))
        return f"{version}; works: {works}" + (f"; {devices}" if devices else ""), probed, None
    what = f"{name} {version}: {step} failed: {error}"
    if step == "import":
        way_out = f'`{Path(sys.executable).name} -c "import {name}"` shows it without tensorferry. '
        way_out += f"Install {name} again, or remove it."
    else:
        way_out = f"Report it, with this output: {ISSUES}"
    return f"{version}: {step} failed", probed, {"what": what, "way_out": way_out}


def _probe(name: str, seconds: int) -> Probed:
    """What a process of its own finds out about a framework."""
    command = [sys.executable, "-X", "faulthandler", "-c", PROBE, json.dumps(sys.path), name]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=ENVIRONMENT | os.environ,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        last = _last(error.stdout or b"")
        return {**last, "error": f"it took more than {seconds} s (--timeout)"}
    except OSError as error:
        return {"step": "import", "error": str(error)}
    last = _last(done.stdout)
    if "error" in last or "step" not in last:
        return last
    return {**last, "error": _ended(done.returncode, done.stderr)}


def _last(output: bytes) -> Probed:
    """The last report of a probe, which makes one before each step."""
    lines = output.decode("utf-8", "replace").splitlines()
    reports = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    try:
        return json.loads(reports[-1])  # type: ignore[no-any-return]
    except (IndexError, ValueError):  # no line, or half of one
        return {"step": "import"}


def _ended(status: int, output: bytes) -> str:
    """How a process ended that reported no error."""
    said = output.decode("utf-8", "replace").strip().splitlines()
    try:
        how = f"the process was ended by {signal.Signals(-status).name}"
    except ValueError:
        how = f"the process ended with status {status}"
    return f"{how}: {said[-1]}" if said else how
