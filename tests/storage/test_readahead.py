"""What is received ahead: in order, the bytes; of a shuffle in blocks, the requests at once."""

from __future__ import annotations

import io
import itertools
import time

import numpy as np
import pytest
import tensorferry as tfy

from tests.support.storage.proxy import Plan, Proxy


def npy(array) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def opened(store, name):
    return tfy.open(store.url(name), storage_options=store.options)


def in_order(x, start, count):
    return tfy.Dataset.from_tensor_slices(x).with_format("numpy").skip(start).take(count).batch(64)


@pytest.mark.parametrize("form", ["dataset", "slice", "resumed"])
def test_nothing_is_received_beyond_the_part_that_is_read(web, form):
    array = np.arange(12 << 20, dtype="i4").reshape(-1, 1024)  # 48 MiB, more than is read ahead
    place = web.under("parts/")
    place.put("x.npy", npy(array))
    x = opened(place, "x.npy")
    start, count = 1000, 2500
    before = tfy._internal.request_counts()["bytes"]
    if form == "dataset":
        batches = list(in_order(x, start, count))
    elif form == "slice":
        batches = list(in_order(x[start : start + count], 0, count))
    else:
        iterator = iter(in_order(x, 0, start + count))
        state = iterator.state_dict() | {"position": start // 64}
        iterator.load_state_dict(state)
        batches, start = list(iterator), start // 64 * 64
        count += 1000 - start
    found = np.concatenate(batches)
    np.testing.assert_array_equal(found, array[start : start + count])
    received = tfy._internal.request_counts()["bytes"] - before
    assert found.nbytes <= received <= found.nbytes * 1.1


def settled() -> dict[str, int]:
    """The counts, once the requests of a pass that was given up have ended."""
    counts = tfy._internal.request_counts()
    while True:
        time.sleep(0.2)
        before, counts = counts, tfy._internal.request_counts()
        if counts == before:
            return counts


def test_every_epoch_in_order_receives_its_rows_once(web):
    array = np.arange(6 << 20, dtype="i4").reshape(-1, 1024)
    place = web.under("epochs/")
    place.put("x.npy", npy(array))
    rows = tfy.Dataset.from_tensor_slices(opened(place, "x.npy")).with_format("numpy").batch(64)
    for _ in range(4):
        before = settled()
        np.testing.assert_array_equal(np.concatenate(list(rows)), array)
        now = settled()
        received, twice = (now[name] - before[name] for name in ("bytes", "hedges"))
        # A slow request of up to 8 MiB is sent twice.
        assert array.nbytes * 0.99 <= received <= array.nbytes * 1.1 + twice * (8 << 20)
        for at, _ in zip(range(3), rows, strict=False):  # one that is given up
            assert at < 3


def test_all_blocks_of_a_group_are_asked_for_at_once(s3):
    """Also by one thread, and those of the next group while batches of one are taken."""
    array = np.arange(12 << 20, dtype="i4").reshape(-1, 1024)  # 48 blocks of 1 MiB
    s3.put("groups/x.npy", npy(array))
    with Proxy(s3.server, Plan(first_byte=0.2), seed=0) as proxy:
        x = opened(s3.through(proxy.endpoint), "groups/x.npy")
        rows = tfy.Dataset.from_tensor_slices(x).with_format("numpy")
        shuffled = rows.shuffle(seed=7, buffer_size=24 * 256).batch(256)
        batches = shuffled.with_options(tfy.Options(threads=1))
        found = np.concatenate(list(batches))
        assert proxy.counts()["most_under_way"] >= 24
        assert proxy.counts()["requests"] <= 1.25 * 48  # some are asked for twice
    np.testing.assert_array_equal(np.sort(found[:, 0]), array[:, 0])


def test_two_passes_over_one_array_read_ahead_each_for_itself(web):
    """As in validation, which begins in the middle of an epoch, and reads other rows."""
    array = np.arange(12 << 20, dtype="i4").reshape(-1, 1024)
    place = web.under("passes/")
    place.put("x.npy", npy(array))
    x = opened(place, "x.npy")

    def counted(between):
        before = settled()
        training = iter(in_order(x, 2000, 8000))
        trained = list(itertools.islice(training, between))
        np.testing.assert_array_equal(np.concatenate(list(in_order(x, 0, 2000))), array[:2000])
        trained += list(training)
        np.testing.assert_array_equal(np.concatenate(trained), array[2000:10_000])
        after = settled()
        requests, hedges, received = (
            after[name] - before[name] for name in ("requests", "hedges", "bytes")
        )
        return requests - hedges, received

    one_after_the_other, _ = counted(1000)
    at_once, received = counted(20)
    assert at_once <= one_after_the_other + 4  # it is 10 more without
    assert 10_000 * 4096 <= received <= 10_000 * 4096 * 1.1
