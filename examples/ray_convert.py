"""A file converted by a Ray cluster, and shuffled out of it: tasks carry plans, never rows.

Each shard is a task. The files are those of one machine, byte for byte. Without a cluster that
RAY_ADDRESS names, this starts one on this machine. ``--short`` converts less.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import ray
import tensorferry as tfy
from tensorferry.ray import convert, read

BATCH = 256


def write_rows(path: Path, rows: int) -> None:
    """Measurements in float64, a wasteful dtype."""
    array = np.lib.format.open_memmap(path, "w+", np.float64, (rows, 100))
    for start in range(0, rows, 10_000):
        part = array[start : start + 10_000]
        part[:] = np.arange(start, start + len(part))[:, None] + np.linspace(0, 1, 100)
    array.flush()


def same_bytes(folder: Path, shards: list[str], shard_rows: int) -> bool:
    """Whether the command writes the same files on this machine alone."""
    alone = folder / "alone"
    alone.mkdir()
    command = [sys.executable, "-m", "tensorferry", "convert", folder / "rows.npy"]
    options = ["--dtype", "float32", "--shard-rows", str(shard_rows), "--quiet"]
    subprocess.run([*command, alone / "rows32.npy", *options], check=True)
    return all(Path(each).read_bytes() == (alone / Path(each).name).read_bytes() for each in shards)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a thousand rows, for tests")
    rows = 8_000 if parser.parse_args().short else 200_000
    address = os.environ.get("RAY_ADDRESS", "local")
    ray.init(address, logging_level="ERROR", log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.npy", rows)
        began = time.perf_counter()
        shards = convert(
            folder / "rows.npy", folder / "rows32.npy", shard_rows=rows // 8, dtype="float32"
        )
        seconds = time.perf_counter() - began
        print(f"{rows} rows in {len(shards)} shards by {os.cpu_count()} CPUs in {seconds:.1f} s")
        if not same_bytes(folder, shards, rows // 8):
            raise AssertionError("another machine writes other bytes")
        print("the same bytes as on one machine")

        shuffled = tfy.Dataset.from_files(folder / "rows32-*.npy").shuffle(seed=7)
        here = np.concatenate(list(shuffled.batch(BATCH).as_numpy_iterator()))
        shuffled.set_epoch(0)
        batches = read(shuffled, batch_size=BATCH).iter_batches(batch_size=BATCH)
        there = np.concatenate([batch["data"] for batch in batches])
        if not np.array_equal(here, there):
            raise AssertionError("the cluster has another order")
        print(f"{len(there)} rows shuffled by tasks, in the order of an iteration here")
    ray.shutdown()


if __name__ == "__main__":
    main()
