"""An image classifier: the 1,797 digits of scikit-learn, streamed in shuffled batches into a Keras
model.

The pixels stay integers in memory. The gather of a batch converts them to float32 between 0 and 1.
``--short`` trains less.
"""

import argparse
import json
import os

# TensorFlow reads these on import. They silence messages about its build.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras
import numpy as np
import tensorferry as tfy
from sklearn.datasets import load_digits

HELD_OUT = 360  # held-out images
REQUIRED = 0.97


def images() -> dict[str, np.ndarray]:
    """8 by 8 pixels of 0..16 and their digits, in the smallest dtypes."""
    digits = load_digits()
    pixels = digits.images[..., None]
    return {
        "image": pixels.astype(tfy.smallest_dtype(pixels.astype(np.int64))),
        "label": digits.target.astype(np.uint8),
    }


def batches(arrays: dict[str, np.ndarray], batch_size: int) -> tuple[tfy.Dataset, tfy.Dataset]:
    """Training data, in a new order each epoch, and test data. The split is drawn once."""
    mixed = tfy.Dataset.from_tensor_slices(arrays).shuffle(seed=3, reshuffle_each_iteration=False)
    typed = mixed.scale(1 / 16, which={"image": True}).cast({"label": "int64"})
    train = typed.skip(HELD_OUT).shuffle(seed=7).batch(batch_size).prefetch(2)
    return train, typed.take(HELD_OUT).batch(HELD_OUT)


def classifier() -> keras.Model:
    """A small convolutional network."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(2e-3), loss=loss, metrics=["accuracy"])
    return model


def resumes(dataset: tfy.Dataset) -> None:
    """Shows that an epoch resumes exactly after a restart."""
    iterator = iter(dataset)
    for _ in range(5):
        next(iterator)
    state = json.dumps(iterator.state_dict())
    left = [batch["label"].numpy() for batch in iterator]
    again = iter(dataset)
    again.load_state_dict(json.loads(state))
    if not all(np.array_equal(a, b["label"].numpy()) for a, b in zip(left, again, strict=True)):
        raise SystemExit("the resumed epoch differs")
    print(
        f"resumed after batch 5 from a state of {len(state)} characters: the {len(left)} batches "
        "left are the same"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="train for fewer epochs")
    epochs = 20 if parser.parse_args().short else 60

    arrays = images()
    train, test = batches(arrays, 64)
    print(
        f"{arrays['image'].shape} pixels of {arrays['image'].dtype}, {arrays['image'].nbytes:,} "
        "bytes"
    )
    print(f"{len(train)} batches of {train.element_spec}")
    resumes(train)

    model = classifier()
    for epoch in range(1, epochs + 1):
        losses = [model.train_on_batch(batch["image"], batch["label"])[0] for batch in train]
        if epoch % 10 == 0:
            print(f"epoch {epoch:2}: mean loss {np.mean(losses):.4f}")

    (held_out,) = test
    _, accuracy = model.test_on_batch(held_out["image"], held_out["label"])
    print(f"accuracy on {HELD_OUT} held-out images: {float(accuracy):.4f}")
    if accuracy < REQUIRED:
        raise SystemExit(f"less than {REQUIRED}")


if __name__ == "__main__":
    main()
