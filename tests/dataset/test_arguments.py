"""Arguments are checked at the call: every integer parameter of every public function."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from tensorferry import errors

Call = Callable[[Any], Any]

#: Messages of PyO3 and of Python's conversions, which show an unchecked argument.
RAW = re.compile(
    r"out of range integral type|argument '|cannot be interpreted as an integer|invalid "
    r"literal|too large to convert|can't convert"
)
WHOLE = re.compile(
    r"size|count|num_|index|shift|stride|start|seed|depth|length|block|buffer|offset"
    r"|threads|limit|ahead|shape|axis|boundar|stop|step"
)
WHOLE_NUMBERS = [2**63, 2**64, 2**70, -1, -(2**70), 10**5000, True, np.int64(3), tf.constant(3)]
OTHERS = [
    1.5,
    "3",
    b"3",
    None,
    np.bool_(True),
    [],
    {},
    object(),
    np.zeros((2, 2)),
    tf.constant("3"),
]
GIVEN = [*WHOLE_NUMBERS, *OTHERS]


def numbers() -> Any:
    return tfy.Dataset.range(6).with_format("numpy")


def rows() -> Any:
    return tfy.Dataset.from_tensor_slices(np.arange(12).reshape(6, 2)).with_format("numpy")


def evens(x: Any) -> Any:
    return x % 2 == 0


def drained(dataset: Any) -> Any:
    """Takes some elements, which may fail, of a possibly huge number."""
    return list(dataset.take(3)) if isinstance(dataset, tfy.Dataset) else dataset


#: A call for each integer parameter, by method and argument.
CALLS: dict[tuple[str, str], Call] = {
    ("batch", "batch_size"): lambda n: numbers().batch(n),
    ("map", "num_parallel_calls"): lambda n: numbers().map(lambda x: x, n),
    ("map", "batch_size"): lambda n: numbers().map(lambda x: x, batched=True, batch_size=n),
    ("padded_batch", "batch_size"): lambda n: numbers().padded_batch(n),
    ("padded_batch", "padded_shapes"): lambda n: rows().padded_batch(2, padded_shapes=n),
    ("rebatch", "batch_size"): lambda n: rows().rebatch(n),
    ("take", "count"): lambda n: numbers().take(n),
    ("skip", "count"): lambda n: numbers().skip(n),
    ("repeat", "count"): lambda n: numbers().repeat(n),
    ("shard", "num_shards"): lambda n: numbers().shard(n, 0),
    ("shard", "index"): lambda n: numbers().shard(7, n),
    ("enumerate", "start"): lambda n: numbers().enumerate(n),
    ("prefetch", "buffer_size"): lambda n: numbers().prefetch(n),
    ("shuffle", "buffer_size"): lambda n: numbers().shuffle(n),
    ("shuffle", "seed"): lambda n: numbers().shuffle(6, seed=n),
    ("shuffle", "block"): lambda n: numbers().shuffle(seed=1, block=n),
    ("filter", "batch_size"): lambda n: numbers().filter(evens, batched=True, batch_size=n),
    ("pack", "length"): lambda n: tfy.Dataset.from_ragged(np.arange(9), [0, 4, 9]).pack(n),
    ("ragged_batch", "batch_size"): lambda n: rows().ragged_batch(n),
    ("split", "sizes"): lambda n: numbers().split(n)[0],
    ("split", "seed"): lambda n: numbers().split(0.5, seed=n)[0],
    ("sample", "num_samples"): lambda n: numbers().sample(n),
    ("sample", "seed"): lambda n: numbers().sample(2, seed=n),
    ("slice", "stop"): lambda n: numbers()[:n],
    ("slice", "step"): lambda n: numbers()[::n],
    ("window", "size"): lambda n: numbers().window(n),
    ("window", "shift"): lambda n: numbers().window(2, shift=n),
    ("window", "stride"): lambda n: numbers().window(2, stride=n),
    ("one_hot", "depth"): lambda n: numbers().one_hot(n),
    ("random_crop", "size"): lambda n: rows().random_crop(n),
    ("random_crop", "seed"): lambda n: rows().random_crop(1, seed=n),
    ("flip", "axis"): lambda n: rows().flip(n),
    ("flip", "seed"): lambda n: rows().flip(0, seed=n),
    ("pad_to", "shape"): lambda n: rows().pad_to(n),
    ("interleave", "cycle_length"): lambda n: numbers().interleave(tfy.Dataset.from_tensors, n),
    ("interleave", "block_length"): lambda n: numbers().interleave(tfy.Dataset.from_tensors, 2, n),
    ("group_by_window", "window_size"): lambda n: numbers().group_by_window(
        lambda x: x % 2, lambda k, w: w.batch(2), n
    ),
    ("bucket_by_sequence_length", "bucket_boundaries"): lambda n: rows().bucket_by_sequence_length(
        len, n, [2, 2]
    ),
    ("bucket_by_sequence_length", "bucket_batch_sizes"): lambda n: rows().bucket_by_sequence_length(
        len, [3], n
    ),
    ("bucket_by_sequence_length", "padded_shapes"): lambda n: rows().bucket_by_sequence_length(
        len, [3], [2, 2], padded_shapes=n
    ),
    ("range", "stop"): lambda n: tfy.Dataset.range(n),
    ("range", "start"): lambda n: tfy.Dataset.range(n, 3),
    ("range", "step"): lambda n: tfy.Dataset.range(0, 3, n),
    ("random", "seed"): lambda n: tfy.Dataset.random(n),
    ("sample_from_datasets", "seed"): lambda n: tfy.Dataset.sample_from_datasets(
        [numbers(), numbers()], seed=n
    ),
    ("token_windows", "length"): lambda n: tfy.Dataset.token_windows(np.arange(9), n),
    ("token_windows", "stride"): lambda n: tfy.Dataset.token_windows(np.arange(9), 2, n),
    ("token_windows", "shift"): lambda n: tfy.Dataset.token_windows(np.arange(9), 2, shift=n),
    ("from_generator", "output_shapes"): lambda n: tfy.Dataset.from_generator(
        lambda: iter([1]), output_types="int64", output_shapes=n
    ),
    ("Options", "threads"): lambda n: numbers().with_options(tfy.Options(threads=n)),
    ("Options", "memory_limit"): lambda n: numbers().with_options(tfy.Options(memory_limit=n)),
    ("Options", "read_ahead"): lambda n: numbers().with_options(tfy.Options(read_ahead=n)),
    ("empty", "shape"): lambda n: tfy.empty(n),
    ("TensorSpec", "shape"): lambda n: tfy.TensorSpec(n),
    ("TensorSpec", "lengths"): lambda n: tfy.TensorSpec((2, n)),
    ("Tensor", "index"): lambda n: tfy.tensor(np.arange(4))[n],
    ("Tensor", "slice"): lambda n: tfy.tensor(np.arange(4))[n:],
}


def called(given: Any) -> str:
    if isinstance(given, int) and given.bit_length() > 60:
        return f"{'-' if given < 0 else ''}{given.bit_length()} bits"
    return re.sub(r"\W+", "_", repr(given))[:20]


def error_of(call: Callable[[], Any]) -> Exception | None:
    try:
        call()
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("given", GIVEN, ids=called)
@pytest.mark.parametrize("call", CALLS, ids="-".join)
def test_an_integer_is_accepted_or_refused_by_the_name_of_its_argument(
    call: tuple[str, str], given: Any
) -> None:
    error = error_of(lambda: drained(CALLS[call](given)))
    if error is None or call == ("Tensor", "slice"):  # Python's message for a slice
        return
    assert isinstance(error, errors.Error), f"{type(error)}: {error}"
    assert not RAW.search(str(error)), error
    assert len(str(error)) < 700
    assert call[0] in ("Tensor", "empty") or call[0] in str(error), error


def test_every_method_with_an_integer_parameter_is_listed() -> None:
    seen = {name for name, _ in CALLS}
    for name, method in inspect.getmembers(tfy.Dataset, callable):
        if name.startswith("_") or name in seen:
            continue
        taken = [
            parameter
            for parameter in inspect.signature(method).parameters
            if WHOLE.search(parameter)
        ]
        assert [
            p
            for p in taken
            if p not in ("stop_on_empty_dataset", "num_parallel_calls", "shard_func", "row_lengths")
        ] == [], name


def test_a_huge_count_takes_all_elements() -> None:
    for huge in (2**63, 2**64, 2**70, 10**5000):
        assert [int(x) for x in numbers().take(huge)] == list(range(6))
        assert list(numbers().skip(huge)) == []
        assert [int(x) for x in numbers().repeat(huge).take(7)] == [*range(6), 0]


@pytest.mark.parametrize(
    "flag", [3, "x", 0.5, np.zeros(2), tf.constant(1.0)], ids=lambda flag: repr(flag)[:12]
)
def test_a_flag_is_true_or_false(flag: Any) -> None:
    for call in (
        lambda: numbers().batch(2, flag),
        lambda: rows().padded_batch(2, drop_remainder=flag),
        lambda: rows().rebatch(2, flag),
        lambda: numbers().window(2, drop_remainder=flag),
        lambda: tfy.Dataset.sample_from_datasets([numbers()], stop_on_empty_dataset=flag),
        lambda: tfy.Dataset.random(1, flag),
    ):
        with pytest.raises(errors.InvalidTypeError, match=r"has to be True or False, not"):
            call()
    assert numbers().batch(4, np.True_).cardinality() == 1
    assert numbers().batch(4, tf.constant(True)).cardinality() == 1


@pytest.mark.parametrize("factor", ["x", None, 1j, 10**400], ids=repr)
def test_a_number_is_a_number(factor: Any) -> None:
    for call in (
        lambda: numbers().scale(factor),
        lambda: numbers().scale(1, factor),
        lambda: rows().flip(0, factor),
    ):
        with pytest.raises(
            (errors.InvalidTypeError, errors.InvalidArgumentError),
            match=r"^(scale|flip): (mul|add|probability) has to be",
        ):
            call()


def test_a_second_array_is_not_taken_for_the_name() -> None:
    x, y = np.zeros((4, 2)), np.zeros(4)
    for stage in (tfy.Dataset.from_tensor_slices, tfy.Dataset.from_tensors):
        with pytest.raises(errors.InvalidTypeError, match=rf"{stage.__name__}\(\(x, y\)\)"):
            stage(x, y)
    with pytest.raises(errors.InvalidTypeError, match="take: name has to be a str, not 5"):
        numbers().take(3, 5)
    assert (
        len(tfy.Dataset.from_tensor_slices(x, "rows"))
        == len(tfy.Dataset.from_tensor_slices(x, name="rows"))
        == 4
    )


def test_datasets_to_zip_are_passed_one_by_one_or_in_a_tuple() -> None:
    with pytest.raises(errors.InvalidTypeError, match=r"zip\(a, b\)"):
        tfy.Dataset.zip([numbers(), numbers()])
    with pytest.raises(
        errors.InvalidTypeError,
        match=r'zip: argument "y" has to be a tensorferry.Dataset, not a builtins.int',
    ):
        tfy.Dataset.zip({"x": numbers(), "y": 3})
    with pytest.raises(TypeError, match="unexpected keyword argument 'batchsize'"):
        numbers().batch(batchsize=3)


@pytest.mark.parametrize("limit", ["1G", True, -1, 1.5, 2**70])
def test_options_are_checked_on_construction(limit: Any) -> None:
    with pytest.raises(
        (errors.InvalidTypeError, errors.InvalidArgumentError, errors.ValueOverflowError),
        match=r"^Options: memory_limit has to be",
    ):
        tfy.Options(memory_limit=limit)


def test_the_number_of_threads_is_bounded() -> None:
    for threads in (-1, 0, 2**40, "4", False):
        with pytest.raises(errors.Error, match=r"^Options: threads has to be"):
            tfy.Options(threads=threads)  # type: ignore[arg-type]
    assert tfy.Options(threads=np.int32(2)) == tfy.Options(threads=2)  # type: ignore[arg-type]


def test_shapes_have_lengths() -> None:
    for shape in (-1, (-1,), (2, -3), "3", "ab", (1.5,), None, 2**64, (2**40, 2**40)):
        with pytest.raises(errors.Error, match="shape"):
            tfy.empty(shape)  # type: ignore[arg-type]
    for shape in ((-1,), (2, -3), "x", (1.5,), ("3",), 2**70):
        with pytest.raises(errors.Error, match=r"^TensorSpec: "):
            tfy.TensorSpec(shape)  # type: ignore[arg-type]
    assert tfy.TensorSpec(tf.TensorShape(None)).shape is None
    assert tfy.TensorSpec(tf.TensorShape([None, 2])).shape == (None, 2)
    assert tfy.TensorSpec(3).shape == (3,)  # type: ignore[arg-type]


@pytest.mark.parametrize("offset", [-1, 2**63, 2**70, "4", 1.5, None])
def test_the_offset_of_a_raw_file_is_a_whole_number(tmp_path: Any, offset: Any) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(8))
    with pytest.raises(errors.Error, match=r"^open_raw: offset has to be"):
        tfy.open_raw(path, "uint8", offset=offset)
    with pytest.raises(errors.Error, match="open_raw"):
        tfy.open_raw(path, "uint8", (2**70,))


def test_a_huge_batch_size_needs_memory_only_for_its_rows() -> None:
    for dataset in (numbers(), numbers().filter(lambda x: True)):
        assert [batch.tolist() for batch in dataset.batch(2**62)] == [list(range(6))]
        assert list(dataset.batch(2**62, drop_remainder=True)) == []


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_missing_framework_is_named_with_its_install_command(
    framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [
        name
        for name in sys.modules
        if name == framework or name.startswith((f"{framework}.", f"tensorferry.{framework}"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, framework, None)
    with pytest.raises(ModuleNotFoundError, match=f"pip install {framework}"):
        numbers().with_format(framework)  # type: ignore[arg-type]
    with pytest.raises(ModuleNotFoundError, match=f"pip install {framework}"):
        __import__(f"tensorferry.{framework}")


def test_a_buffer_of_one_element_keeps_the_order_and_an_unknown_size_takes_all() -> None:
    stream = numbers().filter(lambda x: True)
    for dataset in (numbers(), stream, numbers().repeat(2)):
        for one in (1, np.int64(1), tf.constant(1, tf.int64)):
            assert [int(x) for x in dataset.shuffle(one, seed=3)] == [int(x) for x in dataset]
    theirs = tf.data.Dataset.range(6).shuffle(1, seed=3)
    assert [int(x) for x in theirs] == list(range(6))
    whole = tfy.Dataset.range(500).with_format("numpy")
    for dataset in (whole, whole.filter(lambda x: True)):
        shuffled = [int(x) for x in dataset.shuffle(tf.data.UNKNOWN_CARDINALITY, seed=3)]
        assert sorted(shuffled) == list(range(500))
        assert any(
            shuffled.index(x) < 100 for x in range(400, 500)
        )  # not the order of a small buffer
    with pytest.raises(errors.InvalidArgumentError, match="has no end"):
        numbers().repeat().shuffle(tf.data.UNKNOWN_CARDINALITY)
