//! Registers TensorFlow ops, and maps Python exceptions to TensorFlow's errors.

use crate::errors::{self, Raised, raise};
use crate::runtime::attach::{attached, is_exiting};
use crate::runtime::unwinding::guard;
use pyo3::exceptions::{
    PyBaseException, PyFileNotFoundError, PyKeyboardInterrupt, PyMemoryError,
    PyNotImplementedError, PyOSError, PyPermissionError, PyStopIteration, PyTypeError,
    PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::PyTraceback;
use std::error::Error;
use std::ffi::CString;
use tensorferry_tensorflow::Code;

/// Registers the ops with the TensorFlow whose framework library at `path` is loaded.
#[pyfunction]
pub(crate) fn register_ops(py: Python<'_>, path: &str) -> PyResult<()> {
    guard();
    let path = CString::new(path)?;
    tensorferry_tensorflow::register(&path, classify)
        .map_err(|what| raise(py, "unsupported_tensorflow", what))
}

/// The number of datasets and passes that TensorFlow can reach.
#[pyfunction]
pub(crate) fn live_handles() -> usize {
    guard();
    tensorferry_tensorflow::live_handles()
}

/// The TensorFlow code of a Python exception, and its traceback.
fn classify(error: &(dyn Error + Send + Sync + 'static)) -> (Code, String) {
    let Some(raised) = error.downcast_ref::<Raised>() else {
        return (Code::UNKNOWN, String::new());
    };
    let classified = attached(|py| {
        let raised = raised.get(py).ok_or_else(is_exiting)?;
        Ok((code(&raised), traceback(&raised).unwrap_or_default()))
    });
    classified.unwrap_or((Code::CANCELLED, String::new()))
}

/// The library's codes for damaged or changed files.
const DATA_LOSS: [&str; 5] =
    ["malformed", "wrong_length", "short_read", "file_changed", "checksum"];

/// The code that `tf.py_function` uses; TensorFlow's own exceptions keep theirs. That of
/// StopIteration would end the dataset.
fn code(raised: &Bound<'_, PyBaseException>) -> Code {
    let number = raised.getattr("error_code").and_then(|code| code.extract());
    let ours = errors::code(raised);
    match number {
        Ok(number @ 1..=16) => Code(number),
        _ if ours.is_some_and(|code| DATA_LOSS.contains(&code.as_str())) => Code::DATA_LOSS,
        _ if raised.is_instance_of::<PyStopIteration>() => Code::UNKNOWN,
        _ if raised.is_instance_of::<PyKeyboardInterrupt>() => Code::CANCELLED,
        _ if raised.is_instance_of::<PyTypeError>() || raised.is_instance_of::<PyValueError>() => {
            Code::INVALID_ARGUMENT
        }
        _ if raised.is_instance_of::<PyMemoryError>() => Code::RESOURCE_EXHAUSTED,
        _ if raised.is_instance_of::<PyNotImplementedError>() => Code::UNIMPLEMENTED,
        _ if raised.is_instance_of::<PyFileNotFoundError>() => Code::NOT_FOUND,
        _ if raised.is_instance_of::<PyPermissionError>() => Code::PERMISSION_DENIED,
        _ if raised.is_instance_of::<PyOSError>() => Code::DATA_LOSS,
        _ => Code::UNKNOWN,
    }
}

fn traceback(raised: &Bound<'_, PyBaseException>) -> PyResult<String> {
    match raised.getattr("__traceback__")?.cast_into::<PyTraceback>() {
        Ok(traceback) => Ok(format!("\n{}", traceback.format()?)),
        Err(_none) => Ok(String::new()),
    }
}
