"""The version, from the metadata of the installed package."""

from __future__ import annotations

import importlib.metadata

try:
    __version__ = importlib.metadata.version("tensorferry")
except importlib.metadata.PackageNotFoundError:  # a source tree on PYTHONPATH
    __version__ = "0+unknown"
