"""Running out of memory is a MemoryError that can be caught."""

from __future__ import annotations

import pytest
import tensorferry as tfy

from tests.support.processes import LIMITED, run_python

ENDLESS = """
    numbers = tfy.Dataset.range(10**12).with_format("numpy")
    stream = numbers.filter(lambda x: True)
    again = tfy.Dataset.range(10**9).repeat().with_format("numpy")
    rows = (
        tfy.Dataset.from_tensor_slices(np.zeros((4, MIB), np.uint8))
        .repeat()
        .with_format("numpy")
        .filter(lambda x: True)
    )
    # Plans that need more memory than there is.
    plans = {
        "shuffle": lambda: stream.shuffle(10**9),
        "shuffle rows": lambda: rows.shuffle(10**9),
        "shuffle endless": lambda: again.shuffle(10**9),
        "unique": lambda: again.unique().skip(10**9),
        "cache": lambda: stream.cache().skip(10**9),
        "window": lambda: stream.window(10**9),
        "window rows": lambda: rows.window(10**9),
        "group": lambda: numbers.group_by_window(lambda x: 0, lambda key, window: window, 10**9),
        "batch": lambda: numbers.batch(10**10),
        "batch of a stream": lambda: stream.batch(10**9),
        "batch rows": lambda: rows.batch(10**9),
        "rebatch": lambda: stream.batch(2).rebatch(10**9),
        "rebatch rows": lambda: rows.batch(2).rebatch(10**9),
        "tokens": lambda: (
            tfy.Dataset.token_windows(np.arange(10**6), 8)
            .with_format("numpy")
            .repeat()
            .batch(10**9)
        ),
        "sample": lambda: tfy.Dataset.sample_from_datasets([stream.shuffle(10**9), stream], seed=1),
        "choose": lambda: tfy.Dataset.choose_from_datasets(
            [stream.shuffle(10**9), stream], numbers.map(lambda x: x % 2)
        ),
        "padded": lambda: stream.padded_batch(10**9),
        "padded rows": lambda: rows.padded_batch(10**9),
        "one_hot": lambda: numbers.one_hot(2**31),
        "pad_to": lambda: numbers.batch(2).pad_to((2**31,)),
        "lookup": lambda: numbers.lookup(np.zeros((9, MIB), np.uint8)).batch(10**4),
        "list": lambda: again,
    }
"""


@pytest.mark.parametrize("kind", ["as", "data"])
@pytest.mark.parametrize(
    "name",
    [
        *(
            "shuffle",
            "shuffle rows",
            "shuffle endless",
            "unique",
            "cache",
            "window",
            "window rows",
            "group",
        ),
        *("rebatch", "rebatch rows", "tokens", "sample", "choose"),
        *(
            "batch",
            "batch of a stream",
            "batch rows",
            "padded",
            "padded rows",
            "one_hot",
            "pad_to",
            "lookup",
        ),
        pytest.param("list", marks=pytest.mark.slow),
    ],
)
def test_exhausted_memory_is_a_memory_error_that_can_be_caught(name, kind):
    code = """
    dataset, kept = plans[sys.argv[1]](), []
    limit(sys.argv[2], 48 * MIB)
    iterator = iter(dataset)
    try:
        for element in iterator:
            assert sys.argv[1] == "list", element
            kept.append(element)
    except MemoryError as error:
        found = error
    del dataset, kept, iterator
    # Memory is available again, once the iterator's thread has dropped its elements.
    import time
    batches = tfy.Dataset.range(100_000).with_format("numpy").batch(50_000)
    end = time.monotonic() + 60
    while True:
        try:
            assert [int(batch.sum()) for batch in batches] == [1249975000, 3749975000]
            break
        except MemoryError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
    print("caught", type(found).__mro__[-5:][0].__name__)
    """
    assert run_python(LIMITED + ENDLESS + code, name, kind, timeout=200).split()[0] == "caught"


@pytest.mark.parametrize("kind", ["as", "data"])
@pytest.mark.parametrize("what", ["shuffle", "shuffle numbers", "window", "group"])
def test_a_state_larger_than_memory_is_a_memory_error(what, kind):
    code = """
    rows = tfy.Dataset.from_tensor_slices(
        (np.arange(40 * MIB) % 251).astype(np.uint8).reshape(40, MIB)
    ).with_format("numpy")
    stream = (
        rows.enumerate()
        .map(lambda i, row: row, output_signature=tfy.TensorSpec((MIB,), "uint8"))
        .filter(lambda row: True)
    )
    plan = {
        "shuffle": lambda: stream.shuffle(40, seed=1),
        "shuffle numbers": lambda: (
            tfy.Dataset.range(10**8).with_format("numpy").repeat().shuffle(4 * MIB, seed=1)
        ),
        "unique": lambda: stream.map(
            lambda row: row, output_signature=tfy.TensorSpec((MIB,), "uint8")
        ).unique(),
        "window": lambda: stream.window(40, shift=1).flat_map(lambda window: window),
        "prefetch": lambda: stream.prefetch(40),
        "group": lambda: stream.group_by_window(
            lambda row: 0, lambda key, window: window, 50
        ).repeat(2),
    }[sys.argv[1]]()
    iterator = iter(plan)
    first = [np.array(next(iterator)) for _ in range(2)]
    limit(sys.argv[2], 20 * MIB)
    try:
        iterator.state_dict()
    except MemoryError:
        print("caught")
    before = len(first)
    second = next(iterator)  # and iteration continues
    resource.setrlimit(
        {"as": resource.RLIMIT_AS, "data": resource.RLIMIT_DATA}[sys.argv[2]], (-1, -1)
    )
    print(len(iterator.state_dict()["data"]) > MIB)
    """
    code = code.replace("limit(sys.argv[2], 20 * MIB)", "limit(sys.argv[2], 20 * MIB, most=-1)")
    assert run_python(LIMITED + code, what, kind).split() == ["caught", "True"]


@pytest.mark.parametrize("kind", ["as", "data"])
def test_an_element_larger_than_memory_is_not_saved(kind, tmp_path):
    code = """
    dataset, folder = plans["batch rows"](), Path(sys.argv[2]) / "saved"
    limit(sys.argv[1], 48 * MIB)
    try:
        dataset.save(folder)
    except MemoryError:
        assert not folder.exists()
        print("caught")
    """
    assert run_python(LIMITED + ENDLESS + code, kind, str(tmp_path)).split() == ["caught"]


@pytest.mark.parametrize("make", ["batch", "padded_batch", "window"])
def test_a_memory_error_of_a_function_ends_a_batch(make):
    """The elements after it would fail as well: the batch does not go on to ask for them."""

    def exhausted(x):
        raise MemoryError

    rows = tfy.Dataset.range(10**12).with_format("numpy")
    whole = getattr(rows.filter(exhausted), make)(10**9)
    with pytest.raises(MemoryError):
        next(iter(whole))


LISTS = {
    "ints": "[7] * n",
    "floats": "[0.5] * n",
    "bools": "[True] * (8 * n)",
    "mixed": "[1, 2.5] * (n // 2)",
    "objects": "np.full(n, 7, object)",
    "range": "range(n)",
    "arrays": "[np.arange(3)] * (n // 8)",
    "tensors": "[tfy.tensor([1, 2])] * (n // 8)",
    "masked": "np.ma.array(np.ones(8 * n, np.int8), mask=np.zeros(8 * n, bool))",
}


@pytest.mark.parametrize("which", LISTS)
def test_a_list_larger_than_memory_is_a_memory_error(which):
    code = f"""
    import resource
    import numpy as np, tensorferry as tfy
    n = 6_000_000
    value = {LISTS[which]}
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (30 << 20),) * 2)
    to_int64 = lambda x: tfy.tensor(x, "int64")
    functions = tfy.tensor, to_int64, tfy.smallest_dtype, tfy.Dataset.from_tensors
    for function in functions if {which!r} != "masked" else functions[:2]:
        try:
            function(value)
            raise SystemExit("no error")
        except MemoryError:
            pass
    print("done")
    """
    assert run_python(code).split() == ["done"]


def test_a_memory_error_while_loading_a_state_leaves_the_iterator_intact():
    code = """
    rows = (
        tfy.Dataset.from_tensor_slices(np.zeros((60, MIB), np.uint8))
        .with_format("numpy")
        .filter(lambda row: True)
    )
    iterator = iter(rows.shuffle(60, seed=1))
    next(iterator)
    state = iterator.state_dict()
    other = iter(rows.shuffle(60, seed=1))
    limit("as", 30 * MIB)
    try:
        other.load_state_dict(state)
    except MemoryError as error:
        assert "damaged" not in str(error), error
        print("caught")
    """
    assert run_python(LIMITED + code).split() == ["caught"]
