"""A callback that sets the epoch of datasets."""

from __future__ import annotations

from typing import Any

import keras

from tensorferry import errors
from tensorferry._arguments import INFINITE
from tensorferry.dataset import Dataset
from tensorferry.dataset._methods.checks import check


class SetEpoch(keras.callbacks.Callback):  # type: ignore[misc]
    """Sets the epoch of datasets when an epoch of ``fit`` begins: the orders of epoch ``k`` are the
    same, whether ``fit`` began with epoch 0 or with ``initial_epoch=k``.

    :class:`BackupAndResume` sets the epoch of its dataset itself.

    Args:
        datasets: what ``fit`` reads by ``to_tf_data()`` or a ``DataLoader``.

    Raises:
        tensorferry.errors.InvalidArgumentError: a dataset is infinite, so that an epoch of ``fit``
            is not a pass over it.

    >>> import keras, numpy as np, tensorferry as tfy
    >>> from tensorferry.keras import SetEpoch
    >>> x = np.arange(6, dtype="float32").reshape(6, 1)
    >>> train = tfy.Dataset.from_tensor_slices((x, x)).shuffle(seed=7).batch(2)
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> history = model.fit(
    ...     train.to_tf_data(), initial_epoch=3, epochs=5, callbacks=[SetEpoch(train)],
    ...     shuffle=False, verbose=0,
    ... )
    >>> history.epoch
    [3, 4]
    """

    def __init__(self, *datasets: Dataset) -> None:
        super().__init__()
        self._datasets = datasets
        for dataset in datasets:
            check(dataset, "SetEpoch", "every argument")
            if dataset._plan.cardinality == INFINITE:
                raise errors.make(
                    "argument",
                    "SetEpoch: the dataset is infinite: an epoch of fit is not a pass over it. "
                    "Leave out repeat() and steps_per_epoch; or use BackupAndResume, which counts "
                    "batches.",
                )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Called by ``fit``."""
        for dataset in self._datasets:
            dataset.set_epoch(epoch)
