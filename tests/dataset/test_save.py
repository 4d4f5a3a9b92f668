"""Saved datasets: elements load by index in their structure; incomplete saves are refused."""

from __future__ import annotations

import collections
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import typing

import numpy as np
import pytest
import tensorferry as tfy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorferry import errors

from tests.support.arrays import NAMES, np_dtype, same
from tests.support.dataset_checks import plain
from tests.support.processes import run_python

Point = collections.namedtuple("Point", ["x", "y"])


class Typed(typing.NamedTuple):
    image: typing.Any
    label: typing.Any


def slices(tensors):
    return tfy.Dataset.from_tensor_slices(tensors).with_format("numpy")


def load(path, **arguments):
    return tfy.Dataset.load(path, **arguments).with_format("numpy")


def words(*lengths: int):
    """A stream of rows of several lengths."""

    def rows():
        for at, length in enumerate(lengths):
            yield {"tokens": np.arange(length, dtype=np.int32) + 10 * at, "at": np.int64(at)}

    signature = {"tokens": tfy.TensorSpec((None,), "int32"), "at": tfy.TensorSpec((), "int64")}
    return tfy.Dataset.from_generator(rows, output_signature=signature).with_format("numpy")


STRUCTURES = {
    "array": np.arange(6).reshape(3, 2),
    "tuple": (np.arange(3), np.arange(3.0)),
    "one": (np.arange(3),),
    "dict": {"b": np.arange(3), "a": np.arange(3.0)},
    "numbered": {2: np.arange(3), 1: np.arange(3.0)},
    "namedtuple": Point(np.arange(3), {"z": np.arange(3, dtype=np.uint8), "c": np.zeros((3, 2))}),
    "nested": (np.arange(3), (np.arange(3), {"k": np.arange(3)}, None)),
    "ordered": collections.OrderedDict([("z", np.arange(3)), ("a", np.arange(3.0))]),
}


@pytest.mark.parametrize("value", STRUCTURES.values(), ids=STRUCTURES)
def test_structures_are_preserved(tmp_path, value):
    dataset = slices(value)
    dataset.save(tmp_path / "saved")
    loaded = load(tmp_path / "saved")
    assert plain(loaded) == plain(dataset)
    assert repr(loaded.element_spec) == repr(dataset.element_spec)
    assert len(loaded) == 3
    if not isinstance(value, Point):
        assert loaded.element_spec == dataset.element_spec


def test_a_namedtuple_loads_with_its_name_and_fields(tmp_path):
    for number in range(2):
        slices(Typed(np.arange(3), np.arange(3))).save(tmp_path / str(number))
    one, other = (load(tmp_path / str(number)) for number in range(2))
    element = next(iter(one))
    assert (type(element).__name__, element._fields) == ("Typed", ("image", "label"))
    assert type(element) is type(next(iter(other)))
    assert len(one.concatenate(other)) == 6


@pytest.mark.parametrize("name", NAMES)
def test_every_dtype_is_preserved_and_numpy_reads_the_files(tmp_path, name):
    values = (np.arange(24).reshape(4, 2, 3) % 2).astype(np_dtype(name))
    slices(values).save(tmp_path / "saved")
    for row, loaded in zip(values, load(tmp_path / "saved"), strict=True):
        same(loaded, row)
    array = np.load(tmp_path / "saved" / "0.npy", mmap_mode="r")
    same(array.view(np_dtype(name)) if name == "bfloat16" else array, values)


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=2, max_size=2).map(tuple), max_size=12), st.data()
)
def test_elements_of_several_shapes_are_preserved(tmp_path_factory, shapes, data):
    rows = [data.draw(hnp.arrays(np.int16, shape, elements=st.integers(-9, 9))) for shape in shapes]
    for spec in ((None, None), None):
        dataset = tfy.Dataset.from_generator(
            lambda: iter(rows), output_signature=tfy.TensorSpec(spec, "int16")
        )
        path = tmp_path_factory.mktemp("saved") / "ragged"
        dataset.save(path)
        loaded = load(path)
        assert loaded.element_spec == tfy.TensorSpec(spec, "int16")
        assert len(loaded) == len(rows)
        for row, other in zip(rows, loaded, strict=True):
            same(other, row)


def test_shapes_of_several_ranks_are_preserved(tmp_path):
    rows = [
        np.float32(3),
        np.zeros((0, 2), np.float32),
        np.arange(6, dtype=np.float32).reshape(1, 2, 3),
    ]
    dataset = tfy.Dataset.from_generator(
        lambda: iter(rows), output_signature=tfy.TensorSpec(None, "float32")
    )
    dataset.save(tmp_path / "saved")
    for row, other in zip(rows, load(tmp_path / "saved"), strict=True):
        same(other, row)


def test_loaded_datasets_have_random_access(tmp_path):
    words(3, 0, 5, 1).save(tmp_path / "saved")
    loaded = load(tmp_path / "saved")
    order = [int(row["at"]) for row in loaded.shuffle(seed=1)]
    assert sorted(order) == [0, 1, 2, 3]
    assert [row["tokens"].tolist() for row in loaded.skip(2)] == [[20, 21, 22, 23, 24], [30]]
    (batch,) = loaded.shuffle(seed=1).padded_batch(4)
    assert batch["tokens"].shape == (4, 5)
    assert batch["at"].tolist() == order


def test_a_saved_array_is_shuffled_batched_and_resumed(tmp_path):
    array = np.arange(300).reshape(100, 3)
    slices(array).save(tmp_path / "saved")
    expected = [batch.tolist() for batch in slices(array).shuffle(seed=5).batch(7)]
    assert [
        batch.tolist() for batch in load(tmp_path / "saved").shuffle(seed=5).batch(7)
    ] == expected
    iterator = iter(load(tmp_path / "saved").shuffle(seed=5).batch(7))
    for position in range(len(expected)):
        resumed = iter(load(tmp_path / "saved").shuffle(seed=5).batch(7))
        resumed.load_state_dict(iterator.state_dict())
        assert [batch.tolist() for batch in resumed] == expected[position:]
        next(iterator)


def test_a_ragged_dataset_resumes_at_every_position_and_pickles(tmp_path):
    words(3, 0, 5, 1).save(tmp_path / "saved")
    loaded = load(tmp_path / "saved").shuffle(seed=2)
    expected = plain(loaded)
    assert plain(pickle.loads(pickle.dumps(load(tmp_path / "saved").shuffle(seed=2)))) == expected
    iterator = iter(load(tmp_path / "saved").shuffle(seed=2))
    for position in range(4):
        resumed = iter(load(tmp_path / "saved").shuffle(seed=2))
        resumed.load_state_dict(iterator.state_dict())
        assert [int(row["at"]) for row in resumed] == [row["at"] for row in expected[position:]]
        next(iterator)


def test_each_save_is_the_next_epoch_unless_refused(tmp_path):
    shuffled, twin = (slices(np.arange(20)).shuffle(seed=3) for _ in range(2))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(OSError, match="taken"):
        shuffled.save(tmp_path / "taken")
    shuffled.save(tmp_path / "first")
    shuffled.save(tmp_path / "second")
    first, second = plain(twin), plain(twin)
    assert (plain(load(tmp_path / "first")), plain(load(tmp_path / "second"))) == (first, second)


def test_functions_run_once_and_their_results_are_saved(tmp_path):
    calls = []

    def square(x):
        calls.append(int(x))
        return x * x

    slices(np.arange(50)).map(square).save(tmp_path / "saved")
    assert plain(load(tmp_path / "saved")) == [x * x for x in range(50)]
    assert calls.count(7) <= 2  # at most once to trace it


def test_an_empty_dataset_is_preserved(tmp_path):
    for dataset in (slices(np.zeros((0, 3), np.float32)), words()):
        dataset.save(tmp_path / "saved")
        loaded = load(tmp_path / "saved")
        assert len(loaded) == 0
        assert list(loaded) == []
        assert loaded.element_spec == dataset.element_spec


def test_a_partial_last_batch_is_preserved(tmp_path):
    slices(np.arange(7)).batch(3).save(tmp_path / "saved")
    assert plain(load(tmp_path / "saved")) == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_dataset_is_replaced_and_a_loaded_one_keeps_its_elements(tmp_path):
    path = tmp_path / "saved"
    slices(np.arange(5)).save(path)
    before = load(path)
    words(1, 2).save(path)
    assert plain(before) == list(range(5))
    assert len(load(path)) == 2
    load(path).map(lambda row: row["at"] + 7).save(path)  # onto itself
    assert plain(load(path)) == [7, 8]
    assert sorted(os.listdir(path)) == ["0.npy", "dataset.json"]
    assert os.listdir(tmp_path) == ["saved"]


def test_paths_may_be_new_relative_linked_and_end_with_a_slash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    slices(np.arange(2)).save("a/b/saved/")
    assert plain(load("a/b/saved")) == [0, 1]
    os.symlink("a/b/saved", "link")
    slices(np.arange(3)).save("link")
    assert os.path.islink("link")
    assert plain(load(b"a/b/saved/")) == [0, 1, 2]
    os.mkdir("empty")
    slices(np.arange(4)).save("empty")
    assert plain(load("empty")) == [0, 1, 2, 3]


def test_the_directory_has_the_permissions_of_a_new_one(tmp_path):
    slices(np.arange(2)).save(tmp_path / "saved")
    os.mkdir(tmp_path / "new")
    (tmp_path / "new" / "file").touch()
    assert os.stat(tmp_path / "saved").st_mode == os.stat(tmp_path / "new").st_mode
    assert (
        os.stat(tmp_path / "saved" / "0.npy").st_mode == os.stat(tmp_path / "new" / "file").st_mode
    )


def test_other_files_are_never_replaced(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("dear")
    with pytest.raises(
        OSError, match=r"home.*holds thesis\.tex, which is not part of a saved dataset"
    ):
        slices(np.arange(2)).save(home)
    slices(np.arange(2)).save(tmp_path / "saved")
    (tmp_path / "saved" / "notes.txt").write_text("dear")
    with pytest.raises(OSError, match=r"notes\.txt"):
        slices(np.arange(3)).save(tmp_path / "saved")
    arrays = tmp_path / "arrays"
    arrays.mkdir()
    np.save(arrays / "0.npy", np.arange(3))
    with pytest.raises(OSError, match=r"no dataset\.json"):
        slices(np.arange(3)).save(arrays)
    with pytest.raises(NotADirectoryError, match=r"thesis\.tex"):
        slices(np.arange(2)).save(home / "thesis.tex")
    assert (home / "thesis.tex").read_text() == "dear"
    assert sorted(os.listdir(tmp_path)) == ["arrays", "home", "saved"]


def test_a_failing_element_keeps_the_old_dataset(tmp_path):
    def halve(x):
        if x == 7:
            raise LookupError(x)
        return x

    slices(np.arange(3)).save(tmp_path / "saved")
    for path in (tmp_path / "saved", tmp_path / "new"):
        with pytest.raises(LookupError):
            slices(np.arange(9)).map(halve).save(path)
        with pytest.raises(errors.ValueOverflowError, match="element 5"):
            slices(np.array([1, 2, 3, 4, 5, 300])).cast("uint8").save(path)
    assert os.listdir(tmp_path) == ["saved"]
    assert plain(load(tmp_path / "saved")) == [0, 1, 2]


ENDLESS = """
    import sys, time
    import numpy as np
    import tensorferry as tfy

    def rows():
        print("begun", flush=True)
        for number in range(10**9):
            time.sleep(0.001)
            yield np.int64(number)

    dataset = tfy.Dataset.from_generator(rows, output_signature=tfy.TensorSpec((), "int64"))
    try:
        dataset.save(sys.argv[1])
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_save_that_is_killed_leaves_nothing_under_the_name(tmp_path, number):
    slices(np.arange(3)).save(tmp_path / "old")
    for name, there in (("new", False), ("old", True)):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(ENDLESS), tmp_path / name],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.1)
        process.send_signal(number)
        printed, _ = process.communicate(timeout=30)
        assert printed == ("interrupted\n" if number == signal.SIGINT else "")
        assert (tmp_path / name).exists() == there
    assert plain(load(tmp_path / "old")) == [0, 1, 2]
    if number == signal.SIGINT:
        assert os.listdir(tmp_path) == ["old"]


def test_memory_does_not_grow_with_the_dataset(tmp_path):
    printed = run_python(
        """
        import resource, sys
        import numpy as np
        import tensorferry as tfy

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

        rows = tfy.Dataset.from_tensors(np.ones((256, 1024), np.float32))  # 1 MiB
        rows.repeat(4).with_options(tfy.Options(memory_limit=8 << 20)).save(sys.argv[1] + "/small")
        before = peak()
        rows.repeat(400).with_options(tfy.Options(memory_limit=8 << 20)).save(
            sys.argv[1] + "/large"
        )
        print(peak() - before, len(tfy.Dataset.load(sys.argv[1] + "/large")))
        """,
        str(tmp_path),
    )
    grown, count = map(int, printed.split())
    assert grown < 64
    assert count == 400


@pytest.mark.parametrize(
    ("save", "message"),
    [
        ({"compression": "GZIP"}, "compression='GZIP'"),
        ({"shard_func": lambda x: x}, "shard_func has to be None"),
        ({"checkpoint_args": {"directory": "x"}}, "checkpoint_args has to be None"),
    ],
)
def test_unsupported_arguments_are_refused_before_writing(tmp_path, save, message):
    with pytest.raises(errors.InvalidArgumentError, match=message):
        slices(np.arange(3)).save(tmp_path / "saved", **save)
    assert os.listdir(tmp_path) == []


def test_unsupported_arguments_of_load_are_refused(tmp_path):
    slices(np.arange(3)).save(tmp_path / "saved", "NONE")
    for arguments in ({"compression": "GZIP"}, {"reader_func": lambda x: x}, {"wait": True}):
        with pytest.raises(errors.InvalidArgumentError, match=next(iter(arguments))):
            load(tmp_path / "saved", **arguments)
    assert plain(load(tmp_path / "saved", compression="NONE")) == [0, 1, 2]


class Strange(dict):
    pass


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        (tfy.Dataset.range(3).repeat(), errors.InvalidArgumentError, "no end"),
        (tfy.Dataset.range(3).window(2), errors.InvalidArgumentError, "datasets"),
        (slices({(1, 2): np.arange(3)}), errors.InvalidTypeError, r"key \(1, 2\)"),
        (
            slices(Strange(a=np.arange(3))),
            errors.InvalidTypeError,
            "Strange, which cannot be loaded again",
        ),
        (
            slices(collections.defaultdict(int, a=np.arange(3))),
            errors.InvalidTypeError,
            "defaultdict",
        ),
    ],
)
def test_structures_that_cannot_be_loaded_are_refused(tmp_path, dataset, error, message):
    with pytest.raises(error, match=message):
        dataset.save(tmp_path / "saved")
    assert os.listdir(tmp_path) == []


def test_a_read_only_or_full_disk_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="/proc"):
        slices(np.arange(3)).save("/proc/saved")
    shutil.rmtree(tmp_path)
    slices(np.arange(3)).save(tmp_path)
    assert len(load(tmp_path)) == 3
