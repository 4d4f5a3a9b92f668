"""The program in docs/shuffle.md prints the orders that the library promises."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "crates/tensorferry/src/dataset/golden/shuffle.txt"


def test_documented_program_gives_the_pinned_orders() -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs/shuffle.md").read_text(), re.DOTALL)
    assert code is not None
    program: dict = {}
    exec(code[1], program)
    lines = GOLDEN.read_text().splitlines()
    assert len(lines) == 12
    for line in lines:
        head, values = line.split(": ")
        n, epoch = map(int, head.split())
        source = program["order"](n, seed=7, epoch=epoch)
        assert [source(index) for index in range(10)] == [int(value) for value in values.split()], line
