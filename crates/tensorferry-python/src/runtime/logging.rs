//! Log messages of the library, forwarded to Python's logger "tensorferry".
//!
//! A thread of the library must not wait for the GIL to log: the thread that holds it may wait for
//! that thread, or be ending the interpreter. So messages are queued, and a pending call in the
//! main thread forwards them. At interpreter exit, `atexit` forwards the rest.

use super::brief_lock::brief_lock;
use super::exception::{self, exception};
use super::exit::is_exiting;
use super::gil::holding;
use log::{Level, LevelFilter, Log, Metadata, Record};
use pyo3::exceptions::PyException;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};
use std::sync::Mutex;

/// The greatest number of queued messages; the oldest are dropped.
const LIMIT: usize = 256;

static QUEUE: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

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
        let Some(mut queue) = brief_lock(&QUEUE) else { return };
        if queue.len() == LIMIT {
            queue.remove(0);
        }
        queue.push((record.level(), message));
        drop(queue);
        // SAFETY: may be called from any thread, with or without the GIL, while an interpreter
        // exists, and it is not exiting. `flush` ignores its argument.
        // If the queue of calls is full, the next message, or the exit, forwards this one too.
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

/// Forwards the queued messages, in a thread that holds the GIL. An `Exception` that a log handler
/// raises is reported as unraisable; others, such as Ctrl-C, are raised.
pub(crate) fn forward(py: Python<'_>) -> PyResult<()> {
    let messages =
        brief_lock(&QUEUE).map(|mut queue| std::mem::take(&mut *queue)).unwrap_or_default();
    if messages.is_empty() {
        return Ok(());
    }
    match write(py, messages) {
        Ok(()) => Ok(()),
        Err(raised) => {
            let raised = exception(py, raised);
            let reported = raised.is_instance_of::<PyException>();
            let raised = exception::raised(raised);
            if !reported {
                return Err(raised);
            }
            raised.write_unraisable(py, None);
            Ok(())
        }
    }
}

fn write(py: Python<'_>, messages: Vec<(Level, String)>) -> PyResult<()> {
    let logger = py.import("logging")?.call_method1("getLogger", ("tensorferry",))?;
    for (level, message) in messages {
        let level = match level {
            Level::Error => 40,
            Level::Warn => 30,
            Level::Info => 20,
            Level::Debug | Level::Trace => 10,
        };
        // The message is an argument: a file name may contain a percent sign.
        logger.call_method1("log", (level, "%s", message))?;
    }
    Ok(())
}

/// Starts forwarding.
pub(crate) fn start() {
    // Fails if a logger is set: this one, by an earlier import.
    if log::set_logger(&Messages).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}
