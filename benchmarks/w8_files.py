"""W8: files of whole arrays, written and read again: `.npz` that is deflated, `.npy`, TFRecord of
`tf.train.Example`s, whose features have one length or differ in it.

tensorferry's files are on the disk before they get their name. So the peer for `.npy` calls
`os.fsync`, too; a row without a target shows it without. Files are read from the page cache into
memory, without mapping.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorferry
import tensorflow as tf
from harness import interleave, medians
from numpy.typing import NDArray
from peers import require_equal
from rows import Row

MEMORY = 3 << 30
REPETITIONS = 5
BATCH = 1024
LEAST = 2.0
Arrays = dict[str, NDArray[Any]]


def run(*, quick: bool) -> list[Row]:
    """Rows for each format, written and read."""
    scale = 8 if quick else 1
    with tempfile.TemporaryDirectory() as folder:
        return [
            *_npz(Path(folder), scale),
            *_npy(Path(folder), scale),
            *_tfrecord(Path(folder), scale),
            *_ragged(Path(folder), scale),
        ]


def _images(count: int) -> NDArray[np.uint8]:
    """Images that deflate by a third, like noisy photographs: neighbours differ little."""
    steps = np.random.default_rng(0).integers(-2, 3, (count, 3072))
    return np.cumsum(steps, axis=1).astype(np.uint8)


def _npz(folder: Path, scale: int) -> list[Row]:
    images = _images(16_384 // scale)
    kinds = {
        "one array": {"images": images},
        "four arrays": {f"part{at}": part for at, part in enumerate(np.split(images, 4))},
    }
    rows = []
    theirs, ours = folder / "theirs.npz", folder / "ours.npz"
    for kind, arrays in kinds.items():
        what = f"deflated .npz, {images.nbytes >> 20} MiB of pixels in {kind}"
        written = {
            "ours": lambda arrays=arrays: tensorferry.save(ours, arrays, compress=True),
            "np.savez_compressed": lambda arrays=arrays: np.savez_compressed(theirs, **arrays),
        }
        rows += _rows(f"{what}: written", written, {"np.savez_compressed": LEAST})
        rows += _rows(
            f"{what}: read",
            {"ours": lambda: _opened(theirs), "np.load": lambda: _loaded(theirs)},
            {"np.load": LEAST},
        )
        for name, array in arrays.items():
            require_equal(_opened(theirs)[name], array)
            require_equal(_loaded(ours)[name], array)
    return rows


def _opened(path: Path) -> Mapping[str, tensorferry.Tensor]:
    return {name: array[:] for name, array in tensorferry.open(path, mode="read").items()}


def _loaded(path: Path) -> Arrays:
    with np.load(path) as file:
        return {name: file[name] for name in file}


def _npy(folder: Path, scale: int) -> list[Row]:
    array = np.arange((256 << 20) // scale // 4, dtype=np.int32).reshape(-1, 64)
    theirs, ours = folder / "theirs.npy", folder / "ours.npy"
    what = f".npy, {array.nbytes >> 20} MiB"
    synced, lazy = "np.save, flush, os.fsync", "np.save, left to the page cache"
    replaced = "the same to another name, os.replace"
    written = {
        "ours": lambda: tensorferry.save(ours, array),
        synced: lambda: _save_synced(theirs, array),
        replaced: lambda: _replace(theirs, array),
        lazy: lambda: np.save(theirs, array),
    }
    bound = (
        f"the disk, and giving back what is replaced: beside {replaced}, which promises what "
        "ours does, see its row"
    )
    rows = _rows(
        f"{what}: written", written, {synced: LEAST, replaced: None, lazy: None}, bound=bound
    )
    warm = bytearray(theirs.stat().st_size)
    into = "readinto(memory that is there)"
    read = {
        "ours": lambda: tensorferry.open(theirs, mode="read")[:],
        "np.load": lambda: np.load(theirs),
        into: lambda: _read_into(theirs, warm),
    }
    bound = f"memory, from the page cache: as fast as {into}, and a second thread adds nothing"
    rows += _rows(f"{what}: read", read, {"np.load": LEAST, into: None}, bound=bound)
    require_equal(tensorferry.open(theirs, mode="read")[:], array)
    require_equal(np.load(ours), array)
    return rows


def _read_into(path: Path, memory: bytearray) -> None:
    with path.open("rb", buffering=0) as file:
        file.readinto(memory)


def _save_synced(path: Path, array: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, array: NDArray[Any]) -> None:
    new = path.with_suffix(".new")
    _save_synced(new, array)
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _tfrecord(folder: Path, scale: int) -> list[Row]:
    count = 50_000 // scale
    arrays: Arrays = {
        "image": _images(count)[:, :784].reshape(-1, 28, 28),
        "label": np.arange(count) % 10,
    }
    theirs, ours = folder / "theirs.tfrecord", folder / "ours.tfrecord"
    what = f"TFRecord, {count:,} Examples of 28 x 28 pixels and a label"
    writer = "tf.io.TFRecordWriter"
    rows = _rows(
        f"{what}: written",
        {
            "ours": lambda: tensorferry.save(ours, arrays),
            writer: lambda: _write_examples(theirs, arrays),
        },
        {writer: LEAST},
    )
    parsed = f"tf.data TFRecordDataset.batch({BATCH:,}).map(parse_example, 2 calls).prefetch"
    rows += _rows(
        f"{what}: read",
        {"ours": lambda: _over(_ours_by_batch(theirs)), parsed: lambda: _over(_parsed(theirs))},
        {parsed: LEAST},
    )
    for path in (theirs, ours):
        for name, array in arrays.items():
            require_equal(
                np.concatenate(
                    [batch[name].numpy().reshape(-1, *array.shape[1:]) for batch in _parsed(path)]
                ),
                array,
            )
            require_equal(
                np.concatenate([batch[name].numpy() for batch in _ours_by_batch(path)]), array
            )
    return rows


def _ragged(folder: Path, scale: int) -> list[Row]:
    """Features of different lengths: texts, and rows of tokens."""
    count = 50_000 // scale
    random = np.random.default_rng(0)
    lengths = random.integers(1, 200, count)
    splits = np.concatenate([[0], lengths.cumsum()])
    tokens = tensorferry.Ragged(random.integers(0, 50_000, splits[-1]), splits)
    texts = tensorferry.Strings(random.integers(97, 123, splits[-1], np.uint8), splits)
    path = folder / "ragged.tfrecord"
    features = {
        "tokens": tf.io.RaggedFeature(tf.int64),
        "text": tf.io.FixedLenFeature((), tf.string),
        "label": tf.io.FixedLenFeature((), tf.int64),
    }
    tensorferry.save(path, {"tokens": tokens, "text": texts, "label": np.arange(count)})
    opened = tensorferry.open(path, mode="read", features=features)
    rows = tensorferry.Dataset.from_tensor_slices(dict(opened)).ragged_batch(BATCH)

    def parse(records: tf.Tensor) -> dict[str, tf.Tensor]:
        return tf.io.parse_example(records, features)

    theirs = tf.data.TFRecordDataset(str(path)).batch(BATCH).map(parse, num_parallel_calls=2)
    for ours, other in zip(rows, theirs, strict=True):
        for name in ("tokens", "text"):
            flat, expected = (
                getattr(batch[name], "flat_values", batch[name]).numpy() for batch in (ours, other)
            )
            require_equal(flat, expected)
    parsed = f"tf.data TFRecordDataset.batch({BATCH:,}).map(parse_example, 2 calls).prefetch"
    read, taken = rows.prefetch(4), theirs.prefetch(4)
    return _rows(
        f"TFRecord, {count:,} Examples of 100 tokens, a text of 100 bytes and a label, each of "
        "another length: read",
        {"ours": lambda: _over(read), parsed: lambda: _over(taken)},
        {parsed: None},
    )


def _over(batches: Any) -> None:
    for _ in batches:
        pass


def _ours_by_batch(path: Path) -> tensorferry.Dataset:
    features = {
        "image": tensorferry.TensorSpec((28, 28), "uint8"),
        "label": tensorferry.TensorSpec((), "int64"),
    }
    opened = tensorferry.open(path, mode="read", features=features)
    return tensorferry.Dataset.from_tensor_slices(dict(opened)).batch(BATCH).prefetch(4)


def _write_examples(path: Path, arrays: Arrays) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for image, label in zip(arrays["image"], arrays["label"].tolist(), strict=True):
            feature = {
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.tobytes()])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            }
            writer.write(
                tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
            )


def _parsed(path: Path) -> tf.data.Dataset:
    wanted = {
        "image": tf.io.FixedLenFeature((), tf.string),
        "label": tf.io.FixedLenFeature((), tf.int64),
    }

    def parse(records: tf.Tensor) -> dict[str, tf.Tensor]:
        found = tf.io.parse_example(records, wanted)
        return {
            "image": tf.io.decode_raw(found["image"], tf.uint8, fixed_length=784),
            "label": found["label"],
        }

    return (
        tf.data.TFRecordDataset(str(path)).batch(BATCH).map(parse, num_parallel_calls=2).prefetch(4)
    )


def _rows(
    what: str,
    statements: Mapping[str, Callable[[], object]],
    peers: Mapping[str, float | None],
    bound: str = "",
) -> list[Row]:
    samples = interleave(statements, repetitions=REPETITIONS, inner=1)
    times = medians(samples)
    return [
        Row(
            workload="W8",
            what=what,
            ours=times["ours"],
            peer_name=peer,
            peer=times[peer],
            target=least,
            bound=bound,
            samples={"ours": samples["ours"], "peer": samples[peer]},
        )
        for peer, least in peers.items()
    ]
