//! Signals during long work.
//!
//! Python handles signals in its main thread, when that thread runs Python code. Long work in the
//! main thread checks for signals itself. An exception that a handler raises, as for Ctrl-C,
//! interrupts the work. So does an exception of a user's function that is not an `Exception`. The
//! element is not returned then; the next call of the iterator computes it again.

use crate::errors::Raised;
use crate::runtime::attach;
use crate::runtime::exception::{self, exception};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use std::cell::Cell;
use tensorferry::Error;
use tensorferry::dataset::{failed, interrupt, interruptible};

thread_local! {
    /// The exception that interrupted the work of this thread.
    static RAISED: Cell<Option<PyErr>> = const { Cell::new(None) };
}

/// Runs `work` without the GIL. The second result is the exception that interrupted it.
pub(crate) fn run<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> (T, PyResult<()>) {
    let (done, raised) = py.detach(|| (interruptible(check_signals, work), RAISED.take()));
    (done, raised.map_or_else(|| py.check_signals(), Err))
}

/// Handles pending signals; returns whether a handler raised.
fn check_signals() -> bool {
    let handled = if is_main_thread() { attach::attached(|py| py.check_signals()) } else { Ok(()) };
    handled.map_err(|raised| RAISED.set(Some(raised))).is_err()
}

/// Whether this may be the main thread, which handles signals.
#[cfg(target_os = "linux")]
fn is_main_thread() -> bool {
    // SAFETY: the call takes nothing and cannot fail.
    let thread = unsafe { libc::gettid() };
    u32::try_from(thread) == Ok(std::process::id())
}

#[cfg(not(target_os = "linux"))]
fn is_main_thread() -> bool {
    true
}

/// The error for an exception of a user's function: that of its element, unless the exception
/// interrupts the work of this thread.
pub(crate) fn raised_in_function(py: Python<'_>, raised: PyErr) -> Error {
    let raised = exception(py, raised);
    if raised.is_instance_of::<PyException>() || !interrupt() {
        return failed(Raised::new(raised));
    }
    RAISED.set(Some(exception::raised(raised)));
    Error::Interrupted
}
