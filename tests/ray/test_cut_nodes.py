"""Nodes of Ray on hosts of their own, of which one is cut off while it writes shards or reads rows.
A short cut is not noticed. After a long one, other nodes do its work, and the result is the same.

A node that is cut off works on: it and another one write the same shard.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorferry as tfy

from tests.support.hosts import Hosts, absent
from tests.support.ray_hosts import RayHosts, address, ended

HOSTS = 3
PARTS, PART, WIDTH = 12, 50, 20
ROWS = PARTS * PART

pytestmark = pytest.mark.skipif(bool(absent()), reason=str(absent()))


@pytest.fixture(autouse=True)
def _connected() -> None:
    """The tests of this file have clusters of their own."""


class Point:
    """Where one node waits for the cut: when it has begun with `count` parts of the work. Other
    nodes wait until then.
    """

    def __init__(self, folder: Path, node: str, count: int) -> None:
        self.folder, self.node, self.count = folder, node, count

    def begins(self, part: int) -> None:
        """Called by a task, with each part of its work."""
        import ray

        here = ray.util.get_node_ip_address()
        (self.folder / f"begun-{part}-{here}").touch()
        if here != self.node:
            wait_for(self.folder / "there")
        elif len(list(self.folder.glob(f"begun-*-{here}"))) >= self.count:
            (self.folder / "there").touch()
            wait_for(self.folder / "go on")

    def __call__(self, row: Any) -> Any:
        self.begins(int(row[0]))
        return row


def wait_for(path: Path) -> None:
    end = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not appear"
        time.sleep(0.01)


# ---- programs on the host of the head


def convert_rows(file: Path, folder: Path, point: Point) -> None:
    from tensorferry.ray import _convert, convert

    write = _convert._write

    def written(command: list[str], number: int, place: str) -> Any:
        point.begins(number)
        return write(command, number, place)

    _convert._write = written
    (folder / "result").mkdir()
    convert(file, folder / "result" / "y.npy", dtype="int16", shard_rows=PART)


def read_rows(file: Path, folder: Path, point: Point) -> None:
    from tensorferry.ray import iter_batches, read

    # Without the signature, the function would be called here.
    rows = plan(file)
    made = read(rows.map(point, output_signature=rows.element_spec), override_num_blocks=PARTS)
    batches = [batch["data"] for batch in iter_batches(made, batch_size=32)]
    np.save(folder / "result.npy", np.concatenate(batches))


def plan(file: Path) -> tfy.Dataset:
    return tfy.Dataset.from_npy(file).shuffle(seed=3).with_format("numpy")


def run(program: str, folder: str, node: str, count: str) -> None:
    """Runs a program, and prints the addresses of the nodes that Ray believes to live."""
    import ray

    ray.init(logging_level="ERROR", log_to_driver=False)
    point = Point(Path(folder), node, int(count))
    globals()[program](Path(folder) / "x.npy", Path(folder), point)
    alive = [each["NodeManagerAddress"] for each in ray.nodes() if each["Alive"]]
    sys.stdout.write(f"\n{json.dumps(sorted(alive))}\n")


RUN = "import sys; from tests.ray.test_cut_nodes import run; run(*sys.argv[1:])"


# ---- tests


@pytest.fixture
def folder(tmp_path) -> Path:
    np.save(tmp_path / "x.npy", np.repeat(np.arange(ROWS)[:, None], WIDTH, axis=1))
    return tmp_path


@pytest.fixture
def nodes(tmp_path) -> Iterator[RayHosts]:
    with Hosts(HOSTS, tmp_path) as hosts, RayHosts(hosts) as made:
        yield made


def run_and_cut(
    nodes: RayHosts, program: str, folder: Path, host: int, count: int, mended_after: float | None
) -> list[str]:
    """Runs a program, of which a node is cut off. Returns the nodes at its end."""
    began = nodes.start(RUN, [program, folder, address(host), count])
    while not (folder / "there").exists():
        assert began.poll() is None, "the program ended before its time"
        time.sleep(0.01)
    nodes.hosts.cut(host)
    (folder / "go on").touch()
    if mended_after is not None:
        time.sleep(mended_after)
        nodes.hosts.mend(host)
    found: list[str] = json.loads(ended(began).splitlines()[-1])
    return found


def check_converted(folder: Path) -> None:
    """The shards are those of one machine."""
    one = folder / "one"
    one.mkdir()
    command = [sys.executable, "-m", "tensorferry", "convert", "--dtype=int16"]
    command += [f"--shard-rows={PART}", str(folder / "x.npy"), str(one / "y.npy")]
    subprocess.run(command, check=True, capture_output=True)
    shards = {file.name: file.read_bytes() for file in (folder / "result").iterdir()}
    assert shards == {file.name: file.read_bytes() for file in one.iterdir()}
    assert len(shards) == PARTS


def begun(folder: Path) -> Counter[int]:
    """How many nodes have begun with each part."""
    return Counter(int(file.name.split("-")[1]) for file in folder.glob("begun-*"))


def others(lost: int) -> list[str]:
    return sorted(address(host) for host in range(1, HOSTS + 1) if host != lost)


def test_a_short_cut_is_not_noticed(nodes, folder) -> None:
    host = random.Random(1).randint(2, HOSTS)
    alive = run_and_cut(nodes, "convert_rows", folder, host, 2, mended_after=1.5)
    assert alive == others(0)
    check_converted(folder)
    assert begun(folder) == dict.fromkeys(range(PARTS), 1)


def test_others_write_the_shards_of_a_node_that_is_cut_off(nodes, folder) -> None:
    host = random.Random(2).randint(2, HOSTS)
    assert run_and_cut(nodes, "convert_rows", folder, host, 2, None) == others(host)
    check_converted(folder)
    # The shard at the cut.
    assert max(begun(folder).values()) == 2


def test_others_read_the_rows_of_a_node_that_is_cut_off(nodes, folder) -> None:
    host = random.Random(3).randint(2, HOSTS)
    # In the middle of its second block: the first is lost with it.
    count = PART + PART // 2
    assert run_and_cut(nodes, "read_rows", folder, host, count, None) == others(host)
    read = np.load(folder / "result.npy")
    expected = np.stack(list(plan(folder / "x.npy")))
    assert np.array_equal(read, expected)
    assert sum(count == 2 for count in begun(folder).values()) >= PART // 2
