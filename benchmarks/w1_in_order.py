"""W1: an int32 array of 100,000 rows of 400 bytes in memory, in order, as batches of 32 and of
1,024.

A read-only source is shared without a copy. A writable one is copied, because an earlier batch must
not change. The targets apply to the read-only source; the copied slices are the peer of the other.
"""

from collections.abc import Callable
from statistics import median

import numpy as np
import tensorflow as tf
import torch
from loaders import torch_batch_loader, torch_loader
from numpy.typing import NDArray
from peers import aligned
from rows import Row, quantity
from streams import Pass, beside, numbered_rows, over, rates, require_rows
from tensorferry import Dataset
from tensorflow.python import pywrap_tfe
from tensorflow.python.eager import context

MEMORY = 1 << 30
COUNT = 100_000
TARGETS = {32: 20e6, 1024: 200e6}
OURS = {"read-only, shared": "tensorflow", "writable, copied": "tensorflow"}
DEFAULT, PREFETCHED = (
    "tf.data from_tensor_slices.batch",
    "tf.data from_tensor_slices.batch.prefetch",
)
LOADER, BATCH_LOADER = "torch DataLoader, __getitems__", "torch DataLoader, sampler of batches"
VIEWS, COPIES = "NumPy slices, views", "NumPy slices, copied"
FLOOR = "TFE_FromDlpackCapsule of each slice"


def run(*, quick: bool) -> list[Row]:
    """Rows for each batch size, against the frameworks' loaders and against slices of the array."""
    context.context().ensure_initialized()
    return [row for size in TARGETS for row in _rows(size, repetitions=5 if quick else 9)]


def _rows(size: int, repetitions: int) -> list[Row]:
    writable = aligned(COUNT * 100, np.int32).reshape(COUNT, 100)
    writable[...] = numbered_rows(COUNT)
    read_only = _read_only(writable)
    ours = {
        "read-only, shared": Dataset.from_tensor_slices(read_only).batch(size),
        "writable, copied": Dataset.from_tensor_slices(writable).batch(size),
    }
    tf_data = tf.data.Dataset.from_tensor_slices(writable).batch(size)
    prefetched = tf_data.prefetch(tf.data.AUTOTUNE)
    tensor = torch.from_numpy(writable)
    passes = {
        name: over(lambda dataset=dataset: dataset, COUNT) for name, dataset in ours.items()
    } | {
        DEFAULT: over(lambda: tf_data, COUNT),
        PREFETCHED: over(lambda: prefetched, COUNT),
        LOADER: over(lambda: torch_loader(tensor, size, shuffle=False), COUNT),
        BATCH_LOADER: over(lambda: torch_batch_loader(tensor, size, shuffle=False), COUNT),
        VIEWS: Pass(_slices(writable, size), COUNT),
        COPIES: Pass(_slices(writable, size, np.ndarray.copy), COUNT),
        FLOOR: Pass(_slices(writable, size, _to_tensorflow()), COUNT),
    }
    found = rates(passes, repetitions=repetitions)
    for dataset in ours.values():
        require_rows(dataset, COUNT, shuffled=False)
    floor = quantity(median(found[FLOOR]), "rows/s")
    bound = (
        "TensorFlow's own part for each batch, TFE_FromDlpackCapsule on NumPy's capsule of a "
        f"slice, alone reaches {floor}"
    )
    frameworks = dict.fromkeys((DEFAULT, PREFETCHED, LOADER, BATCH_LOADER))
    rows = []
    for name in ours:
        what, shared = f"batches of {size:,}, {name}", name.endswith("shared")
        least = TARGETS[size] if shared else None
        rows += beside(
            found, name, frameworks, workload="W1", what=what, target_least=least, bound=bound
        )
        rows += beside(found, name, {VIEWS if shared else COPIES: None}, workload="W1", what=what)
    return rows


def _read_only(array: NDArray) -> NDArray:
    import tensorferry

    shared = tensorferry.empty(array.shape, array.dtype)
    shared[...] = array
    shared.flags.writeable = False
    return shared


def _slices(
    array: NDArray, size: int, hand_over: Callable[[NDArray], object] | None = None
) -> Callable[[], None]:
    def views() -> None:
        for start in range(0, len(array), size):
            array[start : start + size]

    def handed_over() -> None:
        for start in range(0, len(array), size):
            hand_over(array[start : start + size])

    return handed_over if hand_over else views


def _to_tensorflow() -> Callable[[NDArray], object]:
    convert, handle = pywrap_tfe.TFE_FromDlpackCapsule, context.context()._handle
    return lambda array: convert(array.__dlpack__(), handle)
