"""R1: resuming a shuffled pass over 10^9 rows at its millionth batch: the size of the state, and
the time to the next batch.

tf.data saves a checkpoint of its iterator, which holds the shuffle buffer: here 10,000 rows of 4
KB.
"""

import json
import pickle
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from harness import interleave, medians
from rows import Row
from tensorferry import Dataset

MEMORY = 2 << 30
COUNT = 10**9
SIZE = 32
STEP, QUICK_STEP = 1_000_000, 100_000
BUFFER, ROW = 10_000, 4096
MOST_SECONDS, MOST_BYTES = 1e-3, 1024.0
PEER = "tf.data checkpoint, shuffle(10000) of 4 KB rows"


def run(*, quick: bool) -> list[Row]:
    """Rows for the time and for the size, pickled and as JSON."""
    step = QUICK_STEP if quick else STEP
    dataset = Dataset.range(COUNT).shuffle(seed=7).batch(SIZE).with_format("numpy")
    state, expected = _reach(dataset, step)

    def resume() -> object:
        iterator = iter(dataset)
        iterator.load_state_dict(state)
        return next(iterator)

    with tempfile.TemporaryDirectory() as folder:
        restore, checkpoint = _tf_data(Path(folder))
        samples = interleave({"ours": resume, PEER: restore}, repetitions=5 if quick else 9)
    if not np.array_equal(resume(), expected):
        raise AssertionError("the batch after resuming is not the expected one")
    times = medians(samples)
    what = f"step {step:,} of {COUNT:,} rows shuffled, batches of {SIZE}"
    named = {"ours": samples["ours"], "peer": samples[PEER]}
    text = f"{what}: load_state_dict and the next batch"
    rows = [
        Row("R1", text, times["ours"], PEER, times[PEER], target_most=MOST_SECONDS, samples=named)
    ]
    sizes = {"pickled": len(pickle.dumps(state)), "as JSON": len(json.dumps(state).encode())}
    for how, size in sizes.items():
        rows.append(
            Row(
                "R1",
                f"{what}: state, {how}",
                float(size),
                PEER,
                float(checkpoint),
                unit="B",
                target_most=MOST_BYTES,
            )
        )
    return rows


def _reach(dataset: Dataset, step: int) -> tuple[object, object]:
    """The state after `step` batches, and the next batch."""
    iterator = iter(dataset)
    for _ in range(step):
        next(iterator)
    state = iterator.state_dict()
    return state, next(iterator)


def _tf_data(folder: Path) -> tuple[object, int]:
    """A call that restores an iterator and takes its next batch, and the checkpoint's size."""
    rows = tf.data.Dataset.range(10 * BUFFER).map(lambda i: tf.fill([ROW // 8], i))
    dataset = rows.shuffle(BUFFER, seed=7).batch(SIZE)
    iterator = iter(dataset)
    next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).save(str(folder / "iterator"))

    def restore() -> object:
        fresh = iter(dataset)
        tf.train.Checkpoint(iterator=fresh).restore(path)
        return next(fresh)

    return restore, sum(file.stat().st_size for file in folder.glob("iterator-1.*"))
