"""Bools whose bytes are neither 0 nor 1, bfloat16, byte orders, and the dtypes of JAX."""

from __future__ import annotations

import numpy as np
import pytest
import tensorferry as tfy

from tests.support.arrays import address, at_offset, freeze, np_dtype, same
from tests.support.processes import run_python

#: Bools as a view of a mask of 0 and 255 gives them.
BYTES = np.array([0, 255, 2, 1, 0, 128, 7, 1, 255, 0, 1, 3], np.uint8)


def odd(writeable: bool) -> np.ndarray:
    array = at_offset(BYTES.reshape(4, 3), 0).view(bool)
    return array if writeable else freeze(array)


def stored_bytes(array) -> np.ndarray:
    return np.ascontiguousarray(array).view(np.uint8)


EXPECTED = (BYTES != 0).astype(np.uint8).reshape(4, 3)
PLANS = {
    "elements": lambda dataset: dataset.batch(1).unbatch(),
    "batches": lambda dataset: dataset.batch(2),
    "one batch": lambda dataset: dataset.batch(4),
    "shuffled": lambda dataset: dataset.shuffle(seed=1).batch(3),
    "streamed": lambda dataset: dataset.filter(lambda x: True).batch(3),
    "cached": lambda dataset: dataset.cache().repeat(2).batch(3),
    "windows": lambda dataset: dataset.window(2).flat_map(lambda window: window.batch(2)),
    "plain": lambda dataset: dataset,
}


def sources(folder):
    yield tfy.Dataset.from_tensor_slices(odd(True))
    yield tfy.Dataset.from_tensor_slices(odd(False))
    yield tfy.Dataset.from_tensor_slices(odd(False)[:, ::-1][:, ::-1])
    yield tfy.Dataset.from_tensor_slices(np.asfortranarray(EXPECTED * 255).view(bool))
    yield tfy.Dataset.from_tensors(odd(False)).unbatch()
    yield tfy.Dataset.from_tensor_slices(tfy.tensor(odd(False)))
    path = folder / "odd.npy"
    np.save(path, odd(True))
    for mode in ("map", "read", "direct"):
        yield tfy.Dataset.from_tensor_slices(tfy.open(path, mode=mode))
    yield tfy.Dataset.range(4).with_format("numpy").map(lambda i: odd(False)[i])


@pytest.mark.parametrize("plan", PLANS)
def test_bools_are_zero_or_one_in_every_format(tf, jax, tmp_path, plan):
    for dataset in sources(tmp_path):
        made = PLANS[plan](dataset.with_format("numpy"))
        for format in ("numpy", "tensorferry", "tensorflow", "jax"):
            for element in made.with_format(format):
                assert stored_bytes(element).max() <= 1, (plan, format)
        for element in made.to_tf_data():
            assert stored_bytes(element.numpy()).max() <= 1
            assert tf.reduce_sum(tf.cast(element, tf.int32)) == np.count_nonzero(element.numpy())


@pytest.mark.torch
def test_bools_are_zero_or_one_in_pytorch(torch, tmp_path):
    for dataset in sources(tmp_path):
        for element in dataset.with_format("torch").batch(2):
            assert element.view(torch.uint8).max() <= 1


def test_bools_are_zero_or_one_when_compared_and_saved(tmp_path):
    dataset = tfy.Dataset.from_tensor_slices(odd(True).reshape(-1)).with_format("numpy")
    assert sorted(map(bool, dataset.unique())) == [False, True]
    dataset.save(tmp_path / "saved")
    again = tfy.Dataset.load(tmp_path / "saved").with_format("numpy").batch(12)
    assert np.array_equal(stored_bytes(next(iter(again))), EXPECTED.reshape(-1))
    for array in (odd(True), odd(False), np.asfortranarray(odd(True)), odd(True)[::-1][::-1]):
        for save in (tfy.save, tfy.save_npy):
            save(tmp_path / "x.npy", array)
            assert np.array_equal(stored_bytes(np.load(tmp_path / "x.npy")), EXPECTED)
        tfy.save(tmp_path / "x.npz", {"x": array})
        assert np.array_equal(stored_bytes(np.load(tmp_path / "x.npz")["x"]), EXPECTED)
    np.save(tmp_path / "odd.npy", odd(True))
    tfy.save(tmp_path / "x.npy", tfy.open(tmp_path / "odd.npy"))
    assert np.array_equal(stored_bytes(np.load(tmp_path / "x.npy")), EXPECTED)
    assert np.array_equal(stored_bytes(tfy.open(tmp_path / "odd.npy")[1:3]), EXPECTED[1:3])


def test_bools_are_zero_or_one_in_the_frameworks(tf, jax):
    for writeable in (True, False):
        assert stored_bytes(tfy.convert_to_tensor(odd(writeable)).numpy()).max() <= 1
        assert stored_bytes(tfy.tensor(odd(writeable)).to_jax()).max() <= 1
        out = np.empty((4, 3), bool)
        tfy.convert_into(odd(writeable), out)
        assert np.array_equal(stored_bytes(out), EXPECTED)


BFLOATS = np.arange(12).reshape(4, 3).astype(np_dtype("bfloat16"))


def test_numpy_gets_bfloat16_from_every_object(tmp_path):
    tfy.save(tmp_path / "x.safetensors", {"x": BFLOATS})
    opened = {
        mode: tfy.open(tmp_path / "x.safetensors", mode=mode)["x"] for mode in ("map", "read")
    }
    tensor = tfy.tensor(BFLOATS)
    for value in (tensor, tensor[1], tensor[1:, ::-1], tensor[0, 0], *opened.values()):
        expected = np.asarray(value.numpy() if isinstance(value, tfy.Tensor) else BFLOATS)
        for found in (
            np.asarray(value),
            np.array(value),
            np.asanyarray(value),
            np.ascontiguousarray(value),
        ):
            assert found.dtype == np_dtype("bfloat16")
            assert np.array_equal(found.reshape(-1), expected.reshape(-1))
        assert np.stack([value, value]).dtype == np_dtype("bfloat16")
        assert np.asarray(value, np.float32).dtype == np.float32
    assert np.shares_memory(np.asarray(tensor), tensor.numpy())
    for element in tfy.Dataset.from_tensor_slices(tensor).with_format("tensorferry"):
        assert np.asarray(element).dtype == np_dtype("bfloat16")


def test_bfloat16_has_no_description_without_a_name():
    for tensor in (tfy.tensor(BFLOATS), tfy.tensor(BFLOATS[0])):
        assert not hasattr(tensor, "__array_interface__")
        with pytest.raises(TypeError):
            memoryview(tensor)
    assert hasattr(tfy.tensor(np.arange(3)), "__array_interface__")


@pytest.mark.parametrize("name", ["int16", "int32", "uint64", "float16", "float64", "complex64"])
def test_a_requested_dtype_is_in_native_order(tf, tmp_path, name):
    values = np.arange(6).reshape(2, 3).astype(name)
    swapped = freeze(values.astype(np.dtype(name).newbyteorder(">")))
    np.save(tmp_path / "x.npy", swapped)
    for value in (
        swapped,
        tfy.tensor(swapped),
        tfy.open(tmp_path / "x.npy"),
        tfy.open_npy(tmp_path / "x.npy"),
    ):
        for dtype in (name, np.dtype(name), np.dtype(name).newbyteorder(">")):
            tensor = tfy.tensor(value, dtype)
            assert tensor.dtype == np.dtype(name)
            assert tensor.dtype.isnative
            same(tensor.numpy(), values)
        with pytest.raises(tfy.errors.NotShareableError):
            tfy.tensor(value, name, copy=False)
    assert tfy.tensor(swapped).astype(name).dtype.isnative
    assert tfy.tensor(swapped, copy=False).dtype == swapped.dtype
    assert address(tfy.tensor(swapped, copy=False).numpy()) == address(swapped)


WIDE = {"int64": 2**31, "uint64": 2**32, "float64": 1e300}


@pytest.mark.parametrize("name", WIDE)
def test_jax_without_64_bits_obeys_casting(jax, name):
    from tensorferry.jax import convert_to_tensor

    narrow = name.replace("64", "32")
    array = np.array([3, WIDE[name]], name)
    for dtype in (None, name, np.dtype(name), narrow):
        with pytest.raises(tfy.errors.ValueOverflowError):
            convert_to_tensor(array, dtype)
        for casting in ("saturate", "wrap"):
            found = convert_to_tensor(array, dtype, casting=casting)
            same(np.asarray(found), tfy.tensor(array, narrow, casting=casting).numpy())
    same(np.asarray(convert_to_tensor(array[:1])), np.array([3], narrow))
    for format in ("jax",):
        dataset = tfy.Dataset.from_tensor_slices(array).with_format(format)
        with pytest.raises(tfy.errors.ValueOverflowError):
            list(dataset)
        for casting in ("saturate", "wrap"):
            elements = list(dataset.cast(narrow, casting=casting))
            same(np.stack(elements), tfy.tensor(array, narrow, casting=casting).numpy())
    with pytest.raises(tfy.errors.ValueOverflowError):
        tfy.tensor(array).to_jax()


def test_jax_without_64_bits_obeys_copy(jax):
    from tensorferry.jax import convert_to_tensor

    wide = tfy.empty((4,), np.int64)
    wide[...] = np.arange(4)
    with pytest.raises(tfy.errors.NotShareableError, match="int64"):
        convert_to_tensor(wide, copy=False)
    with pytest.raises(tfy.errors.NotShareableError):
        convert_to_tensor(at_offset(np.arange(4, dtype=np.int32), 4), copy=False)
    with pytest.raises(tfy.errors.NotShareableError):
        convert_to_tensor(np.arange(6, dtype=np.int32).reshape(2, 3).T, copy=False)
    narrow = tfy.empty((4,), np.int32)
    narrow[...] = np.arange(4)
    shared = convert_to_tensor(narrow, copy=False)
    assert shared.unsafe_buffer_pointer() == address(narrow)
    copied = convert_to_tensor(narrow, copy=True)
    narrow[0] = 9
    assert copied[0] == 0


def test_jax_with_64_bits_keeps_64_bits():
    code = """
        import jax, numpy as np, tensorferry as tfy
        jax.config.update("jax_enable_x64", True)
        from tensorferry.jax import convert_to_tensor
        array = np.array([3, 2**40])
        assert convert_to_tensor(array).dtype == "int64" and convert_to_tensor(array)[1] == 2**40
        dataset = tfy.Dataset.from_tensor_slices(array).with_format("jax")
        assert dataset.element_spec.dtype == "int64" and list(dataset)[1] == 2**40
        print("kept")
    """
    assert run_python(code).strip() == "kept"


def test_the_element_spec_of_jax_matches_the_elements(jax):
    dataset = tfy.Dataset.from_tensor_slices(np.arange(3)).with_format("jax")
    (first, *_) = dataset
    assert dataset.element_spec.dtype == first.dtype == np.int32
