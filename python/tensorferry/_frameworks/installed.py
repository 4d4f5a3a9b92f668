"""Errors for frameworks that are not installed."""

from __future__ import annotations

import importlib.util
import sys

#: The package of each framework.
_PACKAGES = {
    "tensorflow": "tensorflow",
    "torch": "torch",
    "jax": "jax",
    "keras": "keras",
    "ray": "'ray[data]'",
}


def missing(error: ModuleNotFoundError, framework: str, who: str) -> ModuleNotFoundError:
    """The error of an import; if the framework is missing, it says what to install."""
    if error.name != framework:
        return error
    return _not_there(framework, who)


def need(framework: str, who: str) -> None:
    """Checks that a framework is installed, without importing it.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    if framework in sys.modules and sys.modules[framework] is not None:
        return
    # A None in sys.modules forbids the import.
    if framework in sys.modules or importlib.util.find_spec(framework) is None:
        raise _not_there(framework, who)


def _not_there(framework: str, who: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"{who} needs {framework}, which is not installed: pip install {_PACKAGES[framework]}",
        name=framework,
    )
