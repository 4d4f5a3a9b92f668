//! TensorFlow ops of ours: registering them, and the handles by which they find datasets.

use crate::errors::raise;
use pyo3::prelude::*;
use std::ffi::CString;

/// Registers the ops with the TensorFlow whose framework library, which has to be loaded, lies at `path`.
#[pyfunction]
pub(crate) fn register_ops(py: Python<'_>, path: &str) -> PyResult<()> {
    let path = CString::new(path)?;
    tensorferry_tensorflow::register(&path).map_err(|what| raise(py, "unsupported_tensorflow", what))
}
