"""``map(workers="processes")``: elements that workers read, and the lifetime of workers."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import pickle
import random
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest
import tensorferry as tfy
from tensorferry.dataset._workers import payload, pool
from tensorferry.dataset._workers.process import Worker

from tests.dataset.test_process_map import SCALAR, mapped, numbers, script, values
from tests.support import slow_functions

LARGE = tfy.TensorSpec((20_000,), "float64")


def in_order(data, function, spec=SCALAR):
    return data.map(function, output_signature=spec)


def squares() -> Any:
    return tfy.Dataset.from_tensor_slices(np.arange(40) ** 2).with_format("numpy")


#: What comes before and after the map.
PLANS = {
    "range": (numbers, lambda data: data),
    "shuffled": (lambda: numbers(23).shuffle(23, seed=4), lambda data: data),
    "drawn": (lambda: squares().shuffle(40).shuffle(40), lambda data: data),
    "parts": (lambda: squares().shuffle(40, seed=1).skip(3).shard(2, 1), lambda data: data.skip(1)),
    "rounds": (lambda: numbers(7).shuffle(7, seed=3), lambda data: data.repeat(3).enumerate()),
    "later": (squares, lambda data: data.shuffle(40, seed=2).batch(3)),
    "batches": (squares, lambda data: data.batch(4).shuffle(10, seed=2)),
    "blocks": (lambda: squares().shuffle(12, seed=2, block=4), lambda data: data),
    "cached": (lambda: squares().cache(), lambda data: data),
    "stream": (lambda: squares().filter(lambda x: int(x) % 2 == 0), lambda data: data.batch(2)),
}


@pytest.mark.parametrize("name", PLANS)
def test_elements_and_states_are_those_of_one_call_at_a_time(name) -> None:
    before, after = PLANS[name]
    source = before()
    here, there = (after(make(source, slow_functions.quick)) for make in (in_order, mapped))
    for epoch in range(2):
        here.set_epoch(epoch)
        expected = [repr(x) for x in here]
        there.set_epoch(epoch)
        assert [repr(x) for x in there] == expected
        for position in range(0, len(expected) + 1, 3):
            there.set_epoch(epoch)
            saving = iter(there)
            assert [repr(x) for x in itertools.islice(saving, position)] == expected[:position]
            state = saving.state_dict()
            assert [repr(x) for x in saving] == expected[position:]
            resumed = iter(there)
            resumed.load_state_dict(state)
            assert [repr(x) for x in resumed] == expected[position:]


def test_a_plan_that_draws_seeds_resumes_with_those_of_the_state() -> None:
    def plan() -> Any:
        return mapped(squares().shuffle(40), slow_functions.quick)

    first, second = plan(), plan()
    assert len(values(second)) == 40  # its workers have a seed of their own
    saving = iter(first)
    begun = values(itertools.islice(saving, 5))
    resumed = iter(second)
    resumed.load_state_dict(saving.state_dict())
    rest = values(resumed)
    assert rest == values(saving)
    assert sorted(begun + rest) == sorted(values(squares().map(slow_functions.quick)))
    # Later passes follow the one that was resumed.
    first.set_epoch(5)
    second.set_epoch(5)
    assert values(first) == values(second)


def test_workers_read_the_elements_of_plans_that_can_travel(monkeypatch) -> None:
    asked = []
    read = Worker.read

    def spy(self, epoch, seeds, indices):
        asked.append((epoch, len(indices)))
        return read(self, epoch, seeds, indices)

    monkeypatch.setattr(Worker, "read", spy)
    data = mapped(numbers(2000).shuffle(2000, seed=1), slow_functions.quick)
    for _ in range(2):
        assert sorted(values(data)) == [3 * i for i in range(2000)]
    assert {epoch for epoch, _ in asked} == {0, 1}
    assert sum(count for _, count in asked) == 4000
    assert len(asked) < 1000  # several in a message
    asked.clear()
    heavy = np.zeros((payload.MOST_BYTES // 800 + 1, 100))
    for source in (
        tfy.Dataset.from_tensor_slices(heavy).with_format("numpy").take(50),
        numbers(50).cache(),
        numbers(50).map(lambda x: x),
        numbers(50).filter(lambda x: True),
    ):
        assert len(values(mapped(source, slow_functions.first, 2))) == 50
    assert asked == []


def test_a_file_that_workers_cannot_open_is_read_here(tmp_path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.arange(30))
    data = tfy.Dataset.from_tensor_slices(np.load(path, mmap_mode="r")).with_format("numpy")
    data = mapped(data, slow_functions.quick)
    path.unlink()
    assert values(data) == [3 * i for i in range(30)]


def test_exceptions_in_a_message_are_at_their_elements() -> None:
    data = mapped(numbers(400), slow_functions.fails_at_hundreds)
    for _ in range(2):
        pass_, found = iter(data), []
        for i in range(400):
            if i % 100 == 99:
                with pytest.raises(LookupError, match=f"no {i}") as raised:
                    next(pass_)
                assert f"in map, at its element {i}" in raised.value.__notes__[0]
                assert len(raised.value.__notes__) == 1
                assert "in fails_at_hundreds" in str(raised.value.__cause__)
            else:
                found.append(int(next(pass_)))
        assert found == [i for i in range(400) if i % 100 != 99]
        assert next(pass_, None) is None


def test_results_of_different_shapes_and_large_ones() -> None:
    ragged = mapped(numbers(60), slow_functions.as_many, spec=tfy.TensorSpec((None,), "int64"))
    assert values(ragged) == [[i] * (i % 5) for i in range(60)]
    kept = list(mapped(numbers(60), slow_functions.large, spec=LARGE))
    assert all(np.array_equal(row, np.full(20_000, float(i))) for i, row in enumerate(kept))
    assert values(mapped(numbers(0), slow_functions.quick)) == []


def test_batches_are_read_by_workers_too() -> None:
    def plan(**options: Any) -> Any:
        return squares().map(
            slow_functions.quick, output_signature=SCALAR, batched=True, batch_size=6, **options
        )

    there = plan(num_parallel_calls=2, workers="processes")
    for _ in range(2):
        assert values(there) == values(plan())
    short = squares().map(
        slow_functions.first_half, 2, output_signature=SCALAR, workers="processes", batched=True
    )
    with pytest.raises(ValueError, match="returned 20 rows for a batch of 40"):
        next(iter(short))


def test_workers_serve_one_iteration_after_another() -> None:
    data = mapped(numbers(30), slow_functions.process, 2)
    pids = [set(values(data)) for _ in range(3)]
    assert len(set().union(*pids)) <= 2
    assert values(pickle.loads(pickle.dumps(data))) != []
    two = [iter(data), iter(data)]
    assert len([int(next(pass_)) for pass_ in two]) == 2


def test_idle_workers_end(monkeypatch) -> None:
    monkeypatch.setattr(pool, "IDLE", 0.1)
    data = mapped(numbers(10), slow_functions.process, 1)
    (pid,) = set(values(data))
    for _ in range(3000):
        if not _exists(pid):
            break
        time.sleep(0.02)
    assert not _exists(pid)
    assert set(values(data)) != {pid}


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_that_was_killed_while_idle_is_replaced(caplog) -> None:
    data = mapped(numbers(10), slow_functions.process, 1)
    (pid,) = set(values(data))
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    with caplog.at_level(logging.WARNING, "tensorferry"):
        assert pid not in values(data)
    assert caplog.records == []


def test_a_worker_that_exits_is_an_error() -> None:
    for function in (slow_functions.exits, slow_functions.leaves):
        pass_ = iter(mapped(numbers(6), function, 2))
        assert values(itertools.islice(pass_, 3)) == [0, 1, 2]
        with pytest.raises((RuntimeError, SystemExit)):
            next(pass_)
        assert values(pass_) == [4, 5]


@pytest.mark.parametrize("seed", range(2))
def test_workers_that_are_killed_at_any_moment_lose_nothing(seed) -> None:
    draw = random.Random(seed)
    data = mapped(numbers(300), slow_functions.short, 2)
    files = len(os.listdir("/proc/self/fd"))
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(draw.random() / 4):
            for own in data_pools():
                for worker in [*own.busy, *(idle for idle, _ in own.idle)]:
                    if draw.random() < 0.5:
                        worker.process.kill()

    def data_pools() -> list[Any]:
        return [own for made in list(pool._pools) for own in made._owned.values()]

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        pass_, found = iter(data), []
        while True:
            try:
                found.append(int(next(pass_)))
            except StopIteration:
                break
            except RuntimeError as error:  # for one element, two workers were killed
                found.append(3 * len(found) if "for the same element" in str(error) else error)
    finally:
        ended.set()
        killer.join()
    assert found == [3 * i for i in range(300)]
    del pass_, data
    gc.collect()
    for _ in range(3000):
        if len(os.listdir("/proc/self/fd")) <= files + 2:
            break
        time.sleep(0.02)
    assert len(os.listdir("/proc/self/fd")) <= files + 2


def test_a_forked_child_leaves_idle_workers_alone() -> None:
    script("""
    import warnings
    warnings.simplefilter("ignore")
    data = numbers.take(20).map(slow_functions.process, 1, output_signature=scalar,
                                workers="processes")
    pid, = {int(x) for x in data}
    child = os.fork()
    if child == 0:
        theirs = {int(x) for x in data}
        del data
        gc.collect()
        os._exit(0 if pid not in theirs else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert {int(x) for x in data} == {pid}
    child = os.fork()
    if child == 0:
        sys.exit(0)  # runs what ends workers at the exit
    assert os.waitpid(child, 0)[1] == 0
    assert {int(x) for x in data} == {pid}
    """)
