"""Checks of datasets: comparison with the real tf.data, and resumption at every position."""

from __future__ import annotations

import json
import pickle

import numpy as np
import tensorferry as tfy


class Theirs:
    """tf.data in place of tensorferry. A pipeline is a function of either."""

    def __init__(self, tf) -> None:
        self.Dataset = tf.data.Dataset


def assert_agree(tf, pipeline, *, cardinality: int | None = None) -> None:
    """The pipeline has the same elements and specification in both libraries, and the same
    cardinality unless tf.data does not know it.
    """
    ours, theirs = pipeline(tfy), pipeline(Theirs(tf))
    assert ours.element_spec == theirs.element_spec
    if cardinality is None:
        assert ours.cardinality() == theirs.cardinality().numpy()
    else:
        assert (ours.cardinality(), theirs.cardinality().numpy()) == (cardinality, -2)
    mine, others = list(ours), list(theirs)
    assert [repr(element) for element in mine] == [repr(element) for element in others]
    for one, other in zip(mine, others, strict=True):
        tf.nest.assert_same_structure(one, other)
    if ours.cardinality() >= 0:
        assert len(ours) == len(mine)
    else:
        for dataset in (ours, theirs):
            try:
                len(dataset)
            except TypeError:
                continue
            raise AssertionError(f"{dataset} has a len()")


def plain(dataset) -> list:
    """The elements as nested lists."""
    import tensorflow as tf

    return [
        tf.nest.map_structure(lambda leaf: np.asarray(leaf).tolist(), element)
        for element in dataset.as_numpy_iterator()
    ]


def advanced(dataset, steps: int):
    """An iterator after `steps` elements."""
    iterator = dataset.as_numpy_iterator()
    for _ in range(steps):
        next(iterator)
    return iterator


def resumed(dataset, state):
    """A new iterator that resumes from a state."""
    iterator = dataset.as_numpy_iterator()
    iterator.load_state_dict(state)
    return iterator


def assert_same_elements(a, b) -> None:
    """Two datasets, or one and its `to_tf_data()`, have the same elements."""
    assert [repr(element) for element in a] == [repr(element) for element in b]


def assert_resumes(make, format: str = "numpy") -> None:
    """A new dataset resumes exactly from the state of every position, after a round trip through
    JSON.
    """
    whole = [repr(element) for element in make().with_format(format)]
    iterator = iter(make().with_format(format))
    for position in range(len(whole) + 1):
        resumed = iter(make().with_format(format))
        resumed.load_state_dict(json.loads(json.dumps(iterator.state_dict())))
        assert [repr(element) for element in resumed] == whole[position:], position
        if position < len(whole):
            assert repr(next(iterator)) == whole[position]


def assert_everywhere(make) -> None:
    """A pipeline resumes at every position, survives pickle, and has the same elements inside
    tf.data.
    """
    assert_resumes(make)
    again = pickle.loads(pickle.dumps(make()))
    assert again.element_spec == make().element_spec
    assert again.cardinality() == make().cardinality()
    assert_same_elements(again, make())
    real = make().to_tf_data()
    ours = make().with_format("tensorflow")
    assert real.element_spec == ours.element_spec
    assert real.cardinality().numpy() == ours.cardinality()
    for _ in range(2):  # each pass is the next epoch of both
        assert_same_elements(real, ours)
