//! The library's errors as Python exceptions: `tensorferry.errors` maps each code to a class.

use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use std::io;
use tensorferry::Error;

/// An exception of the class that `code` stands for.
pub(crate) fn raise(py: Python<'_>, code: &str, message: String) -> PyErr {
    let make = py.import("tensorferry.errors").and_then(|errors| errors.getattr("make"));
    match make.and_then(|make| make.call1((code, &message))) {
        Ok(exception) => PyErr::from_value(exception),
        Err(_) => PyRuntimeError::new_err(message), // only while the interpreter is being torn down
    }
}

/// The exception for an error of the library.
pub(crate) fn to_py(py: Python<'_>, error: &Error) -> PyErr {
    if let Error::Io { action, path, source } = error {
        let message = format!("{action}: {source}");
        return match number(source) {
            Some(number) => PyOSError::new_err((number, message, path.as_os_str().to_owned())),
            None => PyOSError::new_err(format!("{}: {message}", path.display())),
        };
    }
    raise(py, error.code(), error.to_string())
}

/// The system's error number, by its kind where another error wraps it and hides the number.
fn number(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or(match error.kind() {
        io::ErrorKind::NotFound => Some(libc::ENOENT),
        io::ErrorKind::PermissionDenied => Some(libc::EACCES),
        io::ErrorKind::NotADirectory => Some(libc::ENOTDIR),
        io::ErrorKind::ReadOnlyFilesystem => Some(libc::EROFS),
        io::ErrorKind::StorageFull => Some(libc::ENOSPC),
        _ => None,
    })
}

/// `?` on the library's results: `.or_raise(py)?`.
pub(crate) trait OrRaise<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for tensorferry::Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| to_py(py, &error))
    }
}

/// Every code that the library's errors can have.
#[pyfunction]
pub(crate) fn error_codes() -> Vec<&'static str> {
    Error::CODES.to_vec()
}
