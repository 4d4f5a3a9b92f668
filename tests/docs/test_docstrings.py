"""The examples in the docstrings print the documented output."""

import doctest

import pytest
import tensorferry
import tensorferry.keras

from tests.support.arrays import numpy_2

# The methods of Dataset come from several classes.
KERAS = {
    f"tensorferry.keras.{name}": getattr(tensorferry.keras, name)
    for name in tensorferry.keras.__all__
}
OBJECTS = (
    KERAS
    | {f"tensorferry.{name}": getattr(tensorferry, name) for name in tensorferry.__all__}
    | {f"tensorferry.Dataset({base.__name__})": base for base in tensorferry.Dataset.__mro__[1:-1]}
)
FINDER = doctest.DocTestFinder()
EXAMPLES = [
    test
    for name, item in [("tensorferry", tensorferry), *OBJECTS.items()]
    for test in (FINDER if item is not tensorferry else doctest.DocTestFinder(recurse=False)).find(
        item, name, module=False, globs={}
    )
    if test.examples
]


def test_there_are_examples():
    assert {
        "tensorferry",
        "tensorferry.convert_to_tensor",
        "tensorferry.aligned_memory",
        "tensorferry.Dataset",
    } <= {test.name for test in EXAMPLES}


@numpy_2
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda test: test.name)
def test_example_prints_what_it_shows(example):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(example, clear_globs=False)
    assert runner.summarize().failed == 0
