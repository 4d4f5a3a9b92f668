"""Strings beside numbers, and what tests do with them."""

from __future__ import annotations

import numpy as np
import tensorferry as tfy

FORMATS = ["tensorflow", "torch", "jax", "numpy", "tensorferry"]
WORDS = ["a", "", "héllo", "数据", "a\tb", "x" * 300, "end"]
BYTES = [word.encode() for word in WORDS]
STRING_DTYPE = getattr(np.dtypes, "StringDType", None)


def texts(words=WORDS) -> tfy.Dataset:
    return tfy.Dataset.from_tensor_slices({"text": words, "at": np.arange(len(words))})


def found(dataset: tfy.Dataset) -> list:
    """The texts of the elements."""
    return [
        text if isinstance(text := element["text"], bytes) else text.tolist()
        for element in dataset.as_numpy_iterator()
    ]
