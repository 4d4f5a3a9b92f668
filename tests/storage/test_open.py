"""Arrays of object stores, opened and read as files are."""

from __future__ import annotations

import io
import json
import os
import pathlib
import pickle
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import errors

from tests.support.paths import ROOT


def npy(array) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz(compressed=False, **arrays) -> bytes:
    out = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(out, **arrays)
    return out.getvalue()


def saved(tmp_path, name, value, **options) -> bytes:
    tfy.save(tmp_path / name, value, **options)
    return (tmp_path / name).read_bytes()


def opened(store, name, **options):
    return tfy.open(store.url(name), storage_options=store.options, **options)


def test_an_array_is_read_in_every_way(remote):
    array = np.random.default_rng(2).integers(-(1 << 50), 1 << 50, (1000, 30))
    remote.put("a/x.npy", npy(array))
    x = opened(remote, "a/x.npy")
    assert (x.shape, x.dtype, len(x.paths)) == (array.shape, array.dtype, 1)
    np.testing.assert_array_equal(np.asarray(x), array)
    for index in [0, -1, slice(3, 900, 7), [5, 999, 5, 0], (slice(None, None, -1), 3)]:
        np.testing.assert_array_equal(x[index].numpy(), array[index])
    np.testing.assert_array_equal(tfy.tensor(x, "float64").numpy(), array.astype("float64"))
    np.testing.assert_array_equal(np.stack([row.numpy() for row in x]), array)
    with pytest.raises(IndexError):
        x[1000]


@pytest.mark.parametrize("dtype", ["bool", "u1", ">i2", "f2", "<u4", ">f8", "c8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_kind_of_npy_is_read(remote, dtype, order):
    array = (np.arange(24 * 50).reshape(50, 4, 6) % 7).astype(dtype, order=order)
    remote.put("x.npy", npy(array))
    x = opened(remote, "x.npy")
    np.testing.assert_array_equal(np.asarray(x), array)
    np.testing.assert_array_equal(x[[7, 3, 49]].numpy(), array[[7, 3, 49]])


@pytest.mark.parametrize("shape", [(), (0,), (0, 5), (3, 0), (1,)])
def test_arrays_without_rows_or_elements_are_read(remote, shape):
    remote.put("x.npy", npy(np.ones(shape, "i4")))
    x = opened(remote, "x.npy")
    assert np.asarray(x).shape == shape


def test_every_format_is_read(remote, tmp_path):
    x, y = np.arange(6000).reshape(100, 60), np.arange(100, dtype="f4")
    remote.put("a.npz", npz(x=x, y=y))
    remote.put("b.npz", npz(True, x=x, y=y))
    remote.put("c.safetensors", saved(tmp_path, "c.safetensors", {"x": x, "y": y}))
    remote.put("d.tfrecord", saved(tmp_path, "d.tfrecord", {"x": x, "y": y}))
    for name in ["a.npz", "b.npz", "c.safetensors", "d.tfrecord"]:
        arrays = opened(remote, name)
        np.testing.assert_array_equal(np.asarray(arrays["x"]), x)
        np.testing.assert_array_equal(arrays["y"][[99, 0]].numpy(), y[[99, 0]])
        if name != "c.safetensors":
            arrays.verify()
    remote.put("e.bin", x.astype("u2").tobytes())
    raw = tfy.open_raw(remote.url("e.bin"), "uint16", (-1, 60), storage_options=remote.options)
    np.testing.assert_array_equal(np.asarray(raw), x)


def test_strings_are_columns_of_a_dataset(remote):
    words = np.array([f"\u00fc{at}" * (at % 4) for at in range(50_000)])
    records = np.zeros(len(words), [("id", "<i8"), ("word", words.dtype), ("when", "M8[s]")])
    records["id"], records["word"] = np.arange(len(words)), words
    remote.put("a.npy", npy(records))
    remote.put("b.npz", npz(True, id=np.arange(len(words)), word=words))
    for name in ["a.npy", "b.npz"]:
        rows = tfy.Dataset.from_files(remote.url(name), storage_options=remote.options)
        (batch,) = rows.batch(len(words)).as_numpy_iterator()
        assert [word.decode() for word in batch["word"]] == words.tolist()
        np.testing.assert_array_equal(batch["id"], np.arange(len(words)))


def test_damage_has_the_codes_that_files_have(remote, tmp_path):
    good = npy(np.arange(1000))
    cases = {
        "short.npy": good[:-10],
        "bad.npy": good[:8] + b"\xff" + good[9:],
        "empty.npy": b"",
        "picture.npy": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "torn.npz": npz(x=np.arange(10))[:-30],
        "torn.safetensors": saved(tmp_path, "t.safetensors", {"x": np.arange(10)})[:-3],
        "torn.tfrecord": saved(tmp_path, "t.tfrecord", {"x": np.arange(10)})[:-3],
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(errors.Error) as local:
            tfy.open(tmp_path / name)
        remote.put(name, data)
        with pytest.raises(errors.Error) as found:
            opened(remote, name)
        assert (found.value.code, type(found.value)) == (local.value.code, type(local.value)), name
        assert name in str(found.value)


def test_what_is_missing_is_file_not_found(remote):
    remote.put("there/x.npy", npy(np.arange(3)))
    with pytest.raises(FileNotFoundError) as raised:
        opened(remote, "there/y.npy")
    assert "y.npy" in str(raised.value)
    if remote.listable:
        with pytest.raises(FileNotFoundError, match=r"no (object|file) matches"):
            opened(remote, "there/*.npz")
        with pytest.raises(OSError, match="pattern"):
            opened(remote, "there")


@pytest.mark.parametrize("server", ["s3", "azure", "gcs", "web"])
def test_what_is_forbidden_is_a_permission_error(request, server):
    store = request.getfixturevalue(server).under("forbidden/")
    store.put("x.npy", npy(np.arange(3)))
    url, options = store.refused("x.npy")
    with pytest.raises(PermissionError, match="access was refused"):
        tfy.open(url, storage_options=options)
    with pytest.raises(PermissionError, match="access was refused"):
        tfy.Dataset.load(url, storage_options=options)


def test_patterns_are_listed_in_natural_order(remote):
    if not remote.listable:
        with pytest.raises(OSError, match="cannot be listed"):
            tfy.open(remote.url("x").removesuffix("x") + "*.npy", storage_options=remote.options)
        return
    parts = {f"p/part-{i}.npy": np.full((2, 3), i) for i in (1, 2, 10, 33)}
    for name, part in parts.items():
        remote.put(name, npy(part))
    for other in ["p/part-4.npz", "p/.part-5.npy", "p/deep/part-6.npy", "q/part-7.npy"]:
        remote.put(other, npy(np.full((2, 3), 99)))
    for pattern in ["p/part-*.npy", "p/*.npy", "*/part-[0-9]*.npy"]:
        x = opened(remote, pattern)
        expected = [1, 2, 10, 33] if pattern[0] == "p" else [1, 2, 10, 33, 99]
        assert np.asarray(x)[::2, 0].tolist() == expected
    deep = opened(remote, "p/**/*.npy")
    assert sorted(np.asarray(deep)[::2, 0].tolist()) == [1, 2, 10, 33, 99]
    lists = [remote.url("p/part-33.npy"), remote.url("p/part-1*.npy")]
    x = tfy.open(lists, storage_options=remote.options)
    assert np.asarray(x)[::2, 0].tolist() == [33, 1, 10]
    assert [str(path).rsplit("/", 1)[1] for path in x.paths] == [
        "part-33.npy",
        "part-1.npy",
        "part-10.npy",
    ]


def test_patterns_keep_the_other_parts_of_a_key(remote):
    if not remote.listable:
        return
    for folder in ["per%25cent", "with space", "a+b"]:
        remote.put(f"{folder}/x-1.npy", npy(np.arange(3)))
        assert np.asarray(opened(remote, f"{folder}/x-*.npy")).tolist() == [0, 1, 2]


def test_names_are_taken_literally(remote):
    array = np.arange(3)
    for name in ["with space.npy", "ü.npy", "a=b&c.npy", "a+b.npy", "per%25cent.npy"]:
        remote.put(name, npy(array))
        np.testing.assert_array_equal(np.asarray(opened(remote, name)), array)


def test_datasets_read_shuffle_and_resume(remote):
    array = np.arange(5000 * 8).reshape(5000, 8)
    remote.put("x.npy", npy(array))

    def rows():
        dataset = tfy.Dataset.from_files(remote.url("x.npy"), storage_options=remote.options)
        return dataset.with_format("numpy")

    np.testing.assert_array_equal(np.concatenate(list(rows().batch(77))), array)
    shuffled = rows().shuffle(seed=4).batch(64)
    whole = list(shuffled)
    assert sorted(np.concatenate(whole)[:, 0].tolist()) == array[:, 0].tolist()
    assert np.concatenate(whole)[:, 0].tolist() != array[:, 0].tolist()
    iterator = iter(rows().shuffle(seed=4).batch(64))
    for _ in range(20):
        next(iterator)
    state = iterator.state_dict()
    again = iter(rows().shuffle(seed=4).batch(64))
    again.load_state_dict(state)
    for found, expected in zip(again, whole[20:], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_tokens_and_ragged_rows_are_read(remote):
    tokens = (np.arange(10_000) % 50_000).astype("u2")
    remote.put("tokens.bin", tokens.tobytes())
    remote.put("tokens.npy", npy(tokens))
    values = tfy.open_raw(remote.url("tokens.bin"), "uint16", storage_options=remote.options)
    windows = tfy.Dataset.token_windows(values, 128).with_format("numpy").shuffle(seed=1).batch(8)
    local = tfy.Dataset.token_windows(tokens, 128).with_format("numpy")
    found = sorted(tuple(row) for x, _ in windows for row in x.tolist())
    assert found == sorted(tuple(x.tolist()) for x, _ in local)
    splits = [0, 5, 5, 300, 10_000]
    rows = tfy.Dataset.from_ragged(opened(remote, "tokens.npy"), splits).with_format("numpy")
    expected = np.split(tokens, splits[1:-1])
    for row, part in zip(rows, expected, strict=True):
        np.testing.assert_array_equal(row, part)


def test_a_pickle_opens_again_also_in_a_new_process(remote):
    array = np.arange(300).reshape(100, 3)
    remote.put("x.npy", npy(array))
    x = opened(remote, "x.npy")
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickle.dumps(x))), array)
    dataset = tfy.Dataset.from_tensor_slices(x).with_format("numpy").shuffle(seed=3).batch(10)
    code = "import pickle, sys; print([b.tolist() for b in pickle.load(sys.stdin.buffer)])"
    found = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(dataset),
        capture_output=True,
        check=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(ROOT / "python")},
    )
    assert found.stdout.decode().strip() == str([batch.tolist() for batch in dataset])


def test_the_variables_of_the_environment_are_read(s3, monkeypatch):
    s3.put("environment/x.npy", npy(np.arange(4)))
    for name, value in s3.options.items():
        monkeypatch.setenv(name.upper(), value)
    assert tfy.open(s3.url("environment/x.npy"))[3].numpy() == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aws_endpiont": "x"}, "aws_endpiont"),
        ({"deadline": "soon"}, "deadline"),
        ({"max_requests": 0}, "max_requests"),
        ({"aws_region": None}, "aws_region"),
        ({1: "x"}, "strings"),
        (["aws_region"], "dict"),
    ],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(errors.Error, match=message):
        tfy.open("s3://bucket/x.npy", storage_options=options)


def test_a_url_that_is_none_is_told():
    for url in ["s3://", "gs:///x.npy"]:
        with pytest.raises(errors.InvalidArgumentError, match="bucket or host"):
            tfy.open(url)
    with pytest.raises(errors.InvalidArgumentError, match="as text"):
        tfy.open(pathlib.PurePosixPath("s3://bucket/x.npy"))
    with pytest.raises(FileNotFoundError):
        tfy.open("ftp://host/x.npy")
    with pytest.raises(errors.InvalidArgumentError, match="mapped"):
        tfy.open(
            "s3://bucket/x.npy", mode="map", storage_options={"aws_endpoint": "http://[::1]:9"}
        )


def test_npy_files_by_url(s3):
    array = np.arange(12).reshape(4, 3)
    s3.put("npy/x.npy", npy(array))
    rows = tfy.Dataset.from_npy(s3.url("npy/x.npy"), storage_options=s3.options)
    np.testing.assert_array_equal(list(rows.with_format("numpy")), array)
    for url in ("s3://bucket/x.npy", "file:///x.npy", "https://host/x.npy"):
        with pytest.raises(FileNotFoundError, match="URLs are not read here"):
            tfy.open_npy(url)


def test_an_unreachable_store_is_an_error_soon():
    began = time.monotonic()
    with pytest.raises(OSError, match="no connection"):
        tfy.open(
            "s3://bucket/x.npy",
            storage_options={
                "aws_endpoint": "http://127.0.0.1:9",
                "aws_allow_http": True,
                "aws_skip_signature": True,
            },
        )
    assert time.monotonic() - began < 20


def test_many_threads_read_one_array(s3):
    array = np.arange(20_000 * 16).reshape(20_000, 16)
    s3.put("threads/x.npy", npy(array))
    x = opened(s3, "threads/x.npy")
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(10):
            rows = rng.integers(0, len(array), 50)
            if not np.array_equal(x[rows].numpy(), array[rows]):
                wrong.append(seed)
            start = int(rng.integers(0, 19_000))
            if not np.array_equal(x[start : start + 900].numpy(), array[start : start + 900]):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def run(code, *arguments, timeout=120):
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'python'}:{ROOT}"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is Unix's")
def test_a_forked_process_reads_too(s3):
    array = np.arange(200_000).reshape(20_000, 10)
    s3.put("fork/x.npy", npy(array))
    code = """
    import json, os, sys, threading, numpy as np, tensorferry as tfy
    url, options = sys.argv[1], json.loads(sys.argv[2])
    x = tfy.open(url, storage_options=options)
    total = int(np.asarray(x[:100]).sum())
    rows = tfy.Dataset.from_tensor_slices(x).with_format("numpy").shuffle(seed=1).batch(100)
    iterator = iter(rows)
    next(iterator)
    stop = threading.Event()
    def read():
        while not stop.is_set():
            x[[1, 5000, 19_999]]
    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads: thread.start()
    for _ in range(5):
        child = os.fork()
        if not child:
            fine = int(np.asarray(x[:100]).sum()) == total
            fine &= sorted(np.concatenate(list(rows))[:, 0].tolist()) == list(range(0, 200_000, 10))
            fine &= tfy.open(url, storage_options=options)[7].numpy()[0] == 70
            os._exit(0 if fine else 1)
        assert os.waitpid(child, 0)[1] == 0
    stop.set()
    for thread in threads: thread.join()
    assert len(list(iterator)) == 199
    print("fine")
    """

    assert run(code, s3.url("fork/x.npy"), json.dumps(s3.options)).strip() == "fine"


def test_importing_starts_nothing():
    code = """
    import os, tensorferry
    names = [open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")]
    print([name for name in names if "ferry" in name])
    """
    assert run(code).strip() == "[]"


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="Linux tells memory there")
def test_arrays_larger_than_the_memory_limit_are_streamed_within_it(s3):
    limit = 32 << 20
    block = np.arange(limit // 4).astype("i4").reshape(-1, 1024)
    for part in range(8):
        s3.put(f"large/part-{part}.npy", npy(block))
    code = """
    import json, sys, numpy as np, tensorferry as tfy
    url, options, limit, how = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    def peak():
        line = next(l for l in open("/proc/self/status") if l.startswith("VmHWM"))
        return int(line.split()[1]) << 10
    rows = tfy.Dataset.from_files(url, storage_options=options).with_format("numpy")
    if how == "shuffle":
        rows = rows.shuffle(seed=1, buffer_size=2048)
    rows = rows.with_options(tfy.Options(memory_limit=limit)).batch(256)
    before, count, total = peak(), 0, 0
    for batch in rows:
        count += len(batch)
        total += int(batch[:, 0].sum(dtype=np.int64))
    print(count, total, peak() - before)
    """

    for how in ["order", "shuffle"]:
        arguments = (s3.url("large/part-*.npy"), json.dumps(s3.options), str(limit), how)
        count, total, used = map(int, run(code, *arguments).split())
        assert (count, total) == (8 * len(block), 8 * int(block[:, 0].sum(dtype=np.int64)))
        assert used < limit, (how, used)


@pytest.mark.parametrize("by", ["option", "variable", "default"])
def test_credentials_of_a_profile_are_found_by_boto3(s3, tmp_path, by):
    s3.put("profile/x.npy", npy(np.arange(4)))
    options = dict(s3.options)
    keys = {name: options.pop(name) for name in ["aws_access_key_id", "aws_secret_access_key"]}
    name = "default" if by == "default" else "training"
    lines = [f"[{name}]", *(f"{key} = {value}" for key, value in keys.items())]
    (tmp_path / "credentials").write_text("\n".join(lines))
    (tmp_path / "config").write_text("")
    code = """
    import json, os, sys
    folder, url, options, by = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = folder + "/config"
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = folder + "/credentials"
    if by == "variable":
        os.environ["AWS_PROFILE"] = "training"
    if by == "option":
        options["aws_profile"] = "training"
    import tensorferry as tfy
    print(tfy.open(url, storage_options=options)[3].numpy(), "boto3" in sys.modules)
    try:
        tfy.open(url, storage_options=options | {"aws_profile": "missing"})
    except PermissionError as error:
        assert "missing" in str(error), error
    else:
        raise AssertionError
    """
    arguments = (str(tmp_path), s3.url("profile/x.npy"), json.dumps(options), by)
    assert run(code, *arguments).split() == ["3", "True"]
