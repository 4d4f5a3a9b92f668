"""The proxy of the tests: without faults it changes nothing, and each fault is what it says."""

import contextlib
import http.client
import socket
import threading
import time
import uuid

import pytest

from tests.support.storage.gcs_server import TOKEN
from tests.support.storage.proxy import Plan, Proxy

DATA = bytes(range(256)) * 4000


@pytest.fixture
def bucket(gcs):
    store = gcs.under(f"{uuid.uuid4().hex}/")
    store.put("object", DATA)
    return store


@pytest.fixture
def proxied(bucket):
    """The proxy, and a bucket whose plain client is sent through it."""
    with Proxy(bucket.server) as proxy:
        yield proxy, sent_through(proxy, bucket)


def sent_through(proxy, store):
    other = store.through(proxy.endpoint)
    other.server = proxy.endpoint
    return other


def ask(store, name="object", method="GET", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return store.call(method, store.prefix + name, headers=headers)


def faults(proxy):
    return proxy.counts()["faults"]


# ---- without faults


@pytest.mark.parametrize("kind", ["s3", "azure", "gcs", "web"])
def test_a_server_behind_the_proxy_answers_as_without_it(kind, request):
    store = request.getfixturevalue(kind).under(f"{uuid.uuid4().hex}/")
    with Proxy(store.server) as proxy:
        other = sent_through(proxy, store)
        other.put("object", DATA)  # signed for the host of the proxy
        assert store.get("object") == DATA
        for method in ("GET", "HEAD"):
            for headers in ({}, {"Range": "bytes=1000-300000"}, {"If-Match": '"none"'}):
                direct = ask(store, method=method, **headers)
                through = ask(other, method=method, **headers)
                assert through.status == direct.status
                if direct.status < 400:  # messages have ids
                    assert through.body == direct.body
                for name in ("ETag", "Content-Length", "Content-Range", "Last-Modified"):
                    assert through.headers[name] == direct.headers[name]
        assert other.names() == store.names() == ["object"]
        other.delete("object")
        assert store.names() == []
        counts = proxy.counts()
    assert counts["faults"] == {}
    assert counts["under_way"] == 0
    assert counts["methods"]["HEAD"] == 3


def test_a_connection_serves_many_requests(proxied):
    proxy, bucket = proxied
    connection = http.client.HTTPConnection(proxy.endpoint.removeprefix("http://"))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    path = f"/{bucket.bucket}/{bucket.prefix}"
    for number in range(20):
        body = b"%d" % number * 100_000
        connection.request("PUT", path + "other", body, headers)
        assert connection.getresponse().read() == b""
        connection.request("GET", path + "other", headers=headers)
        assert connection.getresponse().read() == body
        connection.request("HEAD", path + "other", headers=headers)
        response = connection.getresponse()
        assert response.headers["Content-Length"] == str(len(body))
        assert response.read() == b""
        connection.request("GET", path + "nothing", headers=headers)
        response = connection.getresponse()
        assert (response.status, b"NoSuchKey" in response.read()) == (404, True)
    connection.close()
    counts = proxy.counts()
    assert counts["connections"] == 1
    assert counts["methods"] == {"PUT": 20, "GET": 40, "HEAD": 20}
    assert counts["statuses"] == {200: 60, 404: 20}
    assert counts["received"] == sum(len(b"%d" % number) * 100_000 for number in range(20))
    assert counts["most_under_way"] == 1
    proxy.reset()
    assert proxy.counts()["requests"] == 0


def served_by(answer):
    """The address of a server that reads one head and runs `answer` with the connection."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        with listening, listening.accept()[0] as connection:
            while not connection.recv(1 << 16, socket.MSG_PEEK).endswith(b"\r\n\r\n"):
                time.sleep(0.001)
            connection.recv(1 << 16)
            answer(connection)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_chunks_are_passed_on_in_any_pieces():
    body = b"4\r\nabcd\r\n10;name=value\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\n"

    def answer(connection):
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for byte in head + body:
            connection.sendall(bytes([byte]))
        connection.recv(1)  # until the proxy closes

    with Proxy(served_by(answer)) as proxy:
        connection = http.client.HTTPConnection(proxy.endpoint.removeprefix("http://"))
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"abcd0123456789abcdef"
        connection.close()
        assert proxy.counts()["under_way"] == 0
        assert proxy.counts()["sent"] == len(body)


def test_a_body_may_end_with_the_connection():
    def answer(connection):
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nall of it")

    with Proxy(served_by(answer)) as proxy:
        connection = http.client.HTTPConnection(proxy.endpoint.removeprefix("http://"))
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"all of it"
        connection.close()


def test_a_client_may_wait_for_100_continue():
    def answer(connection):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = connection.recv(4)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + body[::-1])
        connection.recv(1)

    with Proxy(served_by(answer)) as proxy:
        host = proxy.endpoint.removeprefix("http://")
        with socket.create_connection(host.split(":")) as client:
            client.sendall(b"PUT / HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            assert client.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(b"abcd")
            assert client.recv(1 << 16).endswith(b"\r\n\r\ndcba")


def test_a_server_that_breaks_off_is_not_hidden():
    def answer(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    with Proxy(served_by(answer)) as proxy:
        connection = http.client.HTTPConnection(proxy.endpoint.removeprefix("http://"))
        connection.request("GET", "/")
        with pytest.raises(http.client.IncompleteRead) as broken:
            connection.getresponse().read()
        assert broken.value.partial == b"half"
        connection.close()


def test_a_server_that_is_not_there_resets_the_connection():
    with Proxy("http://127.0.0.1:9") as proxy:
        connection = http.client.HTTPConnection(proxy.endpoint.removeprefix("http://"))
        connection.request("GET", "/")
        with pytest.raises(ConnectionError):
            connection.getresponse()
        connection.close()
        assert faults(proxy) == {"unreachable": 1}


# ---- faults


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("throttled", 429, b"TooManyRequests"),
        ("unavailable", 503, b"SlowDown"),
        ("failed", 500, b"InternalError"),
    ],
)
def test_an_answer_of_the_proxy_never_reaches_the_server(kind, status, code, bucket, proxied):
    proxy, through = proxied
    proxy.set(Plan(**{kind: 1.0}, retry_after=7))
    answer = through.call("PUT", through.prefix + "new", body=DATA)
    assert (answer.status, code in answer.body) == (status, True)
    assert answer.headers["Retry-After"] == ("7" if kind == "throttled" else None)
    assert ask(through, method="HEAD").status == status
    assert bucket.names() == ["object"]
    counts = proxy.counts()
    assert counts["faults"] == {kind: 2}
    assert counts["statuses"] == {status: 2}
    assert counts["received"] == len(DATA)


def test_a_reset_comes_before_the_server_and_a_loss_after_it(bucket, proxied):
    proxy, through = proxied
    for kind, expected in (("reset", ["object"]), ("lost", ["new", "object"])):
        proxy.set(Plan(**{kind: 1.0}))
        with pytest.raises(ConnectionError):
            through.call("PUT", through.prefix + "new", body=b"short")
        assert bucket.names() == expected
    assert faults(proxy) == {"reset": 1, "lost": 1}


def received(through, timeout=60):
    """The head's length, the bytes of a body that breaks off, and the error, if any."""
    host, port = through.server.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
    path = f"/{through.bucket}/{through.prefix}object"
    connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
    response = connection.getresponse()
    body, error = b"", None
    try:
        while part := response.read1():
            body += part
    except (OSError, http.client.HTTPException) as raised:
        error = raised
    connection.close()
    return int(response.headers["Content-Length"]), body, error


def test_a_body_breaks_off_at_another_place_each_time(proxied):
    proxy, through = proxied
    for kind in ("cut", "reset_in_body"):
        proxy.reset()
        proxy.set(Plan(**{kind: 1.0}))
        lengths = set()
        for _ in range(5):
            length, body, error = received(through)
            assert length == len(DATA)
            assert len(body) < len(DATA)
            assert DATA.startswith(body)
            lengths.add(len(body))
            assert isinstance(error, ConnectionResetError) == (kind == "reset_in_body")
        # What a reset finds in the client's system is lost.
        assert len(lengths) > 1 or kind == "reset_in_body"
        assert faults(proxy) == {kind: 5}


def test_a_hung_body_keeps_its_connection(proxied):
    proxy, through = proxied
    proxy.set(Plan(hung=1.0))
    length, body, error = received(through, timeout=0.5)
    assert isinstance(error, TimeoutError)
    assert DATA.startswith(body)
    assert len(body) < length
    for _ in range(1000):
        if proxy.counts()["under_way"] == 0:  # the client has closed it
            break
        time.sleep(0.01)
    assert proxy.counts()["under_way"] == 0
    assert faults(proxy) == {"hung": 1}


@pytest.mark.parametrize("kind", ["s3", "azure", "gcs", "web"])
def test_requests_can_reach_a_server_changed(kind, request):
    """Also where the client signs what is changed."""
    store = request.getfixturevalue(kind).under(f"{uuid.uuid4().hex}/")
    store.put("object", DATA)
    with Proxy(store.server) as proxy:
        through = sent_through(proxy, store)
        proxy.set(Plan(ignored_range=1.0))
        whole = ask(through, Range="bytes=10-19")
        assert (whole.status, whole.body) == (200, DATA)
        assert "Content-Range" not in whole.headers

        proxy.set(Plan(wrong_range=1.0))
        for first, sent in ((10, 9), (0, 1)):
            other = ask(through, Range=f"bytes={first}-19")
            assert other.status == 206
            last = 18 if first else 19
            assert other.headers["Content-Range"] == f"bytes {sent}-{last}/{len(DATA)}"
            assert other.body == DATA[sent : last + 1]

        proxy.set(Plan(ignore_if_match=True))
        heedless = ask(through, Range="bytes=10-19", If_Match='"another"')
        assert (heedless.status, heedless.body) == (206, DATA[10:20])
        assert faults(proxy) == {"ignored_range": 1, "wrong_range": 2}


def test_an_etag_changes_or_its_condition_fails(bucket, proxied):
    proxy, through = proxied
    etag = ask(bucket).headers["ETag"]
    proxy.set(Plan(changed_etag=1.0))
    changed = ask(through)
    assert changed.body == DATA
    assert changed.headers["ETag"] == etag[:-1] + '-changed"'
    assert ask(through, If_Match=etag).status == 412
    proxy.set(Plan(changed_etag=1.0, ignore_if_match=True))
    assert ask(through, If_Match=etag).headers["ETag"] == changed.headers["ETag"]
    assert faults(proxy) == {"changed_etag": 3}


def seconds(function):
    start = time.monotonic()
    function()
    return time.monotonic() - start


def test_the_first_byte_and_the_bandwidth_take_their_time(proxied):
    """A lower bound cannot fail on a busy machine."""
    proxy, through = proxied
    proxy.set(Plan(first_byte=0.2))
    assert seconds(lambda: ask(through, method="HEAD")) >= 0.199
    proxy.set(Plan(stalled=1.0, stall=0.2, failed=1.0))
    assert seconds(lambda: ask(through)) >= 0.199
    assert faults(proxy) == {"failed": 1, "stalled": 1}
    for plan in (Plan(connection_bandwidth=4e6), Plan(bandwidth=4e6)):
        proxy.set(plan)
        assert seconds(lambda: ask(through)) >= len(DATA) / 4e6 - 0.01
        through.put("other", DATA)
        assert seconds(lambda: through.put("other", DATA)) >= len(DATA) / 4e6 - 0.1
        assert through.get("other") == DATA


def test_the_bandwidth_of_all_connections_is_shared(proxied):
    proxy, through = proxied
    proxy.set(Plan(bandwidth=8e6))
    threads = [threading.Thread(target=ask, args=(through,)) for _ in range(4)]

    def run():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert seconds(run) >= 4 * len(DATA) / 8e6 - 0.01
    assert proxy.counts()["most_under_way"] > 1


def test_too_many_requests_are_told_to_slow_down(proxied):
    proxy, through = proxied
    proxy.set(Plan(request_rate=0.001))
    statuses = [ask(through, method="HEAD").status for _ in range(5)]
    assert statuses == [200, 503, 503, 503, 503]
    assert faults(proxy) == {"slow_down": 4}


# ---- draws


def outcomes(through, requests=60):
    for number in range(requests):
        try:
            yield ask(through, Range=f"bytes={number}-{number + 9}").status
        except (OSError, http.client.HTTPException):
            yield "broken"


def test_a_seed_decides_what_befalls_each_request(proxied):
    proxy, through = proxied
    plan = Plan(failed=0.2, unavailable=0.1, reset=0.1)
    drawn = {}
    for seed in (1, 2, 1):
        proxy.set(plan, seed=seed)
        found = list(outcomes(through))
        assert drawn.setdefault(seed, found) == found
    assert drawn[1] != drawn[2]
    for found in drawn.values():
        assert {206, 500, 503, "broken"} == set(found)
        assert 24 <= found.count(206) <= 50


def test_faults_can_be_kept_to_some_requests(proxied):
    proxy, through = proxied
    proxy.set(Plan(failed=1.0, methods=("GET",), after=2, most=3))
    assert ask(through, method="HEAD").status == 200
    assert [ask(through).status for _ in range(7)] == [200, 200, 500, 500, 500, 200, 200]


def test_a_client_that_leaves_is_forgotten(proxied):
    proxy, through = proxied
    proxy.set(Plan(first_byte=600.0))
    host, port = through.server.removeprefix("http://").split(":")
    path = f"/{through.bucket}/{through.prefix}object"
    for _ in range(5):
        connection = http.client.HTTPConnection(host, int(port), timeout=0.05)
        connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
        with contextlib.suppress(TimeoutError):
            connection.getresponse()
        connection.close()
    for _ in range(1000):
        if proxy.counts()["under_way"] == 0:
            break
        time.sleep(0.01)
    counts = proxy.counts()
    assert (counts["under_way"], counts["requests"]) == (0, 5)


def test_the_proxy_ends_with_its_owner(bucket):
    proxy = Proxy(bucket.server)
    proxy.process.stdin.close()
    assert proxy.process.wait(60) == 0
    proxy.process.stdout.close()
