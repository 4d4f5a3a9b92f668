"""The disk cache of objects: by URL and version, bounded, shared, and never wrong."""

from __future__ import annotations

import io
import json
import os
import random

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import _internal, errors

from tests.storage.test_open import run

MIB = 1 << 20


def npy(array) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


@pytest.fixture
def array():
    return np.random.default_rng(3).integers(0, 1 << 30, (8000, 256), "i4")  # 8 MB


@pytest.fixture
def place(s3, tmp_path, array):
    store = s3.under(f"cache-{tmp_path.name}/")
    store.put("x.npy", npy(array))
    return store


def opened(store, folder, **options):
    return tfy.open(
        store.url("x.npy"), storage_options=store.options, cache=folder / "cache", **options
    )


def epoch(x, seed):
    rows = tfy.Dataset.from_tensor_slices(x).with_format("numpy").shuffle(seed=seed).batch(200)
    before = _internal.request_counts()
    found = np.concatenate(list(rows))
    now = _internal.request_counts()
    return found, {name: now[name] - before[name] for name in now}


def same_rows(found, array):
    order = np.lexsort(found.T[:3])
    np.testing.assert_array_equal(found[order], array[np.lexsort(array.T[:3])])


def test_a_second_epoch_that_fits_asks_for_nothing(place, tmp_path, array):
    x = opened(place, tmp_path)
    found, counts = epoch(x, 1)
    same_rows(found, array)
    assert counts["requests"] > 0
    found, counts = epoch(x, 2)
    same_rows(found, array)
    assert counts["requests"] == counts["cache_missed"] == 0
    assert counts["cache_bytes"] >= array.nbytes
    again = opened(place, tmp_path)
    np.testing.assert_array_equal(np.asarray(again), array)
    np.testing.assert_array_equal(again[[7999, 0, 5]].numpy(), array[[7999, 0, 5]])


def test_another_process_uses_it_too(place, tmp_path, array):
    np.testing.assert_array_equal(np.asarray(opened(place, tmp_path)), array)
    code = """
    import json, sys, numpy as np, tensorferry as tfy
    url, options, folder = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
    x = tfy.open(url, storage_options=options, cache=folder)
    before = tfy._internal.request_counts()["requests"]
    total = int(np.asarray(x).sum(dtype=np.int64))
    print(total, tfy._internal.request_counts()["requests"] - before)
    """
    arguments = (place.url("x.npy"), json.dumps(place.options), str(tmp_path / "cache"))
    total, requests = map(int, run(code, *arguments).split())
    assert (total, requests) == (int(array.sum(dtype=np.int64)), 0)


def test_a_new_version_is_received(place, tmp_path, array):
    np.testing.assert_array_equal(np.asarray(opened(place, tmp_path)), array)
    place.put("x.npy", npy(array + 1))
    np.testing.assert_array_equal(np.asarray(opened(place, tmp_path)), array + 1)


def test_it_stays_within_its_bytes_and_hits_in_its_share(place, tmp_path, array):
    limit = 3 * MIB
    x = opened(place, tmp_path, cache_bytes=limit)
    for seed in range(3):
        found, counts = epoch(x, seed)
        same_rows(found, array)
    kept = sum(
        os.stat(os.path.join(folder, name)).st_blocks * 512
        for folder, _, names in os.walk(tmp_path / "cache")
        for name in names
    )
    assert kept < limit + MIB // 2
    share = counts["cache_bytes"] / array.nbytes
    assert share >= 0.9 * 2 * MIB / array.nbytes  # whole pieces


def test_damage_is_noticed_and_received_again(place, tmp_path, array):
    np.testing.assert_array_equal(np.asarray(opened(place, tmp_path)), array)
    draw = random.Random(4)
    files = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(tmp_path / "cache")
        for name in names
    ]
    for path in files:
        with open(path, "r+b") as file:
            length = os.path.getsize(path)
            for _ in range(20 if length else 0):
                file.seek(draw.randrange(length))
                file.write(bytes([draw.randrange(256)]))
    np.testing.assert_array_equal(np.asarray(opened(place, tmp_path)), array)
    np.testing.assert_array_equal(np.asarray(opened(place, tmp_path)), array)


def test_the_environment_names_it_and_an_empty_name_is_none(place, tmp_path, array, monkeypatch):
    monkeypatch.setenv("TENSORFERRY_CACHE", str(tmp_path / "named"))
    x = tfy.open(place.url("x.npy"), storage_options=place.options)
    np.testing.assert_array_equal(np.asarray(x), array)
    assert any(names for _, _, names in os.walk(tmp_path / "named"))
    tfy.open(place.url("x.npy"), storage_options=place.options, cache="")[5]
    monkeypatch.setenv("TENSORFERRY_CACHE_BYTES", "much")
    with pytest.raises(errors.InvalidArgumentError, match="TENSORFERRY_CACHE_BYTES"):
        tfy.open(place.url("x.npy"), storage_options=place.options)


def test_a_folder_that_cannot_be_is_an_error_at_once(place, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        tfy.open(
            place.url("x.npy"), storage_options=place.options, cache=tmp_path / "file" / "cache"
        )
    with pytest.raises(errors.InvalidArgumentError):
        opened(place, tmp_path, cache_bytes=10)
    with pytest.raises(errors.InvalidArgumentError, match="cache_bytes"):
        tfy.open("s3://b/x.npy", cache_bytes=10)
