"""Conversion of real data: the 1,797 digit images of scikit-learn, from NumPy arrays to TensorFlow
tensors.
"""

import os
import tempfile
import timeit
from pathlib import Path

# TensorFlow reads these on import. They silence messages about its build.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import tensorferry
import tensorflow as tf
from sklearn.datasets import load_digits


def microseconds(call) -> float:
    """The median time of a call, after a warm-up call."""
    call()
    times = sorted(timeit.repeat(call, number=20, repeat=9))
    return times[len(times) // 2] / 20 * 1e6


def address(array: np.ndarray) -> int:
    """The address of an array's first element."""
    return array.__array_interface__["data"][0]


def describe(array: np.ndarray) -> str:
    return (
        f"numpy {array.dtype} {array.shape}, {array.min()}..{array.max()}, first row "
        f"{array[0, 0]}, {array.nbytes:,} bytes"
    )


def tensor_address(tensor: tf.Tensor) -> int:
    """The address of a tensor's first element, by a view (``tensor.numpy()`` would copy)."""
    return address(np.from_dlpack(tensor))


def show(tensor: tf.Tensor, array: np.ndarray) -> None:
    """Prints the tensor, and whether it shares the array's memory."""
    if not np.array_equal(tensor.numpy(), array):
        raise SystemExit("the tensor's values are not the array's")
    kept = (
        "shared, not copied" if tensor_address(tensor) == address(array) else "copied in one pass"
    )
    print(
        f"  tensor  tf.Tensor {tensor.dtype.name} {tuple(tensor.shape)}, first row "
        f"{tensor[0, 0].numpy()}, {kept}, all values equal"
    )


def race(ours, theirs, their_name: str) -> None:
    """Prints the time of both calls."""
    print(
        f"  time    tensorferry {microseconds(ours):.1f} us; {their_name} "
        f"{microseconds(theirs):.1f} us"
    )


def main() -> None:
    images = load_digits().images.astype(np.int64)
    print(
        f"NumPy {np.__version__}, TensorFlow {tf.__version__}, tensorferry "
        f"{tensorferry.__version__}\n"
    )

    print("1. By inference: tensorferry.convert_to_tensor(images)")
    print(f"  array   {describe(images)}")
    tensor = tensorferry.convert_to_tensor(images)
    show(tensor, images)
    race(
        lambda: tensorferry.convert_to_tensor(images),
        lambda: tf.convert_to_tensor(images),
        "tf.convert_to_tensor(images)",
    )

    print(
        '\n2. By an explicit dtype, every value checked: convert_to_tensor(images, dtype="int32")'
    )
    print(
        f"  array   {describe(images)}; the narrowest dtype for them is "
        f"{tensorferry.smallest_dtype(images)}"
    )
    tensor = tensorferry.convert_to_tensor(images, dtype="int32")
    show(tensor, images)
    race(
        lambda: tensorferry.convert_to_tensor(images, dtype="int32"),
        lambda: tf.convert_to_tensor(images, dtype=tf.int32),
        "tf.convert_to_tensor(images, dtype=tf.int32), which checks nothing,",
    )

    print(
        "\n3. One value does not fit: spoilt[12, 7, 3] = 2**32, then convert_to_tensor(spoilt, "
        'dtype="int32")'
    )
    spoilt = images.copy()
    spoilt[12, 7, 3] = 2**32
    print(f"  array   {describe(spoilt)}")
    try:
        tensorferry.convert_to_tensor(spoilt, dtype="int32")
    except OverflowError as error:
        print(f"  refused {type(error).__name__}: {error}")
    else:
        raise SystemExit("a value that does not fit was accepted")
    silent = tf.convert_to_tensor(spoilt, dtype=tf.int32)
    print(f"  tf.convert_to_tensor accepts it: 2**32 became {silent[12, 7, 3]}\n")

    print("4. From a file, without a copy: convert_to_tensor(open_npy(path))")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.npy"
        tensorferry.save_npy(path, images)
        mapped = tensorferry.open_npy(path)
        tensor = tensorferry.convert_to_tensor(mapped)
        print(f"  file    {path.name}, {path.stat().st_size:,} bytes, mapped read-only")
        show(tensor, mapped.numpy())
        map_at, tensor_at = address(mapped.numpy()), tensor_address(tensor)
        print(f"  proof   the map's data is at {map_at:#x}, the tensor's at {tensor_at:#x}")
        if map_at != tensor_at:
            raise SystemExit("the file was copied")
        race(
            lambda: tensorferry.convert_to_tensor(tensorferry.open_npy(path)),
            lambda: tf.convert_to_tensor(np.load(path)),
            "tf.convert_to_tensor(np.load(path))",
        )


if __name__ == "__main__":
    main()
