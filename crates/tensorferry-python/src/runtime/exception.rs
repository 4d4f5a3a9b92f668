//! Exceptions as objects, to inspect.
//!
//! # Rationale
//! PyO3 creates an exception from Rust lazily. The first inspection of such a `PyErr` releases the
//! GIL and takes it again by `PyGILState_Ensure`, which crashes if the interpreter has exited
//! meanwhile. So the binding inspects exceptions as Python objects, which [`exception`] creates
//! without releasing the GIL. Clippy disallows the methods of `PyErr` that inspect.
//!
//! # Limitations
//! PyO3 itself inspects the error of an argument that does not convert to a function's Rust type.

use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;

/// The exception, created if it is not yet.
pub(crate) fn exception(py: Python<'_>, raised: PyErr) -> Bound<'_, PyBaseException> {
    raised.restore(py);
    // Fetched exceptions exist.
    PyErr::fetch(py).into_value(py).into_bound(py)
}

/// The exception, to raise.
pub(crate) fn raised(exception: Bound<'_, PyBaseException>) -> PyErr {
    PyErr::from_value(exception.into_any())
}
