"""``tensorferry.grain.source`` inside Grain's pipelines and its ``DataLoader``."""

from __future__ import annotations

import doctest
import os
import pickle
from typing import Any

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import errors

if os.environ.get("TENSORFERRY_FRAMEWORKS") != "all":
    pytest.importorskip("grain", reason="make test FRAMEWORKS=all installs Grain")

import grain
import tensorferry.grain
from absl import flags
from tensorferry.grain import Source, source

# The main function of a program with absl does this.
flags.FLAGS.mark_as_parsed()

N = 30
X, Y = np.arange(3.0 * N, dtype=np.float32).reshape(N, 3), np.arange(N)


def rows() -> tfy.Dataset:
    return tfy.Dataset.from_tensor_slices({"x": X, "y": (Y, Y.astype(np.uint8))})


PLANS = {
    "rows": rows,
    "shuffled": lambda: rows().shuffle(seed=3),
    "batches": lambda: rows().shuffle(seed=3).batch(4),
    "numbers": lambda: tfy.Dataset.range(N).shuffle(seed=1),
    "part": lambda: rows().shuffle(seed=3).for_rank(1, 3).batch(4),
    "epochs": lambda: rows().shuffle(seed=3).repeat(2).batch(7),
    "native maps": lambda: rows().scale(0.5, which={"x": True, "y": (False, False)})[::2],
    "strings": lambda: tfy.Dataset.from_tensor_slices(["one", "two", "three"]).shuffle(seed=2),
}


def same(ours: Any, expected: Any) -> None:
    """Whether elements are equal bit for bit, with their dtypes and structure."""
    if isinstance(expected, dict):
        assert ours.keys() == expected.keys()
        for key, part in expected.items():
            same(ours[key], part)
    elif isinstance(expected, tuple):
        assert len(ours) == len(expected)
        for part, other in zip(ours, expected, strict=True):
            same(part, other)
    else:
        ours, expected = np.asarray(ours), np.asarray(expected)
        assert (ours.dtype, ours.shape) == (expected.dtype, expected.shape)
        assert ours.tobytes() == expected.tobytes()


def all_same(ours: Any, expected: Any) -> None:
    ours, expected = list(ours), list(expected)
    assert len(ours) == len(expected) > 0
    for element, other in zip(ours, expected, strict=True):
        same(element, other)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_a_source_is_the_first_epoch_by_index(plan: Any) -> None:
    ours = source(plan())
    assert isinstance(ours, grain.sources.RandomAccessDataSource)
    elements = list(plan().as_numpy_iterator())
    assert len(ours) == len(elements)
    all_same((ours[at] for at in range(len(ours))), elements)
    all_same(grain.MapDataset.source(ours), elements)
    all_same(grain.MapDataset.source(ours).to_iter_dataset(), elements)
    few = grain.ReadOptions(num_threads=2, prefetch_buffer_size=3)
    all_same(grain.MapDataset.source(ours).to_iter_dataset(few), elements)


@pytest.mark.parametrize("plan", ["shuffled", "batches", "numbers"])
def test_several_elements_are_gathered_together(plan: str) -> None:
    # Grain 0.2.18 has this way, and takes it only in an experiment that its wheels leave out.
    ours = grain.MapDataset.source(source(PLANS[plan]()))
    elements = list(PLANS[plan]().as_numpy_iterator())
    indices = [5, 0, 2, 2, len(elements) + 1]
    all_same(ours._getitems(indices), [elements[at % len(elements)] for at in indices])


def test_the_batched_path_does_not_read_one_by_one(monkeypatch) -> None:
    from grain._src.python.dataset.transformations import batch

    monkeypatch.setattr(batch, "_is_batch_map_pushdown_experiment_enabled", lambda: True)

    def refused(self: Any, at: Any) -> Any:
        raise AssertionError("rows of a batch were read one by one")

    monkeypatch.setattr(Source, "__getitem__", refused)
    ours = grain.MapDataset.source(source(rows())).batch(4)
    assert np.concatenate([each["x"] for each in ours]).tobytes() == X.tobytes()


def test_transformations_of_grain_give_what_they_give_over_an_array() -> None:
    def pipeline(data: Any) -> Any:
        made = grain.MapDataset.source(data).seed(5).shuffle()[1::2].map(lambda row: row * 2)
        return made.batch(4, drop_remainder=True).repeat(2).to_iter_dataset()

    all_same(pipeline(source(tfy.Dataset.from_tensor_slices(X))), pipeline(X))


@pytest.mark.slow
def test_worker_processes_read_the_same_elements_in_the_same_order(tmp_path) -> None:
    np.save(tmp_path / "x.npy", X)
    plan = tfy.Dataset.from_files(tmp_path / "x.npy").shuffle(seed=3).batch(4)
    made = grain.MapDataset.source(source(plan)).to_iter_dataset()
    two = made.mp_prefetch(grain.MultiprocessingOptions(num_workers=2))
    all_same(two, plan.as_numpy_iterator())


def test_an_iterator_of_grain_resumes() -> None:
    made = grain.MapDataset.source(source(PLANS["batches"]())).to_iter_dataset()
    iterator = iter(made)
    next(iterator)
    state, rest = iterator.get_state(), list(iterator)
    resumed = iter(grain.MapDataset.source(source(PLANS["batches"]())).to_iter_dataset())
    resumed.set_state(state)
    all_same(resumed, rest)


def loader(plan: tfy.Dataset, workers: int) -> grain.DataLoader:
    sampler = grain.samplers.IndexSampler(
        len(plan), grain.sharding.NoSharding(), shuffle=False, num_epochs=1
    )
    return grain.DataLoader(data_source=source(plan), sampler=sampler, worker_count=workers)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_data_loader_reads_and_resumes(workers: int) -> None:
    plan = PLANS["batches"]()
    elements = list(plan.as_numpy_iterator())
    iterator = iter(loader(plan, workers))
    seen = [next(iterator) for _ in range(3)]
    state = iterator.get_state()
    assert b"shuffle(seed=3)" in state
    del iterator
    resumed = iter(loader(PLANS["batches"](), workers))
    resumed.set_state(state)
    all_same([*seen, *resumed], elements)


def test_a_pickle_holds_the_plan_and_not_the_rows(tmp_path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((10_000, 64), np.float32))
    plan = tfy.Dataset.from_files(tmp_path / "x.npy").shuffle(seed=3).for_rank(1, 3).batch(32)
    sent = pickle.dumps(source(plan))
    assert len(sent) < 1024
    assert repr(pickle.loads(sent)) == repr(source(plan))
    all_same([pickle.loads(sent)[0]], [source(plan)[0]])


def test_an_index_has_to_exist() -> None:
    with pytest.raises(IndexError, match="30 elements"):
        source(rows())[N]
    with pytest.raises(errors.InvalidTypeError, match="the index has to be a whole number"):
        source(rows())["x"]


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        (X, errors.InvalidTypeError, "source: dataset has to be a tensorferry.Dataset"),
        (rows().repeat(), errors.InvalidArgumentError, r"infinite. Take a part of it with take"),
        (
            rows().with_format("numpy").filter(lambda row: True),
            errors.InvalidArgumentError,
            r"no random access .* save\(\) it",
        ),
    ],
    ids=["array", "infinite", "stream"],
)
def test_what_grain_could_not_read_by_index_is_refused(wrong, kind, message) -> None:
    with pytest.raises(kind, match=message):
        source(wrong)


def test_the_example_of_the_documentation_runs() -> None:
    found = doctest.testmod(tensorferry.grain)
    assert found.failed == 0 < found.attempted
