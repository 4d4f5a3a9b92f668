"""``tensorferry.ray.read``: the same elements in the same order as an iteration here."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
import ray
import ray.cloudpickle
import tensorferry as tfy
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorferry.ray import read
from tensorferry.ray._read import PlanDatasource, _parts

from tests.support import ray_workers
from tests.support.arrays import address

ROWS = 3000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arrays")
    rows = np.random.default_rng(0).standard_normal((ROWS, 30)).astype(np.float32)
    np.save(folder / "x.npy", rows)
    np.save(folder / "y.npy", np.arange(ROWS))
    np.savez(folder / "both.npz", x=rows, y=np.arange(ROWS))
    for at in range(4):
        np.save(folder / f"part-{at}.npy", np.arange(at * 25, at * 25 + 25).reshape(25, 1))
    return folder


def _numbers(folder):
    return tfy.Dataset.from_files(folder / "y.npy")


def _listed(rows) -> list:
    return [np.asarray(row).tolist() for row in rows]


def _of_ray(dataset, column="data") -> list:
    return _listed(row[column] for row in dataset.iter_rows())


SOURCES = {
    "array": lambda folder: _numbers(folder),
    "part": lambda folder: _numbers(folder).take(7),
    "range": lambda folder: tfy.Dataset.range(40),
    "pattern": lambda folder: tfy.Dataset.from_files(folder / "part-*.npy").map(_first),
}


def _first(row):
    return row[0]


STAGES = {
    "shuffle": lambda draw, d: d.shuffle(seed=draw(st.integers(0, 9))),
    "blocks": lambda draw, d: d.shuffle(60, seed=draw(st.integers(0, 9)), block=15),
    "batch": lambda draw, d: d.batch(draw(st.integers(1, 9)), drop_remainder=True),
    "select": lambda draw, d: d.select(range(len(d) - 1, -1, -3)),
    "slice": lambda draw, d: d[draw(st.integers(0, 5)) :: draw(st.integers(1, 4))],
    "concatenate": lambda draw, d: d.concatenate(d.shuffle(seed=1)),
    "repeat": lambda draw, d: d.repeat(2),
    "scale": lambda draw, d: d.cast("float32").scale(0.5, 1.0).cast("int64", "saturate"),
    "shard": lambda draw, d: d.shard(3, draw(st.integers(0, 2))),
    "sample": lambda draw, d: d.sample(50 if len(d) else 0, seed=3),
    "split": lambda draw, d: d if d._plan.depends_on_epoch else d.split(0.5, seed=2)[0],
}


@st.composite
def plans(draw):
    source = draw(st.sampled_from(sorted(SOURCES)))
    stages = draw(st.lists(st.sampled_from(sorted(STAGES)), max_size=4))

    def made(folder):
        dataset = SOURCES[source](folder).with_format("numpy")
        for stage in stages:
            dataset = STAGES[stage](draw, dataset)
        return dataset

    return made


@settings(max_examples=15)
@given(
    st.data(),
    st.sampled_from([1, 2, 5]),
    st.integers(0, 3),
)
def test_random_plans_have_the_order_of_an_iteration_here(folder, data, tasks, epoch):
    dataset = data.draw(plans())(folder)
    dataset.set_epoch(epoch)
    expected = _listed(dataset)
    dataset.set_epoch(epoch)
    assert _of_ray(read(dataset, override_num_blocks=tasks)) == expected


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_shuffle_has_one_order_whatever_the_number_of_workers(folder, workers):
    zipped = tfy.Dataset.zip(
        {"x": tfy.Dataset.from_files(folder / "x.npy"), "y": _numbers(folder)}
    ).shuffle(seed=5)
    expected = list(zipped.as_numpy_iterator())
    zipped.set_epoch(0)
    # More tasks than there are processors, and fewer CPUs for each: five run at a time.
    got = read(
        zipped, batch_size=16, override_num_blocks=11, concurrency=workers, num_cpus=3 / 5
    ).iter_batches(batch_size=16)
    batches = list(got)
    assert [len(batch["y"]) for batch in batches] == [16] * 187 + [8]
    for name in ("x", "y"):
        joined = np.concatenate([batch[name] for batch in batches])
        np.testing.assert_array_equal(joined, [element[name] for element in expected])


def test_each_read_is_the_next_pass(folder):
    here, there = (_numbers(folder).take(50).shuffle(seed=7) for _ in range(2))
    there = tfy.Dataset.from_files(folder / "y.npy").take(50).shuffle(seed=7).__copy__()
    passes = [[int(x) for x in here.as_numpy_iterator()] for _ in range(3)]
    reads = [read(there) for _ in range(2)]
    assert [_of_ray(each) for each in reads] == passes[:2]
    assert _of_ray(reads[0]) == passes[0], "the same dataset of Ray has one order"
    assert [int(x) for x in there.as_numpy_iterator()] == passes[2]


def test_the_order_is_that_of_the_dataset_alone_and_of_those_made_from_it(folder):
    before = ray.data.DataContext.get_current().execution_options.preserve_order
    shuffled = read(_numbers(folder).shuffle(seed=1), override_num_blocks=6)
    assert ray.data.DataContext.get_current().execution_options.preserve_order == before
    mapped = shuffled.map_batches(_later_blocks_first)
    expected = [int(x) for x in _numbers(folder).__copy__().shuffle(seed=1).as_numpy_iterator()]
    assert _of_ray(mapped) == expected


def _later_blocks_first(batch):
    time.sleep(0.2 if batch["data"][0] % 2 else 0)
    return batch


@given(st.integers(0, 500), st.integers(1, 9), st.integers(1, 20), st.integers(0, 9))
def test_every_position_is_in_one_task_and_the_first_may_be_small(count, batch, tasks, early):
    parts = _parts(count, batch, tasks, early * batch)
    assert [position for part in parts for position in part] == list(range(count))
    assert all(part.start % batch == 0 for part in parts)
    if 0 < early * batch < count // tasks and tasks > 1:
        assert len(parts[0]) == early * batch
        parts = parts[1:]
    assert len(parts) <= tasks
    assert len({-(-len(part) // batch) for part in parts}) <= 2


def test_a_task_is_at_most_a_kibibyte(folder):
    long = folder / ("f" * 200) / ("g" * 200)
    long.mkdir(parents=True)
    np.save(long / "x.npy", np.arange(100))
    dataset = tfy.Dataset.from_files(folder / "both.npz").shuffle(seed=3).shard(2, 1).take(1000)
    deep = tfy.Dataset.from_files(long / "x.npy")
    for seed in range(20):
        deep = deep.shuffle(seed=seed)
    for each in (dataset, deep, _numbers(folder)):
        tasks = PlanDatasource(each, 1, 1).get_read_tasks(3)
        assert len(tasks) == 3
        for task in tasks:
            assert len(ray.cloudpickle.dumps(task)) <= 1024
            assert len(ray.cloudpickle.dumps(task.read_fn)) <= 1024
    # A plan too long for a task lies in Ray's object store, once.
    assert sorted(_of_ray(read(deep, override_num_blocks=3))) == list(range(100))


def test_paths_patterns_and_saved_datasets_are_opened(folder, tmp_path, monkeypatch):
    assert _of_ray(read(folder / "part-*.npy")) == [[x] for x in range(100)]
    both = read(str(folder / "both.npz")).take(1)[0]
    assert sorted(both) == ["x", "y"]
    assert _of_ray(read([folder / "part-1.npy", folder / "part-0.npy"]))[25] == [0]
    strings = tfy.Dataset.from_tensor_slices({"name": ["a", "bc"], "n": [1, 2]})
    strings.save(tmp_path / "saved")
    rows = read(tmp_path / "saved").take_all()
    assert rows == [{"name": b"a", "n": 1}, {"name": b"bc", "n": 2}]
    # Nodes have other current directories.
    monkeypatch.chdir(tmp_path)
    assert read("saved").count() == 2
    assert read(tfy.Dataset.load("saved")).take_all() == rows


def test_elements_of_several_shapes_and_of_no_rows_are_read(folder):
    batches = _numbers(folder).take(10).batch(4)
    assert _of_ray(read(batches)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert read(_numbers(folder).take(0)).take_all() == []
    nested = tfy.Dataset.zip((_numbers(folder).take(2), {"a": {"b": _numbers(folder).take(2)}}))
    assert read(nested).take_all()[1] == {"0": 1, "1.a.b": 1}


def test_objects_of_a_store_are_read(s3, folder):
    store = s3.under("ray/")
    for at in range(4):
        store.put(f"part-{at}.npy", (folder / f"part-{at}.npy").read_bytes())
    url, options = store.url("part-*.npy"), store.options
    assert _of_ray(read(url, storage_options=options)) == [[x] for x in range(100)]
    shuffled = tfy.Dataset.from_files(url, storage_options=options).shuffle(seed=4)
    expected = [row.tolist() for row in shuffled.as_numpy_iterator()]
    shuffled.set_epoch(0)
    assert _of_ray(read(shuffled, override_num_blocks=5)) == expected
    shuffled.save(store.url("saved"), storage_options=options)
    assert read(store.url("saved"), storage_options=options).count() == 100


def test_batches_are_aligned_and_reach_tensorflow_without_a_copy(folder, tf):
    images = tfy.Dataset.from_files(folder / "x.npy").shuffle(seed=2)
    count = 0
    for batch in read(images, batch_size=32).iter_batches(batch_size=32):
        rows = batch["data"]
        assert rows.ctypes.data % 64 == 0
        assert not rows.flags.writeable
        tensor = tfy.convert_to_tensor(rows, copy=False)
        assert address(tensor) == address(rows)
        count += len(rows)
    assert count == ROWS


def test_a_killed_worker_leaves_every_row_once_in_order(folder, tmp_path):
    rows = tfy.Dataset.from_files(folder / "both.npz").shuffle(seed=9).with_format("numpy")
    expected = np.stack([row["x"] for row in rows])
    rows.set_epoch(0)
    killed = rows.map(ray_workers.KilledAt(tmp_path / "killed", "y", 1700))
    # Each task yields several blocks: some of the killed one have been handed out.
    batches = read(killed, batch_size=100, override_num_blocks=3).iter_batches(batch_size=100)
    got = [batch["x"] for batch in batches]
    assert (tmp_path / "killed").exists()
    np.testing.assert_array_equal(np.concatenate(got), expected)


REFUSED = {
    "memory": (lambda f: tfy.Dataset.from_tensor_slices(np.zeros((100, 3))), "arrays in memory"),
    "list": (lambda f: tfy.Dataset.from_tensor_slices(list(range(500))), "arrays in memory"),
    "select": (lambda f: _numbers(f).select(list(range(0, 500, 2))[::-1] * 2), "arrays in memory"),
    "stream": (lambda f: _numbers(f).filter(_first), "no random access"),
    "infinite": (lambda f: _numbers(f).repeat(), "is infinite"),
    "complex": (lambda f: _numbers(f).cast("complex64"), "'data' is complex64"),
    "window": (lambda f: _numbers(f).window(2), "holds datasets"),
    "lambda": (lambda f: _numbers(f).map(lambda x: x), "lambda"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_tasks_cannot_carry_is_refused(folder, name):
    make, words = REFUSED[name]
    with pytest.raises(tfy.Error, match=words):
        read(make(folder))


def test_missing_files_and_wrong_arguments_are_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.npy"):
        read(tmp_path / "nothing.npy")
    with pytest.raises(tfy.Error, match="batch_size has to be"):
        read(folder / "y.npy", batch_size=0)
    with pytest.raises(tfy.Error, match="storage_options are for a path"):
        read(_numbers(folder), storage_options={"a": "b"})


def _replace(path, rows):
    """Another file of the same name, shape and dtype, and perhaps the same length."""
    np.save(path.with_name("new.npy"), rows)
    os.replace(path.with_name("new.npy"), path)
    os.utime(path, ns=(0, 5))


PLANS = {
    "files": lambda path: tfy.Dataset.from_files(path).shuffle(seed=1).take(5),
    "array": lambda path: tfy.Dataset.from_tensor_slices({"a": tfy.open(path)}),
    "cast": lambda path: tfy.Dataset.from_tensor_slices(tfy.open(path).astype("int32")),
    "zip": lambda path: tfy.Dataset.zip((tfy.Dataset.range(10), tfy.Dataset.from_npy([path]))),
    "mmap": lambda path: tfy.Dataset.from_tensor_slices(np.load(path, mmap_mode="r")),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_file_that_changed_is_an_error_of_the_task(tmp_path, name):
    path = tmp_path / "x.npy"
    np.save(path, np.arange(10))
    before = read(PLANS[name](path))
    assert before.count() == len(before.take_all())
    _replace(path, np.arange(10)[::-1].copy())
    with pytest.raises(Exception, match=r"x\.npy: a file is not as it was"):
        before.materialize()
    assert len(read(PLANS[name](path)).take_all()) >= 5
    opened = PLANS[name](path)
    _replace(path, np.arange(9))
    with pytest.raises(
        Exception, match=r"not as it was|held int.. of shape|mmap length is greater"
    ):
        read(opened).materialize()


def test_a_saved_dataset_that_was_replaced_is_an_error_of_the_task(tmp_path):
    tfy.Dataset.range(10).save(tmp_path / "saved")
    dataset = read(tmp_path / "saved")
    tfy.Dataset.range(10).shuffle(seed=1).save(tmp_path / "saved")
    with pytest.raises(Exception, match=r"saved/dataset\.json: a file is not as it was"):
        dataset.materialize()


def test_an_object_that_was_replaced_is_an_error_of_the_task(s3, folder):
    store = s3.under("ray-replaced/")
    content = (folder / "part-0.npy").read_bytes()
    for at in range(2):
        store.put(f"part-{at}.npy", content)
    dataset = read(store.url("part-*.npy"), storage_options=store.options)
    tfy.Dataset.range(10).save(store.url("saved"), storage_options=store.options, overwrite=True)
    saved = read(store.url("saved"), storage_options=store.options)
    assert (dataset.count(), saved.count()) == (50, 10)
    # The same length, dtype and shape.
    store.put("part-1.npy", content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(Exception, match=r"part-1\.npy: a file is not as it was"):
        dataset.materialize()
    again = tfy.Dataset.range(1, 11)
    again.save(store.url("saved"), storage_options=store.options, overwrite=True)
    with pytest.raises(Exception, match=r"saved/dataset\.json: a file is not as it was"):
        saved.materialize()
