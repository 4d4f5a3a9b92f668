"""The examples in the docstrings of ``tensorferry.ray`` print the documented output."""

from __future__ import annotations

import doctest

import pytest
import tensorferry.ray

FINDER = doctest.DocTestFinder(recurse=False)
EXAMPLES = [
    test
    for name in ["", *tensorferry.ray.__all__]
    for test in FINDER.find(
        getattr(tensorferry.ray, name) if name else tensorferry.ray,
        f"tensorferry.ray.{name}",
        module=False,
        globs={},
    )
    if test.examples
]


def test_every_function_has_an_example():
    functions = [name for name in tensorferry.ray.__all__ if name.islower()]
    assert len(EXAMPLES) == 1 + len(functions)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda test: test.name)
def test_example_prints_what_it_shows(example):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(example, clear_globs=False)
    assert runner.summarize().failed == 0
