"""``tensorferry.ray.progress``: what all workers have read, in the driver and as metrics of Ray."""

from __future__ import annotations

import re
import time
import urllib.request

import numpy as np
import pytest
import ray.train
import tensorferry as tfy
from ray.train import ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util import metrics
from tensorferry.ray import _progress, progress, read, train_iterator
from tensorferry.ray._read import PlanDatasource

ROWS, ROW = 3000, 120


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "x.npy"
    np.save(path, np.zeros((ROWS, ROW // 4), np.float32))
    return path


def test_rows_and_bytes_of_all_tasks_are_counted(file, capsys):
    shuffled = tfy.Dataset.from_files(file).shuffle(seed=1)
    before = read(shuffled)
    with progress(every=0.01) as view:
        assert view.totals() == {}
        for _ in range(2):
            assert read(shuffled, override_num_blocks=6).materialize().count() == ROWS
        workers, total = view.workers(), view.totals()["read"]
        assert (total.rows, total.bytes) == (2 * ROWS, 2 * ROWS * ROW)
        assert total.worker == f"{len(workers)} worker{'s' if len(workers) > 1 else ''}"
        assert sum(each.rows for each in workers) == total.rows
        assert all(each.reading > 0 and each.outside > 0 for each in workers)
        before.materialize()  # it was planned before the view
        assert view.totals()["read"].rows == 2 * ROWS
        with pytest.raises(tfy.Error, match="another progress is open"):
            progress()
        while "read: 6,000 rows, 720.0 KB" not in capsys.readouterr().err:
            time.sleep(0.01)
    table = str(view).splitlines()
    assert re.fullmatch(r" +rows +rows/s +bytes +reading +outside", table[0])
    assert re.match(r"read +6,000 +[\d,]+ +720.0 KB +\d+% +\d+%$", table[1])
    assert len(table) == 2 + len(workers)
    read(shuffled).materialize()
    assert view.totals()["read"].rows == 2 * ROWS
    with progress() as view:
        assert view.workers() == []


def test_a_view_that_is_closed_disturbs_no_task(file):
    with progress():
        made = read(file, override_num_blocks=3)
    assert made.count() == ROWS
    assert len(made.take_all()) == ROWS


def train(config):
    rows = tfy.Dataset.from_files(config["file"]).shuffle(seed=1).with_format("numpy")
    for _ in train_iterator(rows, batch_size=100):
        time.sleep(0.01)
    ray.train.report({})


def test_iterators_of_train_are_counted(file, tmp_path):
    with progress() as view:
        DataParallelTrainer(
            train,
            train_loop_config={"file": file},
            scaling_config=ScalingConfig(num_workers=2),
            run_config=ray.train.RunConfig(storage_path=str(tmp_path)),
        ).fit()
        total = view.totals()["train_iterator"]
        assert (total.rows, total.bytes) == (ROWS, ROWS * ROW)
        assert [each.worker[:7] for each in view.workers()] == ["rank 0,", "rank 1,"]
        # Each slept after its 15 batches, of which the last is not followed by another.
        assert all(each.outside > 0.14 for each in view.workers())


def test_the_counts_are_metrics_of_ray(monkeypatch):
    """Without the agent that Prometheus asks, which ray[data] does not install."""
    told: list[tuple[str, float, dict[str, str]]] = []

    class Counter(metrics.Counter):
        def inc(self, value=1.0, tags=None):
            super().inc(value, tags)
            told.append((self.info["name"], value, tags))

    monkeypatch.setattr(metrics, "Counter", Counter)
    _progress._metrics.cache_clear()
    try:
        meter = _progress.Meter("read", None)
        meter.add(10, 40, 1.5, 0.5)
        meter.add(5, 20, 1.0, 0.25)
        meter.report()
        meter.report()
    finally:
        _progress._metrics.cache_clear()
    values = {"rows": 15, "bytes": 60, "reading_seconds": 2.5, "outside_seconds": 0.75}
    tags = {"operation": "read"}
    assert told == [(f"tensorferry_{name}", value, tags) for name, value in values.items()]


class Reader:
    """An actor, because a worker that only ran a task may end before its counts are asked for."""

    def read(self, file, part) -> str:
        """Runs one of two read tasks. Returns the id of this worker."""
        tasks = PlanDatasource(tfy.Dataset.from_files(file), 1, 1).get_read_tasks(2)
        for _ in tasks[part]():
            pass
        return ray.get_runtime_context().get_worker_id()


def scraped() -> dict[tuple[str, str], list]:
    """Our samples of all nodes, by worker and name."""
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[tuple[str, str], list] = {}
    ports = {node["MetricsExportPort"] for node in ray.nodes() if node["Alive"]}
    assert max(ports) > 0, "no node serves metrics: pip install 'ray[default]'"
    for port in ports:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if "tensorferry" in sample.name:
                    key = sample.labels["WorkerId"], sample.name
                    found.setdefault(key, []).append((family.type, sample))
    return found


def test_prometheus_reads_the_counts_of_each_worker(file):
    readers = [ray.remote(num_cpus=0)(Reader).remote() for _ in range(2)]
    try:
        workers = ray.get([reader.read.remote(file, at) for at, reader in enumerate(readers)])
        expected = {
            (worker, f"ray_tensorferry_{name}_total"): value
            for worker in workers
            for name, value in {"rows": ROWS / 2, "bytes": ROWS * ROW / 2}.items()
        }
        end = time.monotonic() + 120
        while True:  # Ray passes on what workers have counted every ten seconds
            found = {key: each for key, each in scraped().items() if key[0] in workers}
            values = {key: each[0][1].value for key, each in found.items()}
            if len(found) >= 2 * len(expected) and values.items() >= expected.items():
                break
            assert time.monotonic() < end, values
            time.sleep(0.5)
    finally:
        for reader in readers:
            ray.kill(reader)
    names = ["bytes", "outside_seconds", "reading_seconds", "rows"]
    for worker in workers:
        mine = sorted(name for each, name in found if each == worker)
        assert mine == [f"ray_tensorferry_{name}_total" for name in names]
    for samples in found.values():
        [(kind, sample)] = samples
        assert kind == "counter"
        assert sample.labels["operation"] == "read"
        assert sample.value > 0
