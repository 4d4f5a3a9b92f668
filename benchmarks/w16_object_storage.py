"""W16: rows of 400 bytes in object storage: in order, shuffled in blocks and row by row, beside
what the link brings and obstore; processor time per request; stalled requests; the disk cache; and
an array of thousands of objects.

The link has 30 ms to the first byte, 100 MB/s a connection and 1 GB/s in all, as far as this
machine can bring it.
"""

import itertools
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import tensorferry
from harness import percentile
from memory_growth import status
from remote import (
    CAP,
    CAPPED,
    NAME,
    PLAN,
    ROW,
    SPARSE,
    SPARSE_COUNT,
    STALLING,
    Obstore,
    Remote,
    pieces,
    plain,
    processor_seconds,
    remote,
    spans,
    waits,
)
from remote_peers import in_order, random_rows
from rows import Row, quantity
from streams import WIDTH, Pass, beside, over, rates, require_rows
from tensorferry import Dataset

MEMORY = 3 << 30
COUNT, QUICK_COUNT = 960_000, 320_000
"""Rows of the array: 384 MB, or a third of it."""
SIZE = 1024
REPETITIONS = 5
CONNECTIONS, MANY = 32, 256
"""Connections of the plain client, for pieces of 8 MiB and for rows."""
THREADS = 32
SCATTERED, QUICK_SCATTERED = 6 * SIZE, 2 * SIZE
"""Rows of a pass row by row."""
LOW_CAP = 2_000
"""A cap that this machine's proxy reaches in any case."""
SMALL, QUICK_SMALL = 2 * SIZE, SIZE
"""Requests whose processor time is measured."""
TAKEN = 6
"""Batches of random rows of a pass of Lance."""
FEW = 16
"""Rows of a batch among stalled requests: one of seven batches has one."""
BATCHES, QUICK_BATCHES, THEIR_BATCHES = 150, 60, 20
STEP = 0.05
"""Seconds of a step of training, which hides the usual latency."""
BLOCK = (1 << 20) // ROW * ROW
"""Bytes of a block of the shuffle."""
OBJECTS, QUICK_OBJECTS = 8_000, 2_000
"""Small objects that are opened as one array."""

PLAIN = f"the link: plain sockets, {CONNECTIONS} connections, pieces of 8 MiB"
ORDER, BLOCKS = "in order", "shuffled in blocks"
POOL = f"obstore get_range of 8 MiB, {THREADS} threads, np.frombuffer"
RANGES = "obstore get_ranges of 8 MiB, every other one in another thread, np.frombuffer"
SINGLE, GROUPS = "obstore get_range, 128 threads", "obstore get_ranges, 16 threads"
READ, MAPPED = 'the local file, mode="read"', "the local file, mmapped"
ROWS = f"plain sockets, {MANY} connections"

counts = tensorferry._internal.request_counts
seeds = itertools.count()


def run(*, quick: bool) -> list[Row]:
    """Rows of each measure."""
    with remote(QUICK_COUNT if quick else COUNT) as found:
        return [
            # First, before there is freed memory that it would take.
            *_many(found, QUICK_OBJECTS if quick else OBJECTS),
            *_streams(found),
            *_row_by_row(found, QUICK_SCATTERED if quick else SCATTERED),
            *_processor(found, QUICK_SMALL if quick else SMALL),
            *_stalled(found, QUICK_BATCHES if quick else BATCHES),
            *_cached(found),
        ]


def _opened(found: Remote, name: str, **options: Any) -> tensorferry.Array:
    return tensorferry.open(found.url(name), storage_options=found.options, **options)


def _dataset(array: tensorferry.Array) -> Dataset:
    return Dataset.from_tensor_slices(array).with_format("numpy")


def _scattered(array: tensorferry.Array, size: int, batches: int) -> Dataset:
    return _dataset(array).shuffle(seed=next(seeds), block=1).batch(size).take(batches)


# ---- many objects


def _many(found: Remote, count: int) -> list[Row]:
    """What it takes to open an array of many objects: docs/scale.md rests on it."""
    found.proxy.set(PLAN)
    names = [f"part-{at}.npy" for at in range(count)]
    for at, name in enumerate(names):
        np.save(found.path.with_name(name), np.full((2, WIDTH), at, np.int32))
    urls = [found.url(name) for name in names]
    _ = tensorferry.open(urls[:10], storage_options=found.options)
    before, memory, spent = counts(), status("VmRSS"), time.process_time()
    array = tensorferry.open(urls, storage_options=found.options)
    spent, memory = time.process_time() - spent, status("VmRSS") - memory
    requests = _since(before)["requests"]
    if not np.array_equal(array[-1].numpy(), np.full(WIDTH, count - 1)):
        raise AssertionError("the last row is not that of the last object")
    what, common = (
        f"{count:,} objects opened as one array, each: ",
        {"peer_name": "none", "peer": 0},
    )
    return [
        Row("W16", f"{what}requests", requests / count, unit="requests", target_most=1, **common),
        Row("W16", f"{what}processor time", spent / count, **common),
        Row("W16", f"{what}memory", memory / count, unit="B", **common),
    ]


# ---- in order and in blocks


def _streams(found: Remote) -> list[Row]:
    array, obstore, wanted = _opened(found, NAME), Obstore(found), pieces(found.count)
    requests: list[int] = []

    def ordered() -> Iterable[object]:
        return _dataset(array).batch(SIZE)

    def in_blocks() -> Dataset:
        return _dataset(array).shuffle(seed=next(seeds)).batch(SIZE)

    def counted() -> None:
        before = counts()["requests"]
        over(in_blocks, found.count).run()
        requests.append(counts()["requests"] - before)

    length = found.count * ROW
    peers, taken = in_order(found, SIZE), random_rows(found, SIZE, TAKEN)
    with ThreadPoolExecutor(THREADS) as pool:
        theirs = {
            POOL: over(lambda: obstore.batches(NAME, wanted, SIZE, pool), length),
            RANGES: Pass(
                lambda: list(
                    pool.map(lambda part: obstore.together(NAME, part), (wanted[::2], wanted[1::2]))
                ),
                length,
            ),
            **{name: over(batches, count * ROW) for name, (batches, count) in peers.items()},
        }
        random = {name: over(batches, TAKEN * SIZE * ROW) for name, batches in taken.items()}
        passes = {
            PLAIN: Pass(lambda: plain(found, NAME, wanted, CONNECTIONS), length),
            ORDER: over(ordered, length),
            BLOCKS: Pass(counted, length),
        }
        made = rates(passes | theirs | random, repetitions=REPETITIONS)
        require_rows(obstore.batches(NAME, wanted, SIZE, pool), found.count, shuffled=False)
    for batches, count in peers.values():
        require_rows(batches(), count, shuffled=False)
    require_rows(ordered(), found.count, shuffled=False)
    require_rows(in_blocks(), found.count, shuffled=True)
    what = f"{found.count:,} rows, batches of {SIZE:,}, "
    least = -(-length // BLOCK)
    common = {"workload": "W16", "unit": "B/s"}
    return [
        *beside(made, ORDER, {PLAIN: 0.9} | dict.fromkeys(theirs), what=what + ORDER, **common),
        *beside(made, BLOCKS, {ORDER: 0.7} | dict.fromkeys(random), what=what + BLOCKS, **common),
        Row(
            workload="W16",
            what=f"{what}{BLOCKS}: requests",
            ours=median(requests),
            peer_name="bytes / 1 MiB",
            peer=least,
            unit="requests",
            target_most=1.1 * least,
            samples={"ours": [float(each) for each in requests]},
        ),
    ]


# ---- row by row


def _row_by_row(found: Remote, count: int) -> list[Row]:
    """A plain shuffle of small rows should use what a cap of requests allows."""
    found.proxy.set(CAPPED)
    array = _opened(found, SPARSE)
    ours = over(lambda: _scattered(array, SIZE, count // SIZE), count)
    sockets = Pass(lambda: plain(found, SPARSE, _random(count), MANY), count)
    made = rates({"ours": ours, ROWS: sockets}, repetitions=REPETITIONS)
    found.proxy.set(replace(CAPPED, request_rate=LOW_CAP))
    half = over(lambda: _scattered(array, SIZE, count // SIZE // 2), count // 2)
    low = rates({"ours": half}, repetitions=REPETITIONS)
    common = {"workload": "W16", "what": f"of {SPARSE_COUNT:,} rows, shuffled row by row"}
    reached = quantity(median(made[ROWS]), "rows/s")
    machine = f"this machine: plain sockets get {reached} through its proxy"
    rows = beside(made, "ours", {ROWS: None}, **common)
    for cap, each, bound in ((CAP, made, machine), (LOW_CAP, low, "")):
        name = f"a cap of {cap:,} requests/s"
        rows += beside(each | {name: [float(cap)]}, "ours", {name: 0.9}, bound=bound, **common)
    return rows


def _random(count: int) -> list[tuple[int, int]]:
    return spans(np.random.default_rng(next(seeds)).integers(0, SPARSE_COUNT, count))


# ---- processor time


def _processor(found: Remote, count: int) -> list[Row]:
    found.proxy.set(PLAN)
    array, obstore = _opened(found, SPARSE), Obstore(found)

    def ours() -> int:
        before = counts()["requests"]
        over(lambda: _scattered(array, SIZE, count // SIZE), count).run()
        return counts()["requests"] - before

    def single(pool: ThreadPoolExecutor) -> int:
        return sum(1 for _ in pool.map(lambda span: obstore.one(SPARSE, span), _random(count)))

    def groups(pool: ThreadPoolExecutor) -> int:
        parts = _in_parts(_random(count), 64)
        return sum(map(len, pool.map(lambda part: obstore.together(SPARSE, part), parts)))

    with ThreadPoolExecutor(128) as many, ThreadPoolExecutor(16) as some:
        made = processor_seconds(
            {"ours": ours, SINGLE: lambda: single(many), GROUPS: lambda: groups(some)},
            repetitions=REPETITIONS,
        )
    return beside(
        made,
        "ours",
        {SINGLE: 2.0, GROUPS: 2.0},
        workload="W16",
        what=f"processor time of a request for {ROW} bytes",
        unit="s",
    )


def _in_parts(wanted: list[tuple[int, int]], size: int) -> list[list[tuple[int, int]]]:
    return [wanted[start : start + size] for start in range(0, len(wanted), size)]


# ---- stalls


def _stalled(found: Remote, batches: int) -> list[Row]:
    """Time of a batch when 1 % of requests stall: read one at a time, and by a dataset."""
    array, obstore = _opened(found, SPARSE), Obstore(found)
    random = np.random.default_rng(0)

    def chosen() -> Any:
        return np.sort(random.integers(0, SPARSE_COUNT, FEW))

    found.proxy.set(PLAN)
    _ = waits(array[chosen()].numpy() for _ in range(20))  # the store's usual latency is known
    found.proxy.set(STALLING)
    before = counts()
    alone = waits(array[chosen()].numpy() for _ in range(batches))
    sent = _since(before)
    dataset = _scattered(array, 4 * FEW, batches)
    steps = waits(time.sleep(STEP) or batch for batch in dataset)
    with ThreadPoolExecutor(FEW) as pool:

        def theirs() -> object:
            return list(pool.map(lambda span: obstore.one(SPARSE, span), spans(chosen())))

        peer = waits(theirs() for _ in range(THEIR_BATCHES))
    found.proxy.set(PLAN)
    what = f"1 % of requests stalled for a second: p99 of {batches} batches of {FEW}, array[rows]"
    trained = f"the same of {4 * FEW} shuffled row by row, and of a step of {STEP * 1000:.0f} ms"
    hedges = f"{sent['hedges']} hedges of {sent['requests']} requests"
    own, peer_name = "its own p50", f"obstore get_range, {FEW} threads, {THEIR_BATCHES} batches"
    return [
        _tail(what, alone, own, alone, 50, 0.5, hedges),
        _tail(what, alone, peer_name, peer, 99),
        _tail(trained, steps, own, steps, 50, 0.5),
    ]


def _tail(
    what: str,
    ours: list[int],
    peer_name: str,
    peer: list[int],
    percent: float,
    target: float | None = None,
    bound: str = "",
) -> Row:
    """The 99th percentile beside a percentile of others."""
    return Row(
        workload="W16",
        what=what,
        ours=percentile(ours, 99) / 1e9,
        peer_name=peer_name,
        peer=percentile(peer, percent) / 1e9,
        target=target,
        bound=bound,
    )


# ---- the disk cache


def _cached(found: Remote) -> list[Row]:
    """A second epoch with a cache that fits, and one with a cache of a tenth."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            array = _opened(found, NAME, cache=f"{folder}/all", cache_bytes=2 * found.count * ROW)
        except (NotImplementedError, tensorferry.TensorFerryError) as error:
            print(f"W16: no figures of the cache: {error}")
            return []
        over(lambda: _dataset(array).batch(SIZE), found.count).run()
        before = counts()
        over(lambda: _dataset(array).batch(SIZE), found.count).run()
        since = _since(before)
        if since["cache_bytes"] == 0:
            print("W16: no figures of the cache: it holds nothing")
            return []
        return [
            *_fitting(found, array, since["requests"]),
            *_tenth(found, f"{folder}/tenth"),
        ]


def _fitting(found: Remote, array: tensorferry.Array, requests: int) -> list[Row]:
    what = f"{found.count:,} rows, epoch 2 with a cache that fits, batches of {SIZE:,}, "
    files = {
        READ: tensorferry.open(found.path, mode="read"),
        MAPPED: tensorferry.open(found.path),
    }
    forms: dict[str, Callable[[tensorferry.Array], Dataset]] = {
        ORDER: lambda rows: _dataset(rows).batch(SIZE),
        BLOCKS: lambda rows: (
            _dataset(rows).shuffle(seed=next(seeds), block=BLOCK // ROW).batch(SIZE)
        ),
    }
    made = [
        Row(
            workload="W16",
            what=f"{what}{ORDER}: requests",
            ours=requests,
            peer_name="none",
            peer=0,
            unit="requests",
            target_most=0,
        )
    ]
    for form, dataset in forms.items():
        length = found.count * ROW
        passes = {
            name: over(lambda dataset=dataset, rows=rows: dataset(rows), length)
            for name, rows in {"ours": array, **files}.items()
        }
        taken = rates(passes, repetitions=REPETITIONS)
        peers = {READ: 0.9, MAPPED: None}
        made += beside(taken, "ours", peers, workload="W16", what=what + form, unit="B/s")
    return made


def _tenth(found: Remote, folder: str) -> list[Row]:
    length = found.count * ROW
    array = _opened(found, NAME, cache=folder, cache_bytes=length // 10)
    rows = _dataset(array).shuffle(seed=next(seeds)).batch(SIZE)
    over(lambda: rows, found.count).run()
    before = counts()
    over(lambda: rows, found.count).run()
    since = _since(before)
    what = f"{found.count:,} rows, epoch 2 with a cache of a tenth, shuffled in blocks: "
    common = {"workload": "W16", "peer_name": "all of them", "peer": length, "unit": "B"}
    lacked = length - since["cache_bytes"]
    most = (1 - 0.9 * 0.1) * length
    return [
        Row(what=f"{what}bytes that it lacked", ours=lacked, target_most=most, **common),
        Row(what=f"{what}bytes received", ours=since["bytes"], **common),
    ]


def _since(before: dict[str, int]) -> dict[str, int]:
    return {name: count - before[name] for name, count in counts().items()}
