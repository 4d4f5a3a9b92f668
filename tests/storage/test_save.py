"""``save`` to object stores: whole or not at all, and over no object unless asked."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import errors

from tests.support.paths import ROOT
from tests.support.storage.proxy import Plan, Proxy

PART = 8 << 20

STORES = ["s3", "azure", "gcs"]


@pytest.fixture(params=STORES)
def store(request):
    """An empty place in each kind of store that is written to."""
    return request.getfixturevalue(request.param).under(f"{uuid.uuid4().hex[:12]}/")


@pytest.fixture(scope="module")
def large():
    """An array of more than two parts, which differ."""
    return np.random.default_rng(7).integers(0, 2**63, (3, 725 << 10), np.int64)


def unfinished(store):
    """The unfinished uploads, which Azure drops by itself, after a week."""
    return 0 if store.url("").startswith("az") else store.uploads()


def save(store, name, value, **arguments):
    tfy.save(store.url(name), value, storage_options=store.options, **arguments)


def loaded(store, name):
    return np.load(io.BytesIO(store.get(name)))


# ---- what arrives


@pytest.mark.parametrize("length", [0, 1, PART - 128, PART - 127, PART, 2 * PART - 128, 2 * PART])
def test_an_array_of_bytes_arrives_whatever_its_length(store, length):
    value = np.arange(length, dtype=np.uint8)
    save(store, "a.npy", value)
    assert np.array_equal(loaded(store, "a.npy"), value)
    assert store.uploads() == 0


EVERY = {
    "a.npy": lambda array: array,
    "a.bin": lambda array: array,
    "a.npz": lambda array: {"x": array, "y": np.arange(5.0)},
    "a.safetensors": lambda array: {"x": array, "y": np.arange(5.0)},
    "a.tfrecord": lambda array: {"x": array.reshape(-1, 1024)},
    "b.tfrecord": lambda array: array.view(np.uint8).reshape(-1, 4096),
}


@pytest.mark.parametrize("name", EVERY)
def test_an_object_has_the_bytes_of_a_file(store, name, large, tmp_path):
    value = EVERY[name](large)
    save(store, name, value)
    tfy.save(tmp_path / name, value)
    if name == "a.npz":
        # The sizes of a member follow it in an object.
        with zipfile.ZipFile(io.BytesIO(store.get(name))) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == ["x.npy", "y.npy"]
        found = np.load(io.BytesIO(store.get(name)))
        assert all(np.array_equal(found[member], value[member]) for member in value)
        (tmp_path / name).write_bytes(store.get(name))
        opened = tfy.open(tmp_path / name)
        opened.verify()
        assert np.array_equal(np.asarray(opened["x"][:]), value["x"])
    else:
        assert store.get(name) == (tmp_path / name).read_bytes()


def test_compressed_arrays_arrive(store, large):
    value = {"x": large >> 40, "naïve": np.arange(3)}
    save(store, "a.npz", value, compress=True)
    found = np.load(io.BytesIO(store.get("a.npz")))
    assert all(np.array_equal(found[name], value[name]) for name in value)


def test_what_was_opened_elsewhere_arrives(store, large, tmp_path):
    np.save(tmp_path / "a.npy", large)
    save(store, "a.npy", tfy.open(tmp_path / "a.npy"))
    save(store, "b.npy", tfy.open(store.url("a.npy"), storage_options=store.options))
    assert np.array_equal(loaded(store, "b.npy"), large)


def test_a_url_may_name_odd_keys(store):
    for name in ["with space.npy", "ü/ö.npy", "a+b&c=d.npy", "100%.npy"]:
        save(store, name, np.arange(3))
        assert store.names(name) == [name]


# ---- what exists


@pytest.mark.parametrize("length", [3, 3 * PART])
def test_an_object_that_exists_is_replaced_only_if_asked(store, length):
    save(store, "a.npy", np.zeros(length, np.uint8))
    for overwrite in (None, False):
        with pytest.raises(FileExistsError, match=r"already.*pass overwrite=True.*a\.npy"):
            save(store, "a.npy", np.ones(length, np.uint8), overwrite=overwrite)
    assert not loaded(store, "a.npy").any()
    save(store, "a.npy", np.ones(length, np.uint8), overwrite=True)
    assert loaded(store, "a.npy").all()
    assert store.uploads() == 0


def test_a_file_that_exists_is_replaced_unless_it_is_not_to_be(tmp_path):
    for path in (tmp_path / "a.npy", f"file://{tmp_path}/a.npy"):
        tfy.save(path, np.zeros(3))
        tfy.save(path, np.ones(3))
        tfy.save(path, np.full(3, 2), overwrite=True)
        with pytest.raises(FileExistsError, match="pass overwrite=True"):
            tfy.save(path, np.zeros(3), overwrite=False)
    assert np.load(tmp_path / "a.npy").tolist() == [2, 2, 2]
    assert os.listdir(tmp_path) == ["a.npy"]


@pytest.mark.parametrize("length", [3, 2 * PART])
def test_one_of_two_that_create_an_object_at_once_is_refused(s3, length):
    store = s3.under(f"{uuid.uuid4().hex}/")
    value = np.zeros(length, np.uint8)
    with Proxy(store.server, Plan(first_byte=0.2)) as proxy:
        other = store.through(proxy.endpoint)

        def one(number):
            try:
                save(other, "a.npy", value + number)
            except FileExistsError:
                return None
            return number

        with ThreadPoolExecutor(3) as threads:
            created = [number for number in threads.map(one, range(3)) if number is not None]
    # SeaweedFS looks at the condition of an upload in parts some time before it finishes it.
    assert len(created) == 1 if length == 3 else created
    assert (loaded(store, "a.npy") == loaded(store, "a.npy")[0]).all()
    assert loaded(store, "a.npy")[0] in created
    assert store.uploads() == 0


def test_a_web_server_is_not_written_to(web):
    with pytest.raises(errors.InvalidArgumentError, match="web servers are read, not written to"):
        tfy.save(web.url("a.npy"), np.zeros(3))


def test_the_arguments_are_checked(store):
    with pytest.raises(TypeError, match="overwrite has to be True or False"):
        save(store, "a.npy", np.zeros(3), overwrite="no")
    with pytest.raises(errors.InvalidArgumentError, match="aws_endpiont"):
        tfy.save(store.url("a.npy"), np.zeros(3), storage_options={"aws_endpiont": "x"})
    assert store.names() == []


def test_what_is_forbidden_is_a_permission_error(store):
    url, options = store.refused("a.npy")
    with pytest.raises(PermissionError):
        tfy.save(url, np.zeros(3), storage_options=options)
    with pytest.raises(PermissionError):
        tfy.save(url, np.zeros(3 * PART, np.uint8), storage_options=options, overwrite=True)


# ---- what fails


@pytest.mark.parametrize("length", [100, 2 * PART // 512])
def test_values_that_do_not_fit_leave_nothing(store, length):
    value = np.full((length, 64), 2**62, np.uint64)
    value[-1] = 2**64 - 1
    with pytest.raises(errors.ValueOverflowError):
        save(store, "a.tfrecord", {"x": value})
    assert (store.names(), unfinished(store)) == ([], 0)


FAULTS = {
    "slow down": Plan(unavailable=0.2),
    "too many": Plan(throttled=0.2, retry_after=0),
    "failed": Plan(failed=0.2),
    "reset": Plan(reset=0.2),
    "lost": Plan(lost=0.2),
    "lost at the end": Plan(lost=1.0, methods=("POST",), after=1, most=1),
    "everything": Plan(unavailable=0.06, failed=0.06, reset=0.06, lost=0.06, first_byte_more=0.01),
}


@pytest.mark.parametrize("faults", FAULTS)
def test_failed_requests_are_repeated(store, large, faults):
    with Proxy(store.server) as proxy:
        other = store.through(proxy.endpoint)
        for seed, overwrite in enumerate([None, True, True, None]):
            if overwrite is None:
                for name in store.names():
                    store.delete(name)
            proxy.set(FAULTS[faults], seed=seed)
            value = large ^ seed
            save(other, "a.npy", value, overwrite=overwrite)
            save(other, "b.npy", value[0, :100], overwrite=overwrite)
            assert np.array_equal(loaded(store, "a.npy"), value)
            assert np.array_equal(loaded(store, "b.npy"), value[0, :100])


def test_a_store_that_does_not_answer_is_an_error_within_the_deadline(store, large):
    with Proxy(store.server, Plan(failed=1.0, methods=("PUT",))) as proxy:
        other = store.through(proxy.endpoint)
        began = time.monotonic()
        for value in (large, large[0, :100]):
            with pytest.raises(TimeoutError):
                tfy.save(
                    other.url("a.npy"),
                    value,
                    storage_options=other.options | {"deadline": "1s"},
                )
        assert time.monotonic() - began < 60
    assert (store.names(), unfinished(store)) == ([], 0)


INTERRUPTED = """
import sys, json, threading, os, signal, time
import numpy as np, tensorferry as tfy
url, options = sys.argv[1], json.loads(sys.argv[2])
value = np.zeros(200 << 20, np.uint8)

def stop():
    print(time.time(), flush=True)
    os.kill(os.getpid(), signal.SIGINT)

threading.Timer(0.7, stop).start()
try:
    tfy.save(url, value, storage_options=options)
    print("saved")
except KeyboardInterrupt:
    print(time.time())
"""


def test_an_interrupt_ends_an_upload_and_leaves_nothing(store):
    with Proxy(store.server, Plan(first_byte=0.03, bandwidth=40e6)) as proxy:
        other = store.through(proxy.endpoint)
        ran = subprocess.run(
            [sys.executable, "-c", INTERRUPTED, other.url("a.npy"), json.dumps(other.options)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            cwd=ROOT,
        )
        sent, raised = ran.stdout.split()
        assert float(raised) - float(sent) < 5
        # The threads of the program end with it; what they still sent is handled by now.
        deadline = time.monotonic() + 60
        while unfinished(store) and time.monotonic() < deadline:
            time.sleep(0.1)
    assert (store.names(), unfinished(store)) == ([], 0)


def test_a_killed_process_leaves_no_object(store):
    with Proxy(store.server, Plan(bandwidth=40e6)) as proxy:
        other = store.through(proxy.endpoint)
        code = INTERRUPTED.replace("SIGINT", "SIGKILL")
        ran = subprocess.run(
            [sys.executable, "-c", code, other.url("a.npy"), json.dumps(other.options)],
            capture_output=True,
            check=False,
            timeout=60,
            cwd=ROOT,
        )
        assert ran.returncode == -signal.SIGKILL
    assert store.names() == []


def test_a_forked_process_saves(s3, large):
    store = s3.under(f"{uuid.uuid4().hex}/")
    save(store, "a.npy", large)
    child = os.fork()
    if child == 0:
        try:
            save(store, "b.npy", large)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert np.array_equal(loaded(store, "b.npy"), large)
