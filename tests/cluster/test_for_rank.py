"""``for_rank`` and ``current_rank``: where the rank of a process comes from, in real jobs on the
loopback, and what is refused.
"""

from __future__ import annotations

import json
import logging
import pickle
import sys
from types import ModuleType, SimpleNamespace

import pytest
import tensorferry as tfy
from tensorferry import errors

from tests.support.ranks import JOB, free_ports, run_together, tf_configs

ROWS = 20


@pytest.fixture(autouse=True)
def outside_of_any_job(monkeypatch) -> None:
    for name in JOB:
        monkeypatch.delenv(name, raising=False)


def numbers() -> tfy.Dataset:
    return tfy.Dataset.range(ROWS).shuffle(seed=3).with_format("numpy")


def listed(dataset: tfy.Dataset) -> list[int]:
    return [int(x) for x in dataset]


def parts(world: int) -> list[list[int]]:
    return [listed(numbers().shard(world, rank)) for rank in range(world)]


# The end of every process of a job: what it found, and its rows.
REPORT = """
import json
rows = tfy.Dataset.range(20).shuffle(seed=3).for_rank()
found = tfy.current_rank()
part = [int(x) for x in rows.as_numpy_iterator()]
print(json.dumps([found.rank, found.world, found.source, part]))
"""


def expected(world: int, source: str) -> list[object]:
    return [[rank, world, source, parts(world)[rank]] for rank in range(world)]


def test_arguments_give_the_part() -> None:
    for rank in range(3):
        assert listed(numbers().for_rank(rank, 3)) == parts(3)[rank]
        assert listed(numbers().for_rank(rank=rank, world=3)) == parts(3)[rank]


def test_without_a_job_it_is_one_process_whose_state_resumes_on_more(caplog) -> None:
    assert tfy.current_rank() == tfy.Rank(0, 1, "one process")
    with caplog.at_level(logging.INFO, "tensorferry"):
        alone = iter(numbers().for_rank().batch(2))
    assert caplog.messages == ["for_rank: rank 0 of 1 (one process)"]
    seen = next(alone).tolist()
    for rank in range(2):
        resumed = iter(numbers().for_rank(rank, 2).batch(2))
        resumed.load_state_dict(alone.state_dict())
        for batch in resumed:
            seen += batch.tolist()
    assert sorted(seen) == list(range(ROWS))


def test_a_pickle_keeps_the_part(monkeypatch) -> None:
    monkeypatch.setenv("TF_CONFIG", tf_configs(worker=2)[1]["TF_CONFIG"])
    sent = pickle.dumps(numbers().for_rank())
    monkeypatch.delenv("TF_CONFIG")
    assert listed(pickle.loads(sent)) == parts(2)[1]


@pytest.mark.parametrize("given", [{"rank": 0}, {"world": 2}], ids=str)
def test_one_argument_alone_is_refused(given) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=r"Pass both, or neither"):
        numbers().for_rank(**given)


@pytest.mark.parametrize(
    ("rank", "world", "kind", "message"),
    [
        (3, 3, errors.InvalidArgumentError, r"for_rank: rank .* less than world=3, not 3"),
        (-1, 3, errors.InvalidArgumentError, r"for_rank: rank .* not -1"),
        (0, 0, errors.InvalidArgumentError, r"for_rank: world has to be at least 1, not 0"),
        ("0", 2, errors.InvalidTypeError, r"for_rank: rank has to be a whole number, not '0'"),
        (0, 2.0, errors.InvalidTypeError, r"for_rank: world has to be a whole number, not 2\.0"),
    ],
)
def test_arguments_are_checked(rank, world, kind, message) -> None:
    with pytest.raises(kind, match=message):
        numbers().for_rank(rank, world)


# ---- torch.distributed and torchrun

GROUP = """
import sys
import torch.distributed as dist
import tensorferry as tfy
place, world, rank = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
dist.init_process_group("gloo", init_method=f"file://{place}", world_size=world, rank=rank)
dist.barrier()  # one that ended would break the connections that others still make
"""
GLOO = GROUP + REPORT + "\ndist.destroy_process_group()"
REFUSED = """
import json
try:
    tfy.Dataset.range(9).for_rank()
except ValueError as error:
    print(json.dumps(str(error)))
dist.destroy_process_group()
"""


@pytest.mark.torch
@pytest.mark.parametrize("world", [1, 3])
def test_processes_of_torch_distributed(torch, tmp_path, world) -> None:
    arguments = [[tmp_path / "store", world, rank] for rank in range(world)]
    assert run_together(GLOO, arguments) == expected(world, "torch.distributed")


@pytest.mark.torch
def test_an_initialized_group_is_asked_before_the_environment(torch, tmp_path) -> None:
    # Launchers of one process for each node count nodes in these variables.
    environments = [{"RANK": "0", "WORLD_SIZE": "1"}] * 2
    arguments = [[tmp_path / "store", 2, rank] for rank in range(2)]
    assert run_together(GLOO, arguments, environments) == expected(2, "torch.distributed")


@pytest.mark.torch
def test_torch_distributed_and_another_source_have_to_agree(torch, tmp_path) -> None:
    arguments = [[tmp_path / "store", 1, 0]]
    (message,) = run_together(GROUP + REFUSED, arguments, tf_configs(worker=2)[:1])
    assert message == (
        "for_rank: torch.distributed says that this process is rank 0 of 1, and TF_CONFIG says "
        "that this process is rank 0 of 2. Pass rank= and world= to for_rank."
    )


def test_the_variables_of_torchrun(monkeypatch) -> None:
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert tfy.current_rank() == tfy.Rank(2, 4, "torchrun")
    assert listed(numbers().for_rank()) == parts(4)[2]
    assert listed(numbers().for_rank(0, 2)) == parts(2)[0]  # arguments come first


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "abc", "WORLD_SIZE": "2"}, r"RANK has to be a whole number, not 'abc'\. Pass"),
        ({"RANK": "0", "WORLD_SIZE": "-2"}, r"WORLD_SIZE has to be a whole number, not '-2'"),
        ({"RANK": "1"}, r"RANK=1 is set without WORLD_SIZE"),
        ({"WORLD_SIZE": "2"}, r"WORLD_SIZE=2 is set without RANK"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, r"RANK=2 is not less than WORLD_SIZE=2"),
    ],
    ids=str,
)
def test_damaged_variables_of_torchrun_are_refused(monkeypatch, variables, message) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(errors.InvalidArgumentError, match=message):
        numbers().for_rank()
    assert listed(numbers().for_rank(1, 2)) == parts(2)[1]  # the way out


# ---- JAX

JAX = """
import sys
import jax
import tensorferry as tfy
port, world, rank = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
assert tfy.current_rank().source == "one process"
jax.distributed.initialize(f"127.0.0.1:{port}", world, rank)
before = tfy.current_rank()
assert not jax._src.xla_bridge.backends_are_initialized()
assert (jax.process_index(), jax.process_count()) == (before.rank, before.world)
""" + REPORT  # fmt: skip


def test_processes_of_jax_without_starting_its_devices(jax) -> None:
    (port,) = free_ports(1)
    assert run_together(JAX, [[port, 2, rank] for rank in range(2)]) == expected(2, "JAX")


# ---- TF_CONFIG


@pytest.mark.parametrize("members", [{"worker": 3}, {"chief": 1, "worker": 2}], ids=str)
def test_chief_and_workers_of_tf_config(members) -> None:
    configs = tf_configs(**members)
    found = run_together("import tensorferry as tfy\n" + REPORT, [[]] * 3, configs)
    assert found == expected(3, "TF_CONFIG")


def test_ranks_are_those_of_tensorflow(tf, monkeypatch) -> None:
    from tensorflow.python.distribute import multi_worker_util

    for variables in tf_configs(chief=1, worker=2, evaluator=1)[:3]:
        monkeypatch.setenv("TF_CONFIG", variables["TF_CONFIG"])
        config = json.loads(variables["TF_CONFIG"])
        given = (config["cluster"], config["task"]["type"], config["task"]["index"])
        found = tfy.current_rank()
        assert found.rank == multi_worker_util.id_in_cluster(*given)
        assert found.world == multi_worker_util.worker_count(*given[:2])


@pytest.mark.parametrize("text", ["", " ", "{}", '{"cluster": {}}'])
def test_an_empty_tf_config_is_one_process(monkeypatch, text) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    assert tfy.current_rank() == tfy.Rank(0, 1, "one process")


def task(kind: object, index: object, **cluster: object) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"TF_CONFIG is damaged: it is not JSON .* Pass rank= and world="),
        ("[]", r'damaged: its "cluster" is not an object of lists'),
        ('{"cluster": {"worker": 2}}', r'damaged: its "cluster" is not an object of lists'),
        ('{"cluster": {"worker": ["a"]}}', r'its "task" has the type None'),
        (task("master", 0, worker=["a"]), r"its \"task\" has the type 'master'"),
        (task("worker", 1, worker=["a"]), r'the index 1, which is not one of the 1 of "worker"'),
        (task("worker", None, worker=["a"]), r"the index None"),
        (task("worker", -1, worker=["a"]), r"the index -1"),
        (task("chief", 0, worker=["a"]), r'the index 0, which is not one of the 0 of "chief"'),
        (task("evaluator", 0, worker=["a"], evaluator=["b"]), r"an evaluator, which has no part"),
        (task("ps", 0, worker=["a"], ps=["b"]), r"parameter servers.*shard in the function"),
        (task("worker", 0, worker=["a"], ps=["b"]), r"parameter servers.*shard in the function"),
    ],
)
def test_a_damaged_tf_config_and_tasks_without_data_are_refused(monkeypatch, text, message) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(errors.InvalidArgumentError, match=message):
        numbers().for_rank()
    with pytest.raises(errors.InvalidArgumentError, match=r"^current_rank: "):
        tfy.current_rank()
    assert listed(numbers().for_rank(1, 2)) == parts(2)[1]


def test_sources_that_agree_are_one(monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TF_CONFIG", tf_configs(worker=2)[1]["TF_CONFIG"])
    assert tfy.current_rank() == tfy.Rank(1, 2, "torchrun")


# ---- Ray Train: a stand-in here; tests of Ray have the real one.


class Context:
    """The context of a worker, as Ray Train has it."""

    def __init__(self, rank: int, world: int) -> None:
        self.get_world_rank, self.get_world_size = (lambda: rank), (lambda: world)


class Distributed(Context):
    __module__ = "ray.train.v2.api.context"


def no_context() -> object:
    raise RuntimeError("`get_context` cannot be used outside of a Ray Train training function.")


def use_ray(monkeypatch, get_context) -> None:
    module = ModuleType("ray.train")
    module.__dict__.update(get_context=get_context)
    monkeypatch.setitem(sys.modules, "ray.train", module)


def test_a_worker_of_ray_train(monkeypatch) -> None:
    use_ray(monkeypatch, lambda: Distributed(1, 4))
    assert tfy.current_rank() == tfy.Rank(1, 4, "Ray Train")
    use_ray(monkeypatch, lambda: Distributed(0, 1))
    assert tfy.current_rank() == tfy.Rank(0, 1, "Ray Train")
    monkeypatch.setenv("TF_CONFIG", tf_configs(worker=2)[0]["TF_CONFIG"])
    with pytest.raises(errors.InvalidArgumentError, match=r"Ray Train says .*, and TF_CONFIG says"):
        numbers().for_rank()


@pytest.mark.parametrize("get_context", [no_context, lambda: Context(0, 1)], ids=["V2", "V1"])
def test_a_process_outside_of_ray_train_asks_the_others(monkeypatch, get_context) -> None:
    use_ray(monkeypatch, get_context)
    assert tfy.current_rank() == tfy.Rank(0, 1, "one process")
    monkeypatch.setenv("TF_CONFIG", tf_configs(worker=2)[1]["TF_CONFIG"])
    assert tfy.current_rank() == tfy.Rank(1, 2, "TF_CONFIG")


def test_no_framework_is_imported() -> None:
    code = """
    import json, sys
    import tensorferry as tfy
    tfy.Dataset.range(3).for_rank()
    names = ("torch", "jax", "tensorflow", "ray")
    print(json.dumps([name for name in names if name in sys.modules]))
    """
    assert run_together(code, [[]]) == [[]]


def test_a_framework_that_is_only_there_says_nothing(monkeypatch) -> None:
    # A torch built without distributed.
    module = SimpleNamespace(is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "torch.distributed", module)
    assert tfy.current_rank() == tfy.Rank(0, 1, "one process")
