"""The examples run, in their short form if they have one. Each fails if a claim of its output is
wrong.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

EXAMPLES = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.ray] if path.match("ray_*") else [])
    for path in sorted((ROOT / "examples").glob("*.py"))
]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 1


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_shows_what_it_claims(path, tmp_path, request) -> None:
    text = path.read_text(encoding="utf-8")
    if "import torch\n" in text:
        request.getfixturevalue("torch")
    short = ["--short"] if '"--short"' in text else []
    command = [sys.executable, str(path), *short]
    # An example of Ray starts a cluster of its own.
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    ran = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=environment,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr[-4000:]
    assert ran.stdout
