"""What the package says about itself in several places is the same in all."""

from __future__ import annotations

import re
import tomllib

from tests.support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
WORKSPACE = tomllib.loads((ROOT / "Cargo.toml").read_text("utf-8"))["workspace"]


def test_the_citation_has_the_version_and_the_licences_of_the_crates() -> None:
    text = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"version: {WORKSPACE['package']['version']}\n" in text
    licences = re.search(r"^license:\n((?:  - .*\n)+)", text, re.MULTILINE)[1]
    assert set(re.findall(r"- (\S+)", licences)) == set(PROJECT["license"].split(" OR "))
    assert WORKSPACE["package"]["license"] == PROJECT["license"]
    assert f"repository-code: {PROJECT['urls']['Repository']}\n" in text
    assert WORKSPACE["package"]["repository"] == PROJECT["urls"]["Repository"]


def test_classifiers_name_every_python_from_the_oldest_on() -> None:
    named = re.findall(r"Python :: 3\.(\d+)", "\n".join(PROJECT["classifiers"]))
    oldest = PROJECT["requires-python"].removeprefix(">=3.")
    assert [int(minor) for minor in named] == list(range(int(oldest), int(named[-1]) + 1))


def test_every_framework_has_an_extra() -> None:
    extras = PROJECT["optional-dependencies"]
    others = {"ray": "ray[data]", "aws": "boto3", "progress": "tqdm"}
    named = {"tensorflow", "keras", "torch", "jax", "grain"}
    assert set(extras) == named | set(others)
    assert all(each.split(">=")[0] == others.get(name, name) for name, [each] in extras.items())
