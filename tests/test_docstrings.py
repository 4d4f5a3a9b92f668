"""The examples in the docstrings print what they show."""

import doctest

import pytest
import tensorferry

EXAMPLES = [
    test
    for name in ("", *tensorferry.__all__)
    for test in doctest.DocTestFinder(recurse=bool(name)).find(
        getattr(tensorferry, name) if name else tensorferry, f"tensorferry.{name}".rstrip("."), module=False, globs={}
    )
    if test.examples
]


def test_there_are_examples():
    assert {"tensorferry", "tensorferry.convert_to_tensor", "tensorferry.aligned_memory"} <= {test.name for test in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda test: test.name)
def test_example_prints_what_it_shows(example):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(example, clear_globs=False)
    assert runner.summarize().failed == 0
