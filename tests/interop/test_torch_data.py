"""PyTorch's ``DataLoader`` and torchdata's ``StatefulDataLoader`` over datasets."""

from __future__ import annotations

import os
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry import errors

if os.environ.get("TENSORFERRY_FRAMEWORKS") != "all":
    pytest.importorskip("torch", reason="make test FRAMEWORKS=all installs PyTorch")

import torch
from tensorferry.torch import IterableDataset
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

X, Y = np.arange(120, dtype=np.float32).reshape(40, 3), np.arange(40)
WORKERS = [(0, None), (2, "spawn"), (3, "fork"), (2, "forkserver")]


def rows() -> tfy.Dataset:
    return tfy.Dataset.from_tensor_slices((X, Y)).with_format("torch")


def reference() -> Any:
    return data.TensorDataset(torch.from_numpy(X.copy()), torch.from_numpy(Y.copy()))


def listed(loader: Any) -> list[Any]:
    return [[part.tolist() for part in batch] for batch in loader]


def loader(dataset: Any, workers: int = 0, method: str | None = None, **options: Any) -> Any:
    return data.DataLoader(dataset, num_workers=workers, multiprocessing_context=method, **options)


SAMPLERS = {
    "in order": lambda d: {"batch_size": 7},
    "dropped": lambda d: {"batch_size": 7, "drop_last": True},
    "one by one": lambda d: {"batch_size": None},
    "shuffled": lambda d: {
        "batch_size": 7,
        "shuffle": True,
        "generator": torch.Generator().manual_seed(3),
    },
    "random sampler": lambda d: {
        "batch_size": 4,
        "sampler": data.RandomSampler(
            d, replacement=True, num_samples=25, generator=torch.Generator().manual_seed(1)
        ),
    },
    "weighted": lambda d: {
        "batch_size": 4,
        "sampler": data.WeightedRandomSampler(
            tfy.balanced_weights(Y % 3 == 0), 30, generator=torch.Generator().manual_seed(1)
        ),
    },
    "batch sampler": lambda d: {
        "batch_sampler": data.BatchSampler(data.SequentialSampler(d), 9, drop_last=False)
    },
    "distributed": lambda d: {
        "batch_size": 5,
        "sampler": data.distributed.DistributedSampler(d, num_replicas=3, rank=1, seed=4),
    },
    "subset": lambda d: {"batch_size": 3, "sampler": data.SubsetRandomSampler([5, 1, 9])},
}


@pytest.mark.parametrize("options", SAMPLERS.values(), ids=SAMPLERS)
def test_a_map_style_dataset_yields_what_a_tensor_dataset_does(options: Any) -> None:
    torch.manual_seed(5)
    expected = listed_any(loader(reference(), **options(reference())))
    torch.manual_seed(5)
    assert listed_any(loader(rows(), **options(rows()))) == expected


def listed_any(batches: Any) -> list[Any]:
    return [[np.asarray(part).tolist() for part in batch] for batch in batches]


@pytest.mark.parametrize(("workers", "method"), WORKERS, ids=str)
def test_workers_share_a_map_style_dataset(workers: int, method: str | None) -> None:
    options = {"batch_size": 7, "persistent_workers": workers > 0}
    ours = loader(rows(), workers, method, **options)
    for _ in range(2):
        assert listed(ours) == listed(loader(reference(), batch_size=7))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_of_pytorch_without_a_format_too(workers: int) -> None:
    dataset = tfy.Dataset.from_tensor_slices((X, Y))
    ours = loader(dataset, workers, "spawn" if workers else None, batch_size=7)
    assert listed(ours) == listed(loader(reference(), batch_size=7))
    parts = loader(data.Subset(dataset, [3, 1]), batch_size=2)
    assert [batch[1].tolist() for batch in parts] == [[3, 1]]


def test_elements_are_collated_whatever_their_structure() -> None:
    dataset = tfy.Dataset.from_tensor_slices({"x": X, "y": (Y, Y + 1)}).with_format("torch")
    batch = next(iter(loader(dataset, batch_size=4)))
    assert batch["x"].tolist() == X[:4].tolist()
    assert [part.tolist() for part in batch["y"]] == [[0, 1, 2, 3], [1, 2, 3, 4]]
    assert batch["x"].dtype == torch.float32
    batch["x"] += 1  # memory of its own
    assert dataset[0]["x"].tolist() == X[0].tolist()


def test_the_order_of_an_indexed_shuffle_is_that_of_set_epoch() -> None:
    shuffled = rows().shuffle(seed=3)
    orders = []
    for epoch in range(2):
        shuffled.set_epoch(epoch)
        orders.append([y for _, y in listed(loader(shuffled, 2, "fork", batch_size=None))])
    expected = tfy.Dataset.range(40).shuffle(seed=3).with_format("numpy")
    assert orders == [[int(y) for y in expected] for _ in range(2)]


def test_a_dataset_without_random_access_names_the_way() -> None:
    kept = rows().filter(lambda x, y: y > 1)
    with pytest.raises(TypeError, match=r"tensorferry\.torch\.IterableDataset"):
        next(iter(loader(kept, batch_size=4)))


def keeps(x: Any, y: Any) -> Any:
    return y % 3 != 1


PLANS = {
    "batches": lambda: rows().batch(7),
    "shuffled": lambda: rows().shuffle(seed=2).batch(7),
    "filtered": lambda: rows().filter(keeps, batched=True).batch(4),
    "fewer than workers": lambda: rows().batch(40),
    "none": lambda: rows().take(0).batch(4),
}


@pytest.mark.parametrize(("workers", "method"), [WORKERS[0], WORKERS[2]], ids=str)
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_workers_yield_the_batches_of_one_process_in_order(plan, workers, method) -> None:
    stream = IterableDataset(plan())
    for epoch in range(2):
        stream.set_epoch(epoch)
        plain = plan()
        plain.set_epoch(epoch)
        assert listed(loader(stream, workers, method, batch_size=None)) == listed(plain)


def test_persistent_workers_follow_set_epoch() -> None:
    stream = IterableDataset(rows().shuffle(seed=2).batch(7))
    ours = loader(stream, 2, "fork", batch_size=None, persistent_workers=True)
    for epoch in (0, 5, 1):
        stream.set_epoch(epoch)
        plain = PLANS["shuffled"]()
        plain.set_epoch(epoch)
        assert listed(ours) == listed(plain)


def test_passes_without_workers_count_epochs_from_the_one_that_was_set() -> None:
    stream, plain = IterableDataset(PLANS["shuffled"]()), PLANS["shuffled"]()
    ours = loader(stream, batch_size=None)
    assert [listed(ours) for _ in range(2)] == [listed(plain) for _ in range(2)]
    stream.set_epoch(0)
    plain.set_epoch(0)
    assert [listed(ours) for _ in range(2)] == [listed(plain) for _ in range(2)]
    assert len(ours) == len(plain) == 6
    with pytest.raises(errors.InvalidArgumentError, match="at least 0"):
        stream.set_epoch(-1)
    with pytest.raises(errors.InvalidTypeError, match=r"tensorferry\.Dataset"):
        IterableDataset(reference())


def test_a_pickle_keeps_the_epoch() -> None:
    stream = IterableDataset(PLANS["shuffled"]())
    stream.set_epoch(3)
    expected = PLANS["shuffled"]()
    expected.set_epoch(3)
    assert listed(pickle.loads(pickle.dumps(stream))) == listed(expected)


def test_workers_without_set_epoch_warn() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        info = torch.utils.data._utils.worker
        info._worker_info = info.WorkerInfo(id=0, num_workers=2, seed=0, dataset=None)
        try:
            iter(IterableDataset(PLANS["shuffled"]()))
            iter(IterableDataset(PLANS["batches"]()))
        finally:
            info._worker_info = None
    assert len([w for w in caught if "set_epoch" in str(w.message)]) == 1


@pytest.mark.parametrize(("workers", "method"), [(0, None), (2, "fork")], ids=str)
@pytest.mark.parametrize("plan", ["shuffled", "filtered"])
def test_a_stateful_loader_resumes_at_every_batch(plan, workers, method) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def made() -> Any:
        stream = IterableDataset(PLANS[plan]())
        stream.set_epoch(1)
        return stateful.StatefulDataLoader(
            stream, batch_size=None, num_workers=workers, multiprocessing_context=method
        )

    expected = listed(made())
    for position in range(0, len(expected), 1 if workers == 0 else 2):
        begun = made()
        iterator = iter(begun)
        seen = [[part.tolist() for part in next(iterator)] for _ in range(position)]
        state = pickle.loads(pickle.dumps(begun.state_dict()))
        del iterator
        resumed = made()
        resumed.load_state_dict(state)
        assert seen + listed(resumed) == expected
