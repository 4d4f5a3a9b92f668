"""The callback that resumes ``fit`` in the middle of an epoch."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal, SupportsIndex

import keras

from tensorferry import _arguments, errors
from tensorferry._arguments import INFINITE
from tensorferry.dataset import Dataset
from tensorferry.dataset._methods.checks import check
from tensorferry.keras import _checkpoint, _feeds
from tensorferry.keras._checkpoint import Checkpoint, Position

#: The name of the only file in the directory.
FILE = "latest.safetensors"


class BackupAndResume(keras.callbacks.Callback):  # type: ignore[misc]
    """Saves a run of ``fit`` every few batches, and resumes it at that batch: the losses are those
    of a run that was not interrupted.

    Give :attr:`data` to ``fit``, not the dataset. If a backup exists when ``fit`` begins, it
    continues there, in the middle of an epoch. A backup has the weights, the states of random
    generators (dropout), the optimizer's and the metrics' variables, and the position and seeds of
    the dataset. It is one file, which is replaced atomically: a process that is killed at any
    moment leaves the previous backup or the new one.

    In an epoch that is resumed, ``fit`` counts the batches that were trained on before, without
    training: :attr:`skipping` is true, and callbacks get the metrics of the backup. See
    docs/start/keras.md.

    Args:
        backup_dir: a directory for the backup; it is made if it does not exist.
        dataset: the batches to train on, with random access. If it is infinite, pass
            ``steps_per_epoch`` to ``fit``.
        save_freq: the number of batches between backups, or "epoch"; False saves none, and only
            sets the epoch.
        delete_checkpoint: whether to remove the backup when ``fit`` has ended.

    Raises:
        tensorferry.errors.InvalidArgumentError: the dataset has no random access.

    >>> import os, tempfile, keras, numpy as np, tensorferry as tfy
    >>> from tensorferry.keras import BackupAndResume
    >>> x = np.arange(24, dtype="float32").reshape(8, 3)
    >>> train = tfy.Dataset.from_tensor_slices((x, x[:, :1])).shuffle(seed=7).batch(2)
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> backup = BackupAndResume(os.path.join(tempfile.mkdtemp(), "backup"), train, save_freq=2)
    >>> history = model.fit(backup.data, epochs=2, callbacks=[backup], shuffle=False, verbose=0)
    >>> history.epoch
    [0, 1]
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        dataset: Dataset,
        save_freq: Literal["epoch"] | SupportsIndex = "epoch",
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        self._dataset: Dataset = _with_random_access(dataset).with_format("numpy")
        self._frequency = _frequency(save_freq)
        self._delete = _arguments.flag(delete_checkpoint, "BackupAndResume", "delete_checkpoint")
        self._path = os.path.join(os.path.abspath(os.fspath(backup_dir)), FILE)
        self._feed = _feeds.feed(dataset)
        self._length = dataset._plan.cardinality
        self._resumed: Checkpoint | None = None
        self._train_function: Callable[..., Any] | None = None
        self._moved = False
        self._initial_epoch: int | None = None
        self._began = self._checked = False
        self._epoch = self._batch = self._steps = self._unsaved = 0

    @property
    def data(self) -> Any:
        """The dataset for ``fit``: a ``tf.data.Dataset``; with another backend than TensorFlow a
        ``keras.utils.PyDataset``.
        """
        return self._feed.data

    @property
    def skipping(self) -> bool:
        """Whether ``fit`` counts batches that were trained on before the interruption."""
        return self._train_function is not None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Called by ``fit``."""
        self._end_skipping()
        self._steps = self._counted_steps()
        self._began = self._checked = False
        self._unsaved = 0
        self._resumed = _checkpoint.read(self._path)
        if self._resumed is None:
            return
        model, position = self.model, self._resumed.position
        self._check(position, _executed(model))
        iter(self._dataset).load_state_dict(position.dataset)  # refuses the state of another plan
        if not _checkpoint.fits(self._resumed, model):
            self._build(model)
        _checkpoint.restore(self._resumed, model)
        self._moved, self._initial_epoch = True, model._initial_epoch
        model._initial_epoch = position.epoch

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Called by ``fit``."""
        self._restore_initial_epoch()
        position = None if self._resumed is None else self._resumed.position
        if position is not None and position.epoch != epoch:
            raise errors.make(
                "argument",
                f"BackupAndResume: the backup {self._path} is of epoch {position.epoch}, and fit "
                f"begins with epoch {epoch}. Pass initial_epoch={position.epoch}, or remove it.",
            )
        self._epoch = epoch
        self._batch = 0 if position is None else position.batch
        whole = self._steps % _executed(self._model) == 0
        if self._length != INFINITE:
            self._feed.begin(epoch, self._batch, self._batch, whole)
        elif not self._began:  # one pass for all epochs
            self._feed.begin(0, epoch * self._steps + self._batch, self._batch, whole)
        self._began = True

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called by ``fit``."""
        resumed, self._resumed = self._resumed, None
        if resumed is not None and resumed.position.batch:
            # Again: `fit` has reset the metrics, and callbacks may have changed the learning rate.
            model = self.model
            _checkpoint.restore(resumed, model)
            self._skip(model, resumed.position.batch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Called by ``fit``."""
        if self.skipping:
            return
        if not self._checked and not self._feed.opened:
            raise errors.make(
                "argument",
                "BackupAndResume: fit does not read the callback's data: "
                "model.fit(backup.data, callbacks=[backup])",
            )
        self._checked = True
        executed = _executed(self._model)
        self._batch = min(self._batch + executed, self._steps)
        self._unsaved += executed
        if self._frequency and self._unsaved >= self._frequency:
            self._save(self._epoch, self._batch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Called by ``fit``."""
        if self._frequency is None:
            self._save(epoch + 1, 0)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Called by ``fit``."""
        self._end_skipping()
        self._restore_initial_epoch()
        if self._delete:
            _checkpoint.remove(self._path)
        elif self._frequency != 0 and self._began:
            self._save(self._epoch + 1, 0)

    def _restore_initial_epoch(self) -> None:
        """Once ``fit`` has read where to begin; a later one begins where its caller says."""
        if self._moved:
            self._model._initial_epoch, self._moved = self._initial_epoch, False

    def _counted_steps(self) -> int:
        """The number of batches in an epoch of this ``fit``."""
        steps: int | None = self.params["steps"]
        if self._length != INFINITE and steps != self._length:
            raise errors.make(
                "argument",
                f"BackupAndResume: an epoch of fit has {steps} batches, and the dataset "
                f"{self._length}. Leave out steps_per_epoch, or repeat() the dataset; after "
                "`data`, only stages that keep the number of batches, such as map, are possible.",
            )
        if steps is None:
            raise errors.make(
                "argument", "BackupAndResume: the dataset is infinite: pass steps_per_epoch to fit"
            )
        return steps

    def _check(self, position: Position, executed: int) -> None:
        """Refuses a backup with which this ``fit`` cannot continue."""
        if position.steps != self._steps:
            raise errors.make(
                "argument",
                f"BackupAndResume: the backup {self._path} is of a run with {position.steps} "
                f"batches in an epoch, not {self._steps}. Pass the same steps_per_epoch, or remove "
                "it.",
            )
        if position.batch % executed and position.batch != position.steps:
            raise errors.make(
                "argument",
                f"BackupAndResume: the backup {self._path} is of batch {position.batch}, between "
                f"two executions of {executed} steps. Compile with another steps_per_execution, or "
                "remove it.",
            )

    def _build(self, model: keras.Model) -> None:
        """Makes the variables that a model gets when it is first trained."""
        first = _feeds.as_tuple(self._dataset[0])
        x, y, weight = keras.utils.unpack_x_y_sample_weight(first)
        model.test_on_batch(x, y, sample_weight=weight)
        if model.optimizer is not None and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)

    def _skip(self, model: keras.Model, batches: int) -> None:
        """Keeps ``fit`` from training in the steps of ``batches``."""
        executed = _executed(model)
        left = -(-batches // executed)
        fillers = self._feed.has_fillers(self._steps % executed == 0)
        metrics = model.get_metrics_result()

        def skip(*arguments: Any) -> Any:
            nonlocal left
            if left == 0:
                return self._end_skipping()(*arguments)
            left -= 1
            *state, data = arguments
            if fillers and hasattr(data, "__next__"):
                for _ in range(executed):
                    next(data, None)  # the last execution may have fewer
            # JAX's trainer passes the state of the model through the function.
            return (metrics, *state) if state else metrics

        self._train_function = model.train_function
        model.train_function = skip

    def _end_skipping(self) -> Callable[..., Any]:
        """The model's function, which trains again."""
        if self._train_function is not None:
            self._model.train_function, self._train_function = self._train_function, None
        trains: Callable[..., Any] = self._model.train_function
        return trains

    def _save(self, epoch: int, batch: int) -> None:
        self._unsaved = 0
        at = (0, epoch * self._steps + batch) if self._length == INFINITE else (epoch, batch)
        state = iter(self._dataset).state_dict() | dict(zip(("epoch", "position"), at, strict=True))
        # The property `model` brings the variables up to date.
        _checkpoint.write(self._path, self.model, Position(epoch, batch, self._steps, state))


def _with_random_access(dataset: object) -> Dataset:
    batches: Dataset = check(dataset, "BackupAndResume", "dataset")
    if not batches._plan.is_indexed:
        raise errors.make(
            "argument",
            "BackupAndResume: the dataset has no random access (filter, from_generator and the "
            "like), so the number of batches does not tell its position. save() it and load() it, "
            "select() rows by a mask in the place of filter, or save state_dict() in a loop of "
            "your own.",
        )
    return batches


def _frequency(value: Any) -> int | None:
    """The number of batches between backups; None for one at each end of an epoch, 0 for none."""
    if isinstance(value, str) and value == "epoch":
        return None
    if value is False:
        return 0
    return _arguments.positive(value, "BackupAndResume", 'save_freq, if not "epoch",')


def _executed(model: Any) -> int:
    """The number of batches in a call of ``train_function``."""
    return int(getattr(model, "steps_per_execution", 1) or 1)
