"""The digits classifier, trained twice: by ``model.fit`` on ``to_tf_data()``, and by a loop over
the same batches.

The seed, batches and arithmetic are the same, so the losses of every epoch must be the same. It
uses ``class_weight``, validation data, and batches computed while the model trains.
"""

import os

# TensorFlow reads these on import. They silence messages about its build.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras
import numpy as np
import tensorferry as tfy
from sklearn.datasets import load_digits

EPOCHS = 5
HELD_OUT = 360
WEIGHTS = {digit: 2.0 if digit == 8 else 1.0 for digit in range(10)}  # eights are the hardest


def datasets() -> tuple[tfy.Dataset, tfy.Dataset]:
    """Training data, reshuffled every epoch, and validation data: pixels of 0..16 as float32 of
    0..1, and digits.
    """
    digits = load_digits()
    rows = tfy.Dataset.from_tensor_slices((digits.data.astype(np.uint8), digits.target)).scale(
        1 / 16, which=(True, False)
    )
    return rows.skip(HELD_OUT).shuffle(seed=7).batch(32).prefetch(2), rows.take(HELD_OUT).batch(
        HELD_OUT
    )


def classifier() -> keras.Model:
    """A small network, the same at every call."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(10)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(2e-3), loss=loss, metrics=["accuracy"])
    return model


def fitted() -> tuple[list[float], float]:
    """The mean loss of each epoch of ``model.fit``, and the accuracy on the held-out images."""
    train, test = datasets()
    # No Python runs between the engine and the model: `fit` takes a real tf.data.Dataset.
    history = (
        classifier()
        .fit(
            train.to_tf_data(),
            validation_data=test.to_tf_data(),
            epochs=EPOCHS,
            class_weight=WEIGHTS,
            shuffle=False,
            verbose=0,
        )
        .history
    )
    return history["loss"], history["val_accuracy"][-1]


def by_hand() -> list[float]:
    """The same, by a Python loop over the same batches."""
    train, _ = datasets()
    model, means = classifier(), []
    for _ in range(EPOCHS):
        batches = list(train)
        losses = [
            model.train_on_batch(pixels, digits, class_weight=WEIGHTS)[0]
            for pixels, digits in batches
        ]
        means.append(float(np.average(losses, weights=[len(digits) for _, digits in batches])))
    return means


def main() -> None:
    (losses, accuracy), expected = fitted(), by_hand()
    for epoch, (loss, same) in enumerate(zip(losses, expected, strict=True), 1):
        print(
            f"epoch {epoch}: mean loss {loss:.6f} by model.fit(train.to_tf_data()), {same:.6f} "
            "by hand"
        )
    print(f"accuracy on {HELD_OUT} held-out images: {accuracy:.4f}")
    if not np.allclose(losses, expected, rtol=1e-6):
        raise SystemExit("the losses differ")
    if not losses[-1] < losses[0] / 2 or accuracy < 0.9:
        raise SystemExit("the model did not learn")


if __name__ == "__main__":
    main()
