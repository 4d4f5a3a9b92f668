"""``tensorferry.ray.iter_batches``: the batches of Ray, as slices of its blocks."""

from __future__ import annotations

import numpy as np
import pytest
import ray
import tensorferry as tfy
from hypothesis import given
from hypothesis import strategies as st
from tensorferry.ray import iter_batches, read
from tensorferry.ray._batches import _cut

from tests.support.arrays import address

ROWS = 3000


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "x.npy"
    rows = np.random.default_rng(3).standard_normal((ROWS, 32)).astype(np.float32)
    np.save(path, rows)
    return path


@given(st.lists(st.integers(0, 20), max_size=9), st.integers(1, 25), st.booleans())
def test_batches_of_any_size_are_cut_out_of_blocks_of_any_size(lengths, size, drop):
    rows = np.arange(sum(lengths))
    blocks = [{"x": part, "y": part * 2} for part in np.split(rows, np.cumsum(lengths)[:-1])]
    batches = list(_cut(iter(blocks), size, drop))
    expected = [rows[at : at + size] for at in range(0, len(rows), size)]
    if drop and len(rows) % size:
        expected.pop()
    assert [batch["x"].tolist() for batch in batches] == [rows.tolist() for rows in expected]
    assert all((batch["y"] == batch["x"] * 2).all() for batch in batches)


@pytest.mark.parametrize("size", [64, 100])
def test_they_are_those_of_ray(file, size):
    shuffled = tfy.Dataset.from_files(file).shuffle(seed=1)
    made = read(shuffled, override_num_blocks=5)
    ours = list(iter_batches(made, batch_size=size))
    rays = list(made.iter_batches(batch_size=size))
    for one, other in zip(ours, rays, strict=True):
        assert one.keys() == other.keys() == {"data"}
        assert one["data"].dtype == np.float32
        np.testing.assert_array_equal(one["data"], other["data"])
    full = list(iter_batches(made, batch_size=size, drop_remainder=True))
    assert [len(batch["data"]) for batch in full] == [size] * (ROWS // size)


def test_batches_reach_tensorflow_without_a_copy(file, tf):
    shuffled = tfy.Dataset.from_files(file).shuffle(seed=1)
    count = 0
    for batch in iter_batches(read(shuffled, batch_size=64), batch_size=64):
        rows = batch["data"]
        assert rows.ctypes.data % 64 == 0
        assert not rows.flags.writeable
        assert address(tfy.convert_to_tensor(rows, copy=False)) == address(rows)
        count += len(rows)
    assert count == ROWS


def test_strings_rows_of_several_shapes_and_parts_of_ray_are_cut_too():
    made = ray.data.from_items(
        [{"name": str(n), "x": np.zeros(n % 3)} for n in range(20)], override_num_blocks=3
    )
    batches = list(iter_batches(made, batch_size=6))
    assert [name for batch in batches for name in batch["name"]] == [str(n) for n in range(20)]
    assert [len(x) for batch in batches for x in batch["x"]] == [n % 3 for n in range(20)]
    [part] = ray.data.range(10).streaming_split(1)
    assert [batch["id"].tolist() for batch in iter_batches(part, batch_size=10)] == [
        list(range(10))
    ]


def test_sizes_are_checked(file):
    with pytest.raises(tfy.Error, match="batch_size has to be"):
        iter_batches(read(file), batch_size=0)
