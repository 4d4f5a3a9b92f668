//! Values that are not arrays of numbers, and values that another library must not export: see
//! `tensorferry._convert.kinds`.

use crate::interop::dtype;
use crate::runtime::exception::{exception, raised};
use numpy::{PyArrayDescr, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyMemoryView, PyModule};

fn python(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    Ok(MODULE
        .get_or_try_init(py, || py.import("tensorferry._convert.kinds").map(Bound::unbind))?
        .bind(py))
}

/// The error for a value at `index` of a list that cannot become a tensor. It names the kind of
/// value, and a way that works.
pub(crate) fn unsupported(value: &Bound<'_, PyAny>, index: &[usize]) -> PyErr {
    let made =
        python(value.py()).and_then(|kinds| kinds.getattr("error")?.call1((value, index.to_vec())));
    made.map_or_else(|error| error, PyErr::from_value)
}

/// The error, with an index in a list added.
pub(crate) fn at(py: Python<'_>, error: PyErr, index: &[usize]) -> PyErr {
    let error = exception(py, error);
    let made = python(py).and_then(|kinds| kinds.getattr("at")?.call1((&error, index.to_vec())));
    made.map_or_else(|_| raised(error), PyErr::from_value)
}

/// Whether a value is sparse or ragged.
pub(crate) fn is_composite(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    python(value.py())?.getattr("is_composite")?.call1((value,))?.is_truthy()
}

/// Whether a value in a list is left to TensorFlow; with `tensors`, so is every TensorFlow tensor.
pub(crate) fn is_tensorflows(value: &Bound<'_, PyAny>, tensors: bool) -> PyResult<bool> {
    python(value.py())?.getattr("is_tensorflows")?.call1((value, tensors))?.is_truthy()
}

/// Whether a value is a sequence that stands for a list.
pub(crate) fn is_list_like(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    python(value.py())?.getattr("is_list_like")?.call1((value,))?.is_truthy()
}

/// The float64 equal to a long double, if there is one.
pub(crate) fn exact_float(value: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
    python(value.py())?.getattr("exact_float")?.call1((value,))?.extract()
}

/// The value as `numpy.asarray` converts it.
pub(crate) fn as_array<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    value
        .py()
        .import(intern!(value.py(), "numpy"))?
        .call_method1(intern!(value.py(), "asarray"), (value,))
}

/// Whether a value has only the buffer protocol: a bytearray, a memoryview, an `array.array`.
pub(crate) fn is_buffer(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(!value.hasattr(intern!(value.py(), "dtype"))?
        && !speaks_array(value)?
        && PyMemoryView::from(value).is_ok())
}

fn speaks_array(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = value.py();
    Ok(value.hasattr(intern!(py, "__array_interface__"))?
        || value.hasattr(intern!(py, "__array__"))?
        || value.hasattr(intern!(py, "__array_struct__"))?)
}

/// Whether NumPy reads a value as an array, not as a list or an object.
pub(crate) fn is_array_like(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(speaks_array(value)? || PyMemoryView::from(value).is_ok())
}

/// Whether a value's dtype or layout is known not to be supported. Checked before another library
/// exports the value: TensorFlow aborts the process for some dtypes.
pub(crate) fn is_foreign(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = value.py();
    let Some(dtype) = value.getattr_opt(intern!(py, "dtype"))? else { return Ok(false) };
    if let Ok(descr) = dtype.cast::<PyArrayDescr>() {
        // The elements of an object array are read one by one.
        return Ok(dtype::from_descr(descr).is_none()
            && descr.kind() != b'O'
            && !value.is_instance_of::<PyUntypedArray>());
    }
    let Some(known) = dtype::frameworks(&dtype)? else { return Ok(false) };
    if known.is_none() {
        return Ok(true);
    }
    let layout = value.getattr_opt(intern!(py, "layout"))?;
    Ok(layout.is_some_and(|layout| {
        layout.get_type().fully_qualified_name().is_ok_and(|name| name == "torch.layout")
            && layout.str().is_ok_and(|layout| layout != "torch.strided")
    }))
}

/// Whether an array holds strings.
pub(crate) fn is_text(value: &Bound<'_, PyAny>) -> bool {
    value
        .cast::<PyUntypedArray>()
        .is_ok_and(|array| matches!(array.dtype().kind(), b'S' | b'U' | b'T'))
}
