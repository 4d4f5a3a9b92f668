"""Saved datasets in object stores: they come back as from a directory, and appear whole or not at
all."""

import json
import os
import signal
import subprocess
import sys
import uuid

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import Dataset, _internal, errors

from tests.support.paths import ROOT
from tests.support.storage.proxy import Plan, Proxy

STORES = ["s3", "azure", "gcs"]


@pytest.fixture(params=STORES)
def store(request):
    """An empty place in each kind of store that is written to."""
    return request.getfixturevalue(request.param).under(f"{uuid.uuid4().hex[:12]}/")


def save(dataset, store, name="saved", **arguments):
    dataset.save(store.url(name), storage_options=store.options, **arguments)


def load(store, name="saved", **arguments):
    loaded = Dataset.load(store.url(name), storage_options=store.options, **arguments)
    return loaded.with_format("numpy")


def numbers(count, start=0):
    return Dataset.range(start, start + count).with_format("numpy")


def elements(dataset):
    return [{name: part.tolist() for name, part in element.items()} for element in dataset]


def words(length):
    """Elements whose shapes vary in one length, in two, in rank, and not at all."""

    def of(x):
        x = int(x)
        return {
            "fixed": np.full((2, 3), x, np.float32),
            "tokens": np.arange(x % 7, dtype=np.int32),
            "boxes": np.full((x % 3, 4), x, np.int16),
            "image": np.full((x % 3 + 1, x % 2 + 1), x, np.uint8),
            "flag": np.bool_(x % 2),
            "again": np.int64(x),
        }

    def each():
        return map(of, range(length))

    signature = {
        "fixed": tfy.TensorSpec((2, 3), "float32"),
        "tokens": tfy.TensorSpec((None,), "int32"),
        "boxes": tfy.TensorSpec((None, 4), "int16"),
        "image": tfy.TensorSpec((None, None), "uint8"),
        "flag": tfy.TensorSpec((), "bool"),
        "again": tfy.TensorSpec((), "int64"),
    }
    return Dataset.from_generator(each, output_signature=signature).with_format("numpy")


def tokens(length):
    """Elements of few files: a number, and a row whose length varies."""
    return words(length).map(lambda x: {"again": x["again"], "tokens": x["tokens"]})


# ---- what comes back


def test_elements_of_one_shape_come_back(store):
    x = np.random.default_rng(1).normal(size=(1000, 7)).astype(np.float32)
    dataset = Dataset.from_tensor_slices({"x": x, "y": np.arange(1000)}).with_format("numpy")
    save(dataset, store)
    loaded = load(store)
    assert loaded.element_spec == dataset.element_spec
    assert len(loaded) == 1000
    batch = next(iter(loaded.batch(1000)))
    assert np.array_equal(batch["x"], x)
    assert np.array_equal(batch["y"], np.arange(1000))
    assert sorted(element["y"] for element in loaded.shuffle(1000, seed=3)) == list(range(1000))
    assert store.uploads() == 0


def test_elements_of_several_shapes_come_back(store, tmp_path):
    save(words(50), store)
    loaded = load(store)
    assert elements(loaded) == elements(words(50))
    words(50).save(tmp_path / "saved")
    local = Dataset.load(tmp_path / "saved").with_format("numpy")
    assert loaded.element_spec == local.element_spec
    shuffled = loaded.shuffle(50, seed=5)
    assert elements(shuffled) == elements(local.shuffle(50, seed=5))
    padded = next(iter(loaded.map(lambda x: x["boxes"]).padded_batch(50)))
    assert np.array_equal(padded, next(iter(local.map(lambda x: x["boxes"]).padded_batch(50))))


def test_every_dtype_comes_back(store):
    import ml_dtypes

    kinds = [np.bool_, np.uint8, np.int64, np.float16, np.float64, np.complex64]
    values = {kind.__name__: np.arange(6).reshape(3, 2).astype(kind) for kind in kinds}
    values["bfloat16"] = np.arange(6).reshape(3, 2).astype(ml_dtypes.bfloat16)
    values["empty"] = np.zeros((3, 0), np.int32)
    save(Dataset.from_tensor_slices(values).with_format("numpy"), store)
    (batch,) = load(store).batch(3)
    for name, value in values.items():
        assert batch[name].dtype == value.dtype, name
        assert np.array_equal(batch[name], value), name


def test_a_dataset_without_elements_comes_back(store):
    save(numbers(3).take(0), store, "none")
    save(words(0), store, "ragged")
    assert list(load(store, "none")) == []
    assert list(load(store, "ragged")) == []


def test_more_than_a_part_of_each_file_comes_back(store):
    x = np.random.default_rng(1).integers(0, 255, (300, 100_000), np.uint8)
    save(Dataset.from_tensor_slices((x, x[:, ::2])).with_format("numpy"), store)
    for at, (one, two) in enumerate(load(store)):
        assert np.array_equal(one, x[at])
        assert np.array_equal(two, x[at, ::2])


def test_the_files_are_those_that_numpy_reads(store):
    save(numbers(5), store)
    manifest = json.loads(store.get("saved/dataset.json"))
    assert store.names() == [f"saved/{manifest['folder']}/0.npy", "saved/dataset.json"]


def test_a_slash_at_the_end_changes_nothing(store):
    save(numbers(5), store, "saved/")
    assert "saved/dataset.json" in store.names()
    assert list(load(store, "saved/")) == list(range(5))
    assert list(load(store, "saved")) == list(range(5))


def test_rows_are_read_on_request(store):
    x = np.zeros((1000, 10_000), np.uint8)
    save(Dataset.from_tensor_slices(x).with_format("numpy"), store)
    loaded = load(store)
    before = _internal.request_counts()["bytes"]
    assert next(iter(loaded.skip(500).take(1))).shape == (10_000,)
    assert _internal.request_counts()["bytes"] - before < 5_000_000


def test_a_loaded_dataset_is_pickled(store):
    import pickle

    save(numbers(5), store)
    assert list(pickle.loads(pickle.dumps(load(store)))) == list(range(5))


# ---- what exists


def test_a_dataset_is_replaced_only_if_asked(store):
    save(numbers(5), store)
    store.put("saved/notes.txt", b"mine")
    for overwrite in (None, False):
        with pytest.raises(FileExistsError, match="pass overwrite=True"):
            save(numbers(9), store, overwrite=overwrite)
    assert list(load(store)) == list(range(5))
    old = json.loads(store.get("saved/dataset.json"))["folder"]
    save(numbers(9), store, overwrite=True)
    new = json.loads(store.get("saved/dataset.json"))["folder"]
    assert list(load(store)) == list(range(9))
    # The files of the old one are gone, and nothing else.
    assert old != new
    assert store.names() == [f"saved/{new}/0.npy", "saved/dataset.json", "saved/notes.txt"]


def test_a_directory_is_replaced_unless_it_is_not_to_be(tmp_path):
    path = tmp_path / "saved"
    numbers(5).save(path)
    numbers(6).save(path)
    numbers(7).save(path, overwrite=True)
    with pytest.raises(FileExistsError, match="pass overwrite=True"):
        numbers(8).save(path, overwrite=False)
    assert len(list(Dataset.load(path))) == 7
    assert os.listdir(tmp_path) == ["saved"]


def test_who_reads_what_is_replaced_gets_an_error_and_no_mixture(store):
    save(Dataset.from_tensor_slices(np.zeros((1000, 1000))).with_format("numpy"), store)
    loaded = load(store)
    save(
        Dataset.from_tensor_slices(np.ones((1000, 1000))).with_format("numpy"),
        store,
        overwrite=True,
    )
    with pytest.raises((OSError, errors.FileFormatError)):
        assert not any(row.any() for row in loaded)
    assert next(iter(load(store))).all()


def test_one_that_was_saved_meanwhile_is_not_replaced(store):
    def slowly():
        yield 1
        if not store.names("saved"):
            save(numbers(5), store)
        yield 2

    dataset = Dataset.from_generator(slowly, output_signature=tfy.TensorSpec((), "int64"))
    with pytest.raises(FileExistsError):
        save(dataset, store)
    assert list(load(store)) == list(range(5))
    assert len(store.names()) == 2


def test_a_web_server_is_not_saved_to(web):
    with pytest.raises(errors.InvalidArgumentError, match="not written to"):
        numbers(3).save(web.url("saved"))


def test_a_web_server_is_loaded_from(web, tmp_path):
    words(9).save(tmp_path / "saved")
    name = uuid.uuid4().hex
    for file in (tmp_path / "saved").iterdir():
        web.put(f"{name}/{file.name}", file.read_bytes())
    loaded = Dataset.load(web.url(name)).with_format("numpy")
    assert elements(loaded) == elements(words(9))


# ---- what fails


def test_what_is_not_there_is_a_file_not_found_error(store):
    with pytest.raises(FileNotFoundError):
        load(store)
    store.put("saved/0.npy", b"")
    with pytest.raises(FileNotFoundError):
        load(store)
    store.put("saved/dataset.json", b"{}")
    with pytest.raises(errors.FileFormatError, match="not a saved dataset"):
        load(store)


def test_what_is_forbidden_is_a_permission_error(store):
    save(numbers(5), store)
    url, options = store.refused("saved")
    with pytest.raises(PermissionError):
        Dataset.load(url, storage_options=options)
    for overwrite in (None, True):
        with pytest.raises(PermissionError):
            numbers(9).save(url, storage_options=options, overwrite=overwrite)
    assert list(load(store)) == list(range(5))


def test_a_save_that_fails_leaves_nothing(store):
    def failing():
        for at in range(3000):
            yield np.full(10_000, at % 256, np.uint8)
        raise ValueError("no more")

    signature = tfy.TensorSpec((10_000,), "uint8")
    dataset = Dataset.from_generator(failing, output_signature=signature)
    with pytest.raises(ValueError, match="no more"):
        save(dataset, store)
    assert store.names() == []
    # Azure drops unfinished uploads by itself, after a week.
    assert store.uploads() == 0 or store.url("").startswith("az")


STOPPED = """
import json, os, signal, sys, threading
import numpy as np, tensorferry as tfy
url, options, number = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
x = np.zeros((2000, 100_000), np.uint8)
threading.Timer(1.0, os.kill, (os.getpid(), number)).start()
try:
    dataset = tfy.Dataset.from_tensor_slices({"x": x, "y": np.arange(2000)})
    dataset.save(url, storage_options=options)
    print("saved")
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_save_leaves_no_dataset(store, number):
    with Proxy(store.server, Plan(bandwidth=40e6)) as proxy:
        other = store.through(proxy.endpoint)
        arguments = [other.url("saved"), json.dumps(other.options), str(int(number))]
        ran = subprocess.run(
            [sys.executable, "-c", STOPPED, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=ROOT,
        )
    if number == signal.SIGINT:
        assert (ran.stdout, ran.returncode) == ("interrupted\n", 0), ran.stderr
        assert store.names() == []
    else:
        assert ran.returncode == -number
    with pytest.raises(FileNotFoundError):
        load(store)
    save(numbers(5), store)
    assert list(load(store)) == list(range(5))


@pytest.mark.parametrize("seed", range(3))
def test_failed_requests_are_repeated(store, seed):
    # A fifth of the requests: with more, the waits between tries take most of the time.
    plan = Plan(unavailable=0.05, failed=0.05, reset=0.05, lost=0.05)
    with Proxy(store.server) as proxy:
        other = store.through(proxy.endpoint)
        proxy.set(plan, seed=seed)
        save(tokens(30), other)
        save(tokens(20), other, overwrite=True)
        assert elements(load(other)) == elements(tokens(20))
    assert len({name.split("/")[1] for name in store.names()}) == 2
    assert elements(load(store)) == elements(tokens(20))
