"""Tries a framework, step by step, and reports each step in advance on stdout."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TypedDict

import numpy as np

import tensorferry

#: Begins the lines of reports; frameworks print others.
MARK = "tensorferry-probe: "


class Probed(TypedDict, total=False):
    """What is known of a framework."""

    version: str | None
    devices: list[str]
    #: Steps that succeeded.
    works: list[str]
    #: The step that is tried.
    step: str
    #: Why it failed.
    error: str


#: A probe yields the name of each step before it is tried.
Steps = Iterator[str]


def _sample() -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.arange(1, 4, dtype=np.int64)


def _tensorflow(known: Probed) -> Steps:
    yield "import"
    import tensorflow as tf

    known["version"] = tf.__version__
    yield "tensors"
    known["devices"] = [device.name for device in tf.config.list_physical_devices()]
    _expect(tensorferry.convert_to_tensor(_sample(), "int32").numpy())
    yield "ops"
    from tensorferry.tensorflow import register_ops

    register_ops()
    _expect(
        list(tensorferry.Dataset.from_tensor_slices(_sample()).to_tf_data().as_numpy_iterator())
    )


def _torch(known: Probed) -> Steps:
    yield "import"
    import torch

    known["version"] = torch.__version__
    yield "tensors"
    known["devices"] = ["CPU", *(["CUDA"] if torch.cuda.is_available() else [])]
    _expect(tensorferry.tensor(_sample(), "int32").to_torch().numpy())


def _jax(known: Probed) -> Steps:
    yield "import"
    import jax

    known["version"] = jax.__version__
    yield "tensors"
    known["devices"] = [str(device) for device in jax.devices()]
    _expect(np.asarray(tensorferry.tensor(_sample(), "int32").to_jax()))


def _keras(known: Probed) -> Steps:
    yield "import"
    import keras

    known["version"] = keras.__version__
    known["devices"] = [f"backend {keras.backend.backend()}"]


PROBES: dict[str, Callable[[Probed], Steps]] = {
    "tensorflow": _tensorflow,
    "torch": _torch,
    "jax": _jax,
    "keras": _keras,
}


def _expect(values: object) -> None:
    found = np.asarray(values).tolist()
    if found != _sample().tolist():
        raise ValueError(f"{_sample().tolist()} became {found}")


def _report(known: Probed) -> None:
    print(MARK + json.dumps(known), flush=True)  # noqa: T201 - for the parent process


def main(name: str) -> None:
    """Probes a framework."""
    known: Probed = {"works": []}
    try:
        for step in PROBES[name](known):
            if "step" in known:
                known["works"].append(known["step"])
            known["step"] = step
            _report(known)
        known["works"].append(known.pop("step"))
    except BaseException as error:  # an import may raise anything
        known["error"] = f"{type(error).__name__}: {error}"
    _report(known)
