"""The servers of the tests: what each has to do for the tests that trust it."""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.storage import fixtures, nginx, process

DATA = bytes(range(256)) * 40


def test_an_object_comes_back_until_it_is_deleted(remote):
    remote.put("one", DATA)
    assert remote.get("one") == DATA
    remote.put("one", b"")
    assert remote.get("one") == b""
    remote.delete("one")
    with pytest.raises(FileNotFoundError):
        remote.get("one")


def test_names_are_those_of_the_prefix(remote):
    names = ["a", "folder/b c", "folder/deep/c", "foldet", "ü+%20&=~.npy"]
    for name in reversed(names):
        remote.put(name, name.encode())
    assert remote.names() == names
    assert remote.names("folder") == ["folder/b c", "folder/deep/c"]
    inner = remote.under("folder/")
    assert inner.names() == ["b c", "deep/c"]
    assert inner.get("b c") == b"folder/b c"
    assert inner.url("x") == remote.url("folder/x")
    assert [remote.get(name) for name in names] == [name.encode() for name in names]


def test_no_upload_is_unfinished_at_first(remote):
    assert remote.uploads() == 0


def test_the_code_under_test_can_be_sent_through_a_proxy(s3, azure, gcs, web):
    for store in (s3, azure, gcs, web):
        other = store.through("http://127.0.0.1:9")
        sent_to = " ".join([other.url("x"), *other.options.values()])
        assert "http://127.0.0.1:9" in sent_to
        assert store.server not in sent_to
        assert other.server == store.server


def ask(store, name, **headers):
    return store.call("GET", store.prefix + name, headers=headers)


@pytest.mark.parametrize("kind", ["s3", "azure", "gcs", "web"])
def test_a_server_heeds_ranges_and_if_match(kind, request):
    store = request.getfixturevalue(kind).under(f"{uuid.uuid4().hex}/")
    store.put("object", DATA)
    first = ask(store, "object").headers["ETag"]
    part = ask(store, "object", Range="bytes=3-9", **{"If-Match": first})
    assert (part.status, part.body) == (206, DATA[3:10])
    assert part.headers["Content-Range"] == f"bytes 3-9/{len(DATA)}"
    assert ask(store, "object", Range=f"bytes={len(DATA) + 1}-").status == 416
    if kind != "azure":  # which knows no such ranges
        assert ask(store, "object", Range="bytes=-5").body == DATA[-5:]

    store.put("object", DATA[::-1])
    assert ask(store, "object").headers["ETag"] != first
    refused = ask(store, "object", Range="bytes=3-9", **{"If-Match": first})
    assert refused.status == 412


USER = """
import sys, time
from pathlib import Path
from tests.support.storage import fixtures, nginx, process
running = process.use(nginx.Program(), Path(sys.argv[1]))
print(running.pid, running.data, flush=True)
time.sleep(600)
"""


def user(folder):
    """A process that uses the server of a folder, with the server's process and data."""
    started = subprocess.Popen(
        [sys.executable, "-c", USER, folder],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    pid, data = started.stdout.readline().split()
    return started, int(pid), Path(data)


def kill(process):
    process.kill()
    process.wait()
    process.stdout.close()


def gone(pid, data):
    for _ in range(2000):
        if not Path(f"/proc/{pid}").exists() and not data.exists():
            return True
        time.sleep(0.01)
    return False


@pytest.mark.skipif(not nginx.Program().installed(), reason=nginx.Program.absent)
def test_processes_share_a_server_until_the_last_is_killed(tmp_path):
    first, pid, data = user(tmp_path)
    second, *same = user(tmp_path)
    try:
        assert [pid, data] == same
        kill(first)
        running = process.use(nginx.Program(), tmp_path)
        assert running.pid == pid
        kill(second)
        store = nginx.Nginx.of(running, "folder")
        store.put("object", DATA)
        assert store.get("object") == DATA
        running.close()
        assert gone(pid, data)

        again = process.use(nginx.Program(), tmp_path)
        assert again.pid != pid
        again.close()
        assert gone(again.pid, again.data)
    finally:
        kill(first)
        kill(second)


class Broken(nginx.Program):
    """A server that exits at once."""

    name = "broken"

    def command(self, data, ports):
        return [sys.executable, "-c", "import sys; sys.exit('no such configuration')"]


def test_a_server_that_does_not_start_is_reported_with_its_log(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)broken exited before.*no such configuration"):
        process.use(Broken(), tmp_path)


class Missing(nginx.Program):
    """A server whose program does not exist."""

    name = "missing"

    def command(self, data, ports):
        return ["/nonexistent/server"]


def test_a_program_that_does_not_exist_is_reported(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)missing was not started.*/nonexistent/server"):
        process.use(Missing(), tmp_path)


@pytest.mark.skipif(not nginx.Program().installed(), reason=nginx.Program.absent)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no PR_SET_PDEATHSIG")
def test_a_server_ends_with_its_keeper(tmp_path):
    running = process.use(nginx.Program(), tmp_path)
    try:
        stat = Path(f"/proc/{running.pid}/stat").read_text()
        os.kill(int(stat.rpartition(")")[2].split()[1]), signal.SIGKILL)
        shutil.rmtree(running.data)
        assert gone(running.pid, running.data)
        again = process.use(nginx.Program(), tmp_path)
        assert again.pid != running.pid
        again.close()
    finally:
        running.close()
    assert gone(again.pid, again.data)


class Absent(nginx.Program):
    """A server that is not installed."""

    absent = "It is not installed: see the way out."

    def installed(self):
        return False


def test_without_a_server_its_tests_are_skipped_unless_it_is_required(tmp_path, monkeypatch):
    monkeypatch.delenv(fixtures.REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="not installed: see the way out"):
        next(fixtures.served(Absent(), nginx.Nginx, tmp_path))
    monkeypatch.setenv(fixtures.REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match="not installed: see the way out"):
        next(fixtures.served(Absent(), nginx.Nginx, tmp_path))
