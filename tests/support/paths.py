"""Paths of the repository and the committed test data."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
NPY_FILES = ROOT / "tests" / "support" / "data" / "npy"
