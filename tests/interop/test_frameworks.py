"""Conversion to PyTorch and JAX, and lazy imports."""

from __future__ import annotations

import numpy as np
import pytest
import tensorferry

from tests.support.arrays import NAMES, address, at_offset, freeze, np_dtype, same
from tests.support.processes import run_python

LAZY = ["tensorflow", "torch", "jax", "ml_dtypes", "scipy", "pandas"]


@pytest.mark.parametrize(
    "code",
    [
        "import tensorferry",
        "import tensorferry, numpy as np; tensorferry.tensor(np.arange(3), 'int8').numpy()",
        "import tensorferry, numpy as np; tensorferry.tensor([1, 2])[0] == 1; "
        "tensorferry.smallest_dtype([1])",
        "import tensorferry, pickle; pickle.loads(pickle.dumps(tensorferry.tensor([1.5])))",
    ],
)
def test_no_framework_is_imported_before_it_is_used(code):
    out = run_python(f"{code}\nimport sys; print([name for name in {LAZY} if name in sys.modules])")
    assert out.strip() == "[]"


def test_convert_to_tensor_imports_only_tensorflow():
    out = run_python(
        "import sys, numpy as np, tensorferry; tensorferry.convert_to_tensor(np.arange(3));"
        "print('tensorflow' in sys.modules, 'torch' in sys.modules)"
    )
    assert out.strip().endswith("True False")


@pytest.mark.parametrize("missing", ["tensorflow", "torch", "jax"])
def test_a_missing_framework_is_an_import_error_that_names_it(missing):
    out = run_python(
        f"""
        import sys
        sys.modules["{missing}"] = None
        import tensorferry
        tensor = tensorferry.tensor([1, 2])
        try:
            tensor.to_{missing}()
        except ImportError as error:
            print(error)
        """
    )
    assert missing in out


def test_arrays_work_without_ml_dtypes():
    out = run_python(
        """
        import sys
        sys.modules["ml_dtypes"] = None
        import numpy as np, tensorferry
        print(tensorferry.tensor(np.arange(3), "int8"))
        try:
            tensorferry.tensor(np.arange(3), "bfloat16").numpy()
        except ImportError as error:
            print("needs", error)
        """
    )
    assert "ml_dtypes" in out


@pytest.mark.parametrize("name", NAMES)
def test_jax_gets_its_own_dtype(jax, name):
    """The same dtype, except that JAX has no 64-bit dtypes while jax_enable_x64 is off."""
    array = (np.arange(6) % 2).astype(np_dtype(name)).reshape(2, 3)
    taken = tensorferry.tensor(array).to_jax()
    assert isinstance(taken, jax.Array)
    assert taken.dtype == jax.dtypes.canonicalize_dtype(array.dtype)
    same(np.asarray(taken), array.astype(taken.dtype))


def test_jax_is_not_given_a_value_that_it_would_wrap(jax):
    array = np.array([1, 2**40])
    assert jax.numpy.asarray(array).tolist() == [1, 0]  # JAX alone
    with pytest.raises(OverflowError, match="1099511627776"):
        tensorferry.tensor(array).to_jax()


def test_jax_keeps_64_bits_where_they_are_enabled():
    out = run_python(
        """
        import os
        os.environ["JAX_ENABLE_X64"] = "1"
        import numpy as np, tensorferry
        for dtype in ("int64", "uint64", "float64", "complex128"):
            array = np.array([1, 2**40], dtype)
            taken = tensorferry.tensor(array).to_jax()
            assert taken.dtype == dtype and np.array_equal(np.asarray(taken), array)
        print("whole")
        """
    )
    assert out.strip() == "whole"


def test_jax_converts_checked(jax):
    from tensorferry.jax import convert_to_tensor

    same(np.asarray(convert_to_tensor(np.arange(3), "int8")), np.arange(3, dtype=np.int8))
    with pytest.raises(OverflowError):
        convert_to_tensor(np.array([300]), "uint8")
    taken = convert_to_tensor(np.arange(6.0, dtype="f4").reshape(2, 3)[:, ::-1])
    same(np.asarray(jax.numpy.sum(taken, axis=1)), np.array([3, 12], np.float32))


def test_jax_memory_is_never_written_through(jax):
    array = freeze(at_offset(np.arange(1000, dtype=np.float32), 0))
    taken = tensorferry.tensor(array).to_jax()
    jax.numpy.add(taken, 1).block_until_ready()
    jax.jit(lambda x: x * 2, donate_argnums=0)
    taken.at[0].set(5).block_until_ready()
    same(array, np.arange(1000, dtype=np.float32))


@pytest.mark.parametrize("offset", [0, 4, 16, 32])
def test_jax_accepts_any_alignment(jax, offset):
    array = freeze(at_offset(np.arange(100, dtype=np.float32), offset))
    same(np.asarray(jax.numpy.cumsum(tensorferry.tensor(array).to_jax())), np.cumsum(array))


def test_a_writable_array_changed_after_does_not_change_the_jax_array(jax):
    from tensorferry.jax import convert_to_tensor

    array = at_offset(np.arange(100, dtype=np.float32), 0)
    taken = convert_to_tensor(array)
    array[:] = -1
    same(np.asarray(taken), np.arange(100, dtype=np.float32))


@pytest.mark.torch
@pytest.mark.parametrize("name", NAMES)
def test_torch_gets_memory_of_its_own(torch, name):
    array = freeze(at_offset((np.arange(64) % 2).astype(np_dtype(name)), 0))
    tensor = tensorferry.tensor(array)
    taken = tensor.to_torch()
    assert str(taken.dtype) == f"torch.{name}"
    assert taken.data_ptr() != address(tensor.numpy())
    taken.fill_(1)
    same(tensor.numpy(), (np.arange(64) % 2).astype(np_dtype(name)))
    if name != "bfloat16":
        same(taken.numpy(), np.ones(64, name))


@pytest.mark.torch
def test_torch_writes_never_reach_a_read_only_mapping(torch, tmp_path):
    np.save(tmp_path / "a.npy", np.arange(1000))
    out = run_python(
        """
        import sys, torch, tensorferry
        tensor = tensorferry.open_npy(sys.argv[1])
        taken = tensor.to_torch()
        taken += 1
        torch.utils.dlpack.from_dlpack(tensor.__dlpack__()).fill_(7)
        print(int(taken.sum()), int(tensor.numpy().sum()))
        """,
        str(tmp_path / "a.npy"),
    )
    assert out.split() == ["500500", "499500"]


@pytest.mark.torch
def test_torch_accepts_negative_strides_and_its_own_dtypes(torch):
    from tensorferry.torch import convert_to_tensor

    array = np.arange(12).reshape(3, 4)[::-1, ::-2]
    same(tensorferry.tensor(array).to_torch().numpy(), array)
    assert convert_to_tensor(array, torch.int8).dtype == torch.int8
    assert convert_to_tensor(array, torch.bfloat16).dtype == torch.bfloat16
    with pytest.raises(OverflowError):
        convert_to_tensor(np.array([300]), torch.uint8)
    for shape in [(), (0,), (0, 3)]:
        assert tuple(convert_to_tensor(np.zeros(shape)).shape) == shape
