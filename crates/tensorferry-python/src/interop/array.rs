//! NumPy arrays: their elements, and new arrays over existing memory.

use crate::errors::OrRaise;
use crate::interop::dtype;
use numpy::npyffi::{self, NPY_ARRAY_WRITEABLE, NpyTypes, PY_ARRAY_API, PyArrayObject};
use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};
use std::ptr;
use tensorferry::{ByteOrder, DType, Layout};

/// The fields of an array.
pub(crate) struct Parts {
    pub(crate) dtype: DType,
    pub(crate) order: ByteOrder,
    pub(crate) layout: Layout,
    pub(crate) data: *mut u8,
}

/// The fields of an array; `None` if its dtype is not supported.
pub(crate) fn parts(array: &Bound<'_, PyUntypedArray>) -> PyResult<Option<Parts>> {
    let Some((dtype, order)) = dtype::from_descr(&array.dtype()) else { return Ok(None) };
    let layout =
        Layout::strided(array.shape(), array.strides(), dtype.size()).or_raise(array.py())?;
    let fields = array.as_array_ptr();
    // SAFETY: `array` is a live ndarray, so its fields may be read.
    let data = unsafe { (*fields).fields.data }.cast();
    Ok(Some(Parts { dtype, order, layout, data }))
}

/// Whether the array is writeable.
pub(crate) fn is_writeable(array: &Bound<'_, PyUntypedArray>) -> bool {
    // SAFETY: `array` is a live ndarray, so its fields may be read.
    let flags = unsafe { (*array.as_array_ptr()).fields.flags };
    flags & NPY_ARRAY_WRITEABLE != 0
}

/// The object that the array is a view of; `None` if it owns its memory.
pub(crate) fn base_of<'py>(array: &Bound<'py, PyUntypedArray>) -> Option<Bound<'py, PyAny>> {
    // SAFETY: `array` is a live ndarray, so its fields may be read.
    let base = unsafe { (*array.as_array_ptr()).fields.base };
    // SAFETY: `base` is null or an object that the array holds a reference to.
    unsafe { Bound::from_borrowed_ptr_or_opt(array.py(), base) }
}

/// An ndarray over memory that `base` keeps alive.
///
/// # Safety
/// Until `base` dies, the bytes that the layout reaches from `data` are readable, and writable by
/// NumPy's users if `writeable`.
pub(crate) unsafe fn over<'py>(
    py: Python<'py>,
    (dtype, order): (DType, ByteOrder),
    layout: &Layout,
    data: *mut u8,
    writeable: bool,
    base: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let descr = dtype::to_numpy(py, dtype, order)?;
    let mut shape: Vec<isize> = layout.shape().iter().map(|dim| dim.cast_signed()).collect();
    let mut strides = layout.strides().to_vec();
    let ndim = c_int::try_from(layout.ndim())?;
    let flags = if writeable { NPY_ARRAY_WRITEABLE } else { 0 };
    // SAFETY: NumPy's type objects live as long as the process.
    let class = unsafe { npyffi::get_type_object(py, NpyTypes::PyArray_Type) };
    // SAFETY: the shape and strides have `ndim` entries, the memory is what the caller vouches for,
    // and the call takes over the reference to the descriptor.
    let array = unsafe {
        PY_ARRAY_API.PyArray_NewFromDescr(
            py,
            class,
            descr.into_ptr().cast(),
            ndim,
            shape.as_mut_ptr(),
            strides.as_mut_ptr(),
            data.cast::<c_void>(),
            flags,
            ptr::null_mut(),
        )
    };
    // SAFETY: a new reference to an array, or null with an exception set.
    let array = unsafe { Bound::from_owned_ptr_or_err(py, array) }?;
    // SAFETY: a fresh ndarray without a base; the call takes over the reference to `base`.
    let status = unsafe {
        PY_ARRAY_API.PyArray_SetBaseObject(
            py,
            array.as_ptr().cast::<PyArrayObject>(),
            base.into_ptr(),
        )
    };
    if status < 0 { Err(PyErr::fetch(py)) } else { Ok(array) }
}

/// Whether two pieces of memory overlap, by the bytes their layouts span.
pub(crate) fn overlap(a: (*const u8, &Layout), b: (*const u8, &Layout)) -> bool {
    let bytes = |(data, layout): (*const u8, &Layout)| {
        let span = layout.span();
        data.addr().wrapping_add_signed(span.start)..data.addr().wrapping_add_signed(span.end)
    };
    let (a, b) = (bytes(a), bytes(b));
    a.start < b.end && b.start < a.end
}

/// Whether two elements may share a byte. Judged by strides; `true` for some interleaved layouts
/// whose elements do not.
pub(crate) fn overlaps_itself(layout: &Layout) -> bool {
    if layout.is_empty() || layout.is_c_contiguous() {
        return false;
    }
    let mut steps: Vec<(usize, usize)> = layout
        .strides()
        .iter()
        .zip(layout.shape())
        .filter(|&(_, &dim)| dim > 1)
        .map(|(stride, &dim)| (stride.unsigned_abs(), dim))
        .collect();
    steps.sort_unstable();
    let mut reach = layout.itemsize();
    steps.into_iter().any(|(stride, dim)| {
        let within = stride < reach;
        reach = stride.saturating_mul(dim - 1).saturating_add(reach);
        within
    })
}

/// The result of `__array__(dtype, copy)` for an ndarray of the elements. NumPy 1 does not know
/// `copy=None`, and copies with `copy=False`.
pub(crate) fn as_asked<'py>(
    elements: Bound<'py, PyAny>,
    dtype: Option<&Bound<'py, PyAny>>,
    copy: Option<bool>,
) -> PyResult<Bound<'py, PyAny>> {
    let numpy = elements.py().import("numpy")?;
    if copy == Some(true) {
        return numpy.call_method1("array", (elements, dtype));
    }
    let array = numpy.call_method1("asarray", (&elements, dtype))?;
    if copy == Some(false) && !array.is(&elements) {
        let message = format!(
            "{} as {}: unable to avoid a copy",
            elements.getattr("dtype")?,
            array.getattr("dtype")?
        );
        return Err(PyValueError::new_err(message));
    }
    Ok(array)
}
