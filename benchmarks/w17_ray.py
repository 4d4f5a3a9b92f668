"""W17: rows of 400 bytes, shuffled, read by Ray: the processor time of all processes, beside an
iteration without Ray, plain tasks that return as many bytes, and Ray's own shuffles; what spills;
the first batch with new workers, beside Ray's own.

Rates are rows per second of a core: rows over the processor time of the driver, the workers and
Ray's servers. So they do not depend on how many cores a machine has, or on what else it runs.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import ray
import ray.train
import tensorferry
from rows import Row, quantity
from streams import WIDTH, write_rows
from tensorferry import Dataset
from tensorferry.ray import iter_batches, read, train_iterator

MEMORY = 8 << 30
COUNT, QUICK_COUNT = 1_000_000, 200_000
SIZE = 1024
ROUNDS = 4
"""How often a pass reads all rows: long enough for what a pass costs once to be small."""
REPETITIONS, SLOW = 5, 2
"""Repetitions, and those of Ray's own shuffles, which take minutes."""
STORE = 3 << 30
"""Bytes of the object store."""
TASKS = 16
"""Plain tasks, for the same number of bytes."""
ENGINE, PLAIN = "the engine, one thread, without Ray", f"{TASKS} plain tasks, np.empty, touched"
BUFFER = 10_000
"""Rows of Ray's local shuffle buffer."""
STARTS = 7
"""Programs that are started for a first batch of each."""

TICKS = os.sysconf("SC_CLK_TCK")
QUIET = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}


def run(*, quick: bool) -> list[Row]:
    """Rows of each measure."""
    count = QUICK_COUNT if quick else COUNT
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        write_rows(path, count)
        return [*_first(path), *_rates(path, count, 2 if quick else REPETITIONS)]


def _plan(path: Path, rounds: int = ROUNDS) -> Dataset:
    return Dataset.from_files(path).shuffle(seed=7).repeat(rounds).with_format("numpy")


def _start() -> None:
    ray.init("local", num_cpus=2, object_store_memory=STORE, **QUIET)
    ray.data.DataContext.get_current().enable_progress_bars = False


# ---- rates


def processor_seconds() -> float:
    """The processor time of this process and of those that descend from it."""
    parents, spent = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            parents[int(entry.name)] = int(fields[1])
            spent[int(entry.name)] = int(fields[11]) + int(fields[12])
    total = 0
    for process, ticks in spent.items():
        above = process
        while above > 1 and above != os.getpid():
            above = parents.get(above, 0)
        total += ticks if above == os.getpid() else 0
    return total / TICKS


def _drained(batches: Iterable[Any]) -> int:
    return sum(len(batch["data"]) for batch in batches)


def _ours(path: Path, rounds: int = ROUNDS) -> int:
    return _drained(iter_batches(read(_plan(path, rounds), batch_size=SIZE), batch_size=SIZE))


def _plain_tasks(length: int) -> int:
    @ray.remote
    def touched() -> Any:
        made = np.empty(length // TASKS, np.uint8)
        made[::4096] = 1
        return made

    waiting, got = [touched.remote() for _ in range(4)], 0
    while waiting:
        got += len(ray.get(waiting.pop(0)))
        if got // (length // TASKS) + len(waiting) < TASKS:
            waiting.append(touched.remote())
    return got // (4 * WIDTH)


def _engine(path: Path, count: int) -> int:
    one = tensorferry.Options(threads=1)
    batches = _plan(path).batch(SIZE).with_options(one)
    return sum(len(batch) for batch in batches)


def _train(config: dict[str, Any]) -> None:
    """A worker of Train. It measures its own processor time, without the start of Train; in turns
    with its part of the rows without Train, since two workers share caches and memory.
    """
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    plan = _plan(Path(config["path"])).with_options(tensorferry.Options(threads=1))
    rates: dict[str, list[float]] = {"ours": [], "engine": []}
    for _ in range(config["repetitions"] + 1):
        for name, found in rates.items():
            began, got = time.process_time(), 0
            for batch in (
                train_iterator(plan, batch_size=SIZE)
                if name == "ours"
                else plan.shard(world, rank).batch(SIZE)
            ):
                got += 0 if batch is None else len(batch)
            found.append(got / (time.process_time() - began))
    measured = {name: found[1:] for name, found in rates.items()}
    Path(config["folder"], f"{rank}.json").write_text(json.dumps(measured))


def _rates(path: Path, count: int, repetitions: int) -> list[Row]:
    _start()
    context, length = ray.data.DataContext.get_current(), count * ROUNDS * WIDTH * 4
    context.execution_options.preserve_order = False
    rays = ray.data.read_numpy(str(path))
    passes: dict[str, Callable[[], int]] = {
        ENGINE: lambda: _engine(path, count),
        "ours": lambda: _drained(iter_batches(read(_plan(path), batch_size=SIZE), batch_size=SIZE)),
        "iter_batches of Ray, of read": lambda: _drained(
            read(_plan(path), batch_size=SIZE).iter_batches(batch_size=SIZE)
        ),
        PLAIN: lambda: _plain_tasks(length),
        "read_numpy, random_shuffle, iter_tf_batches": lambda: _drained(
            rays.random_shuffle(seed=7).iter_tf_batches(batch_size=SIZE)
        ),
        f"read_numpy, iter_tf_batches, local shuffle buffer of {BUFFER:,}": lambda: _drained(
            rays.iter_tf_batches(
                batch_size=SIZE, local_shuffle_buffer_size=BUFFER, local_shuffle_seed=7
            )
        ),
    }
    found: dict[str, list[float]] = {name: [] for name in passes}
    for repetition in range(repetitions + 1):
        for name, each in passes.items():
            if repetition > SLOW and name.startswith("read_numpy"):
                continue
            before = processor_seconds()
            got = each()
            spent = processor_seconds() - before
            if repetition:  # the first starts workers
                found[name].append(got / spent)
    spilled = _spilled_by_ours(path)
    rows = [
        Row(
            workload="W17",
            what=f"{count * ROUNDS:,} rows, shuffled, tensorferry.ray.iter_batches of read, "
            f"batches of {SIZE:,}; of a core",
            ours=median(found["ours"]),
            peer_name=name,
            peer=median(rates),
            unit="rows/s",
            target=_TARGETS.get(name),
            bound=_bound(found) if name == ENGINE else "",
            samples={"ours": found["ours"], "peer": rates},
        )
        for name, rates in found.items()
        if name != "ours"
    ]
    trained = _trained(path, repetitions)
    rows += [
        Row(
            workload="W17",
            what="the same rows, train_iterator in two workers of Train; of a core",
            ours=median(trained["ours"]),
            peer_name="the engine in these workers, one thread, without Train",
            peer=median(trained["engine"]),
            unit="rows/s",
            target=0.9,
            samples={"ours": trained["ours"], "peer": trained["engine"]},
        ),
        Row(
            workload="W17",
            what="bytes that the store of Ray spilled in a pass of read",
            ours=spilled,
            peer_name="none",
            peer=0,
            unit="B",
            target_most=0,
        ),
    ]
    ray.shutdown()
    return rows


_TARGETS = {
    ENGINE: 0.9,
    "read_numpy, random_shuffle, iter_tf_batches": 5.0,
}


def _bound(found: dict[str, list[float]]) -> str:
    plain = quantity(median(found[PLAIN]), "rows/s")
    return f"the store of Ray copies each block: plain tasks with as many bytes bring {plain}"


def _spilled_by_ours(path: Path) -> float:
    from ray._private.internal_api import memory_summary

    def spilled() -> float:
        text = memory_summary(stats_only=True)
        line = next((line for line in text.splitlines() if line.startswith("Spilled")), None)
        return float(line.split()[1]) * (1 << 20) if line else 0.0

    before = spilled()
    _ours(path, 12)
    return spilled() - before


def _trained(path: Path, repetitions: int) -> dict[str, list[float]]:
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    with tempfile.TemporaryDirectory() as folder:
        DataParallelTrainer(
            _train,
            train_loop_config={"path": str(path), "repetitions": repetitions, "folder": folder},
            scaling_config=ray.train.ScalingConfig(num_workers=2),
            run_config=ray.train.RunConfig(storage_path=folder),
        ).fit()
        measured = [json.loads(file.read_text()) for file in Path(folder).glob("*.json")]
        return {
            name: [rate for each in measured for rate in each[name]] for name in ("ours", "engine")
        }


# ---- the first batch

FIRST = """
import logging, sys, time
import ray, ray.data
from tensorferry import Dataset
from tensorferry.ray import iter_batches, read
from tensorferry.ray._read import PlanDatasource

ray.init(sys.argv[3], log_to_driver=False, logging_level="ERROR")
logging.getLogger("ray.data").setLevel(logging.ERROR)
ray.data.DataContext.get_current().enable_progress_bars = False
blocks = PlanDatasource(Dataset.from_files(sys.argv[2]), 1024, 1).default_count() + 1
began = time.perf_counter()
if sys.argv[1] == "ours":
    plan = Dataset.from_files(sys.argv[2]).shuffle(seed=7)
    batches = iter(iter_batches(read(plan, batch_size=1024), batch_size=1024))
else:
    numbers = ray.data.range(200_000, override_num_blocks=blocks)
    batches = iter(numbers.iter_batches(batch_size=1024))
next(batches)
print(time.perf_counter() - began)
for batch in batches:  # or Ray holds back the next program for minutes
    pass
"""


def _first(path: Path) -> list[Row]:
    """The time to the first batch in a cluster that runs, in turns: each program has new workers.

    Like those of an installed package, the modules are compiled once.
    """
    from ray.cluster_utils import Cluster

    names = "ours", "ray.data.range"
    found: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as compiled:
        os.environ["PYTHONPYCACHEPREFIX"] = compiled
        forbidden = os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=2, object_store_memory=1 << 30, include_dashboard=False)
            for repetition in range(STARTS + 1):
                for name in names:
                    command = [sys.executable, "-c", FIRST, name, str(path), cluster.address]
                    ran = subprocess.run(command, check=True, capture_output=True, text=True)
                    if repetition:  # the first reads Ray's files from the disk
                        found[name].append(float(ran.stdout.splitlines()[-1]))
        finally:
            cluster.shutdown()
            del os.environ["PYTHONPYCACHEPREFIX"]
            if forbidden is not None:
                os.environ["PYTHONDONTWRITEBYTECODE"] = forbidden
    rays = median(found["ray.data.range"])
    return [
        Row(
            workload="W17",
            what="the first batch of read, in new workers; target: a second more than Ray's own",
            ours=median(found["ours"]),
            peer_name="the first batch of ray.data.range, as many blocks",
            peer=rays,
            target_most=rays + 1,
            samples={"ours": found["ours"], "peer": found["ray.data.range"]},
        )
    ]
