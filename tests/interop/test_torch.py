"""PyTorch's functions on tensors of tensorferry, and PyTorch tensors as input."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import tensorferry as tfy

from tests.support.arrays import NAMES, np_dtype, numpy_2, same
from tests.support.processes import run_python

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::UserWarning")]

SHAPES = [(), (1,), (6,), (2, 3), (1, 2, 3), (0, 3)]
#: Functions of PyTorch that take any object.
FUNCTIONS = ["asarray", "as_tensor", "tensor", "from_dlpack"]


def ours(shape, name="int32"):
    """A tensor over read-only memory."""
    return tfy.tensor(
        (np.arange(np.prod(shape, dtype=int)) % 2).reshape(shape).astype(np_dtype(name))
    )


def numbers(tensor) -> np.ndarray:
    return tensor.float().numpy() if str(tensor.dtype) == "torch.bfloat16" else tensor.numpy()


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_shape_dtype_and_values_are_kept_and_writes_stay_with_pytorch(torch, function, shape):
    for name in NAMES:
        tensor = ours(shape, name)
        before = np.array(tensor.numpy())
        taken = getattr(torch, function)(tensor)
        assert tuple(taken.shape) == shape
        assert str(taken.dtype) == f"torch.{name}"
        expected = before.astype(np.float32) if name == "bfloat16" else before
        assert np.array_equal(numbers(taken), expected)
        taken.fill_(1 if name == "bool" else 7)
        same(tensor.numpy(), before)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_views_in_any_layout(torch, function):
    wide = tfy.tensor(np.arange(24).reshape(4, 6))
    for index in [
        (slice(None, None, 2),),
        (slice(None), slice(None, None, -1)),
        (3,),
        (0, slice(None, None, -2)),
        (0, 0),
    ]:
        tensor = wide[index]
        taken = getattr(torch, function)(tensor)
        assert np.array_equal(taken.numpy(), tensor.numpy())
        taken.fill_(7)
        same(wide.numpy(), np.arange(24).reshape(4, 6))
    swapped = tfy.tensor(np.arange(6, dtype=">i4"))
    assert np.array_equal(getattr(torch, function)(swapped).numpy(), np.arange(6))


def test_a_mapping_survives_writes_of_pytorch(torch, tmp_path):
    """Runs in a new process, which a write to the mapping would end."""
    np.save(tmp_path / "flat.npy", np.arange(2000))
    np.save(tmp_path / "square.npy", np.arange(2000).reshape(40, 50))
    code = """
        import sys, warnings, numpy as np, torch, tensorferry as tfy

        warnings.simplefilter("ignore")
        for name in ("flat", "square"):
            tensor = tfy.open_npy(f"{sys.argv[1]}/{name}.npy")
            for function in (
                torch.asarray,
                torch.as_tensor,
                torch.tensor,
                torch.from_dlpack,
                torch.utils.dlpack.from_dlpack,
            ):
                taken = function(tensor)
                taken.fill_(7)
                assert np.asarray(tensor).max() == 1999, function
            torch.utils.dlpack.from_dlpack(tensor.__dlpack__()).fill_(7)
            torch.from_dlpack(tensor, copy=True).fill_(7)
            torch.from_dlpack(tensor, device="cpu").fill_(7)
        torch.frombuffer(tfy.open_npy(f"{sys.argv[1]}/flat.npy"), dtype=torch.int64).fill_(7)
        print("whole")
    """
    assert run_python(code, str(tmp_path)).strip() == "whole"


@numpy_2
def test_other_libraries_still_share(torch):
    tensor = ours((2, 3))
    assert np.shares_memory(np.from_dlpack(tensor), tensor.numpy())
    flat = ours((6,))
    assert np.shares_memory(np.frombuffer(flat, np.int32), flat.numpy())
    assert np.shares_memory(np.asarray(memoryview(flat)), flat.numpy())
    assert np.shares_memory(np.asarray(tensor), tensor.numpy())
    assert hashlib.sha256(flat).digest() == hashlib.sha256(flat.numpy()).digest()


def test_the_buffer_protocol_is_that_of_one_dimension():
    for shape in SHAPES:
        tensor = ours(shape)
        assert isinstance(tensor, tfy.Tensor)
        assert type(tensor).__name__ == "Tensor"
        if len(shape) == 1:
            assert memoryview(tensor).shape == shape
            assert memoryview(tensor).readonly
        else:
            with pytest.raises(TypeError):
                memoryview(tensor)


def test_views_that_negate_or_conjugate_lazily(torch, tf):
    values = torch.tensor([1 + 2j, 3 - 4j])
    views = {
        "negative": (torch.imag(values.conj()), np.array([-2, 4], np.float32)),
        "conjugate": (values.conj(), np.array([1 - 2j, 3 + 4j], np.complex64)),
        "both": (torch._neg_view(values.conj()), np.array([-1 + 2j, -3 - 4j], np.complex64)),
        "negative integers": (torch._neg_view(torch.tensor([1, -2])), np.array([-1, 2])),
    }
    from tensorferry.torch import convert_to_tensor

    for view, expected in views.values():
        same(tfy.tensor(view).numpy(), expected)
        same(tfy.convert_to_tensor(view).numpy(), expected)
        same(convert_to_tensor(view).resolve_conj().numpy(), expected)
        (element,) = tfy.Dataset.from_tensors(view).as_numpy_iterator()
        same(element, expected)
        same(np.stack(list(tfy.Dataset.from_tensor_slices(view).as_numpy_iterator())), expected)
        (element,) = (
            tfy.Dataset.range(1)
            .with_format("torch")
            .map(lambda _, view=view: view)
            .as_numpy_iterator()
        )
        same(element, expected)
        out = np.empty(2, expected.dtype)
        tfy.convert_into(view, out)
        same(out, expected)


def test_tensors_without_numbers_in_memory_are_refused_by_name(torch, tf):
    refused = {
        "sparse": (torch.eye(2).to_sparse(), "to_dense"),
        "sparse rows": (torch.eye(2).to_sparse_csr(), "to_dense"),
        "meta": (torch.empty(2, device="meta"), "meta"),
        "quantized": (torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "dequantize"),
        "nested": (torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]), "nested"),
    }
    for value, words in refused.values():
        for call in (tfy.tensor, tfy.convert_to_tensor, tfy.value_range, tfy.Dataset.from_tensors):
            with pytest.raises((tfy.errors.Error, TypeError), match=words):
                call(value)


def test_a_tensor_that_requires_gradients_converts_to_its_values(torch, tf):
    value = torch.ones(3, requires_grad=True)
    same(tfy.tensor(value).numpy(), np.ones(3, np.float32))
    same(tfy.convert_to_tensor(torch.nn.Parameter(torch.ones(3))).numpy(), np.ones(3, np.float32))
    assert value.requires_grad
