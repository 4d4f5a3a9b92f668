"""The fixture `opener`: each mode of local files, and each kind of store."""

from __future__ import annotations

import random
import uuid
from collections import defaultdict

import pytest

from tests.support.openers import PLACES, Opener, RemoteOpener
from tests.support.storage.folder import Folder

#: All cases of a test run in local files and in S3; of more than these, a sample runs at each
#: other place.
SAMPLE = 8
SAMPLED = [place for place in PLACES if place != "s3"]


@pytest.fixture(params=["auto", *PLACES])
def opener(request, tmp_path, tmp_path_factory) -> Opener:
    """What opens files that a test writes to `tmp_path`."""
    if request.param not in PLACES:
        return Opener(request.param)
    if request.param == "file":
        return RemoteOpener(Folder(tmp_path_factory.mktemp("files")), tmp_path)
    store = request.getfixturevalue(request.param)
    return RemoteOpener(store.under(f"{uuid.uuid4().hex[:12]}/"), tmp_path)


def pytest_collection_modifyitems(config, items) -> None:
    """Draws the sample: the same cases in every run."""
    cases = defaultdict(list)
    for item in items:
        place = item.callspec.params.get("opener") if hasattr(item, "callspec") else None
        if place in SAMPLED:
            cases[item.path, item.originalname, place].append(item)
    left_out = set()
    for (_, name, place), of_place in cases.items():
        if len(of_place) > SAMPLE:
            kept = random.Random(f"{name} {place}").sample(of_place, SAMPLE)
            left_out |= set(of_place) - set(kept)
    config.hook.pytest_deselected(items=sorted(left_out, key=lambda item: item.nodeid))
    items[:] = [item for item in items if item not in left_out]
