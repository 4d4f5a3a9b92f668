"""The ``tensorferry`` command, as the wheel installs it: the same as the Rust binary."""

from __future__ import annotations

import signal
import sys

from tensorferry._internal import run_command


def main() -> int:
    """Does what ``sys.argv`` says, and returns the exit status."""
    # The command waits for Ctrl-C itself. Python's handler would raise KeyboardInterrupt after it
    # has ended.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return run_command(sys.argv)
