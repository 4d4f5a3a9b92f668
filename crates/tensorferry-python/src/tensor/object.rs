//! The Python classes of tensors; their methods stand in [`super::methods`] and [`super::buffer`].

use pyo3::prelude::*;
use std::ffi::CStr;
use tensorferry::{ByteOrder, DType, Tensor};

/// An immutable array between frameworks. Made by `tensor()` and `open_npy()`.
#[pyclass(frozen, subclass, name = "Tensor", module = "tensorferry")]
pub(crate) struct PyTensor {
    pub(crate) inner: Tensor,
}

impl PyTensor {
    /// The Python object for a tensor.
    pub(crate) fn object(py: Python<'_>, inner: Tensor) -> PyResult<Bound<'_, Self>> {
        let is_flat = has_buffer(&inner);
        let made = PyClassInitializer::from(Self { inner });
        if is_flat {
            Ok(Bound::new(py, made.add_subclass(FlatTensor))?.into_super())
        } else {
            Bound::new(py, made)
        }
    }
}

/// A one-dimensional tensor, under the same name in Python.
#[pyclass(frozen, extends = PyTensor, name = "Tensor", module = "tensorferry")]
pub(crate) struct FlatTensor;

/// Whether tensors like this one have the buffer protocol.
pub(crate) fn has_buffer(tensor: &Tensor) -> bool {
    tensor.layout().ndim() == 1
        && tensor.byte_order() == ByteOrder::Native
        && format_of(tensor.dtype()).is_some()
}

/// The struct-module format of a dtype; `None` for those the buffer protocol has no letter for.
pub(super) fn format_of(dtype: DType) -> Option<&'static CStr> {
    Some(match dtype {
        DType::Bool => c"?",
        DType::Int8 => c"b",
        DType::Int16 => c"h",
        DType::Int32 => c"i",
        DType::Int64 => c"q",
        DType::UInt8 => c"B",
        DType::UInt16 => c"H",
        DType::UInt32 => c"I",
        DType::UInt64 => c"Q",
        DType::Float16 => c"e",
        DType::Float32 => c"f",
        DType::Float64 => c"d",
        DType::Complex64 => c"Zf",
        DType::Complex128 => c"Zd",
        _ => return None,
    })
}
