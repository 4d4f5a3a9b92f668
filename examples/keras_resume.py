"""The digits classifier, killed in the middle of an epoch and resumed: its losses are those of a
run that was not interrupted.

Each run is a process. ``BackupAndResume`` saves the model and the position in the data every eight
batches.
"""

import os
import signal
import subprocess
import sys
import tempfile

# TensorFlow reads these on import. They silence messages about its build.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras
import numpy as np
import tensorferry as tfy
from sklearn.datasets import load_digits
from tensorferry.keras import BackupAndResume

EPOCHS = 3
KILL_AFTER = 70


class Report(keras.callbacks.Callback):
    """Prints the loss of each batch that is trained on, and kills the process after some."""

    def __init__(self, backup: BackupAndResume, kill_after: int) -> None:
        super().__init__()
        self.backup, self.left = backup, kill_after

    def on_train_batch_end(self, batch, logs=None) -> None:
        if self.backup.skipping:
            return
        print(repr(logs["loss"]), flush=True)
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def train(directory: str, kill_after: int) -> None:
    """Trains, or continues to train: nothing here depends on which of them it is."""
    keras.utils.set_random_seed(1)
    digits = load_digits()
    rows = tfy.Dataset.from_tensor_slices((digits.data.astype(np.uint8), digits.target))
    batches = rows.shuffle(seed=7).scale(1 / 16, which=(True, False)).batch(32)
    layers = [keras.Input((64,)), keras.layers.Dense(64, activation="relu")]
    model = keras.Sequential([*layers, keras.layers.Dropout(0.2), keras.layers.Dense(10)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    backup = BackupAndResume(directory, batches, save_freq=8)
    model.fit(
        backup.data,
        epochs=EPOCHS,
        callbacks=[backup, Report(backup, kill_after)],
        shuffle=False,
        verbose=0,
    )


def losses(directory: str, kill_after: int = 0) -> list[str]:
    """The losses that a training process prints until it ends or is killed."""
    command = [sys.executable, __file__, directory, str(kill_after)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != (-signal.SIGKILL if kill_after else 0):
        raise SystemExit(f"exit status {done.returncode}")
    return done.stdout.split()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole = losses(os.path.join(folder, "whole"))
        killed = losses(os.path.join(folder, "backup"), KILL_AFTER)
        rest = losses(os.path.join(folder, "backup"))
    begin = len(whole) - len(rest)
    print(f"a whole run: {len(whole)} batches, the last loss {float(whole[-1]):.6f}")
    print(f"killed after {len(killed)} batches, resumed after {begin}")
    if killed != whole[:KILL_AFTER] or rest != whole[begin:] or not rest:
        raise SystemExit("the losses differ")
    print(f"the losses of the {len(rest)} batches that followed are equal, bit for bit")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(sys.argv[1], int(sys.argv[2]))
    else:
        main()
