//! The buffer protocol, which only one-dimensional tensors have.
//!
//! # Rationale
//! PyTorch's `asarray` prefers the buffer of any type that has one, and flattens it. So tensors of
//! other shapes have no buffer, and PyTorch uses DLPack. Nor have tensors of dtypes without a
//! format letter, or in swapped byte order.

use super::object::{FlatTensor, PyTensor, format_of};
use crate::errors::OrRaise;
use crate::runtime::unwinding::guard;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::{CString, c_int, c_void};
use std::ptr;
use tensorferry::{ByteOrder, Casting};

#[pymethods]
impl FlatTensor {
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        guard();
        let py = slf.py();
        let tensor = slf.into_super();
        // PyTorch requests plain bytes, and writes to them even if read-only. A packed copy serves
        // all such requests.
        let bare = flags & (ffi::PyBUF_ND | ffi::PyBUF_FORMAT | ffi::PyBUF_WRITABLE) == 0;
        let inner = &tensor.get().inner;
        if bare && (!inner.layout().is_c_contiguous() || is_loaded(py, "torch")?) {
            let copy = tensorferry::convert(&inner.as_view(), inner.dtype(), Casting::Checked)
                .or_raise(py)?;
            let copy = PyTensor::object(py, copy)?;
            // SAFETY: Python passes a Py_buffer to fill, which keeps the copy alive in the place of
            // this tensor.
            return unsafe { fill_buffer(&copy, view, flags) };
        }
        // SAFETY: Python passes a Py_buffer to fill.
        unsafe { fill_buffer(&tensor, view, flags) }
    }

    unsafe fn __releasebuffer__(&self, view: *mut ffi::Py_buffer) {
        guard();
        // SAFETY: Python passes a Py_buffer that `fill_buffer` filled.
        let exported = unsafe { (*view).internal };
        // SAFETY: `fill_buffer` put a boxed Exported there, and each filled buffer is released
        // once.
        drop(unsafe { Box::from_raw(exported.cast::<Exported>()) });
    }
}

/// Whether a module is loaded.
fn is_loaded(py: Python<'_>, module: &str) -> PyResult<bool> {
    py.import("sys")?.getattr("modules")?.contains(module)
}

/// The memory that a filled `Py_buffer` points at.
struct Exported {
    format: CString,
    shape: Vec<isize>,
    strides: Vec<isize>,
}

/// Fills a `Py_buffer` (docs.python.org/3/c-api/buffer.html).
unsafe fn fill_buffer(
    slf: &Bound<'_, PyTensor>,
    view: *mut ffi::Py_buffer,
    flags: c_int,
) -> PyResult<()> {
    let inner = &slf.get().inner;
    let asks = |flag: c_int| flags & flag == flag;
    let Some(format) = format_of(inner.dtype()) else {
        return Err(PyBufferError::new_err(
            "the buffer protocol has no bfloat16. Use tensor.numpy().",
        ));
    };
    if asks(ffi::PyBUF_WRITABLE) {
        return Err(PyBufferError::new_err("a tensor is immutable: its buffer is read-only"));
    }
    let layout = inner.layout();
    let (c, f) = (layout.is_c_contiguous(), layout.is_f_contiguous());
    let needs_c = asks(ffi::PyBUF_C_CONTIGUOUS) || !asks(ffi::PyBUF_STRIDES);
    if (needs_c && !c) || (asks(ffi::PyBUF_F_CONTIGUOUS) && !f) {
        return Err(PyBufferError::new_err("the tensor is not contiguous in the requested order"));
    }
    if asks(ffi::PyBUF_ANY_CONTIGUOUS) && !c && !f {
        return Err(PyBufferError::new_err("the tensor is not contiguous"));
    }
    let swapped = inner.byte_order() == ByteOrder::Swapped;
    let prefix = match (swapped, cfg!(target_endian = "little")) {
        (false, _) => "",
        (true, true) => ">",
        (true, false) => "<",
    };
    let mut format_bytes = prefix.as_bytes().to_vec();
    format_bytes.extend_from_slice(format.to_bytes());
    let mut exported = Box::new(Exported {
        format: CString::new(format_bytes)?,
        shape: layout.shape().iter().map(|dim| dim.cast_signed()).collect(),
        strides: layout.strides().to_vec(),
    });
    let filled = ffi::Py_buffer {
        buf: inner.as_ptr().cast_mut().cast::<c_void>(),
        obj: slf.clone().into_ptr(),
        len: layout.nbytes().cast_signed(),
        itemsize: layout.itemsize().cast_signed(),
        readonly: 1,
        ndim: c_int::try_from(layout.ndim())?,
        format: if asks(ffi::PyBUF_FORMAT) {
            exported.format.as_ptr().cast_mut()
        } else {
            ptr::null_mut()
        },
        shape: if asks(ffi::PyBUF_ND) { exported.shape.as_mut_ptr() } else { ptr::null_mut() },
        strides: if asks(ffi::PyBUF_STRIDES) {
            exported.strides.as_mut_ptr()
        } else {
            ptr::null_mut()
        },
        suboffsets: ptr::null_mut(),
        internal: Box::into_raw(exported).cast(),
    };
    // SAFETY: Python passes a Py_buffer to fill.
    unsafe { view.write(filled) };
    Ok(())
}
