"""Measure tensorferry and its peers and print one table: `make bench`.

A benchmark never fails on a figure. It stops on a wrong value.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# TensorFlow reads these on import. They silence messages about its build.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import machine
from rows import Row, bounds, from_json, quantity, table
from workloads import WORKLOADS

LEVELLED = ("C4", "W2", "W14")
"""Workloads that also run at the CPU's lower levels of vector instructions."""


def main() -> None:
    """Run the requested workloads, print the table, and record a full run."""
    options = _options()
    if options.rows is None:
        print(f"{machine.cpu()}; vector instructions: {', '.join(machine.cpu_levels())}")
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    for name in options.only or WORKLOADS:
        start = time.perf_counter()
        module = importlib.import_module(WORKLOADS[name])
        available = machine.available_memory()
        if 0 < available < module.MEMORY:
            skipped[name] = (
                f"needs {quantity(module.MEMORY, 'B')} of free memory, has "
                f"{quantity(available, 'B')}"
            )
            print(f"{name}: skipped: {skipped[name]}")
            continue
        rows += module.run(quick=options.quick)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    if options.rows is not None:
        options.rows.write_text(json.dumps([row.to_json() for row in rows]))
        return
    recorded = options.record or not (options.quick or options.only)
    if options.levels or recorded:
        rows = _with_levels(rows, options)
    print(table(rows))
    if missed := bounds(rows):
        print(f"\nWhat bounds the figures short of their target:\n\n{missed}")
    if recorded:
        _record(rows, skipped, options)


def _with_levels(rows: list[Row], options: argparse.Namespace) -> list[Row]:
    """Adds the rows at the lower levels of this CPU, which processes of their own measure."""
    *lower, best = machine.cpu_levels()
    names = [name for name in options.only or WORKLOADS if name in LEVELLED]
    found = [row.at(best) if row.workload in LEVELLED and lower else row for row in rows]
    for level in lower if names else []:
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            command = [sys.executable, __file__, "--only", ",".join(names), "--rows", file.name]
            command += ["--quick"] if options.quick else []
            environment = os.environ | {machine.LEVEL_VARIABLE: level}
            subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
            found += [from_json(row).at(level) for row in json.load(file)]
    return found


def _record(rows: list[Row], skipped: dict[str, str], options: argparse.Namespace) -> None:
    import record

    path = record.write(rows, skipped, options.only or list(WORKLOADS))
    print(f"\nRecorded in {path.relative_to(path.parents[2])}")
    if options.update_readme:
        record.update_readme(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", type=_names, metavar="C1,C3", help="these workloads; recorded with --record"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a short run of each workload; nothing is recorded",
    )
    parser.add_argument(
        "--record",
        action="store_true",
        help="record the workloads of --only, beside the others of the same day and machine",
    )
    parser.add_argument(
        "--levels",
        action="store_true",
        help=f"also {', '.join(LEVELLED)} at the CPU's lower levels of vector instructions, as a "
        "full run does",
    )
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--update-readme", action="store_true", help="also draw the chart of the README anew"
    )
    options = parser.parse_args()
    if options.quick and (options.record or options.update_readme):
        parser.error("a quick run is not recorded")
    if options.update_readme and options.only and not options.record:
        parser.error("--update-readme takes a recorded run: add --record")
    return options


def _names(text: str) -> list[str]:
    names = text.upper().split(",")
    if unknown := set(names) - set(WORKLOADS):
        raise argparse.ArgumentTypeError(
            f"no workload {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}"
        )
    return names


if __name__ == "__main__":
    main()
