"""Keras, tf.distribute and tf.data accept the result of ``to_tf_data()``, and errors name it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf

pytestmark = pytest.mark.slow

Call = Callable[[Any], Any]


def pairs() -> Any:
    x = np.arange(24, dtype=np.float32).reshape(8, 3)
    return tfy.Dataset.from_tensor_slices((x, x[:, :1])).batch(4)


def model() -> Any:
    made = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(1)])
    made.compile("sgd", "mse")
    return made


def strategy() -> Any:
    return tf.distribute.MirroredStrategy(["CPU:0"])


#: Calls that take a tf.data.Dataset.
TAKERS: dict[str, Call] = {
    "fit": lambda ds: model().fit(ds, verbose=0, shuffle=False),
    "evaluate": lambda ds: model().evaluate(ds, verbose=0),
    "predict": lambda ds: model().predict(ds, verbose=0),
    "fit with validation_data": lambda ds: model().fit(
        pairs().to_tf_data(), validation_data=ds, verbose=0, shuffle=False
    ),
    "distribute": lambda ds: strategy().experimental_distribute_dataset(ds),
    "distribute from a function": lambda ds: strategy().distribute_datasets_from_function(
        lambda context: ds
    ),
    "zip": lambda ds: tf.data.Dataset.zip((tf.data.Dataset.range(2), ds)),
    "zip by arguments": lambda ds: tf.data.Dataset.zip(tf.data.Dataset.range(2), ds),
    "concatenate": lambda ds: pairs().to_tf_data().concatenate(ds),
    "sample_from_datasets": lambda ds: tf.data.Dataset.sample_from_datasets(
        [pairs().to_tf_data(), ds]
    ),
    "flat_map": lambda ds: tf.data.Dataset.range(2).flat_map(lambda _: ds),
    "interleave": lambda ds: tf.data.Dataset.range(2).interleave(lambda _: ds),
    "save": lambda ds: tf.data.Dataset.save(ds, tempfile.mkdtemp()),
    "cardinality": tf.data.experimental.cardinality,
    "assert_cardinality": lambda ds: ds.apply(tf.data.experimental.assert_cardinality(2)),
    "apply": lambda ds: tf.data.Dataset.range(2).apply(lambda _: ds),
    "choose_from_datasets": lambda ds: tf.data.Dataset.choose_from_datasets(
        [tf.data.Dataset.range(2)], ds
    ),
    "from_tensor_slices": tf.data.Dataset.from_tensor_slices,
    "convert_to_tensor": tf.convert_to_tensor,
}


@pytest.mark.parametrize("taker", TAKERS)
def test_refusals_of_a_tensorferry_dataset_name_to_tf_data(taker: str) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError), match=r"to_tf_data\(\)"):
        TAKERS[taker](pairs())


@pytest.mark.parametrize(
    "taker",
    [
        "fit",
        "evaluate",
        "predict",
        "fit with validation_data",
        "distribute",
        "zip",
        "concatenate",
        "flat_map",
    ],
)
def test_the_result_of_to_tf_data_is_accepted(taker: str) -> None:
    TAKERS[taker](pairs().to_tf_data())


def test_each_epoch_of_fit_is_the_next_one_of_the_dataset() -> None:
    dataset = (
        tfy.Dataset.range(6)
        .shuffle(seed=7)
        .cast("float32")
        .map(lambda x: (tf.reshape(x, (1,)), x))
        .batch(2)
    )
    seen: list[float] = []

    class Seeing(tf.keras.Model):  # type: ignore[misc]
        def train_step(self, data: Any) -> dict[str, Any]:
            seen.extend(data[1].numpy().tolist())
            return {"loss": tf.constant(0.0)}

    made = Seeing()
    made.compile(run_eagerly=True)
    made.fit(dataset.to_tf_data(), epochs=3, verbose=0, shuffle=False)
    again = tfy.Dataset.range(6).shuffle(seed=7).with_format("numpy")
    assert seen == [float(x) for _ in range(3) for x in again]


@pytest.mark.parametrize(
    ("method", "way"),
    [
        ("list_files", "from_files"),
        ("snapshot", "save"),
        ("dense_to_ragged_batch", "ragged_batch"),
        ("sparse_batch", r"to_tf_data\(\)"),
        ("rejection_resample", "sample_from_datasets"),
        ("get_single_element", "next"),
        ("ignore_errors", "continues"),
        ("fingerprint", r"to_tf_data\(\)"),
        ("counter", "range"),
    ],
)
def test_a_missing_method_of_tf_data_names_the_alternative(method: str, way: str) -> None:
    with pytest.raises(
        AttributeError, match=rf"'Dataset' object has no attribute '{method}'.*{way}"
    ):
        getattr(pairs(), method)
    assert not hasattr(pairs(), "_variant_tensor")
    assert not hasattr(pairs(), "no_such_thing")


def test_every_method_of_tf_data_exists_or_names_the_alternative() -> None:
    from tensorferry.dataset._base import _WAYS

    theirs = {name for name in dir(tf.data.Dataset) if not name.startswith("_")}
    assert theirs - set(dir(tfy.Dataset)) <= set(_WAYS)
    assert not set(_WAYS) & set(dir(tfy.Dataset))


def test_an_iterator_names_the_way_to_save_it() -> None:
    iterator = iter(pairs())
    with pytest.raises(ValueError, match=r"state_dict\(\).*to_tf_data\(\)"):
        tf.train.Checkpoint(iterator=iterator)
    tf.train.Checkpoint(iterator=iter(pairs().to_tf_data()))


def test_the_class_equals_itself() -> None:
    import copy
    import pickle

    assert isinstance(pairs(), tfy.Dataset)
    assert pickle.loads(pickle.dumps(tfy.Dataset)) is tfy.Dataset
    assert len(copy.copy(pairs())) == len(copy.deepcopy(pairs())) == 2
    assert "tensorferry.dataset.Dataset" in repr(tfy.Dataset)
