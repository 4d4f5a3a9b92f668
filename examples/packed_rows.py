"""A small transformer, trained on texts of different lengths that are packed into windows.

The texts are the paragraphs of Python's standard library. ``pack`` fills each window with whole
texts, and attention stops where a text ends. The example first checks that: the model says the same
of a text in a full window as of the text alone. ``--short`` trains less.
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
from keras import ops

LENGTH = 128  # bytes of a window
BATCH = 16
WIDTH = 64
END = 0  # a byte that no text contains


def texts(most: int = 2 << 20) -> list[bytes]:
    """Paragraphs of the source of Python's standard library."""
    folder = Path(sysconfig.get_path("stdlib"))
    text = b""
    for path in sorted(folder.glob("*.py")):
        text += path.read_bytes() + b"\n\n"
        if len(text) >= most:
            break
    return [part for part in text[:most].split(b"\n\n") if part.strip()]


def rows_of(parts: list[bytes]) -> tfy.Dataset:
    """One row of bytes for each text."""
    values = np.frombuffer(b"".join(parts), np.uint8)
    return tfy.Dataset.from_ragged(values, row_lengths=np.array([len(part) for part in parts]))


def windows(rows: tfy.Dataset) -> tfy.Dataset:
    """Batches of windows, each with its bytes, segments and positions."""
    packed = rows.pack(LENGTH, eos=END, strategy="best_fit").cast("int32")
    return packed.batch(BATCH, drop_remainder=True)


class Attention(keras.layers.Layer):
    """Attention to the earlier bytes of the same text."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = keras.layers.MultiHeadAttention(4, WIDTH // 4)

    def call(self, x, segments):
        """``x`` and what it attends to, of the same shape."""
        same = segments[:, :, None] == segments[:, None, :]
        return x + self.attend(x, x, attention_mask=same, use_causal_mask=True)


def language_model() -> keras.Model:
    """One block of attention and one of its own for each byte."""
    keras.utils.set_random_seed(1)
    tokens, segments, positions = (
        keras.Input((LENGTH,), dtype="int32", name=name)
        for name in ("tokens", "segment_ids", "positions")
    )
    x = keras.layers.Embedding(256, WIDTH)(tokens) + keras.layers.Embedding(LENGTH, WIDTH)(
        positions
    )
    x = Attention()(x, segments)
    x = keras.layers.LayerNormalization()(x)
    x = x + keras.layers.Dense(WIDTH)(keras.layers.Dense(4 * WIDTH, activation="relu")(x))
    return keras.Model(
        {"tokens": tokens, "segment_ids": segments, "positions": positions},
        keras.layers.Dense(256)(x),
    )


def stops_at_the_end_of_a_text(model: keras.Model, parts: list[bytes]) -> bool:
    """Whether the model says the same of texts together as of each alone."""
    some = [part for part in parts if len(part) < LENGTH // 3][:3]
    together = model(next(iter(windows(rows_of(some * BATCH * 2)))))
    (window,) = rows_of(some[:1]).pack(LENGTH, eos=END).cast("int32").batch(1)
    alone = model(window)
    first = len(some[0])
    inputs = next(iter(windows(rows_of(some * BATCH * 2))))
    for row in range(BATCH):
        tokens = inputs["tokens"][row].numpy()
        for segment in range(1, int(inputs["segment_ids"][row].numpy().max()) + 1):
            places = np.flatnonzero(inputs["segment_ids"][row].numpy() == segment)
            if bytes(tokens[places][:-1].astype(np.uint8)) == some[0]:
                found = together[row].numpy()[places[:first]]
                return bool(np.allclose(found, alone[0].numpy()[:first], atol=1e-4))
    return False


def loss_of(model: keras.Model, batch: dict) -> float:
    """The mean loss of the next byte, inside each text."""
    logits = model(batch)[:, :-1]
    losses = keras.losses.sparse_categorical_crossentropy(
        batch["tokens"][:, 1:], logits, from_logits=True
    )
    inside = (batch["segment_ids"][:, 1:] == batch["segment_ids"][:, :-1]) & (
        batch["segment_ids"][:, 1:] > 0
    )
    weights = ops.cast(inside, "float32")
    return ops.sum(losses * weights) / ops.sum(weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="train for fewer steps")
    steps = 60 if parser.parse_args().short else 600

    import tensorflow as tf

    parts = texts()
    rows = rows_of(parts)
    sizes = [len(part) for part in parts]
    print(f"{len(rows):,} texts of {min(sizes)} to {max(sizes):,} bytes")
    batches = windows(rows.shuffle(seed=7).repeat())

    model = language_model()
    if not stops_at_the_end_of_a_text(model, parts):
        raise SystemExit("attention does not stop at the end of a text")
    print("attention stops at the end of each text")

    optimizer = keras.optimizers.Adam(3e-3)

    @tf.function
    def step(batch: dict) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = loss_of(model, batch)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    losses, filled = [], []
    for batch in batches.take(steps):
        filled.append(float(np.mean(batch["segment_ids"].numpy() > 0)))
        losses.append(float(step(batch)) / np.log(2))
    first, last = np.mean(losses[:5]), np.mean(losses[-5:])
    print(f"{np.mean(filled):.0%} of the windows are text")
    print(f"bits per byte: {first:.2f} at first, {last:.2f} after {steps} steps")
    if not last < 0.8 * first:
        raise SystemExit("the model did not learn")


if __name__ == "__main__":
    main()
