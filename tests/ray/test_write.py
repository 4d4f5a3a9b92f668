"""``tensorferry.ray.write``: saved datasets that several tasks write."""

from __future__ import annotations

import json

import numpy as np
import pytest
import ray
import tensorferry as tfy
from tensorferry.ray import read, write

from tests.support import ray_workers

ROWS = 1000


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "both.npz"
    rows = np.random.default_rng(1).standard_normal((ROWS, 40)).astype(np.float32)
    np.savez(path, x=rows, y=np.arange(ROWS), z=np.arange(ROWS) % 3 == 0)
    return path


def _equal(one, other) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return np.asarray(one).dtype == np.asarray(other).dtype and np.array_equal(one, other)


def _same(loaded, expected) -> bool:
    pairs = zip(list(loaded.as_numpy_iterator()), expected, strict=True)
    return all(_equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("rows", [None, 300])
def test_what_is_written_is_loaded_in_order(source, tmp_path, rows):
    shuffled = tfy.Dataset.from_files(source).shuffle(seed=3)
    expected = list(shuffled.as_numpy_iterator())
    shuffled.set_epoch(0)
    path = tmp_path / "deep" / "saved"
    write(read(shuffled, override_num_blocks=7), path, rows_per_file=rows)
    loaded = tfy.Dataset.load(path)
    assert len(loaded) == ROWS
    assert loaded.element_spec["x"].shape == (40,)
    assert _same(loaded, expected)
    manifest = json.loads((path / "dataset.json").read_text())
    assert len(manifest["parts"]) > 2
    assert {name.name for name in path.iterdir()} == {"dataset.json"} | {
        f"{at}-{part}.npy" for at in range(3) for part, _ in manifest["parts"]
    }
    if rows is not None:
        assert all(count >= rows for _, count in manifest["parts"][:-1])
    # It reads back through Ray, and is replaced as a whole.
    for row, other in zip(read(path).iter_rows(), expected, strict=True):
        assert row["y"] == other["y"]
        assert np.array_equal(row["x"], other["x"])
    write(read(source).limit(10), path)
    assert len(tfy.Dataset.load(path)) == 10
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["saved"]


def test_one_column_and_datasets_of_ray_are_written(tmp_path):
    write(ray.data.from_numpy(np.arange(12).reshape(6, 2)), tmp_path / "data")
    assert _same(tfy.Dataset.load(tmp_path / "data"), list(np.arange(12).reshape(6, 2)))
    squares = ray.data.range(50, override_num_blocks=5).map_batches(
        lambda batch: {"n": batch["id"], "square": batch["id"] ** 2}
    )
    write(squares, tmp_path / "squares")
    loaded = list(tfy.Dataset.load(tmp_path / "squares").as_numpy_iterator())
    assert [(int(row["n"]), int(row["square"])) for row in loaded] == [
        (n, n * n) for n in range(50)
    ]


TEXTS = ["", "a", "größer", "x" * 100]


def _texts(batch):
    names = [TEXTS[n % 4] for n in batch["y"]]
    return {"y": batch["y"], "name": names, "raw": [name.encode() for name in names]}


def test_strings_are_written(source, tmp_path):
    made = read(source, override_num_blocks=4).map_batches(_texts, batch_size=70)
    write(made, tmp_path / "saved")
    loaded = tfy.Dataset.load(tmp_path / "saved")
    expected = [
        {"name": text, "raw": text, "y": n} for n in range(ROWS) for text in [TEXTS[n % 4].encode()]
    ]
    assert [{**row, "y": int(row["y"])} for row in loaded.as_numpy_iterator()] == expected
    # It is saved and read as any other dataset is, also at random.
    loaded.shuffle(seed=1).save(tmp_path / "again")
    assert sorted(row["y"] for row in read(tmp_path / "again").take_all()) == list(range(ROWS))
    assert read(tmp_path / "saved").take(3)[2]["name"] == TEXTS[2].encode()
    write(ray.data.from_items([{"data": "a"}, {"data": "bc"}]), tmp_path / "alone")
    assert list(tfy.Dataset.load(tmp_path / "alone").as_numpy_iterator()) == [b"a", b"bc"]


def test_an_object_store_has_the_dataset_once_it_is_whole(s3, source):
    store = s3.under("ray-write/")
    shuffled = tfy.Dataset.from_files(source).shuffle(seed=3)
    expected = list(shuffled.as_numpy_iterator())
    shuffled.set_epoch(0)
    url, options = store.url("saved"), store.options
    write(read(shuffled, override_num_blocks=3), url, storage_options=options)
    assert _same(tfy.Dataset.load(url, storage_options=options), expected)
    with pytest.raises(FileExistsError):
        write(read(source), url, storage_options=options)
    names = store.names("saved")
    with pytest.raises(Exception, match="it is row"):
        write(_failing(read(source)), url, storage_options=options, overwrite=True)
    assert store.names("saved") == names
    named = read(source).limit(5).map_batches(_texts)
    write(named, url, storage_options=options, overwrite=True)
    loaded = tfy.Dataset.load(url, storage_options=options)
    assert [row["name"].decode() for row in loaded.as_numpy_iterator()] == [*TEXTS, TEXTS[0]]
    write(read(source).limit(5), url, storage_options=options, overwrite=True)
    assert len(tfy.Dataset.load(url, storage_options=options)) == 5
    assert len(store.names("saved")) < len(names)


def _failing(dataset):
    return dataset.map_batches(_fail, batch_size=50)


def _fail(batch):
    if 700 in batch["y"]:
        raise ValueError("it is row 700")
    return batch


def test_a_failed_write_leaves_nothing(source, tmp_path):
    for make, words in (
        (_failing, "it is row 700"),
        (
            lambda dataset: dataset.map_batches(_uneven, batch_size=None),
            "some rows have the columns",
        ),
        (lambda dataset: dataset.map(_listed), "'lists' holds objects, or rows of several shapes"),
        (lambda dataset: dataset.map_batches(_sometimes_named), "some rows have the columns"),
        (lambda dataset: dataset.filter(_never), "has no rows"),
    ):
        with pytest.raises(Exception, match=words):
            write(make(read(source, override_num_blocks=4)), tmp_path / "saved")
        assert list(tmp_path.iterdir()) == []


def _uneven(batch):
    return {"x": batch["x"][:, : 20 if 700 in batch["y"] else 10]}


def _listed(row):
    return {"lists": list(range(row["y"] % 3))}


def _sometimes_named(batch):
    return {"name": batch["y"].astype(str) if 700 in batch["y"] else batch["y"]}


def _never(row):
    return False


def test_what_is_there_is_replaced_only_if_it_is_a_dataset(source, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("")
    with pytest.raises(OSError, match=r"notes\.txt"):
        write(read(source), tmp_path / "mine")
    write(read(source).limit(3), tmp_path / "saved")
    with pytest.raises(FileExistsError):
        write(read(source), tmp_path / "saved", overwrite=False)
    assert len(tfy.Dataset.load(tmp_path / "saved")) == 3


def test_a_killed_task_is_done_again_and_leaves_no_file(source, tmp_path):
    # A batch becomes a block, and a block a file: the killed task has written two.
    ray.data.DataContext.get_current().target_max_block_size = 50 * 160
    killed = read(source, batch_size=50, override_num_blocks=4).map_batches(
        ray_workers.KilledAt(tmp_path / "killed", "y", 630), batch_size=50
    )
    write(killed, tmp_path / "saved")
    assert (tmp_path / "killed").exists()
    loaded = tfy.Dataset.load(tmp_path / "saved")
    assert _same(loaded, list(tfy.Dataset.from_files(source).as_numpy_iterator()))
    parts = json.loads((tmp_path / "saved" / "dataset.json").read_text())["parts"]
    assert len(parts) == ROWS // 50
    assert len(list((tmp_path / "saved").iterdir())) == 1 + 3 * len(parts)
