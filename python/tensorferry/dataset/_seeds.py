"""Seeds of stages to which none is given."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

from tensorferry import _internal


def seeded(plan: _internal.Plan, *inputs: _internal.Plan) -> _internal.Plan:
    """The plan of a stage that was just made. If it drew a seed and ``tf.random.set_seed`` was
    called, the seed follows from that: each stage has another, and calling it again gives the same
    ones again. ``inputs`` are the plans that the stage may have left as it is."""
    seed = _of_tensorflow()
    return plan if seed is None else plan.with_drawn_seed(seed, list(inputs))


def _of_tensorflow() -> int | None:
    """A seed that follows from TensorFlow's global one, in the way of its operations; None if there
    is none."""
    tensorflow: Any = sys.modules.get("tensorflow")
    try:
        words = tensorflow.compat.v1.random.get_seed(None)
    except AttributeError:  # not imported, or just being
        return None
    if None in words:
        return None
    digits = b"".join(int(word).to_bytes(16, "little", signed=True) for word in words)
    return int.from_bytes(
        hashlib.blake2b(digits, digest_size=8, person=b"tf.random seed").digest(), "little"
    )
