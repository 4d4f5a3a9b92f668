"""C1: a small int32 array to a tf.Tensor of the same dtype, shared if that is sound.

The expert's idiom is `from_dlpack(a.__dlpack__())`. It works only on a writable, aligned array:
NumPy exports no read-only array, and TensorFlow aborts on less than 64-byte alignment. tensorferry
checks both per call.
"""

import numpy as np
import tensorferry
import tensorflow as tf
from harness import interleave, medians
from peers import aligned, frozen, is_shared, require_equal
from rows import Row, quantity
from tensorflow.python import pywrap_tfe
from tensorflow.python.eager import context

MEMORY = 64 << 20
LENGTHS = (1, 100, 10_000)
IDIOM = "from_dlpack(a.__dlpack__())"
DEFAULT = "tf.convert_to_tensor(a)"
FLOOR = "TFE_FromDlpackCapsule alone"

STATEMENTS = {
    "shared, a is read-only": "ours(read_only)",
    "shared, copy=False": "ours(writable, copy=False)",
    "copied, a is writable": "ours(writable)",
    IDIOM: "from_dlpack(writable.__dlpack__())",
    DEFAULT: "default(writable)",
    FLOOR: "floor(writable.__dlpack__(), handle)",
}


def run(*, quick: bool) -> list[Row]:
    """Rows for each length, against the idiom and against TensorFlow's default."""
    context.context().ensure_initialized()
    lengths = LENGTHS[1:2] if quick else LENGTHS
    return [row for length in lengths for row in _rows(length, repetitions=7 if quick else 15)]


def _rows(length: int, repetitions: int) -> list[Row]:
    read_only, writable = frozen(length, np.int32), aligned(length, np.int32)
    namespace = {
        "ours": tensorferry.convert_to_tensor,
        "from_dlpack": tf.experimental.dlpack.from_dlpack,
        "default": tf.convert_to_tensor,
        "floor": pywrap_tfe.TFE_FromDlpackCapsule,
        "handle": context.context()._handle,
        "read_only": read_only,
        "writable": writable,
    }
    samples = interleave(STATEMENTS, namespace, repetitions=repetitions)
    _check(read_only, writable)
    times = medians(samples)
    floor = quantity(times[FLOOR], "s")
    bound = f"TensorFlow's own part, TFE_FromDlpackCapsule on NumPy's capsule, takes {floor}"
    rows = []
    for name in list(STATEMENTS)[:3]:
        copied = name.startswith("copied")
        for peer, target in ((IDIOM, 1 / 1.5), (DEFAULT, 5.0)):
            rows.append(
                Row(
                    workload="C1",
                    what=f"{length:,} int32, {name}",
                    ours=times[name],
                    peer_name=peer,
                    peer=times[peer],
                    target=None if copied else target,
                    bound=bound,
                    samples={"ours": samples[name], "peer": samples[peer]},
                )
            )
    return rows


def _check(read_only: np.ndarray, writable: np.ndarray) -> None:
    for array, options, shared in (
        (read_only, {}, True),
        (writable, {"copy": False}, True),
        (writable, {}, False),
    ):
        tensor = tensorferry.convert_to_tensor(array, **options)
        require_equal(tensor, array)
        if is_shared(tensor, array) is not shared:
            raise AssertionError(f"expected a {'shared' if shared else 'copied'} tensor")
