"""Ctrl-C ends every wait for a store at once."""

from __future__ import annotations

import io
import itertools
import pickle
import signal
import threading
import time

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry._files.storage import storage

from tests.support.storage.proxy import Plan, Proxy

#: Seconds until an answer begins, and most seconds from a signal to its exception.
SLOW, SOON = 60.0, 0.2
#: Attempts: a busy machine may take longer, but not each time.
ATTEMPTS = 10

ROWS = np.random.default_rng(0).integers(0, 1000, (100_000, 16))


def npy(array) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz(**arrays) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


@pytest.fixture(scope="module")
def slow(s3):
    place = s3.under("interrupts/")
    place.put("x.npy", npy(ROWS))
    place.put("x.npz", npz(x=ROWS, y=ROWS))
    tfy.save(place.url("x.tfrecord"), {"x": ROWS}, storage_options=place.options)
    place.put("splits.npy", npy(np.arange(0, 100_001, 10)))
    numbers = tfy.Dataset.from_tensor_slices(ROWS[:1000]).with_format("numpy")
    numbers.save(place.url("saved"), storage_options=place.options)
    with Proxy(place.server, Plan(), seed=0) as proxy:
        yield proxy, place.through(proxy.endpoint)


def options(store) -> dict[str, str]:
    """Without an interrupt, a wait is an error."""
    return store.options | {"deadline": "25s"}


def rows(store) -> tfy.Dataset:
    found = tfy.Dataset.from_files(store.url("x.npy"), storage_options=options(store))
    return found.with_format("numpy")


def advanced(store):
    """A stream, and its state after some elements."""
    stream = rows(store).skip(50_000).filter(lambda row: row[0] > 5)
    iterator = iter(stream)
    next(iterator), next(iterator)
    return rows(store).skip(50_000).filter(lambda row: row[0] > 5), iterator.state_dict()


def resumed(stream, state):
    iterator = iter(stream)
    iterator.load_state_dict(state)
    return list(itertools.islice(iterator, 5))  # some are in the state


def ready(store, name) -> tfy.Array:
    return tfy.open(store.url(name), storage_options=options(store))


#: What is made while the store answers at once, and what then waits for it.
WAITS = {
    "open": (lambda store: None, lambda store, _: ready(store, "x.npy")),
    "open_raw": (
        lambda store: None,
        lambda store, _: tfy.open_raw(store.url("x.npy"), "u1", storage_options=options(store)),
    ),
    "pattern": (lambda store: None, lambda store, _: ready(store, "*.npy")),
    "source": (
        lambda store: storage("open", options(store)),
        lambda store, given: tfy._internal.Source(store.url("x.npy"), given),
    ),
    "load": (
        lambda store: None,
        lambda store, _: tfy.Dataset.load(store.url("saved"), storage_options=options(store)),
    ),
    "array": (lambda store: ready(store, "x.npy"), lambda _, x: np.asarray(x)),
    "row": (lambda store: ready(store, "x.npy"), lambda _, x: x[70_000]),
    "member": (lambda store: ready(store, "x.npz"), lambda _, x: np.asarray(x["x"])),
    "members": (lambda store: ready(store, "x.npz"), lambda _, x: list(x.values())),
    "verify": (lambda store: ready(store, "x.npz"), lambda _, x: x.verify()),
    "tensor": (lambda store: ready(store, "x.npy"), lambda _, x: tfy.tensor(x, "int32")),
    "value_range": (lambda store: ready(store, "x.npy"), lambda _, x: tfy.value_range(x)),
    "records": (lambda store: None, lambda store, _: ready(store, "x.tfrecord")),
    "pickle": (lambda store: pickle.dumps(ready(store, "x.npy")), lambda _, x: pickle.loads(x)),
    "reduce": (rows, lambda _, x: x.reduce(np.int64(0), lambda total, row: total + row[0])),
    "state": (advanced, lambda _, x: resumed(*x)),
    "in order": (rows, lambda _, x: next(iter(x.batch(1000)))),
    "shuffled": (rows, lambda _, x: next(iter(x.shuffle(seed=1).batch(1000)))),
    "row by row": (rows, lambda _, x: next(iter(x.shuffle(seed=1, block=1).batch(10)))),
    "filter": (rows, lambda _, x: next(iter(x.filter(lambda row: row[0] > 5)))),
    "splits": (
        lambda store: ready(store, "splits.npy"),
        lambda _, splits: tfy.Dataset.from_ragged(ROWS, splits),
    ),
    "save": (
        lambda store: None,
        lambda store, _: tfy.save(store.url("new.npy"), ROWS, storage_options=options(store)),
    ),
    "copy": (
        lambda store: ready(store, "x.npy"),
        lambda _, x: tfy.save("copy.npy", x),
    ),
    "save dataset": (
        lambda store: tfy.Dataset.from_tensor_slices(ROWS).with_format("numpy"),
        lambda store, x: x.save(store.url("new"), storage_options=options(store)),
    ),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_wait_is_interrupted(slow, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    proxy, store = slow
    make, wait = WAITS[name]
    took = []
    while len(took) < ATTEMPTS and min(took, default=SLOW) > SOON:
        proxy.set(Plan(), seed=0)
        made = make(store)
        proxy.set(Plan(first_byte=SLOW), seed=0)
        took.append(interrupted(lambda made=made: wait(store, made)))
    assert min(took) <= SOON, took


def interrupted(wait) -> float:
    """Seconds from a signal to its exception."""
    sent = []

    def send() -> None:
        sent.append(time.monotonic())
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(0.3, send)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        wait()
    took = time.monotonic() - sent[0]
    timer.join()
    return took
