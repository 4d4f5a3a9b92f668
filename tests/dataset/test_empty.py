"""Stages over datasets without elements."""

from __future__ import annotations

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf

SCALAR = tfy.TensorSpec((), "int64")


EMPTY = {
    "range": lambda module: module.Dataset.range(0),
    "take": lambda module: module.Dataset.range(5).take(0),
    "filter": lambda module: module.Dataset.range(5).filter(lambda x: x < 0),
    "slices": lambda module: module.Dataset.from_tensor_slices(np.zeros((0, 3), np.float32)),
}


@pytest.mark.parametrize("source", list(EMPTY))
@pytest.mark.parametrize("method", ["map", "flat_map", "interleave", "filter", "scan"])
def test_stages_over_empty_datasets_equal_tf_data(source, method):
    if source == "slices" and method == "filter":
        pytest.skip("a predicate of a vector is none")

    def made(module, dataset):
        datasets = module.Dataset
        return {
            "map": lambda: dataset.map(lambda x: (x * 2, x)),
            "flat_map": lambda: dataset.flat_map(lambda x: datasets.from_tensors(x)),
            "interleave": lambda: dataset.interleave(lambda x: datasets.from_tensors(x).repeat(2)),
            "filter": lambda: dataset.filter(lambda x: x > 0),
            "scan": lambda: dataset.scan(np.int64(0), lambda state, x: (state + 1, x)),
        }[method]()

    theirs = made(tf.data, EMPTY[source](tf.data))
    ours = made(tfy, EMPTY[source](tfy))
    assert list(ours) == list(theirs) == []
    assert str(ours.element_spec) == str(theirs.element_spec)
    numpy = made(tfy, EMPTY[source](tfy).with_format("numpy"))
    assert list(numpy) == []
    assert list(numpy.batch(2)) == []


def test_a_function_that_fails_for_zeros_needs_an_output_signature():
    nothing = tfy.Dataset.range(0).with_format("numpy")
    with pytest.raises(
        tfy.errors.InvalidArgumentError, match=r"map: .*ZeroDivisionError.*output_signature="
    ):
        nothing.map(lambda x: 1 // int(x))
    assert list(nothing.map(lambda x: 1 // int(x), output_signature=SCALAR)) == []
