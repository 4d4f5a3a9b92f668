"""Datasets under tf.distribute: each row reaches one replica, once. Each strategy runs in new
processes.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import textwrap

import pytest

from tests.support.processes import run_python

pytestmark = pytest.mark.slow

MIRRORED = """
import gc, json
import numpy as np, tensorflow as tf, tensorferry as tfy

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
numbers = lambda: tfy.Dataset.from_tensor_slices(np.arange(40))
plans = {
    "in order": numbers().batch(8),
    "shuffled": numbers().shuffle(seed=1).batch(8),
    "streamed": numbers().with_format("numpy").filter(lambda x: True).batch(8),
}
seen = {}
for name, plan in plans.items():
    dealt = strategy.experimental_distribute_dataset(plan.to_tf_data())
    gc.collect()
    epochs = [[strategy.experimental_local_results(batch) for batch in dealt] for _ in range(2)]
    seen[name] = [
        [[part.numpy().tolist() for part in parts] for parts in batches] for batches in epochs
    ]
print(json.dumps(seen))

with strategy.scope():
    model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
data = (
    tfy.Dataset.from_tensor_slices((np.ones((32, 3), np.float32), np.zeros((32, 1), np.float32)))
    .shuffle(seed=1)
    .batch(8)
)
history = model.fit(
    data.to_tf_data(), validation_data=data.to_tf_data(), epochs=3, shuffle=False, verbose=0
)
print(json.dumps(history.history))
"""


def test_a_mirrored_strategy_distributes_and_fits() -> None:
    seen, history = (json.loads(line) for line in run_python(MIRRORED).splitlines())
    for name, epochs in seen.items():
        for batches in epochs:
            assert [[len(part) for part in parts] for parts in batches] == [[4, 4]] * 5
            assert sorted(x for parts in batches for part in parts for x in part) == list(range(40))
        assert (epochs[0] == epochs[1]) == (name != "shuffled")
    assert len(history["loss"]) == len(history["val_loss"]) == 3
    assert history["loss"] == sorted(history["loss"], reverse=True)


WORKER = """
import gc, json
import numpy as np, tensorflow as tf, tensorferry as tfy

strategy = tf.distribute.MultiWorkerMirroredStrategy()
numbers = lambda: tfy.Dataset.from_tensor_slices(np.arange(40)).shuffle(seed=1)

def policy(policy):
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = policy
    return strategy.experimental_distribute_dataset(
        numbers().batch(8).to_tf_data().with_options(options)
    )

def shard(context):
    return (
        numbers()
        .shard(context.num_input_pipelines, context.input_pipeline_id)
        .batch(4)
        .to_tf_data()
    )

policies = tf.data.experimental.AutoShardPolicy
made = {name: policy(getattr(policies, name)) for name in ("OFF", "DATA", "AUTO")}
made["by hand"] = strategy.distribute_datasets_from_function(shard)
gc.collect()
parts = strategy.experimental_local_results
seen = {
    name: [part.numpy().tolist() for batch in dealt for part in parts(batch)]
    for name, dealt in made.items()
}
try:
    policy(policies.FILE)
except tf.errors.NotFoundError as error:
    seen["FILE"] = str(error)
print(json.dumps(seen))
"""


def test_two_workers_share_the_rows_by_the_auto_shard_policy() -> None:
    places = [socket.socket() for _ in range(2)]
    for place in places:
        place.bind(("127.0.0.1", 0))
    workers = [f"127.0.0.1:{place.getsockname()[1]}" for place in places]
    for place in places:
        place.close()
    processes = []
    for index in range(2):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        script = f"import os; os.environ['TF_CONFIG'] = {json.dumps(config)!r}\n" + textwrap.dedent(
            WORKER
        )
        command = [sys.executable, "-c", script]
        processes.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    try:
        printed = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], (
        printed[0][1][-2000:] + printed[1][1][-2000:]
    )
    first, second = (json.loads(out.splitlines()[-1]) for out, _ in printed)

    def rows(batches: list) -> list:
        return sorted(x for batch in batches for x in batch)

    assert first["OFF"] == second["OFF"]
    assert rows(first["OFF"]) == list(range(40))
    for name in ("DATA", "AUTO", "by hand"):
        assert len(rows(first[name])) == len(rows(second[name])) == 20
        assert rows(first[name] + second[name]) == list(range(40))
    assert "unshardable source dataset" in first["FILE"]
