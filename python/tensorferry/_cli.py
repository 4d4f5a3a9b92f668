"""The ``tensorferry`` command of the wheel. It runs the same code as the Rust binary."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

from tensorferry._doctor.facts import facts
from tensorferry._internal import run_command


def main() -> int:
    """Runs the command in ``sys.argv``, and returns the exit status."""
    # The command handles Ctrl-C itself. Python's handler would raise KeyboardInterrupt after it
    # has ended.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return run_command(sys.argv, facts, _shards)


def _shards(shards: list[int]) -> Iterator[tuple[int, bool] | None]:
    """Writes the shards of ``convert --ray``, and yields the number of each and whether it is
    finished.
    """
    from tensorferry.ray._convert import shards as written

    return written(sys.argv, shards)
