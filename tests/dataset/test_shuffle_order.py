"""The programs in docs/guides/shuffle.md print the promised orders."""

from __future__ import annotations

import itertools
import re

import pytest
import tensorferry as tfy
from hypothesis import given
from hypothesis import strategies as st

from tests.support.paths import ROOT

GOLDEN = ROOT / "crates/tensorferry-dataset/src/shuffle/golden"


def documented() -> dict:
    page = (ROOT / "docs/guides/shuffle.md").read_text()
    programs = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(programs) == 3
    names: dict = {}
    for program in programs:
        exec(program, names)
    return names


PROGRAM = documented()


def test_documented_program_gives_the_pinned_orders() -> None:
    lines = (GOLDEN / "shuffle.txt").read_text().splitlines()
    assert len(lines) == 12
    for line in lines:
        head, values = line.split(": ")
        n, epoch = map(int, head.split())
        source = PROGRAM["order"](n, PROGRAM["random"](7, epoch))
        assert [source(index) for index in range(10)] == [int(value) for value in values.split()], (
            line
        )


def test_documented_program_gives_the_pinned_orders_in_blocks() -> None:
    lines = (GOLDEN / "shuffle_blocks.txt").read_text().splitlines()
    assert len(lines) == 12
    for line in lines:
        head, values = line.split(": ")
        n, block, group, epoch = map(int, head.split())
        order = PROGRAM["order_in_blocks"](n, block, group, 7, epoch)
        assert list(itertools.islice(order, 10)) == [int(value) for value in values.split()], line


SIZE = st.one_of(st.integers(1, 12), st.integers(1, 10**6))


@given(
    n=st.integers(0, 6000),
    block=SIZE,
    blocks=SIZE,
    rest=st.integers(0, 11),
    seed=st.integers(0, 2**64 - 1),
    skipped=st.integers(0, 6000),
)
def test_a_shuffle_in_blocks_is_the_documented_one_from_any_position(
    n, block, blocks, rest, seed, skipped
) -> None:
    buffer_size = block * blocks + min(rest, block - 1)
    dataset = tfy.Dataset.range(n).shuffle(buffer_size, seed, block=block).with_format("numpy")
    for epoch in range(2):
        expected = list(PROGRAM["order_in_blocks"](n, block, blocks, seed, epoch))
        assert sorted(expected) == list(range(n))
        batches = dataset.batch(100) if epoch == 0 else dataset.repeat(2).skip(n).batch(100)
        assert [int(x) for batch in batches for x in batch] == expected
    shuffled = [int(x) for x in dataset.skip(skipped).take(5)]
    assert (
        shuffled
        == list(PROGRAM["order_in_blocks"](n, block, blocks, seed, 0))[skipped : skipped + 5]
    )


def test_a_shuffle_in_blocks_checks_its_arguments() -> None:
    numbers = tfy.Dataset.range(10)
    for arguments, words in [
        ((5, None, None, None, 6), "a block of 6 elements does not fit in a buffer_size of 5"),
        ((None, None, None, None, 0), "block has to be at least 1, not 0"),
        ((None, None, None, None, -3), "block has to be at least 1, not -3"),
        ((0, None, None, None, 3), "does not fit in a buffer_size of 0"),
    ]:
        with pytest.raises(tfy.errors.InvalidArgumentError, match=words):
            numbers.shuffle(*arguments)
    with pytest.raises(TypeError, match="block"):
        numbers.shuffle(None, block=1.5)
    with pytest.raises(tfy.errors.InvalidArgumentError, match="Shuffle before repeat"):
        numbers.repeat().shuffle(block=3)
    with pytest.raises(
        tfy.errors.InvalidArgumentError,
        match="Shuffle before that stage, or give a buffer_size and no block",
    ):
        numbers.filter(lambda x: x > 3).shuffle(100, block=3)
