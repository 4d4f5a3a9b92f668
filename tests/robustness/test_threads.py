"""Many threads, threads of other runtimes, and forked processes."""

from __future__ import annotations

import gc
import multiprocessing
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorferry

from tests.support.arrays import same
from tests.support.processes import COUNTING, run_python


def test_many_threads_convert_and_drop():
    source = np.arange(300_000, dtype=np.int64)
    expected = source.astype(np.int32)

    def work(seed: int) -> bool:
        kept, random = [], np.random.default_rng(seed)
        for _ in range(20):
            tensor = tensorferry.tensor(source[: random.integers(1, source.size)], "int32")
            kept.append(tensor[:: int(random.integers(1, 5))])
            if len(kept) > 3:
                del kept[int(random.integers(len(kept)))]
            if not np.array_equal(tensor.numpy(), expected[: tensor.size]):
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))


def test_many_threads_share_one_array_and_the_last_one_releases_it(tf):
    array = tensorferry.empty((100_000,), "float32")
    array[:] = 1

    def work(_) -> float:
        tensor = tensorferry.convert_to_tensor(array, copy=False)
        return float(tf.reduce_sum(tensor))

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(200))) == {100_000.0}


def test_another_thread_runs_during_a_big_conversion():
    made = """
import numpy as np, tensorferry

source = np.ones(20_000_000, np.int64)
out = np.zeros(source.size, np.int32)
"""
    measured = """
        def counted_during(work, times=1000):
            before = count
            # On a busy machine the work may be done before the other thread is awake.
            for _ in range(times):
                work()
                if count > before:
                    break
            return count - before

        holds_the_gil = lambda: sum(range(100_000))
        assert counted_during(holds_the_gil, times=50) == 0
        results = {
            "convert_into": counted_during(lambda: tensorferry.convert_into(source, out)),
            "tensor": counted_during(lambda: tensorferry.tensor(source, "int32")),
            "copy": counted_during(lambda: tensorferry.tensor(source, copy=True)),
            "can_convert": counted_during(lambda: tensorferry.can_convert(source, "int8")),
            "value_range": counted_during(lambda: tensorferry.value_range(source)),
            "smallest_dtype": counted_during(lambda: tensorferry.smallest_dtype(source)),
        }
        stop = True
        thread.join()
        assert all(results.values()), results
        """
    run_python(made + COUNTING + textwrap.dedent(measured))


def test_tensors_dropped_by_tensorflows_threads(tf):
    array = tensorferry.empty((1000,), "int64")
    array[:] = np.arange(1000)

    def batches():
        for _ in range(50):
            yield tensorferry.convert_to_tensor(array, copy=False)

    data = tf.data.Dataset.from_generator(
        batches, output_signature=tf.TensorSpec((1000,), tf.int64)
    )
    data = data.map(lambda x: x + 1, num_parallel_calls=4).prefetch(4)
    for batch in data:
        same(batch.numpy(), np.arange(1, 1001))
    gc.collect()


def test_shared_tensors_dropped_in_another_thread():
    kept = [tensorferry.convert_to_tensor(np.frombuffer(bytes(8000), np.int64)) for _ in range(200)]
    thread = threading.Thread(target=kept.clear)
    thread.start()
    thread.join()
    gc.collect()
    assert not kept


def test_tensors_alive_at_exit():
    run_python(
        """
        import numpy as np, tensorflow as tf, tensorferry, threading
        array = tensorferry.empty((100_000,), "int64")
        array[:] = 1
        tensor = tensorferry.tensor(array, copy=False)
        shared = tensorferry.convert_to_tensor(array, copy=False)
        variable = tf.Variable(shared)
        view = memoryview(tensor)
        capsule = tensor.__dlpack__(copy=False)
        cycle = [shared]; cycle.append(cycle)
        def late():
            import time
            keep = tensorferry.tensor(array, copy=False)
            time.sleep(5)
        threading.Thread(target=late, daemon=True).start()
        """
    )


def _in_child(answers, source) -> None:
    tensor = tensorferry.tensor(source, "int32")
    answers.put(int(tensor.numpy().sum()))


@pytest.mark.slow
def test_a_fork_after_a_parallel_conversion_converts_in_the_child():
    out = run_python(
        """
        import multiprocessing, numpy as np, tensorferry, warnings
        warnings.simplefilter("ignore")
        def child(answers, source):
            answers.put(int(tensorferry.tensor(source, "int32").numpy().sum()))
        if __name__ == "__main__":
            source = np.ones(5_000_000, np.int64)
            tensorferry.tensor(source, "int32")
            context = multiprocessing.get_context("fork")
            answers = context.Queue()
            children = [context.Process(target=child, args=(answers, source)) for _ in range(3)]
            for process in children: process.start()
            print([answers.get(timeout=60) for _ in children])
            for process in children: process.join(60)
            print([process.exitcode for process in children])
        """
    )
    assert out.split("\n")[:2] == ["[5000000, 5000000, 5000000]", "[0, 0, 0]"]


@pytest.mark.slow
def test_a_spawned_process_receives_a_tensor_by_pickle():
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_in_child, args=(answers, tensorferry.tensor(np.ones(1000))))
    process.start()
    assert answers.get(timeout=120) == 1000
    process.join(60)
    assert process.exitcode == 0


def test_a_source_changed_by_another_thread_is_an_answer_or_an_exception():
    source = np.zeros(2_000_000, np.int64)
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            source[::1000] = 2**40
            source[::1000] = 0

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(20):
            try:
                tensorferry.tensor(source, "int32")
            except (OverflowError, ValueError) as error:
                assert error.code in ("values_do_not_fit", "source_changed")  # noqa: PT017
    finally:
        stop.set()
        thread.join()
