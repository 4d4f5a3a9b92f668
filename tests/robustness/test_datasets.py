"""Datasets under adverse conditions: dropped iterators, interpreter exit, forks, threads, errors
and memory.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import traceback

import numpy as np
import pytest
import tensorferry as tfy

from tests.support.processes import COUNTING, PROGRAM, program

# An interpreter that ends slowly, while other threads return to it.
ENDS_SLOWLY = """
class Lingers:
    def __del__(self, sleep=time.sleep):
        sleep({seconds})

sys.lingers = Lingers()
"""


@pytest.mark.parametrize(
    ("function", "end"), [(0.05, 0.5), (1.3, 1.5)], ids=["that returns", "that continues"]
)
def test_an_interpreter_ends_while_threads_are_in_a_function(function, end):
    out = program(
        ENDS_SLOWLY.format(seconds=end)
        + f"""
def function(x):
    time.sleep({function} if x else 0)
    return x

def generator():
    for i in range(1000):
        yield function(i)

def consume(dataset):
    for _ in dataset:
        pass

mapped = iter(numbers.map(function, output_signature=scalar).prefetch(3))
filtered = iter(numbers.filter(lambda x: function(x) >= 0).prefetch(3))
generated = tfy.Dataset.from_generator(generator, output_signature=scalar)
generated = iter(generated.with_format("numpy").prefetch(3))
next(mapped), next(filtered), next(generated)
inline = numbers.map(function, output_signature=scalar)
for dataset in (inline, inline.prefetch(2), numbers.batch(10**6), numbers.repeat().unique()):
    threading.Thread(target=consume, args=(dataset,), daemon=True).start()
time.sleep(0.1)
print("main ends")
"""
    )
    assert out == "main ends\n"


def test_threads_end_when_their_iterator_is_dropped():
    """Dropped while a thread is in a function, with the GIL, in another thread, with and without a
    source to close.
    """
    program(
        """
def busy(x):
    sum(range(20_000))
    return x

closed = []

def generator():
    try:
        for i in range(10**9):
            yield i
    finally:
        closed.append(True)

datasets = [
    numbers.map(slow, output_signature=scalar).prefetch(3),
    numbers.map(busy, output_signature=scalar).prefetch(3),
    numbers.filter(lambda x: busy(x) >= 0).prefetch(3),
    tfy.Dataset.from_generator(generator, output_signature=scalar).with_format("numpy").prefetch(3),
    numbers.unique(),
    tfy.Dataset.from_tensor_slices(np.zeros((100, 1000)))
    .shuffle(seed=1)
    .repeat()
    .batch(64)
    .prefetch(4)
    .with_format("numpy"),
]
for dataset in datasets:
    for _ in range(5):
        iterator = iter(dataset)
        next(iterator)
        del iterator
        box = [iter(dataset)]
        next(box[0])
        thread = threading.Thread(target=box.clear)
        thread.start()
        thread.join()
assert settled(0), threads()
gc.collect()
for _ in range(6000):
    if len(closed) == 10:
        break
    time.sleep(0.01)  # objects dropped without the GIL are released later
assert len(closed) == 10, closed
"""
    )


def test_ten_thousand_iterators_leave_neither_threads_nor_memory():
    program(
        """
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

datasets = [
    tfy.Dataset.from_tensor_slices(np.zeros((100, 5000)))
    .shuffle(seed=1)
    .batch(8)
    .prefetch(2)
    .with_format("numpy"),
    numbers.map(lambda x: x, output_signature=scalar).prefetch(2),
    numbers.filter(lambda x: True).prefetch(2),
    numbers.unique(),
    numbers.repeat().shuffle(10),
]

def make(count):
    for dataset in datasets:
        for _ in range(count):
            iterator = iter(dataset)
            next(iterator), next(iterator), next(iterator)

make(100)
assert settled(0)
before = resident()
make(2000)
assert settled(0)
assert resident() - before < 16 << 20
"""
    )


def test_streaming_stays_within_its_memory_limit(tmp_path):
    path = tmp_path / "rows.npy"
    rows = np.lib.format.open_memmap(path, "w+", "float32", (1000, 1 << 16))
    rows[:] = 1
    rows.flush()
    del rows
    program(
        f"""
def anonymous():
    lines = [line for line in open("/proc/self/status") if line.startswith("RssAnon")]
    return int(lines[0].split()[1]) << 10

limit = 16 << 20
dataset = tfy.Dataset.from_npy({str(path)!r}).shuffle(seed=1).batch(4).repeat().prefetch(10**6)
dataset = dataset.with_format("numpy").with_options(tfy.Options(memory_limit=limit))
iterator = iter(dataset)
before = most = anonymous()
for _ in range(600):
    next(iterator)
    most = max(most, anonymous())
for _ in range(50):
    time.sleep(0.01)  # without requests, no more elements are made
    most = max(most, anonymous())
assert most - before < 2 * limit, (most - before) >> 20

made = []
def big(x):
    made.append(x)
    return np.full(1 << 17, x)
row = tfy.TensorSpec((1 << 17,), "int64")
streamed = numbers.map(big, output_signature=row).filter(lambda x: True).prefetch(10**6)
iterator = iter(streamed.with_options(tfy.Options(memory_limit=limit)))
next(iterator)
count = 0
while count != len(made):
    count = len(made)
    time.sleep(0.5)
assert 2 <= count <= 20, count
"""
    )


FORK = """
import warnings
warnings.simplefilter("ignore")

def in_child(work):
    \"\"\"What `work` returns in a forked process, or raises there.\"\"\"
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            answer = repr(work())
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    answer = open(read).read()
    assert os.waitpid(child, 0)[1] == 0
    return answer

rows = tfy.Dataset.from_tensor_slices(np.arange(200_000).reshape(200, 1000)).with_format("numpy")
few = tfy.Dataset.range(50).with_format("numpy")
indexed = [
    few.batch(2),
    rows.shuffle(seed=1).batch(4).prefetch(3),
    few.map(lambda x: x, output_signature=scalar).prefetch(3),
]
streamed = [
    few.filter(lambda x: True).prefetch(3),
    few.unique(),
    few.repeat(2).shuffle(5, seed=1).filter(lambda x: True).prefetch(2),
]
"""


def test_a_forked_process_iterates_anew_and_continues_indexed_plans():
    program(
        FORK
        + """
def listed(iterator):
    return [np.asarray(x).tolist() for x in iterator]

for dataset in indexed + streamed:
    dataset = (
        dataset.shuffle(seed=1, reshuffle_each_iteration=False)
        if dataset._plan.is_indexed
        else dataset
    )
    expected = listed(dataset)
    for _ in range(5):
        iterator = iter(dataset)
        start = [np.asarray(next(iterator)).tolist() for _ in range(3)]
        if not dataset._plan.depends_on_epoch:
            assert in_child(lambda: listed(dataset)) == repr(expected)
        went_on = in_child(lambda: listed(iterator))
        rest = listed(iterator)
        if dataset._plan.is_indexed:
            assert went_on == repr(rest)
        else:
            assert "forked" in went_on, went_on
        assert len(start) + len(rest) == len(expected)
"""
    )


SHARDS = '''
import warnings

warnings.simplefilter("ignore")
import torch

def half(x):
    return x / 2

class Rows(torch.utils.data.IterableDataset):
    """A dataset shared by the workers of a DataLoader: each batches its own shard."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        return iter(self.dataset.shard(worker.num_workers, worker.id).batch(4))

if __name__ == "__main__":
    path, context = sys.argv[1:]
    rows = tfy.Dataset.from_npy(path).with_format("torch").shuffle(seed=3).map(half)
    busy = iter(rows.batch(4).prefetch(2))
    next(busy)
    loader = torch.utils.data.DataLoader(
        Rows(rows), batch_size=None, num_workers=2, multiprocessing_context=context
    )
    for _ in range(2):
        got = torch.cat(list(loader))[:, 0]
        assert sorted(got.tolist()) == [float(x) for x in range(30)], got
'''


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_of_a_data_loader_share_a_dataset(torch, tmp_path, context):
    np.save(tmp_path / "rows.npy", np.arange(60, dtype=np.float32).reshape(30, 2))
    script = tmp_path / "loads.py"
    script.write_text(PROGRAM + SHARDS)
    subprocess.run(
        [sys.executable, script, tmp_path / "rows.npy", context], check=True, timeout=300
    )


def test_native_plans_release_the_gil():
    made = """
rows = (
    tfy.Dataset.from_tensor_slices(np.ones((1000, 10_000)))
    .with_format("numpy")
    .shuffle(seed=1)
    .repeat()
)
distinct = tfy.Dataset.range(10**6).with_format("numpy").unique()
batches = rows.batch(2000)
plans = {
    "inline": batches,
    "ahead": batches.prefetch(2),
    "cast": batches.cast("float32"),
    "stream": distinct,
}
iterators = {name: iter(plan) for name, plan in plans.items()}
"""
    program(
        made
        + COUNTING
        + """
counted = {}
for name, iterator in iterators.items():
    before = count
    # On a busy machine an element may be ready before the other thread is awake.
    for _ in range(10**5):
        next(iterator)
        if count > before:
            break
    counted[name] = count - before
stop = True
thread.join()
assert all(counted.values()), counted
"""
    )


def test_workers_prefetch_while_python_holds_the_gil():
    program(
        """
import ctypes

rows = (
    tfy.Dataset.from_tensor_slices(np.ones((100, 20_000)))
    .with_format("numpy")
    .shuffle(seed=1)
    .repeat()
)
iterator = iter(rows.batch(100).prefetch(8).with_options(tfy.Options(threads=2)))
for _ in range(4):
    next(iterator)

def worked():
    ticks = 0
    for task in os.listdir("/proc/self/task"):
        stat = open(f"/proc/self/task/{task}/stat").read().rsplit(")", 1)
        if stat[0].endswith("tensorferry"):
            ticks += int(stat[1].split()[11]) + int(stat[1].split()[12])
    return ticks

held = ctypes.PyDLL(None)  # calls keep the GIL
for _ in range(200):
    before = worked()
    for _ in range(9):
        next(iterator)
    held.usleep(100_000)
    if worked() > before:
        break
else:
    raise AssertionError("nothing was read ahead")
"""
    )


def test_a_state_can_be_saved_while_another_thread_iterates():
    dataset = tfy.Dataset.range(3000).with_format("numpy").filter(lambda x: True).prefetch(4)
    iterator, seen, states = iter(dataset), [], []

    def consume() -> None:
        seen.extend(int(x) for x in iterator)

    threads = [threading.Thread(target=consume) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        states.append(iterator.state_dict())
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(3000))
    for state in states[:: max(1, len(states) // 10)]:
        resumed = iter(dataset)
        resumed.load_state_dict(state)
        assert [int(x) for x in resumed] == list(range(state["position"], 3000))


class Wrong(Exception):
    pass


def fails(x):
    if x == 3:
        raise Wrong("three")
    return x


SIX = tfy.Dataset.range(6).with_format("numpy")
SCALAR = tfy.TensorSpec((), "int64")


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (SIX.map(fails, output_signature=SCALAR), [0, 1, 2, Wrong, 4, 5]),
        (SIX.map(fails, output_signature=SCALAR).prefetch(2), [0, 1, 2, Wrong, 4, 5]),
        (SIX.filter(lambda x: fails(x) >= 0), [0, 1, 2, Wrong, 4, 5]),
        (SIX.filter(lambda x: fails(x) >= 0).prefetch(2), [0, 1, 2, Wrong, 4, 5]),
        (SIX.map(fails, output_signature=SCALAR).batch(2), [[0, 1], Wrong, [4, 5]]),
        (SIX.filter(lambda x: fails(x) >= 0).batch(2), [[0, 1], Wrong, [4, 5]]),
        (SIX.filter(lambda x: fails(x) >= 0).batch(2).prefetch(1), [[0, 1], Wrong, [4, 5]]),
        (
            tfy.Dataset.zip(SIX.filter(lambda x: fails(x) >= 0), SIX).map(lambda a, b: a + b),
            [0, 2, 4, Wrong, 8, 10],
        ),
        (
            SIX.map(lambda x: x * 100, output_signature=SCALAR).cast("uint8").prefetch(2),
            [0, 100, 200] + [OverflowError] * 3,
        ),
        (
            SIX.interleave(
                lambda x: tfy.Dataset.from_tensors(fails(x)).with_format("numpy"), cycle_length=1
            ),
            [0, 1, 2, Wrong, 4, 5],
        ),
    ],
)
def test_an_error_comes_at_its_element_and_later_elements_are_right(dataset, expected):
    iterator, got, raised = iter(dataset), [], []
    while True:
        try:
            got.append(np.asarray(next(iterator)).tolist())
        except StopIteration:
            break
        except (Wrong, OverflowError) as error:
            raised.append(error)
            got.append(Wrong if isinstance(error, Wrong) else OverflowError)
    assert got == expected
    if isinstance(raised[0], Wrong):  # the original exception, from its original line
        assert [frame.name for frame in traceback.extract_tb(raised[0].__traceback__)][
            -1
        ] == "fails"
        assert "at its element 3" in raised[0].__notes__[0]
    else:
        assert str(raised[0]).startswith("cast: element 3: int64 -> uint8: 1 of 1")


def test_a_pending_error_in_a_state_keeps_its_class_and_message():
    dataset = (
        SIX.map(lambda x: x * 100, output_signature=SCALAR)
        .filter(lambda x: True)
        .cast("uint8")
        .prefetch(8)
    )
    iterator = iter(dataset)
    next(iterator)
    for _ in range(1000):
        if len((state := iterator.state_dict())["data"]) > 300:
            break  # it contains prefetched elements
    resumed, got = iter(dataset), []
    resumed.load_state_dict(state)
    assert [int(next(resumed)) for _ in range(2)] == [100, 200]
    for _ in range(3):
        with pytest.raises(OverflowError, match=r"cast: element [345]: int64 -> uint8: 1 of 1"):
            next(resumed)
    assert list(resumed) == got
