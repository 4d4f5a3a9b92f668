"""The stub of Google Cloud Storage answers as the real one does to what object_store sends."""

import uuid
from xml.etree import ElementTree

import pytest

PART = 5 << 20


@pytest.fixture
def bucket(gcs):
    return gcs.under(f"{uuid.uuid4().hex}/")


def put(bucket, name, data, **headers):
    return bucket.call("PUT", bucket.prefix + name, body=data, headers=headers)


def code(response):
    return ElementTree.fromstring(response.body).findtext("Code")


def test_a_put_can_ask_for_the_generation_to_replace(bucket):
    create = {"x-goog-if-generation-match": "0"}
    first = put(bucket, "object", b"1", **create)
    assert first.status == 200
    refused = put(bucket, "object", b"2", **create)
    assert (refused.status, code(refused)) == (412, "PreconditionFailed")
    assert bucket.get("object") == b"1"

    same = {"x-goog-if-generation-match": first.headers["x-goog-generation"]}
    assert put(bucket, "object", b"3", **same).status == 200
    assert put(bucket, "object", b"4", **same).status == 412
    assert bucket.get("object") == b"3"


def test_a_head_describes_the_object_without_its_bytes(bucket):
    stored = put(bucket, "object", b"12345")
    head = bucket.call("HEAD", bucket.prefix + "object")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == "5"
    for name in ("ETag", "x-goog-generation", "Last-Modified"):
        assert head.headers[name] == stored.headers[name]
    assert bucket.call("HEAD", bucket.prefix + "other").status == 404


def page(bucket, **query):
    query = {"list-type": "2", "prefix": bucket.prefix} | query
    return ElementTree.fromstring(bucket.call("GET", "", query).checked(200).body)


def test_lists_have_pages_and_common_prefixes(bucket):
    names = ["a", "b/1", "b/2", "c", "d/1", "e"]
    for name in names:
        put(bucket, name, name.encode())
    found, query = [], {"max-keys": "2"}
    while True:
        listed = page(bucket, delimiter="/", **query)
        entries = [
            *listed.iterfind("Contents/Key"),
            *listed.iterfind("CommonPrefixes/Prefix"),
        ]
        assert 1 <= len(entries) <= 2
        found += [entry.text.removeprefix(bucket.prefix) for entry in entries]
        if listed.findtext("IsTruncated") == "false":
            break
        query["continuation-token"] = listed.findtext("NextContinuationToken")
    assert sorted(found) == ["a", "b/", "c", "d/", "e"]

    after = page(bucket, **{"start-after": bucket.prefix + "b/2"})
    keys = [key.text.removeprefix(bucket.prefix) for key in after.iterfind("Contents/Key")]
    assert keys == ["c", "d/1", "e"]
    sizes = [int(size.text) for size in page(bucket).iterfind("Contents/Size")]
    assert sizes == [len(name) for name in names]


def start(bucket, name):
    started = bucket.call("POST", bucket.prefix + name, {"uploads": ""}).checked(200)
    return ElementTree.fromstring(started.body).findtext("UploadId")


def part(bucket, name, upload, number, data):
    query = {"partNumber": str(number), "uploadId": upload}
    return bucket.call("PUT", bucket.prefix + name, query, data).checked(200).headers["ETag"]


def complete(bucket, name, upload, etags):
    parts = "".join(
        f"<Part><ETag>{etag}</ETag><PartNumber>{number}</PartNumber></Part>"
        for number, etag in enumerate(etags, 1)
    )
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    return bucket.call("POST", bucket.prefix + name, {"uploadId": upload}, body)


def test_an_upload_appears_when_it_is_complete(bucket):
    upload = start(bucket, "object")
    last = part(bucket, "object", upload, 2, b"tail")
    first = part(bucket, "object", upload, 1, b"x" * PART)
    assert bucket.names() == []
    assert bucket.uploads() == 1
    assert complete(bucket, "object", upload, [first, last]).status == 200
    assert bucket.get("object") == b"x" * PART + b"tail"
    assert bucket.uploads() == 0
    again = complete(bucket, "object", upload, [first, last])
    assert (again.status, code(again)) == (404, "NoSuchUpload")


def test_an_upload_needs_its_parts_in_full(bucket):
    upload = start(bucket, "object")
    small = part(bucket, "object", upload, 1, b"small")
    last = part(bucket, "object", upload, 2, b"tail")
    assert code(complete(bucket, "object", upload, [small, last])) == "EntityTooSmall"
    assert code(complete(bucket, "object", upload, [small, small])) == "InvalidPart"
    assert code(complete(bucket, "object", upload, [])) == "InvalidPartOrder"
    assert bucket.names() == []


def test_an_aborted_upload_leaves_nothing(bucket):
    upload = start(bucket, "object")
    part(bucket, "object", upload, 1, b"1")
    query = {"uploadId": upload}
    assert bucket.call("DELETE", bucket.prefix + "object", query).status == 204
    assert bucket.uploads() == 0
    assert bucket.names() == []
    assert bucket.call("DELETE", bucket.prefix + "object", query).status == 404


def test_a_wrong_token_and_a_missing_bucket_are_refused(bucket):
    wrong = {"Authorization": "Bearer another"}
    assert bucket.call("GET", "object", headers=wrong).status == 401
    bucket.bucket = "no-such-bucket"
    missing = bucket.call("GET", "object")
    assert (missing.status, code(missing)) == (404, "NoSuchBucket")
