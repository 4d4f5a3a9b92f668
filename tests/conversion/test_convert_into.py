"""convert_into: conversion into memory that the caller owns."""

from __future__ import annotations

import numpy as np
import pytest
import tensorferry
from hypothesis import given
from hypothesis import strategies as st

from tests.support.arrays import NAMES, address, at_offset, np_dtype, same


@pytest.mark.parametrize("target", NAMES)
@pytest.mark.parametrize("source", ["bool", "int64", "uint8", "float32", "complex64"])
def test_every_dtype_into_every_layout(source, target):
    if source == "complex64" and not target.startswith("complex"):
        with pytest.raises(TypeError):
            tensorferry.convert_into(np.zeros(3, source), np.zeros(3, np_dtype(target)))
        return
    values = (np.arange(60).reshape(6, 10) % 2).astype(source)
    expected = values.astype(np_dtype(target))
    plain = np.zeros((6, 10), np_dtype(target))
    for out in (
        plain,
        np.asfortranarray(plain),
        np.zeros((12, 20), plain.dtype)[1::2, ::-2],
        at_offset(plain, 1),
    ):
        before = address(out)
        assert tensorferry.convert_into(values, out) is None
        same(out, expected)
        assert address(out) == before
    if target != "bfloat16":
        swapped = np.zeros((6, 10), np_dtype(target).newbyteorder(">"))
        tensorferry.convert_into(values, swapped)
        same(swapped.astype(np_dtype(target)), expected)


def test_only_the_view_is_written():
    whole = np.full((5, 6), -1, np.int32)
    tensorferry.convert_into(np.arange(6).reshape(2, 3), whole[1:4:2, 1::2])
    assert (whole == -1).sum() == 24
    same(whole[1:4:2, 1::2], np.arange(6, dtype=np.int32).reshape(2, 3))


def test_lists_tensors_and_castings():
    out = np.zeros(3, np.uint8)
    tensorferry.convert_into([1, 2, 3], out)
    tensorferry.convert_into(tensorferry.tensor([4, 5, 6]), out)
    same(out, np.array([4, 5, 6], np.uint8))
    tensorferry.convert_into(np.array([-1, 300, 7]), out, casting="saturate")
    same(out, np.array([0, 255, 7], np.uint8))
    tensorferry.convert_into(np.array([-1, 300, 7]), out, casting="wrap")
    same(out, np.array([255, 44, 7], np.uint8))
    with pytest.raises(OverflowError, match=r"\[1\] = 300"):
        tensorferry.convert_into(np.array([0, 300, 7]), out)


def test_refusals():
    with pytest.raises(ValueError, match=r"\[3\].*\[4\]|shape") as refused:
        tensorferry.convert_into(np.zeros(3), np.zeros(4))
    assert refused.value.code == "shape_mismatch"
    locked = np.zeros(3)
    locked.flags.writeable = False
    with pytest.raises(ValueError, match=r"read-only|writ") as refused:
        tensorferry.convert_into(np.zeros(3), locked)
    assert refused.value.code == "not_writable"
    with pytest.raises((TypeError, ValueError)):
        tensorferry.convert_into(np.zeros(3), [0, 0, 0])
    with pytest.raises((TypeError, ValueError)):
        tensorferry.convert_into(np.zeros(3), tensorferry.tensor(np.zeros(3)))
    with pytest.raises((TypeError, ValueError)):
        tensorferry.convert_into(np.zeros(3), np.zeros(3, "M8[s]"))
    with pytest.raises(TypeError, match="filled"):
        tensorferry.convert_into(np.ma.masked_equal([0, 1, 2], 0), np.zeros(3))


def test_empty_into_empty():
    for shape in [(0,), (3, 0), (0, 2)]:
        tensorferry.convert_into(np.zeros(shape), np.zeros(shape, np.int8))


def test_an_output_whose_elements_overlap_is_refused_or_harmless():
    out = np.lib.stride_tricks.as_strided(np.zeros(1), (5,), (0,), writeable=True)
    with pytest.raises(ValueError, match="share memory"):
        tensorferry.convert_into(np.arange(5), out)


@given(shift=st.integers(-40, 40), narrow=st.booleans(), reverse=st.booleans())
def test_source_and_output_in_the_same_memory(shift, narrow, reverse):
    """As in numpy.copyto, the result is as if the source had been copied first."""
    memory = np.zeros(100 * 8, np.uint8)
    source = memory[160 : 160 + 40 * 8].view(np.int64)
    source[:] = np.arange(40) + 1
    start = 160 + shift * 4
    out = (
        memory[start : start + 40 * 4].view(np.int32)
        if narrow
        else memory[160 + shift * 8 // 2 // 8 * 8 :][: 40 * 8].view(np.int64)
    )
    out = out[::-1] if reverse else out
    expected = source.copy().astype(out.dtype)
    tensorferry.convert_into(source, out)
    same(out, expected)
