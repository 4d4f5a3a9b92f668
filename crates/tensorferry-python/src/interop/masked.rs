//! Masked arrays: a tensor cannot mark values as missing.

use crate::errors::raise;
use numpy::PyUntypedArray;
use pyo3::PyTypeInfo;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// The elements of a masked array without masked values; `None` for an array without a mask.
///
/// # Errors
/// A value is masked.
pub(crate) fn data<'py>(
    array: &Bound<'py, PyUntypedArray>,
) -> PyResult<Option<Bound<'py, PyUntypedArray>>> {
    static MASKED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = array.py();
    // An exact ndarray is not masked: most calls end here.
    // SAFETY: `array` is a live object.
    let class = unsafe { pyo3::ffi::Py_TYPE(array.as_ptr()) };
    if class == PyUntypedArray::type_object_raw(py)
        || !array.is_instance(MASKED.import(py, "numpy.ma", "MaskedArray")?)?
    {
        return Ok(None);
    }
    let mask =
        py.import(intern!(py, "numpy.ma"))?.call_method1(intern!(py, "getmaskarray"), (array,))?;
    // The mask of a structured array is structured, with a bool for each field.
    let bytes = mask.call_method0(intern!(py, "tobytes"))?;
    let set = bytes.len()? - bytes.call_method1(intern!(py, "count"), (0,))?.extract::<usize>()?;
    if set == 0 {
        return Ok(Some(array.getattr(intern!(py, "data"))?.cast_into()?));
    }
    let message = format!(
        "a masked array cannot become a tensor: the mask of {set} of its values would be lost. \
        Pass array.filled(value), or array.data to \
         ignore the mask."
    );
    Err(raise(py, "masked_array", message))
}
