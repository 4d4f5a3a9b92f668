//! Values that Python functions return, and that users pass.

use crate::errors::{OrRaise, raise, to_py};
use crate::interop::nested::Input;
use crate::interop::source::Sharing;
use crate::runtime::unwinding::guard;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt};
use tensorferry::{Casting, DType, Tensor};

/// A value as an immutable tensor. Casting is checked.
pub(crate) fn tensor(value: &Bound<'_, PyAny>, dtype: Option<DType>) -> PyResult<Tensor> {
    let py = value.py();
    let input = Input::wanted(value, dtype, Casting::Checked, None)?;
    input.to_tensor(py, dtype, Casting::Checked, Sharing { copy: None, framework: true })
}

/// A value that has to be one bool.
pub(crate) fn truth(value: &Bound<'_, PyAny>, stage: &'static str) -> PyResult<bool> {
    if let Ok(truth) = value.extract::<bool>() {
        return Ok(truth); // Python's and NumPy's
    }
    let tensor = tensor(value, None)?;
    if tensor.dtype() != DType::Bool || !tensor.shape().is_empty() {
        let message = format!(
            "{stage}: the predicate has to return one bool, not {} of shape {:?}. Compare, and \
            reduce with all() or any().",
            tensor.dtype(),
            tensor.shape()
        );
        return Err(raise(value.py(), "argument", message));
    }
    let view = tensor.view::<bool>().map_err(|error| to_py(value.py(), &error.into()))?;
    Ok(view.get(&[]).unwrap_or(false))
}

/// A value that has to be one integer.
pub(crate) fn integer(value: &Bound<'_, PyAny>, what: &'static str) -> PyResult<i64> {
    if value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>() {
        return value.extract();
    }
    let tensor = tensor(value, None)?;
    if !tensor.dtype().is_integer() || !tensor.shape().is_empty() {
        let message = format!(
            "{what} has to return one integer, not {} of shape {:?}",
            tensor.dtype(),
            tensor.shape()
        );
        return Err(raise(value.py(), "wrong_type", message));
    }
    let wide = tensorferry::convert(&tensor.as_view(), DType::Int64, Casting::Checked)
        .or_raise(value.py())?;
    let view = wide.view::<i64>().or_raise(value.py())?;
    Ok(view.get(&[]).unwrap_or_default())
}

/// dtype and number of dimensions of a value.
#[pyfunction]
pub(crate) fn describe(value: &Bound<'_, PyAny>) -> PyResult<(&'static str, usize)> {
    guard();
    let source = Input::source(value)?;
    Ok((source.dtype().name(), source.view().layout().ndim()))
}
