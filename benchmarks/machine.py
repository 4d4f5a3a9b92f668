"""The machine of a measurement, without anything that identifies it or its user."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tensorferry import _internal

LEVEL_VARIABLE = "TENSORFERRY_CPU_LEVEL"
PACKAGES = ("tensorferry", "numpy", "tensorflow", "tensorflow-cpu", "torch", "grain", "ml_dtypes")


def describe() -> dict[str, Any]:
    """CPU, cores, memory, page settings and the versions of what was measured."""
    return {
        "cpu": cpu(),
        "cpu_levels": cpu_levels(),
        "cores": cores(),
        "memory_GiB": round(_meminfo("MemTotal") / 2**30, 1),
        "huge_pages": _text("/sys/kernel/mm/transparent_hugepage/enabled"),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def cores() -> int:
    """The cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_levels() -> list[str]:
    """The levels of vector instructions that conversions may use here, lowest first."""
    known = ["baseline", "avx2", "avx512"]
    return known[: known.index(_internal.cpu_level()) + 1]


def available_memory() -> int:
    """Bytes available without swapping: the kernel's figure, or a container's limit if lower."""
    available = _meminfo("MemAvailable")
    limit, used = _text("/sys/fs/cgroup/memory.max"), _text("/sys/fs/cgroup/memory.current")
    if limit.isdigit() and used.isdigit():
        available = min(available, int(limit) - int(used))
    return available


def cpu() -> str:
    """The processor's name."""
    lines = _text("/proc/cpuinfo").splitlines()
    facts = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    model = facts.get("model name", platform.machine())
    family, number = facts.get("cpu family"), facts.get("model")
    return f"{model} (family {family}, model {number})" if family and number else model


def _meminfo(field: str) -> int:
    for line in _text("/proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return 0


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
