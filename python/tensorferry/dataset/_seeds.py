"""Seeds of stages that are made without a ``seed``."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

from tensorferry import _internal


def seeded(plan: _internal.Plan, *inputs: _internal.Plan) -> _internal.Plan:
    """The plan of a new stage. If the stage drew a seed and ``tf.random.set_seed`` was called, the
    seed follows from TensorFlow's: each stage gets another, and the same ones after another call.

    ``inputs`` are the plans that the stage may have returned unchanged.
    """
    seed = _of_tensorflow()
    return plan if seed is None else plan.with_drawn_seed(seed, list(inputs))


def _of_tensorflow() -> int | None:
    """A seed that follows from TensorFlow's global seed, as for its own operations; None without
    one.
    """
    tensorflow: Any = sys.modules.get("tensorflow")
    try:
        words = tensorflow.compat.v1.random.get_seed(None)
    except AttributeError:  # not imported, or still being imported
        return None
    if None in words:
        return None
    digits = b"".join(int(word).to_bytes(16, "little", signed=True) for word in words)
    return int.from_bytes(
        hashlib.blake2b(digits, digest_size=8, person=b"tf.random seed").digest(), "little"
    )
