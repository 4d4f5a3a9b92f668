"""``tensorferry.keras`` in one process: resumed and refused runs, epochs, splits, weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorferry as tfy
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight
from tensorferry import errors
from tensorferry.keras import BackupAndResume, SetEpoch, class_weights, split_dataset

pytestmark = pytest.mark.slow

X = np.arange(48, dtype=np.float32).reshape(16, 3) / 48


class Stop(Exception):
    """Ends ``fit`` as a crash would."""


class Losses(keras.callbacks.Callback):
    """The loss of each batch that was trained on; a crash after some of them."""

    def __init__(self, backup: Any, stop: int | None) -> None:
        super().__init__()
        self.backup, self.stop, self.seen = backup, stop, []
        self.steps: list[int] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not self.backup.skipping:
            self.seen.append(float(logs["loss"]))
            self.steps.append(batch)
            if len(self.seen) == self.stop:
                raise Stop


def batches() -> tfy.Dataset:
    return tfy.Dataset.from_tensor_slices((X, X[:, :1])).shuffle(seed=7).batch(2)


def compiled(**options: Any) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("adam", "mse", **options)
    return model


def fitted(
    directory: Path,
    dataset: tfy.Dataset,
    stop: int | None = None,
    *,
    freq: Any = 2,
    strategy: Any = None,
    compiling: dict[str, Any] | None = None,
    more: Any = (),
    delete: bool = True,
    **fitting: Any,
) -> tuple[list[float], keras.callbacks.History | None]:
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        model = compiled(**(compiling or {}))
    backup = BackupAndResume(directory, dataset, freq, delete)
    losses = Losses(backup, stop)
    options = {"epochs": 3, "shuffle": False, "verbose": 0} | fitting
    history = None
    try:
        history = model.fit(backup.data, callbacks=[backup, *more, losses], **options)
    except Stop:
        assert stop
    return losses.seen, history


CASES: dict[str, dict[str, Any]] = {
    "a finite dataset": {},
    "steps_per_epoch of an infinite dataset": {"steps_per_epoch": 5, "repeat": True},
    "steps_per_epoch that is the length": {"steps_per_epoch": 8},
    "class_weight": {"class_weight": {0: 1.0, 1: 2.0}},
    "a strategy of one device": {"strategy": ["CPU:0"]},
    "a strategy, steps_per_epoch": {"strategy": ["CPU:0"], "steps_per_epoch": 5, "repeat": True},
    "several steps in an execution": {"compiling": {"steps_per_execution": 2}},
    "executions that do not divide the epoch": {"compiling": {"steps_per_execution": 3}},
    "a backup of each epoch": {"freq": "epoch"},
    "mixed metrics": {"compiling": {"metrics": ["mae"], "weighted_metrics": ["mse"]}},
}


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_fit_has_the_losses_of_the_whole_one(case: str, tmp_path) -> None:
    options = dict(CASES[case])
    if "strategy" in options:
        options["strategy"] = tf.distribute.MirroredStrategy(options["strategy"])
    dataset = batches().repeat() if options.pop("repeat", False) else batches()
    executed = options.get("compiling", {}).get("steps_per_execution", 1)
    whole, history = fitted(tmp_path / "whole", dataset, **options)
    first, _ = fitted(tmp_path / "backup", dataset, 11 // executed, **options)
    rest, resumed = fitted(tmp_path / "backup", dataset, **options)
    assert first == whole[: len(first)]
    assert rest == whole[-len(rest) :]
    assert 0 < len(rest) < len(whole)
    assert resumed.history["loss"] == history.history["loss"][-len(resumed.epoch) :]
    assert not (tmp_path / "backup").exists()


def test_a_seed_that_was_drawn_is_resumed(tmp_path) -> None:
    def unseeded() -> tfy.Dataset:
        return tfy.Dataset.from_tensor_slices((X, X[:, :1])).shuffle().batch(2)

    first, _ = fitted(tmp_path, unseeded(), 12, freq=10)
    rest, _ = fitted(tmp_path, unseeded(), freq=10)
    assert rest[:2] == first[10:]


def test_resumed_steps_have_their_numbers_and_the_model_keeps_its_first_epoch(tmp_path) -> None:
    fitted(tmp_path, batches(), 11)
    model, backup = compiled(), BackupAndResume(tmp_path, batches(), 2)
    losses = Losses(backup, None)
    trains = None
    model.fit(backup.data, epochs=2, callbacks=[backup, losses], shuffle=False, verbose=0)
    assert losses.steps == [2, 3, 4, 5, 6, 7]
    assert model._initial_epoch is None
    trains = model.train_function
    again = model.fit(backup.data, epochs=1, callbacks=[backup], shuffle=False, verbose=0)
    assert again.epoch == [0]
    assert model.train_function is trains


@pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")  # Keras's, with NumPy 2
def test_the_learning_rate_of_a_scheduler_is_resumed(tmp_path) -> None:
    def slower() -> Any:
        return [keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)]

    whole, _ = fitted(tmp_path / "whole", batches(), more=slower())
    for freq in (2, "epoch"):
        fitted(tmp_path / "backup", batches(), 11, more=slower(), freq=freq)
        rest, _ = fitted(tmp_path / "backup", batches(), more=slower(), freq=freq)
        assert rest == whole[-len(rest) :]


def test_a_backup_that_is_kept_continues_with_later_epochs(tmp_path) -> None:
    whole, _ = fitted(tmp_path / "whole", batches(), epochs=3)
    fitted(tmp_path / "backup", batches(), epochs=1, delete=False)
    rest, history = fitted(tmp_path / "backup", batches(), epochs=3, delete=False)
    assert history.epoch == [1, 2]
    assert rest == whole[-16:]


@pytest.mark.parametrize("devices", [[], ["CPU:0"]], ids=["no strategy", "a strategy"])
@pytest.mark.parametrize("way", ["backup", "set_epoch"])
def test_initial_epoch_has_the_orders_of_that_epoch(way: str, devices: Any, tmp_path) -> None:
    orders = [[float(v) for _, y in batch for v in y.ravel()] for batch in epochs(batches(), 3)]
    strategy = tf.distribute.MirroredStrategy(devices) if devices else tf.distribute.get_strategy()
    seen: list[float] = []
    dataset = batches()
    if way == "backup":
        callback: Any = BackupAndResume(tmp_path, dataset, False)
        data = callback.data
    else:
        callback, data = SetEpoch(dataset), dataset.to_tf_data()
    with strategy.scope():
        model = compiled()
    data = data.map(lambda x, y: tf.py_function(noted(seen), [x, y], [tf.float32] * 2))
    data = data.map(lambda x, y: (tf.ensure_shape(x, (None, 3)), tf.ensure_shape(y, (None, 1))))
    fit = {"initial_epoch": 1, "epochs": 3, "shuffle": False, "verbose": 0}
    model.fit(data, callbacks=[callback], **fit)
    assert seen[-32:] == orders[1] + orders[2]


def epochs(dataset: tfy.Dataset, n: int) -> list[list[Any]]:
    return [list(dataset.with_format("numpy")) for _ in range(n)]


def noted(seen: list[float]) -> Any:
    def note(x: Any, y: Any) -> Any:
        seen.extend(float(v) for v in y.numpy().ravel())
        return x, y

    return note


def test_what_cannot_be_resumed_is_refused_with_the_way_out(tmp_path) -> None:
    stream = batches().filter(lambda x, y: True)
    with pytest.raises(errors.InvalidArgumentError, match=r"no random access.*save\(\).*load\(\)"):
        BackupAndResume(tmp_path, stream)
    with pytest.raises(errors.InvalidTypeError, match=r"tensorferry\.Dataset"):
        BackupAndResume(tmp_path, batches().to_tf_data())
    with pytest.raises(errors.InvalidArgumentError, match=r"save_freq.*at least 1"):
        BackupAndResume(tmp_path, batches(), 0)
    with pytest.raises(errors.InvalidArgumentError, match=r"SetEpoch.*infinite.*BackupAndResume"):
        SetEpoch(batches().repeat())
    with pytest.raises(errors.InvalidArgumentError, match=r"5 batches.*repeat\(\)"):
        fitted(tmp_path, batches(), steps_per_epoch=5)
    with pytest.raises(errors.InvalidArgumentError, match="pass steps_per_epoch"):
        fitted(tmp_path, batches().repeat())
    backup = BackupAndResume(tmp_path, batches())
    with pytest.raises(errors.InvalidArgumentError, match=r"does not read.*fit\(backup\.data"):
        compiled().fit(batches().to_tf_data(), callbacks=[backup], shuffle=False, verbose=0)


def test_a_backup_of_another_run_is_refused(tmp_path) -> None:
    fitted(tmp_path, batches(), 3)
    other = tfy.Dataset.from_tensor_slices((X, X[:, :1])).shuffle(seed=8).batch(2)
    with pytest.raises(errors.Error, match="shuffle"):
        fitted(tmp_path, other)
    with pytest.raises(errors.InvalidArgumentError, match="steps_per_execution"):
        fitted(tmp_path, batches(), compiling={"steps_per_execution": 4})
    with pytest.raises(errors.InvalidArgumentError, match=r"of epoch 0.*initial_epoch=0"):
        fitted(tmp_path, batches(), initial_epoch=2)
    backup = BackupAndResume(tmp_path, batches())
    wider = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    wider.compile("adam", "mse")
    with pytest.raises(errors.InvalidArgumentError, match=r"backup of another model.*kernel"):
        wider.fit(backup.data, callbacks=[backup], shuffle=False, verbose=0)
    tfy.save(tmp_path / "latest.safetensors", {"x": X}, "safetensors")
    with pytest.raises(errors.InvalidArgumentError, match="is not a backup"):
        fitted(tmp_path, batches())


def test_data_is_the_same_pass_until_fit_begins_another(tmp_path) -> None:
    backup = BackupAndResume(tmp_path, batches())
    first, second = ([y.numpy().tolist() for _, y in backup.data] for _ in range(2))
    assert first == second
    assert int(backup.data.cardinality()) == len(first) == 8
    normalization = keras.layers.Normalization()
    normalization.adapt(backup.data.map(lambda x, y: x))
    np.testing.assert_allclose(normalization.mean.numpy().ravel(), X.mean(axis=0), rtol=1e-5)


def test_splits_have_every_row_once_and_load_nothing() -> None:
    rows = {"x": X, "y": np.arange(16)}
    for shuffle in (False, True):
        left, right = split_dataset(rows, left_size=0.75, shuffle=shuffle, seed=3)
        assert (len(left), len(right)) == (12, 4)
        seen = [int(row["y"]) for part in (left, right) for row in part.as_numpy_iterator()]
        assert sorted(seen) == list(range(16))
        assert (seen == list(range(16))) is not shuffle
    dataset = tfy.Dataset.range(10)
    for sizes in ({"right_size": 3}, {"left_size": 7}, {"left_size": 0.7, "right_size": 0.3}):
        left, right = split_dataset(dataset, **sizes)
        theirs = keras.utils.split_dataset(np.arange(10), **sizes)
        for mine, other in zip((left, right), theirs, strict=True):
            assert list(mine.as_numpy_iterator()) == list(other.as_numpy_iterator())
    assert [len(part) for part in split_dataset(dataset, 2, 3)] == [2, 3]


@pytest.mark.parametrize(
    "sizes", [{}, {"left_size": 11}, {"left_size": 0.7, "right_size": 0.4}, {"left_size": 1.5}]
)
def test_impossible_splits_are_refused(sizes: dict[str, float]) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="split_dataset"):
        split_dataset(tfy.Dataset.range(10), **sizes)


def test_class_weights_are_those_of_scikit_learn() -> None:
    labels = np.random.default_rng(0).integers(0, 5, 100).astype(np.uint8)
    theirs = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
    assert class_weights(labels) == dict(zip(range(5), theirs.tolist(), strict=True))
    assert class_weights(tf.constant([3, 3, 7])) == {3: 0.75, 7: 1.5}


@pytest.mark.parametrize("labels", [[], [[0, 1]], [0, -1], [0.5]])
def test_labels_that_are_not_classes_are_refused(labels: Any) -> None:
    with pytest.raises(errors.Error, match="class_weights: labels"):
        class_weights(labels)
