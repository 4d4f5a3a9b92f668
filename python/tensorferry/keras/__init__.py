"""For Keras 3: a callback that resumes ``fit`` in the middle of an epoch, one that sets the epoch
of a dataset, splits, and class weights. Importing this module imports Keras.

>>> import os, tempfile
>>> import keras, numpy as np, tensorferry as tfy
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

from __future__ import annotations

import importlib

from tensorferry._frameworks import installed

try:
    importlib.import_module("keras")
except ModuleNotFoundError as error:
    raise installed.missing(error, "keras", "tensorferry.keras") from None

from tensorferry.keras._backup import BackupAndResume
from tensorferry.keras._epochs import SetEpoch
from tensorferry.keras._splits import class_weights, split_dataset

__all__ = ["BackupAndResume", "SetEpoch", "class_weights", "split_dataset"]
