"""Rows of tokens packed into windows of one length."""

from __future__ import annotations

import numpy as np
import pytest
import tensorferry as tfy
from hypothesis import given
from hypothesis import strategies as st
from tensorferry import errors

from tests.support.dataset_checks import assert_resumes

KEYS = ("tokens", "segment_ids", "positions")
rows_of_tokens = st.lists(st.lists(st.integers(1, 99), max_size=9), max_size=9)


def ragged(rows: list[list[int]]) -> tfy.Dataset:
    values = np.array([token for row in rows for token in row], np.int32)
    return tfy.Dataset.from_ragged(values, row_lengths=np.array([len(row) for row in rows], int))


def streamed(rows: list[list[int]]) -> tfy.Dataset:
    arrays = [np.array(row, np.int32) for row in rows]
    spec = tfy.TensorSpec((None,), "int32")
    return tfy.Dataset.from_generator(lambda: iter(arrays), output_signature=spec)


def windows(dataset: tfy.Dataset) -> list[tuple[list[int], ...]]:
    return [tuple(window[key].tolist() for key in KEYS) for window in dataset.as_numpy_iterator()]


def naive(rows: list[list[int]], length: int, eos: int | None) -> list[tuple[list[int], ...]]:
    """One token after the other."""
    made: list[tuple[list[int], ...]] = []
    for row in rows:
        begun = False
        for token in row + ([] if eos is None else [eos]):
            if not made or len(made[-1][0]) == length:
                made.append(([], [], []))
                begun = False
            tokens, segments, positions = made[-1]
            segments.append(segments[-1] if begun else max(segments, default=0) + 1)
            positions.append(positions[-1] + 1 if begun else 0)
            tokens.append(token)
            begun = True
    for tokens, segments, positions in made[-1:]:
        short = length - len(tokens)
        tokens += [eos or 0] * short
        segments += [0] * short
        positions += [0] * short
    return made


@given(rows_of_tokens, st.integers(1, 12), st.none() | st.just(0))
def test_windows_are_those_of_one_token_after_the_other(rows, length, eos):
    expected = naive(rows, length, eos)
    packed = ragged(rows).pack(length, eos=eos)
    assert windows(packed) == expected
    assert len(packed) == len(expected)
    assert windows(streamed(rows).pack(length, eos=eos)) == expected
    full = ragged(rows).pack(length, eos=eos, drop_remainder=True)
    whole = sum(len(row) + (eos is not None) for row in rows) // length
    assert windows(full) == expected[:whole]


@given(rows_of_tokens, st.integers(1, 12), st.none() | st.just(100))
def test_best_fit_cuts_only_rows_that_are_too_long(rows, length, eos):
    packed = windows(ragged(rows).pack(length, eos=eos, strategy="best_fit"))
    assert packed == windows(streamed(rows).pack(length, eos=eos, strategy="best_fit"))
    totals = [len(row) + (eos is not None) for row in rows]
    parts = sum(-(-total // length) for total in totals)
    assert sum(max(segments) for _, segments, _ in packed) == parts
    seen = [
        token
        for tokens, segments, _ in packed
        for token, segment in zip(tokens, segments, strict=True)
        if segment
    ]
    expected = [token for row in rows for token in row + ([] if eos is None else [eos])]
    assert sorted(seen) == sorted(expected)
    # Best-fit decreasing needs at most 11/9 of the least number, which is at most twice the tokens.
    assert len(packed) <= 11 / 9 * (sum(totals) / length) * 2 + 1


def test_segments_and_positions_end_with_each_row():
    rows = [[1, 2, 3], [4], [], [5, 6, 7, 8, 9]]
    assert windows(ragged(rows).pack(6)) == [
        ([1, 2, 3, 4, 5, 6], [1, 1, 1, 2, 3, 3], [0, 1, 2, 0, 0, 1]),
        ([7, 8, 9, 0, 0, 0], [1, 1, 1, 0, 0, 0], [0, 1, 2, 0, 0, 0]),
    ]
    assert windows(ragged(rows).pack(6, strategy="best_fit")) == [
        ([4, 5, 6, 7, 8, 9], [1, 2, 2, 2, 2, 2], [0, 0, 1, 2, 3, 4]),
        ([1, 2, 3, 0, 0, 0], [1, 1, 1, 0, 0, 0], [0, 1, 2, 0, 0, 0]),
    ]


ROWS = [list(range(1, n + 1)) for n in (3, 0, 1, 17, 2, 2, 0, 5, 1, 8, 9, 31)]


@pytest.mark.parametrize("strategy", ["concat", "best_fit"])
@pytest.mark.parametrize("source", ["indexed", "shuffled", "streamed"])
def test_every_position_resumes(strategy, source):
    def make():
        rows = streamed(ROWS) if source == "streamed" else ragged(ROWS)
        rows = rows.shuffle(seed=2) if source == "shuffled" else rows
        return rows.pack(8, eos=0, strategy=strategy)

    assert_resumes(make)
    assert_resumes(lambda: make().batch(3))


def test_windows_of_rows_in_order_are_indexed():
    packed = ragged(ROWS).pack(8)
    assert len(packed) == -(-sum(map(len, ROWS)) // 8)
    shuffled = windows(packed.shuffle(seed=1))
    assert shuffled != windows(packed)
    assert sorted(shuffled) == sorted(windows(packed))
    batches = [batch["tokens"] for batch in packed.batch(4).as_numpy_iterator()]
    assert np.concatenate(batches).tolist() == [tokens for tokens, _, _ in windows(packed)]
    assert len(packed.shard(3, 1)) == (len(packed) + 1) // 3


def test_rows_in_files_are_packed_as_in_memory(tmp_path):
    values = np.arange(sum(map(len, ROWS)), dtype=np.uint16)
    splits = np.concatenate([[0], np.cumsum([len(row) for row in ROWS])])
    values.tofile(tmp_path / "tokens.bin")
    opened = tfy.open_raw(tmp_path / "tokens.bin", "uint16", mode="read")
    for strategy in ("concat", "best_fit"):
        in_file = tfy.Dataset.from_ragged(opened, splits).cast("int32")
        in_memory = tfy.Dataset.from_ragged(values, splits).cast("int32")
        assert windows(in_file.pack(8, strategy=strategy)) == windows(
            in_memory.pack(8, strategy=strategy)
        )


def test_parts_of_elements_are_packed_side_by_side():
    values = np.arange(10)
    rows = {
        "input_ids": tfy.Ragged(values, np.array([0, 3, 10])),
        "labels": tfy.Ragged(-values, np.array([0, 3, 10])),
    }
    (first, second) = tfy.Dataset.from_ragged(rows).pack(5).as_numpy_iterator()
    assert list(first) == ["input_ids", "labels", "segment_ids", "positions"]
    assert second["labels"].tolist() == (-second["input_ids"]).tolist() == [-5, -6, -7, -8, -9]
    rows["labels"] = tfy.Ragged(-values, np.array([0, 4, 10]))
    with pytest.raises(errors.InvalidArgumentError, match="labels"):
        tfy.Dataset.from_ragged(rows).pack(5)


def test_a_tokenizer_in_a_map_can_be_packed():
    texts = tfy.Dataset.from_tensor_slices(np.array([3, 1, 4, 1, 5])).with_format("numpy")
    rows = texts.map(lambda n: np.full(n, n, np.int64))
    assert windows(rows.pack(7)) == naive([[n] * n for n in (3, 1, 4, 1, 5)], 7, None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"length": 0}, "at least 1"),
        ({"length": 4, "strategy": "first"}, "best_fit"),
        ({"length": 4, "eos": 0.5}, "eos"),
        ({"length": 4, "eos": 2**40}, "int32"),
        ({"length": 4, "strategy": "best_fit", "drop_remainder": True}, "drop_remainder"),
    ],
)
def test_arguments_are_checked(arguments, words):
    with pytest.raises(errors.Error, match=words):
        ragged(ROWS).pack(**arguments)


def test_elements_that_are_no_rows_are_refused():
    with pytest.raises(errors.InvalidArgumentError, match="one dimension"):
        tfy.Dataset.range(3).pack(2)
    with pytest.raises(errors.InvalidArgumentError, match="row of tokens"):
        tfy.Dataset.zip(ragged(ROWS), ragged(ROWS)).pack(2)


def test_an_end_token_that_is_not_of_the_dtype_of_the_tokens_is_named():
    rows = tfy.Dataset.from_ragged(np.arange(3, dtype=np.uint16), row_lengths=[3])
    with pytest.raises(OverflowError, match="pack: eos: 70000 is not a value of dtype uint16"):
        rows.pack(4, eos=70_000)


def test_windows_of_tokens_stay_between_boundaries():
    tokens = np.arange(20, dtype=np.uint16)
    dataset = tfy.Dataset.token_windows(tokens, 3, dtype="int32", boundaries=[5, 6, 14])
    assert [x.tolist() for x, _ in dataset.as_numpy_iterator()] == [
        [0, 1, 2],
        [6, 7, 8],
        [9, 10, 11],
        [14, 15, 16],
    ]
    with pytest.raises(errors.InvalidArgumentError, match="boundaries"):
        tfy.Dataset.token_windows(tokens, 3, boundaries=[6, 5])
    assert len(tfy.Dataset.token_windows(tokens, 30, boundaries=[5])) == 0
