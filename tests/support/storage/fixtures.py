"""The fixtures `s3`, `azure`, `gcs` and `web`, one server each, and `remote`, each of them in turn.

All test processes of a run share the servers; each has buckets of its own. Without a server, its
tests are skipped. With TENSORFERRY_REQUIRE_SERVERS=1, as in CI, they fail.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.storage import azurite, nginx, process, seaweedfs
from tests.support.storage import gcs as google
from tests.support.storage.folder import Folder
from tests.support.storage.store import Store

REQUIRED = "TENSORFERRY_REQUIRE_SERVERS"


def served(program, store, folder) -> Iterator[Store]:
    """A bucket of its own on the server that the folder has."""
    if not program.installed():
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{program.absent} ({REQUIRED}=1 makes this a failure)", pytrace=False)
        pytest.skip(program.absent)
    running = process.use(program, folder)
    try:
        yield store.of(running, f"tests-{uuid.uuid4().hex[:12]}")
    finally:
        running.close()


@pytest.fixture(scope="session")
def servers_folder(tmp_path_factory) -> Path:
    """Where the processes of a run find each other's servers."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "servers"


@pytest.fixture(scope="session")
def s3(servers_folder) -> Iterator[Store]:
    """A bucket of SeaweedFS."""
    yield from served(seaweedfs.Program(), seaweedfs.SeaweedFS, servers_folder)


@pytest.fixture(scope="session")
def azure(servers_folder) -> Iterator[Store]:
    """A container of Azurite."""
    yield from served(azurite.Program(), azurite.Azurite, servers_folder)


@pytest.fixture(scope="session")
def gcs(servers_folder) -> Iterator[Store]:
    """A bucket of the stub of Google Cloud Storage."""
    yield from served(google.Program(), google.Gcs, servers_folder)


@pytest.fixture(scope="session")
def web(servers_folder) -> Iterator[Store]:
    """A folder that nginx serves."""
    yield from served(nginx.Program(), nginx.Nginx, servers_folder)


@pytest.fixture(params=["file", "s3", "azure", "gcs", "web"])
def remote(request, tmp_path) -> Store:
    """An empty place in each kind of store, for one test."""
    if request.param == "file":
        return Folder(tmp_path / "files")
    return request.getfixturevalue(request.param).under(f"{uuid.uuid4().hex[:12]}/")
