"""Other readers of object storage, each by the best idiom of its documentation.

Rationale: TensorStore and Lance have formats of their own, so they read a copy of the rows, which
is made before anything is timed. The others read the `.npy` that tensorferry reads. A peer that is
not installed, or does not work with this server, is left out and named.

Limitations: the server does not list folders, so Lance is told the version of its dataset.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from remote import BUCKET, KEY, NAME, PIECE, REGION, ROW, SECRET, START, Remote, pieces
from streams import WIDTH

Rows = NDArray[np.int32]
Batches = Callable[[], Iterable[Rows]]

AT_ONCE = 16
"""Pieces of 8 MiB under way at once, where an idiom leaves it to the caller."""

TENSORSTORE = f"TensorStore, a copy as zarr with chunks of 8 MiB, {AT_ONCE} reads at once"
LANCE = "Lance, a copy in its format, to_batches"
LANCE_TAKE = "Lance, its copy, take of random rows"
S3FS = f"s3fs cat_ranges of {AT_ONCE} pieces of 8 MiB, np.frombuffer"
SMART_OPEN = "smart_open, read of 8 MiB, np.frombuffer"


def in_order(found: Remote, size: int) -> dict[str, tuple[Batches, int]]:
    """Passes over rows in order, in batches of `size`, of the peers that work here, and the number
    of rows of each. One connection gets a part.
    """
    made: dict[str, tuple[Batches, int]] = {}
    makers: dict[str, Callable[[Remote], Callable[[], Iterable[Rows]]]] = {
        TENSORSTORE: _tensorstore,
        LANCE: lambda found: _lance_in_order(found, size),
        S3FS: _s3fs,
        SMART_OPEN: _smart_open,
    }
    for name, maker in makers.items():
        count = found.count // 8 if name == SMART_OPEN else found.count
        tried = _tried(name, lambda maker=maker: _in_batches(maker(found), size))
        made |= {name: (_rows(batches, count), count) for name, batches in tried.items()}
    return made


def random_rows(found: Remote, size: int, batches: int) -> dict[str, Batches]:
    """Passes over random rows, in batches of `size`, of the peers that work here."""

    def make() -> Batches:
        dataset, draw = _lance(found), np.random.default_rng(1)

        def passed() -> Iterator[Rows]:
            for _ in range(batches):
                yield _of_arrow(dataset.take(draw.choice(found.count, size, replace=False)))

        return passed

    return _tried(LANCE_TAKE, make)


def _tried(name: str, make: Callable[[], Batches]) -> dict[str, Batches]:
    try:
        batches = make()
        next(iter(batches()))
    except ImportError as error:
        print(f"W16: no figures of {name}: {error}")
        return {}
    except Exception as error:  # libraries of others, which raise what they like
        print(f"W16: no figures of {name}: {type(error).__name__}: {str(error)[:200]}")
        return {}
    return {name: batches}


def _rows(batches: Batches, count: int) -> Batches:
    """The first rows of a pass."""

    def first() -> Iterator[Rows]:
        left = count
        for batch in batches():
            yield batch[:left]
            left -= len(batch)
            if left <= 0:
                return

    return first


def _in_batches(parts: Callable[[], Iterable[Rows]], size: int) -> Batches:
    def batches() -> Iterator[Rows]:
        rest = np.empty((0, WIDTH), np.int32)
        for part in parts():
            rows = np.concatenate([rest, part]) if len(rest) else part
            whole = len(rows) // size * size
            yield from (rows[start : start + size] for start in range(0, whole, size))
            rest = rows[whole:]
        if len(rest):
            yield rest

    return batches


def _tensorstore(found: Remote) -> Callable[[], Iterable[Rows]]:
    import tensorstore

    step = PIECE // ROW
    kept = found.path.with_name("rows.zarr")
    copy = tensorstore.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(kept)}},
        create=True,
        delete_existing=True,
        dtype=tensorstore.int32,
        shape=[found.count, WIDTH],
        chunk_layout=tensorstore.ChunkLayout(chunk_shape=[step, WIDTH]),
    ).result()
    copy.write(np.load(found.path, mmap_mode="r")).result()
    os.environ |= {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    store = {
        "driver": "s3",
        "bucket": BUCKET,
        "path": f"{kept.name}/",
        "endpoint": found.proxy.endpoint,
        "aws_region": REGION,
    }
    rows = tensorstore.open({"driver": "zarr3", "kvstore": store}, open=True, read=True).result()

    def parts() -> Iterator[Rows]:
        spans = [(start, min(start + step, found.count)) for start in range(0, found.count, step)]
        return _ahead(spans, lambda span: rows[span[0] : span[1]].read(), lambda it: it.result())

    return parts


def _ahead(
    spans: Sequence[tuple[int, int]],
    begin: Callable[[tuple[int, int]], Any],
    end: Callable[[Any], Rows],
) -> Iterator[Rows]:
    """What was begun for each span, with `AT_ONCE` of them under way."""
    under_way = [begin(span) for span in spans[:AT_ONCE]]
    for at in range(len(spans)):
        part = end(under_way.pop(0))
        if at + AT_ONCE < len(spans):
            under_way.append(begin(spans[at + AT_ONCE]))
        yield part


def _lance(found: Remote) -> Any:
    import lance
    import pyarrow

    kept = found.path.with_name("rows.lance")
    if not kept.exists():
        values = pyarrow.array(np.load(found.path, mmap_mode="r").reshape(-1))
        rows = pyarrow.FixedSizeListArray.from_arrays(values, WIDTH)
        lance.write_dataset(pyarrow.table({"rows": rows}), str(kept))
    return lance.dataset(found.url(kept.name), version=1, storage_options=found.options)


def _of_arrow(batch: Any) -> Rows:
    column = batch.column("rows")
    column = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    values: Rows = column.flatten().to_numpy().reshape(-1, WIDTH)
    return values


def _lance_in_order(found: Remote, size: int) -> Callable[[], Iterable[Rows]]:
    dataset = _lance(found)
    return lambda: map(_of_arrow, dataset.to_batches(batch_size=size))


def _s3fs(found: Remote) -> Callable[[], Iterable[Rows]]:
    import s3fs

    files = s3fs.S3FileSystem(
        key=KEY,
        secret=SECRET,
        endpoint_url=found.proxy.endpoint,
        client_kwargs={"region_name": REGION},
        config_kwargs={"max_pool_connections": AT_ONCE},
    )
    wanted = pieces(found.count)

    def parts() -> Iterator[Rows]:
        for at in range(0, len(wanted), AT_ONCE):
            starts, ends = zip(*wanted[at : at + AT_ONCE], strict=True)
            names = [f"{BUCKET}/{NAME}"] * len(starts)
            for part in files.cat_ranges(names, list(starts), list(ends), on_error="raise"):
                yield np.frombuffer(part, np.int32).reshape(-1, WIDTH)

    return parts


def _smart_open(found: Remote) -> Callable[[], Iterable[Rows]]:
    import boto3
    import smart_open

    client = boto3.client(
        "s3",
        endpoint_url=found.proxy.endpoint,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name=REGION,
    )

    def parts() -> Iterator[Rows]:
        with smart_open.open(found.url(NAME), "rb", transport_params={"client": client}) as file:
            file.read(START)
            while part := file.read(PIECE // ROW * ROW):
                yield np.frombuffer(part, np.int32).reshape(-1, WIDTH)

    return parts
