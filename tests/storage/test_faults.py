"""A store that fails: the exact result, or one error with a code within the deadline."""

from __future__ import annotations

import io
import random
import time

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import errors

from tests.support.storage.proxy import Plan, Proxy

ROWS, WIDTH = 3000, 64

#: Faults after which the result is exact: each is repaired by another request.
REPAIRED = {
    "throttled": Plan(throttled=0.2, retry_after=0),
    "unavailable": Plan(unavailable=0.2),
    "failed": Plan(failed=0.2),
    "reset": Plan(reset=0.2),
    "reset_in_body": Plan(reset_in_body=0.2),
    "cut": Plan(cut=0.2),
    "ignored_range": Plan(ignored_range=0.1),
    "wrong_range": Plan(wrong_range=0.1),
    "stalled": Plan(stalled=0.05, stall=0.5),
}


def npy(array) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(1).integers(0, 1 << 40, (ROWS, WIDTH))


@pytest.fixture(scope="module")
def faulty(s3, rows):
    store = s3.under("faults/")
    store.put("rows.npy", npy(rows))
    with Proxy(store.server, Plan(), seed=0) as proxy:
        yield proxy, store.through(proxy.endpoint)


def read(store, options, how, seed):
    array = tfy.open(store.url("rows.npy"), storage_options=store.options | options)
    if how == "all":
        return np.asarray(array), np.arange(ROWS)
    dataset = tfy.Dataset.from_tensor_slices((array, np.arange(ROWS))).with_format("numpy")
    if how == "in order":
        dataset = dataset.batch(100)
    elif how == "shuffled":
        dataset = dataset.shuffle(seed=seed).batch(100)
    else:
        dataset = dataset.shuffle(seed=seed, block=1).take(100).batch(20)
    parts = list(dataset)
    return np.concatenate([x for x, _ in parts]), np.concatenate([i for _, i in parts])


@pytest.mark.parametrize("fault", REPAIRED)
@pytest.mark.parametrize("how", ["all", "in order", "shuffled", "row by row"])
def test_what_is_repaired_is_exact(faulty, rows, fault, how):
    proxy, store = faulty
    proxy.set(REPAIRED[fault], seed=5)
    found, indices = read(store, {"deadline": "60s"}, how, 3)
    np.testing.assert_array_equal(found, rows[indices])
    assert len(set(indices.tolist())) == len(indices) == (100 if how == "row by row" else ROWS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100))
def test_a_store_with_all_faults_gives_the_exact_result_or_one_error(faulty, rows, seed):
    proxy, store = faulty
    draw = random.Random(seed)
    names = draw.sample(sorted(REPAIRED), 4) + draw.choices(
        ["changed_etag", "hung", "none", "none"], k=1
    )
    shares = {name: draw.choice([0.01, 0.05, 0.2]) for name in names if name != "none"}
    proxy.set(Plan(**shares, stall=0.1, retry_after=0), seed=seed)
    how = draw.choice(["all", "in order", "shuffled", "row by row"])
    began, failed = time.monotonic(), None
    try:
        found, indices = read(store, {"deadline": "5s"}, how, seed)
    except (OSError, errors.Error) as error:
        failed = error
    if failed is None:
        np.testing.assert_array_equal(found, rows[indices])
    else:
        assert getattr(failed, "code", "io") in ("io", "file_changed"), failed
        assert "rows.npy" in str(failed)
    assert time.monotonic() - began < 100
    proxy.set(Plan(), seed=0)
    # Nothing is left behind that a later read would find.
    found, indices = read(store, {"deadline": "5s"}, "shuffled", seed)
    np.testing.assert_array_equal(found, rows[indices])


def test_a_read_that_gets_nothing_ends_at_the_deadline(faulty):
    proxy, store = faulty
    array = tfy.open(store.url("rows.npy"), storage_options=store.options | {"deadline": "1.5s"})
    proxy.set(Plan(unavailable=1.0), seed=0)
    began = time.monotonic()
    with pytest.raises(OSError, match=r"the deadline is 1\.5 s.*503") as raised:
        array[ROWS - 1]
    assert "rows.npy" in str(raised.value)
    assert time.monotonic() - began < 10
    proxy.set(Plan(), seed=0)
    assert array[ROWS - 1].shape == (WIDTH,)


def test_opening_ends_at_the_deadline_if_no_answer_has_an_end(faulty):
    proxy, store = faulty
    # New settings: nothing is known of how long requests take.
    options = store.options | {"deadline": "1.7s"}
    proxy.set(Plan(hung=1.0), seed=0)
    began = time.monotonic()
    with pytest.raises(OSError, match=r"the deadline is 1\.7 s"):
        np.asarray(tfy.open(store.url("rows.npy"), storage_options=options))
    assert time.monotonic() - began < 15
    proxy.set(Plan(), seed=0)


def test_a_server_without_ranges_is_told_so(web, rows):
    store = web.under("no-ranges/")
    store.put("rows.npy", npy(rows))
    with Proxy(store.server, Plan(ignored_range=1.0), seed=0) as proxy:
        other = store.through(proxy.endpoint)
        with pytest.raises(OSError, match="support range requests"):
            np.asarray(tfy.open(other.url("rows.npy"), storage_options=other.options))


@pytest.mark.parametrize("ignores", [False, True])
@pytest.mark.parametrize("length", ["same", "shorter", "longer"])
def test_an_object_that_is_written_in_between_is_an_error(s3, rows, ignores, length):
    """Also if the store does not look at If-Match."""
    store = s3.under(f"changed-{ignores}-{length}/")
    store.put("rows.npy", npy(rows))
    with Proxy(store.server, Plan(ignore_if_match=ignores), seed=0) as proxy:
        other = store.through(proxy.endpoint)
        array = tfy.open(other.url("rows.npy"), storage_options=other.options)
        first = array[1000].numpy()
        np.testing.assert_array_equal(first, rows[1000])
        new = {"same": rows + 1, "shorter": rows[:1500] + 1, "longer": np.tile(rows + 1, (2, 1))}
        store.put("rows.npy", npy(new[length]))
        with pytest.raises(
            errors.FileFormatError, match="written to since it was opened"
        ) as raised:
            array[2900]
        assert raised.value.code == "file_changed"
        store.delete("rows.npy")
        with pytest.raises(FileNotFoundError):
            array[2901]


def test_one_request_in_a_hundred_that_stalls_is_overtaken(faulty, rows):
    """The second request for it comes first."""
    proxy, store = faulty
    proxy.set(Plan(first_byte=0.01, stalled=0.02, stall=20.0), seed=7)
    began = time.monotonic()
    found, indices = read(store, {}, "row by row", 1)
    np.testing.assert_array_equal(found, rows[indices])
    assert time.monotonic() - began < 19


def test_requests_of_a_slow_store_are_limited(faulty, rows):
    proxy, store = faulty
    proxy.set(Plan(first_byte=0.02), seed=0)
    proxy.reset()
    read(store, {"max_requests": "3"}, "row by row", 1)
    assert 1 <= proxy.counts()["most_under_way"] <= 4


def test_a_request_for_one_that_stalls_may_stall_too(faulty):
    """A third one is sent then, and no more."""
    proxy, store = faulty
    proxy.set(Plan(), seed=0)
    array = tfy.open(store.url("rows.npy"), storage_options=store.options | {"deadline": "1.5s"})
    for row in range(1000, 0, -2):  # how long requests take is known, and hedges are earned
        _ = array[row]
    before = tfy._internal.request_counts()
    proxy.set(Plan(stalled=1.0, stall=600.0), seed=0)
    with pytest.raises(OSError, match=r"the deadline is 1\.5 s"):
        array[ROWS - 1]
    proxy.set(Plan(), seed=0)
    after = tfy._internal.request_counts()
    assert after["hedges"] - before["hedges"] == 2
    assert after["requests"] - before["requests"] == 3
