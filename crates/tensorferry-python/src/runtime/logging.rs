//! What the library says about its work, for Python's `logging`: the logger named "tensorferry".
//!
//! A thread of the library's never waits for the GIL to say something: whoever holds it may be
//! waiting for that thread, or be ending the interpreter. So a message is kept, and a pending call,
//! which the main thread makes soon, hands it on. What is said when the interpreter exits is handed
//! on there.

use super::brief_lock::brief_lock;
use super::exit::is_exiting;
use super::gil::holding;
use log::{Level, LevelFilter, Log, Metadata, Record};
use pyo3::exceptions::PyException;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};
use std::sync::Mutex;

/// More than these are not kept: the oldest are forgotten.
const MOST: usize = 256;

static KEPT: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

struct Messages;

impl Log for Messages {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tensorferry")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) || is_exiting() {
            return;
        }
        let message = record.args().to_string();
        let Some(mut kept) = brief_lock(&KEPT) else { return };
        if kept.len() == MOST {
            kept.remove(0);
        }
        kept.push((record.level(), message));
        drop(kept);
        // Refused where too many calls are pending: then the next message, or the exit, hands on
        // this one too. SAFETY: may be called from any thread, with or without the GIL, while an
        // interpreter exists: it is not ending. `flush` is a callback that ignores its argument.
        let _refused = unsafe { ffi::Py_AddPendingCall(Some(flush), std::ptr::null_mut()) };
    }

    fn flush(&self) {}
}

extern "C" fn flush(_: *mut c_void) -> c_int {
    holding(|py| match forward(py) {
        Ok(()) => 0,
        Err(interrupted) => {
            interrupted.restore(py);
            -1
        }
    })
}

/// Hands on what was said, in a thread that holds the GIL. What a handler of messages raises goes
/// nowhere, unless it is Ctrl-C or the like.
pub(crate) fn forward(py: Python<'_>) -> PyResult<()> {
    let messages = brief_lock(&KEPT).map(|mut kept| std::mem::take(&mut *kept)).unwrap_or_default();
    if messages.is_empty() {
        return Ok(());
    }
    match tell(py, messages) {
        Err(raised) if raised.is_instance_of::<PyException>(py) => {
            raised.write_unraisable(py, None)
        }
        other => other?,
    }
    Ok(())
}

fn tell(py: Python<'_>, messages: Vec<(Level, String)>) -> PyResult<()> {
    let logger = py.import("logging")?.call_method1("getLogger", ("tensorferry",))?;
    for (level, message) in messages {
        let level = match level {
            Level::Error => 40,
            Level::Warn => 30,
            Level::Info => 20,
            Level::Debug | Level::Trace => 10,
        };
        // As an argument: a file's name may hold a percent sign.
        logger.call_method1("log", (level, "%s", message))?;
    }
    Ok(())
}

/// From now on.
pub(crate) fn start() {
    // Refused if there is one already: this one.
    if log::set_logger(&Messages).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}
