"""What happens at interpreter exit."""

from __future__ import annotations

import atexit

from tensorferry._internal import interpreter_exits


def register() -> None:
    """Lets threads of frameworks drop tensors after interpreter exit, without calling Python."""
    atexit.register(interpreter_exits)
