"""``tensorferry.torch.Sampler``: map-style datasets in the order of a plan, resumed anywhere."""

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
    pytest.importorskip("torch", reason="make test FRAMEWORKS=all installs PyTorch")

import tensorferry.torch
import torch
from tensorferry.torch import Sampler
from torch.utils import data

# The tests fork beside threads of other libraries. Python 3.12 warns of that.
pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),
    pytest.mark.filterwarnings(
        "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"
    ),
]

N, BATCH = 23, 4
ROWS = data.TensorDataset(torch.arange(N) * 10)


def order() -> tfy.Dataset:
    return tfy.Dataset.range(N).shuffle(seed=5)


def epochs(count: int, dataset: tfy.Dataset | None = None) -> list[list[int]]:
    """The order of each of the first epochs, from the dataset alone."""
    plain = (dataset or order()).with_format("numpy")
    return [[int(x) for x in plain] for _ in range(count)]


def batches(rows: list[int], size: int = BATCH) -> list[list[int]]:
    return [[10 * row for row in rows[at : at + size]] for at in range(0, len(rows), size)]


def loader(sampler: Sampler, workers: int = 0, kind: Any = data.DataLoader) -> Any:
    method = "fork" if workers else None
    return kind(
        ROWS,
        batch_size=BATCH,
        sampler=sampler,
        num_workers=workers,
        multiprocessing_context=method,
    )


def listed(batches: Any) -> list[list[int]]:
    return [batch[0].tolist() for batch in batches]


@pytest.mark.parametrize("workers", [0, 2])
def test_each_pass_is_the_next_epoch_of_the_order(workers: int) -> None:
    sampler = Sampler(order())
    assert len(sampler) == N
    assert len(loader(sampler)) == 6
    ours = loader(sampler, workers)
    assert [listed(ours) for _ in range(3)] == [batches(rows) for rows in epochs(3)]
    sampler.set_epoch(1)
    assert [listed(ours) for _ in range(2)] == [batches(rows) for rows in epochs(3)[1:]]


@pytest.mark.parametrize("workers", [0, 2])
def test_one_by_one_without_batches(workers: int) -> None:
    sampler = Sampler(order())
    ours = data.DataLoader(ROWS, batch_size=None, sampler=sampler, num_workers=workers)
    assert [[int(row) for (row,) in ours] for _ in range(2)] == [
        [10 * row for row in rows] for rows in epochs(2)
    ]


def test_ranks_read_their_parts_and_resume_on_another_number() -> None:
    seen: list[int] = []
    states = []
    for rank in range(3):
        sampler = Sampler(order().for_rank(rank, 3))
        assert len(sampler) == len(range(rank, N, 3))
        iterator = iter(loader(sampler))
        seen += next(iterator)[0].tolist()
        states.append(sampler.state_dict())
    for rank in range(2):
        sampler = Sampler(order().for_rank(rank, 2))
        sampler.load_state_dict(states)
        seen += [row for batch in listed(loader(sampler)) for row in batch]
    assert sorted(seen) == [10 * row for row in range(N)]


def test_a_state_resumes_a_plain_loader_at_every_batch() -> None:
    expected = [batches(rows) for rows in epochs(2)]
    for position in range(7):
        sampler = Sampler(order())
        iterator = iter(loader(sampler))
        seen = [next(iterator)[0].tolist() for _ in range(position)]
        state = pickle.loads(pickle.dumps(sampler.state_dict()))
        resumed = Sampler(order())
        resumed.load_state_dict(state)
        assert resumed.state_dict() == state
        resumed.set_epoch(0)  # as a training loop does before it resumes this epoch
        ours = loader(resumed)
        assert [seen + listed(ours), listed(ours)] == expected


def test_workers_take_indices_ahead_and_the_position_says_how_many_are_done() -> None:
    sampler = Sampler(order())
    iterator = iter(loader(sampler, 2))
    seen = [next(iterator)[0].tolist() for _ in range(2)]
    assert sampler.state_dict()["position"] > 2 * BATCH
    state = sampler.state_dict(position=2 * BATCH)
    del iterator
    resumed = Sampler(order())
    resumed.load_state_dict(state)
    assert seen + listed(loader(resumed, 2)) == batches(epochs(1)[0])


def test_another_epoch_drops_the_position_of_a_state() -> None:
    sampler = Sampler(order())
    iterator = iter(sampler)
    for _ in range(5):
        next(iterator)
    resumed = Sampler(order())
    resumed.load_state_dict(sampler.state_dict())
    resumed.set_epoch(1)
    assert list(resumed) == epochs(2)[1]


def test_the_state_before_a_pass_is_its_start_and_counts_no_epoch() -> None:
    sampler = Sampler(order())
    assert list(sampler) == epochs(1)[0]
    begun = iter(sampler)
    state = sampler.state_dict()
    assert (state["epoch"], state["position"]) == (1, 0)
    assert [next(begun)] == epochs(2)[1][:1]
    resumed = Sampler(order())
    resumed.load_state_dict(state)
    assert list(resumed) == epochs(2)[1]


@pytest.mark.parametrize("batch_size", [BATCH, None], ids=str)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_loader_resumes_at_every_batch_and_after_an_epoch(workers, batch_size) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def made() -> Any:
        return stateful.StatefulDataLoader(
            ROWS,
            batch_size=batch_size,
            sampler=Sampler(order()),
            num_workers=workers,
            multiprocessing_context="fork" if workers else None,
        )

    def rows(batches: Any) -> list[int]:
        return [row for batch in batches for row in np.atleast_1d(batch[0].numpy()).tolist()]

    expected = [[10 * row for row in rows] for rows in epochs(3)]
    steps = len(made())
    # The last is after the end. A loader with workers takes a second to start.
    positions = range(steps + 2) if workers == 0 else (0, 1, steps // 2, steps, steps + 1)
    for position in positions:
        begun = made()
        iterator = iter(begun)
        seen = rows(batch for _, batch in zip(range(position), iterator, strict=False))
        if position > steps:
            assert next(iterator, None) is None
        state = pickle.loads(pickle.dumps(begun.state_dict()))
        del iterator
        resumed = made()
        resumed.load_state_dict(state)
        if position <= steps:
            assert seen + rows(resumed) == expected[0]
        assert [rows(resumed), rows(resumed)] == expected[1:]


def test_a_sampler_travels_by_pickle_with_its_epoch() -> None:
    sampler = Sampler(order())
    list(sampler)
    sampler = pickle.loads(pickle.dumps(Sampler(sampler._order)))
    assert list(sampler) == epochs(2)[1]


STREAM = tfy.Dataset.range(N).with_format("numpy").filter(lambda x: x % 2 == 0)


def test_a_stream_of_indices_is_an_order_without_a_length() -> None:
    sampler = Sampler(STREAM)
    assert list(sampler) == list(range(0, N, 2))
    with pytest.raises(TypeError, match=r"no len\(\)"):
        len(sampler)


@pytest.mark.parametrize(
    "wrong",
    [
        [1, 2],
        tfy.Dataset.range(4).batch(2),
        tfy.Dataset.from_tensor_slices([1.5]),
        tfy.Dataset.from_tensor_slices(["a"]),
        tfy.Dataset.from_tensor_slices(([1], [2])),
    ],
    ids=["a list", "batches", "floats", "strings", "pairs"],
)
def test_an_order_is_a_dataset_of_integers(wrong: Any) -> None:
    with pytest.raises(errors.InvalidTypeError, match=r"^Sampler: "):
        Sampler(wrong)


def test_a_state_of_another_order_is_refused_at_once() -> None:
    sampler = Sampler(order())
    with pytest.raises(errors.InvalidArgumentError, match="another plan"):
        Sampler(order().take(3)).load_state_dict(sampler.state_dict())
    with pytest.raises(errors.InvalidArgumentError, match="at least 0"):
        sampler.state_dict(position=-1)
    with pytest.raises(errors.InvalidArgumentError, match="at least 0"):
        sampler.set_epoch(-1)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_is_read_in_that_order_one_gather_for_each_batch(workers, monkeypatch) -> None:
    rows = tfy.Dataset.from_tensor_slices(np.arange(N) * 10).with_format("torch")

    def refused(self: Any, at: Any) -> Any:
        raise AssertionError("a batch of indices was not asked for together")

    monkeypatch.setattr(tfy.Dataset, "__getitem__", refused)
    ours = data.DataLoader(rows, batch_size=BATCH, sampler=Sampler(order()), num_workers=workers)
    assert [batch.tolist() for batch in ours] == batches(epochs(1)[0])


def test_the_examples_of_the_documentation_run() -> None:
    found = doctest.testmod(tensorferry.torch)
    assert found.failed == 0 < found.attempted
