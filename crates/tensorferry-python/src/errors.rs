//! The library's errors as Python exceptions. `tensorferry.errors` maps each code to a class.

use crate::runtime::attach::{attached, is_exiting};
use crate::runtime::deferred_drop::Keep;
use crate::runtime::exception::{self, exception};
use crate::runtime::unwinding::guard;
use pyo3::exceptions::{
    PyBaseException, PyMemoryError, PyOSError, PyRuntimeError, PyStopIteration,
};
use pyo3::prelude::*;
use std::fmt::{self, Display};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tensorferry::Error;
use tensorferry::error::{CoreError, FileAdvice, IoError};
use tensorferry_tensorflow::InPython;

/// An exception of the class for `code`.
pub(crate) fn raise(py: Python<'_>, code: &str, message: String) -> PyErr {
    let make = py.import("tensorferry.errors").and_then(|errors| errors.getattr("make"));
    match make.and_then(|make| make.call1((code, &message))) {
        Ok(exception) => PyErr::from_value(exception),
        Err(_) => PyRuntimeError::new_err(message), // only during interpreter exit
    }
}

/// Adds `stage` and the component's name to the message of one of this library's exceptions.
pub(crate) fn in_component(
    py: Python<'_>,
    raised: PyErr,
    stage: &str,
    at: usize,
    names: &[Arc<str>],
) -> PyErr {
    let Some(name) = names.get(at) else { return raised };
    let raised = exception(py, raised);
    match code(&raised) {
        Some(code) if !code.is_empty() => {
            raise(py, &code, format!("{stage}component {name}: {raised}"))
        }
        _ => exception::raised(raised),
    }
}

/// The exception for an error of the library.
pub(crate) fn to_py(py: Python<'_>, error: &Error) -> PyErr {
    if let Some((raised, at)) = cause(py, error) {
        return with_note(raised, at);
    }
    raise(py, error.code(), error.message(&InPython))
}

/// An exception of a user's function, as an error that any thread may drop or print.
pub(crate) struct Raised {
    /// `None` if the function could not run because the interpreter is exiting.
    exception: Option<Keep<Py<PyBaseException>>>,
    is_memory_error: bool,
}

impl Raised {
    pub(crate) fn new(raised: Bound<'_, PyBaseException>) -> Self {
        let is_memory_error = raised.is_instance_of::<PyMemoryError>();
        Self { exception: Some(Keep::new(raised.unbind())), is_memory_error }
    }

    /// An error of a function that could not run because the interpreter is exiting.
    pub(crate) fn exiting() -> Self {
        Self { exception: None, is_memory_error: false }
    }

    pub(crate) fn get<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBaseException>> {
        match &self.exception {
            Some(kept) => Some(kept.get()?.bind(py).clone()),
            None => Some(exception(py, is_exiting())),
        }
    }
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = attached(|py| self.get(py).as_ref().map(words).transpose());
        f.write_str(text.ok().flatten().as_deref().unwrap_or("an exception"))
    }
}

/// `ValueError: the message`.
fn words(exception: &Bound<'_, PyBaseException>) -> PyResult<String> {
    let class = exception.get_type().qualname()?;
    let message = exception.str();
    let message =
        message.as_ref().map_or("<exception str() failed>".into(), |m| m.to_string_lossy());
    Ok(format!("{class}: {message}"))
}

impl fmt::Debug for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raised({self})")
    }
}

/// The source of a `MemoryError`, by which batches know it.
static NO_MEMORY: CoreError = CoreError::Allocation { bytes: 0 };

impl std::error::Error for Raised {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if self.is_memory_error { Some(&NO_MEMORY) } else { None }
    }
}

/// The stage and element that an error happened at.
type Place = Option<(&'static str, u64)>;

/// The exception inside an error, and the stage and element that it happened at: one that a user's
/// function raised, or an `OSError`.
fn cause<'py>(py: Python<'py>, error: &Error) -> Option<(Bound<'py, PyBaseException>, Place)> {
    match error {
        Error::Function { source } => Some((source.downcast_ref::<Raised>()?.get(py)?, None)),
        Error::Io(error) => Some((exception(py, refused(error)?), None)),
        Error::InComponent { source, .. } | Error::WithHint { source, .. } => cause(py, source),
        Error::AtElement { stage, index, source } => {
            cause(py, source).map(|(raised, _)| (raised, Some((*stage, *index))))
        }
        _ => None,
    }
}

/// The `OSError` for a file operation that the operating system refused.
fn refused(error: &IoError) -> Option<PyErr> {
    let advice = match error {
        IoError::WithHint { hint, .. } => Some(InPython.hint(*hint)),
        _ => None,
    };
    match error.innermost() {
        IoError::Io { action, path, source } => Some(os_error(path, action, source, advice)),
        IoError::Read { path, offset, len, source } => {
            let action = format_args!("read {len} bytes at byte {offset}");
            Some(os_error(path, &action, source, advice))
        }
        _ => None,
    }
}

/// The code of one of this library's exceptions.
pub(crate) fn code(exception: &Bound<'_, PyBaseException>) -> Option<String> {
    exception.getattr("code").ok()?.extract().ok()
}

/// The `OSError` for an I/O error.
fn os_error(
    path: &Path,
    action: &dyn Display,
    source: &io::Error,
    advice: Option<String>,
) -> PyErr {
    let number = number(source);
    // Python adds the number itself. Opening a file is the expected action, so it is not named.
    let text = source.to_string();
    let text = number
        .and_then(|number| text.strip_suffix(&format!(" (os error {number})")))
        .unwrap_or(&text);
    let action = action.to_string();
    let mut message = if action == "open" { text.to_owned() } else { format!("{action}: {text}") };
    if let Some(advice) = advice {
        message = format!("{message} {advice}");
    }
    match number {
        Some(number) => {
            // The path follows, after a colon.
            let message = message.trim_end_matches('.').to_owned();
            PyOSError::new_err((number, message, path.as_os_str().to_owned()))
        }
        None => PyOSError::new_err(format!("{}: {message}", path.display())),
    }
}

/// The exception, with a note of where it happened.
fn with_note(raised: Bound<'_, PyBaseException>, at: Place) -> PyErr {
    if let Some((stage, index)) = at {
        let note = format!("in {stage}, at its element {index}");
        // Exceptions that do not support notes are raised without one.
        let _noted = raised.call_method1("add_note", (note,));
    }
    if raised.is_instance_of::<PyStopIteration>() {
        // Raised from __next__, it would end the loop silently.
        let error = PyRuntimeError::new_err("a function of the dataset raised StopIteration");
        let error = exception(raised.py(), error);
        let _linked = error.setattr("__cause__", raised);
        return exception::raised(error);
    }
    exception::raised(raised)
}

/// The system's error number, or one for the error's kind if another error hides the number.
fn number(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or(match error.kind() {
        io::ErrorKind::NotFound => Some(libc::ENOENT),
        io::ErrorKind::PermissionDenied => Some(libc::EACCES),
        io::ErrorKind::NotADirectory => Some(libc::ENOTDIR),
        io::ErrorKind::IsADirectory => Some(libc::EISDIR),
        io::ErrorKind::ReadOnlyFilesystem => Some(libc::EROFS),
        io::ErrorKind::StorageFull => Some(libc::ENOSPC),
        io::ErrorKind::AlreadyExists => Some(libc::EEXIST),
        io::ErrorKind::TimedOut => Some(libc::ETIMEDOUT),
        _ => None,
    })
}

/// `.or_raise(py)?` turns the library's errors into Python exceptions.
pub(crate) trait OrRaise<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T, E: Into<Error>> OrRaise<T> for tensorferry::Result<T, E> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| to_py(py, &error.into()))
    }
}

/// All codes of the library's errors, each with the name of its kind.
#[pyfunction]
pub(crate) fn error_codes() -> Vec<(&'static str, &'static str)> {
    guard();
    Error::all_codes().into_iter().map(|(code, kind)| (code, kind.name())).collect()
}
