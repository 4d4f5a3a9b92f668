//! Signals that arrive while the library works.
//!
//! Python handles signals in its main thread, when that runs Python code. Work that takes long in
//! the main thread looks for them itself; an exception that a handler raises, as Ctrl-C does, stops
//! it. So does what a function of the user's raises if it is no error of an element: the element is
//! not handed out then, and comes when the iteration is asked again.

use crate::errors::Raised;
use crate::runtime::attach;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use std::cell::Cell;
use tensorferry::Error;
use tensorferry::dataset::{failed, interrupt, interruptible};

thread_local! {
    /// What interrupted the work of this thread.
    static RAISED: Cell<Option<PyErr>> = const { Cell::new(None) };
}

/// Runs `work` without the GIL, and says whether it was interrupted.
pub(crate) fn run<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> (T, PyResult<()>) {
    let (done, raised) = py.detach(|| (interruptible(look, work), RAISED.take()));
    (done, raised.map_or_else(|| py.check_signals(), Err))
}

/// Looks for signals.
fn look() -> bool {
    let handled = if is_main_thread() { attach::attached(|py| py.check_signals()) } else { Ok(()) };
    handled.map_err(|raised| RAISED.set(Some(raised))).is_err()
}

/// Whether this may be the thread that handles signals.
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

/// What a function of the user's raised: the error of its element, unless it interrupts the work of
/// this thread.
pub(crate) fn raised_in_function(py: Python<'_>, raised: PyErr) -> Error {
    if raised.is_instance_of::<PyException>(py) || !interrupt() {
        return failed(Raised::new(raised));
    }
    RAISED.set(Some(raised));
    Error::Stopped
}
