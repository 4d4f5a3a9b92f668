"""The command with URLs, as a user runs it."""

import io
import json
import signal
import subprocess
import time
import uuid

import numpy as np
import pytest

from tests.support.cli import COMMAND, refused, run
from tests.support.storage.proxy import Plan, Proxy

STORES = ["s3", "azure", "gcs"]


@pytest.fixture(params=STORES)
def store(request):
    """An empty place in each kind of store that is written to."""
    return request.getfixturevalue(request.param).under(f"{uuid.uuid4().hex[:12]}/")


@pytest.fixture
def array():
    return np.random.default_rng(3).integers(0, 100, (50_000, 8)).astype(np.int32)


def options(store):
    """The options of the command for a store."""
    return [f"--storage-option={key}={value}" for key, value in store.options.items()]


def put(store, name, value):
    file = io.BytesIO()
    np.savez(file, **value) if isinstance(value, dict) else np.save(file, value)
    store.put(name, file.getvalue())


def loaded(store, name):
    return np.load(io.BytesIO(store.get(name)))


# ---- reading


def test_inspect_says_what_was_asked_of_the_store(remote, array):
    put(remote, "a.npy", array)
    said = run("inspect", remote.url("a.npy"), *options(remote)).stdout
    assert "(50,000, 8)" in said or "50000" in said
    found = json.loads(run("inspect", remote.url("a.npy"), "--json", *options(remote)).stdout)
    assert found["arrays"][0]["shape"] == [50_000, 8]
    assert found["arrays"][0]["values"]["max"] == array.max()
    if remote.url("").startswith("file:"):
        assert found["network"] is None
        assert "network" not in said
    else:
        assert found["network"]["bytes"] >= array.nbytes
        assert found["network"]["requests"] >= 1
        assert "network: " in said


def test_stream_says_what_was_asked_of_the_store(remote, array):
    put(remote, "a.npy", array)
    command = ["stream", remote.url("a.npy"), *options(remote), "--quiet", "--epochs=1"]
    found = json.loads(run(*command, "--json").stdout)
    assert found["rows"] == 50_000
    is_file = remote.url("").startswith("file:")
    assert (found["network"] is None) == is_file
    said = run(*command).stdout
    assert ("network" in said) != is_file
    if not is_file:
        assert found["network"]["bytes"] >= array.nbytes * 0.9


def test_stream_says_how_much_came_from_the_cache(s3, array, tmp_path):
    store = s3.under(f"{uuid.uuid4().hex}/")
    put(store, "a.npy", array)
    cache = [f"--cache={tmp_path / 'cache'}", "--cache-bytes=1G"]
    command = ["stream", store.url("a.npy"), *options(store), *cache, "--quiet", "--json"]
    network = json.loads(run(*command).stdout)["network"]
    assert set(network) == {
        "requests",
        "bytes",
        "retries",
        "hedges",
        "cache_bytes",
        "cache_missed_bytes",
    }
    assert network["retries"] == 0


def test_check_reads_objects_and_finds_damage(remote, array):
    put(remote, "a.npz", {"x": array})
    put(remote, "b.npy", array)
    paths = [remote.url("a.npz"), remote.url("b.npy")]
    found = json.loads(run("check", *paths, "--json", *options(remote)).stdout)
    assert [file["status"] for file in found["files"]] == ["ok", "ok"]
    damaged = bytearray(remote.get("a.npz"))
    damaged[100_000] ^= 1
    remote.put("a.npz", bytes(damaged))
    done = subprocess.run(
        [COMMAND, "check", *paths, *options(remote)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "a.npz: FAILED" in done.stdout
    assert "b.npy: ok" in done.stdout


def test_patterns_are_taken(store, array):
    for at in range(3):
        put(store, f"part-{at}.npy", array + at)
    found = json.loads(run("inspect", store.url("part-*.npy"), "--json", *options(store)).stdout)
    assert found["arrays"][0]["shape"] == [150_000, 8]
    said = run("check", store.url("part-*.npy"), *options(store)).stdout
    assert said.count(": ok") == 3
    said = refused("inspect", store.url("none-*.npy"), *options(store), status=2)
    assert "no object matches" in said


def test_what_is_missing_or_forbidden_is_refused(store, tmp_path):
    assert "a.npy" in refused("inspect", store.url("a.npy"), *options(store), status=3)
    np.save(tmp_path / "a.npy", np.zeros(3))
    url, wrong = store.refused("a.npy")
    given = [f"--storage-option={key}={value}" for key, value in wrong.items()]
    assert "access was refused" in refused("convert", tmp_path / "a.npy", url, *given, status=3)


def test_a_setting_is_a_name_and_a_value(store):
    for wrong in ("aws_region", "=x"):
        done = subprocess.run(
            [COMMAND, "inspect", "s3://b/k.npy", f"--storage-option={wrong}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert "a name, = and a value" in done.stderr
    said = refused("inspect", store.url("a.npy"), "--storage-option=aws_endpiont=x", status=2)
    assert "aws_endpiont" in said


# ---- convert


def test_convert_reads_and_writes_objects(store, array, tmp_path):
    put(store, "a.npy", array)
    run("convert", store.url("a.npy"), store.url("b.safetensors"), "--dtype=int8", *options(store))
    run("convert", store.url("b.safetensors"), tmp_path / "c.npz", *options(store))
    run("convert", tmp_path / "c.npz", store.url("d.npz"), "--compress", *options(store))
    (name,) = np.load(tmp_path / "c.npz").files
    assert np.array_equal(np.load(tmp_path / "c.npz")[name], array.astype(np.int8))
    assert np.array_equal(loaded(store, "d.npz")[name], array.astype(np.int8))
    assert store.uploads() == 0


def test_convert_says_what_it_wrote(store, array):
    put(store, "a.npy", array)
    url = store.url("b.npy")
    found = json.loads(run("convert", store.url("a.npy"), url, "--json", *options(store)).stdout)
    assert found["files"] == [url]
    assert found["bytes"] == len(store.get("b.npy"))


def test_convert_replaces_an_object_only_with_force(store, array, tmp_path):
    np.save(tmp_path / "a.npy", array)
    command = ["convert", tmp_path / "a.npy", store.url("b.npy"), *options(store)]
    store.put("b.npy", b"mine")
    assert "--force replaces it" in refused(*command, status=2)
    assert store.get("b.npy") == b"mine"
    run(*command, "--force")
    assert np.array_equal(loaded(store, "b.npy"), array)


def test_convert_replaces_its_own_source(store, array):
    put(store, "a.npy", array)
    run(
        "convert",
        store.url("a.npy"),
        store.url("a.npy"),
        "--dtype=int8",
        "--force",
        *options(store),
    )
    assert np.array_equal(loaded(store, "a.npy"), array.astype(np.int8))


def test_convert_writes_shards(store, array, tmp_path):
    np.save(tmp_path / "a.npy", array)
    command = ["convert", tmp_path / "a.npy", store.url("b.npy"), *options(store)]
    run(*command, "--shard-rows=20000")
    names = [f"b-{at:05}-of-00003.npy" for at in range(3)]
    assert store.names() == names
    assert np.array_equal(np.concatenate([loaded(store, name) for name in names]), array)
    assert "--force replaces it" in refused(*command, "--shard-rows=20000", status=2)
    run(*command, "--shard-rows=20000", "--force")
    assert store.names() == names
    # One pattern would match both.
    assert "shard of another conversion" in refused(*command, "--shard-rows=10000", status=2)
    assert store.names() == names
    back = ["convert", store.url("b-*.npy"), tmp_path / "back.npy", *options(store)]
    run(*back)
    assert np.array_equal(np.load(tmp_path / "back.npy"), array)


def test_a_conversion_to_a_url_is_not_resumed(store, array, tmp_path):
    np.save(tmp_path / "a.npy", array)
    command = ["convert", tmp_path / "a.npy", store.url("b.npy"), *options(store), "--resume"]
    assert "begins anew" in refused(*command, status=2)
    assert store.names() == []


def test_a_conversion_from_a_url_is_resumed_unless_its_source_changed(s3, tmp_path):
    store = s3.under(f"{uuid.uuid4().hex}/")
    rows = np.random.default_rng(5).integers(0, 255, (20_000, 1000), np.uint8)
    put(store, "a.npy", rows)

    def command(store):
        given = ["--shard-rows=2000", "--memory-limit=16M", *options(store)]
        return [COMMAND, "convert", store.url("a.npy"), "b.npy", *given]

    def killed(folder):
        folder.mkdir()
        with Proxy(store.server, Plan(bandwidth=4e6)) as proxy:
            process = subprocess.Popen(
                command(store.through(proxy.endpoint)), cwd=folder, stderr=subprocess.DEVNULL
            )
            while not (folder / "b-00001-of-00010.npy").exists():
                assert process.poll() is None
                time.sleep(0.05)
            process.kill()
            process.wait()

    resume = [*command(store)[1:], "--resume"]
    one, two = tmp_path / "one", tmp_path / "two"
    killed(one)
    first = (one / "b-00000-of-00010.npy").stat().st_mtime_ns
    assert json.loads(run(*resume, "--json", cwd=one).stdout)["files_from_before"] >= 1
    assert (one / "b-00000-of-00010.npy").stat().st_mtime_ns == first
    files = sorted(one.glob("b-*.npy"))
    assert np.array_equal(np.concatenate([np.load(file) for file in files]), rows)
    killed(two)
    put(store, "a.npy", rows[::-1])
    assert "have changed" in refused(*resume, cwd=two, status=2)


def test_convert_to_a_web_server_is_refused(web, array, tmp_path):
    np.save(tmp_path / "a.npy", array)
    assert "not written to" in refused(
        "convert", tmp_path / "a.npy", web.url("b.npy"), *options(web), status=2
    )


def test_values_that_do_not_fit_leave_no_object(store, array, tmp_path):
    array[40_000, 3] = 1000
    np.save(tmp_path / "a.npy", array)
    command = ["convert", tmp_path / "a.npy", store.url("b.npy"), "--dtype=int8", *options(store)]
    assert "1000" in refused(*command, status=1)
    assert store.names() == []


def test_an_interrupt_ends_a_conversion_and_leaves_no_object(s3, tmp_path):
    store = s3.under(f"{uuid.uuid4().hex}/")
    np.save(tmp_path / "a.npy", np.zeros(100 << 20, np.uint8))
    with Proxy(store.server, Plan(bandwidth=30e6)) as proxy:
        other = store.through(proxy.endpoint)
        process = subprocess.Popen(
            [COMMAND, "convert", tmp_path / "a.npy", other.url("b.npy"), *options(other)],
            stderr=subprocess.PIPE,
        )
        while proxy.counts()["received"] < 5_000_000:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 130
        deadline = time.monotonic() + 60
        while store.uploads() and time.monotonic() < deadline:
            time.sleep(0.1)
    assert (store.names(), store.uploads()) == ([], 0)


def test_a_report_is_written_to_a_store(s3, array, tmp_path):
    store = s3.under(f"{uuid.uuid4().hex}/")
    np.save(tmp_path / "a.npy", array)
    for _ in range(2):
        report = f"--report={store.url('page.html')}"
        run("inspect", tmp_path / "a.npy", report, *options(store))
    assert b"<!doctype html>" in store.get("page.html")
