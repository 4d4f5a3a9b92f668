//! The library's errors as Python exceptions: `tensorferry.errors` maps each code to a class.

use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use tensorferry::Error;

/// `tensorferry.errors.CODES`: code -> exception class.
fn classes(py: Python<'_>) -> PyResult<&Bound<'_, PyDict>> {
    static CLASSES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    CLASSES.import(py, "tensorferry.errors", "CODES")
}

/// An exception of the class that `code` stands for.
pub(crate) fn raise(py: Python<'_>, code: &str, message: String) -> PyErr {
    let class = classes(py).and_then(|classes| classes.as_any().get_item(code));
    match class.and_then(|class| class.call1((&message, code))) {
        Ok(exception) => PyErr::from_value(exception),
        Err(_) => PyRuntimeError::new_err(message), // only while the interpreter is being torn down
    }
}

/// The exception for an error of the library.
pub(crate) fn to_py(py: Python<'_>, error: &Error) -> PyErr {
    if let Error::Io { action, path, source } = error {
        let message = format!("{action}: {source}");
        return match source.raw_os_error() {
            Some(number) => PyOSError::new_err((number, message, path.as_os_str().to_owned())),
            None => PyOSError::new_err(format!("{}: {message}", path.display())),
        };
    }
    raise(py, error.code(), error.to_string())
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
