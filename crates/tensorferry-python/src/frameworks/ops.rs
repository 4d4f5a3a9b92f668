//! Registers TensorFlow ops, and maps Python exceptions to TensorFlow's errors.

use crate::errors::{Raised, raise};
use crate::runtime::attach::attached;
use crate::runtime::unwinding::guard;
use pyo3::exceptions::{
    PyFileNotFoundError, PyKeyboardInterrupt, PyMemoryError, PyNotImplementedError, PyOSError,
    PyPermissionError, PyStopIteration, PyTypeError, PyValueError,
};
use pyo3::prelude::*;
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
    let Some(raised) = error.downcast_ref().and_then(Raised::get) else {
        return (Code::UNKNOWN, String::new());
    };
    attached(|py| Ok((code(py, raised), traceback(py, raised).unwrap_or_default())))
        .unwrap_or((Code::CANCELLED, String::new()))
}

/// The library's codes for damaged or changed files.
const DATA_LOSS: [&str; 5] =
    ["malformed", "wrong_length", "short_read", "file_changed", "checksum"];

/// The code that `tf.py_function` uses; TensorFlow's own exceptions keep theirs. That of
/// StopIteration would end the dataset.
fn code(py: Python<'_>, raised: &PyErr) -> Code {
    let number = raised.value(py).getattr("error_code").and_then(|code| code.extract());
    let ours = raised.value(py).getattr("code").and_then(|code| code.extract::<String>());
    match number {
        Ok(number @ 1..=16) => Code(number),
        _ if ours.is_ok_and(|code| DATA_LOSS.contains(&code.as_str())) => Code::DATA_LOSS,
        _ if raised.is_instance_of::<PyStopIteration>(py) => Code::UNKNOWN,
        _ if raised.is_instance_of::<PyKeyboardInterrupt>(py) => Code::CANCELLED,
        _ if raised.is_instance_of::<PyTypeError>(py)
            || raised.is_instance_of::<PyValueError>(py) =>
        {
            Code::INVALID_ARGUMENT
        }
        _ if raised.is_instance_of::<PyMemoryError>(py) => Code::RESOURCE_EXHAUSTED,
        _ if raised.is_instance_of::<PyNotImplementedError>(py) => Code::UNIMPLEMENTED,
        _ if raised.is_instance_of::<PyFileNotFoundError>(py) => Code::NOT_FOUND,
        _ if raised.is_instance_of::<PyPermissionError>(py) => Code::PERMISSION_DENIED,
        _ if raised.is_instance_of::<PyOSError>(py) => Code::DATA_LOSS,
        _ => Code::UNKNOWN,
    }
}

fn traceback(py: Python<'_>, raised: &PyErr) -> PyResult<String> {
    let Some(traceback) = raised.traceback(py) else { return Ok(String::new()) };
    Ok(format!("\n{}", traceback.format()?))
}
