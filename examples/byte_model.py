"""A byte-level language model of Python source text, fed with windows of one long array of bytes.

The text is Python's standard library. ``token_windows`` yields (x, y), where y is x shifted by one
byte, widened from uint8 to int32 in the gather. A shuffle over every window takes no memory.
``--short`` trains less.
"""

import argparse
import os
import sysconfig
from pathlib import Path

# TensorFlow reads these on import. They silence messages about its build.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras
import numpy as np
import tensorferry as tfy

LENGTH = 96  # bytes of a window
BATCH = 32
HELD_OUT = 1 << 18  # held-out bytes at the end of the text


def library_text(most: int = 4 << 20) -> np.ndarray:
    """The concatenated source of Python's standard library, as bytes."""
    folder = Path(sysconfig.get_path("stdlib"))
    text = b""
    for path in sorted(folder.glob("*.py")):
        text += path.read_bytes()
        if len(text) >= most:
            break
    return np.frombuffer(text[:most], np.uint8)  # read-only, so it is shared


def windows(text: np.ndarray) -> tfy.Dataset:
    """Windows at every byte, in random order."""
    return (
        tfy.Dataset.token_windows(text, LENGTH, stride=1, dtype="int32")
        .shuffle(seed=7)
        .batch(BATCH, drop_remainder=True)
    )


def language_model() -> keras.Model:
    """Causal convolutions of growing reach, which predict the next byte."""
    keras.utils.set_random_seed(1)
    bytes_so_far = keras.Input((LENGTH,), dtype="int32")
    x = keras.layers.Embedding(256, 64)(bytes_so_far)
    for dilation in (1, 2, 4, 8):
        seen = keras.layers.Conv1D(
            64, 3, padding="causal", dilation_rate=dilation, activation="relu"
        )(x)
        x = keras.layers.LayerNormalization()(x + seen)
    model = keras.Model(bytes_so_far, keras.layers.Dense(256)(x))
    model.compile(
        optimizer=keras.optimizers.Adam(3e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def bits_of_single_bytes(text: np.ndarray) -> float:
    """Bits per byte by the frequencies of bytes alone: the baseline for the model."""
    share = np.bincount(text, minlength=256) / len(text)
    return float(-np.sum(share[share > 0] * np.log2(share[share > 0])))


def continued(model: keras.Model, beginning: bytes, count: int) -> str:
    """``beginning``, continued by the model with the likeliest bytes."""
    text = list(beginning.rjust(LENGTH, b"\n"))
    for _ in range(count):
        logits = model.predict_on_batch(tfy.convert_to_tensor(np.array([text[-LENGTH:]]), "int32"))
        text.append(int(np.argmax(logits[0, -1])))
    return bytes(text[LENGTH - len(beginning) :]).decode("utf-8", "replace")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="train for fewer steps")
    steps = 150 if parser.parse_args().short else 1200

    text = library_text()
    train, test = windows(text[:-HELD_OUT]), windows(text[-HELD_OUT:])
    baseline = bits_of_single_bytes(text[:-HELD_OUT])
    print(f"{len(text):,} bytes of Python; {len(train):,} batches of {train.element_spec}")
    print(f"by byte frequencies alone: {baseline:.2f} bits per byte")

    model = language_model()
    losses = []
    for step, (x, y) in enumerate(train.take(steps).prefetch(4), 1):
        losses.append(model.train_on_batch(x, y))
        if step % (steps // 5) == 0:
            print(f"step {step:4}: {np.mean(losses[-steps // 5 :]) / np.log(2):.2f} bits per byte")

    held_out = [model.test_on_batch(x, y) for x, y in test.take(20)]
    bits = float(np.mean(held_out) / np.log(2))
    print(f"on held-out text: {bits:.2f} bits per byte")
    print(f"it writes: {continued(model, b'def __init__(self', 40)!r}")
    if bits > baseline - 1:
        raise SystemExit("the model did not learn")


if __name__ == "__main__":
    main()
