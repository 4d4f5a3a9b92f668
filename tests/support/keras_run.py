"""A run of ``fit`` that is killed: ``python keras_run.py directory kill_after [save_freq]``.

Prints a line for each batch: its epoch, its number and the loss. The process kills itself after
``kill_after`` of them; with 0, it trains to the end. Without a directory ("-"), no backup is made.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorferry as tfy
from tensorferry.keras import BackupAndResume, SetEpoch


def written(*values: object) -> None:
    """Writes a line at once: the process may be killed next."""
    os.write(1, (" ".join(map(repr, values)) + "\n").encode())


class Lines(keras.callbacks.Callback):
    """Prints, and kills."""

    def __init__(self, backup: BackupAndResume | None, kill_after: int) -> None:
        super().__init__()
        self.backup, self.left, self.epoch = backup, kill_after, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.backup is not None and self.backup.skipping:
            return
        written(self.epoch, batch, float(logs["loss"]), float(logs["mae"]))
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        written(epoch, "end", *(float(logs[name]) for name in sorted(logs)))


def compiled() -> keras.Model:
    """A model with dropout, Adam and a schedule; it has no variables before it is trained."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(1),
        ]
    )
    schedule = keras.optimizers.schedules.ExponentialDecay(1e-2, 3, 0.9)
    model.compile(keras.optimizers.Adam(schedule), "mse", metrics=["mae"])
    return model


def main(directory: str, kill_after: str, save_freq: str = "3") -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(50, 4)), random.normal(size=(50, 1))
    rows = tfy.Dataset.from_tensor_slices((x.astype("f4"), y.astype("f4")))
    train = rows.take(40).shuffle(seed=7).batch(4).prefetch(4)
    held_out = (x[40:].astype("f4"), y[40:].astype("f4"))
    backup, data = None, train.to_tf_data() if directory == "-" else None
    if directory != "-":
        backup = BackupAndResume(directory, train, int(save_freq))
        data = backup.data
    lines = Lines(backup, int(kill_after))
    callbacks = [SetEpoch(train) if backup is None else backup, lines]
    compiled().fit(
        data, epochs=3, callbacks=callbacks, validation_data=held_out, shuffle=False, verbose=0
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
