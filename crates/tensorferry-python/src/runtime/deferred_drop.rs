//! Deferred drop: Python objects that tensors and datasets own, dropped from any thread.
//!
//! TensorFlow may drop a tensor on a thread that does not hold the GIL, or after interpreter exit.
//! With the GIL, what the tensor owns is dropped at once. Without it, the drop is deferred until a
//! thread next enters this library with the GIL; a pending call makes the main thread do so soon.
//! Waiting for the GIL could deadlock with a thread that holds it and waits for TensorFlow. Once
//! the interpreter exits, the objects are leaked: touching Python would crash.
//!
//! # Rationale
//! PyO3 defers drops too, but trusts its own count of threads that entered Python through it. Such
//! a thread may have lost the GIL since: TensorFlow releases the GIL before it drops a tensor,
//! also inside a Python function or the garbage collector.

use super::brief_lock::brief_lock;
use super::exit::is_exiting;
use super::gil::{holding, holds_gil};
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};
use std::mem;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Objects dropped without the GIL.
static DEFERRED: Mutex<Vec<Box<dyn Send>>> = Mutex::new(Vec::new());
/// Whether the main thread has been asked to drop them.
static SCHEDULED: AtomicBool = AtomicBool::new(false);

/// Owns Python objects; may be dropped on any thread.
pub(crate) struct Keep<T: Send + 'static = Py<PyAny>>(Option<T>);

impl<T: Send> Keep<T> {
    pub(crate) fn new(kept: T) -> Self {
        Self(Some(kept))
    }

    /// The objects.
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T: Send> Drop for Keep<T> {
    fn drop(&mut self) {
        let Some(kept) = self.0.take() else { return };
        if is_exiting() {
            mem::forget(kept);
        } else if holds_gil() {
            holding(|py| {
                drop(kept);
                drop_deferred(py);
            });
        } else {
            match brief_lock(&DEFERRED) {
                Some(mut deferred) => deferred.push(Box::new(kept)),
                None => mem::forget(kept),
            }
            schedule();
        }
    }
}

/// Drops what was dropped without the GIL.
pub(crate) fn drop_deferred(_: Python<'_>) {
    if SCHEDULED.swap(false, Ordering::AcqRel) {
        let deferred = brief_lock(&DEFERRED).map(|mut deferred| mem::take(&mut *deferred));
        drop(deferred); // may run any Python code, and come back here
    }
}

/// Has the main thread drop what is deferred soon.
fn schedule() {
    if !SCHEDULED.swap(true, Ordering::AcqRel) {
        // SAFETY: Py_AddPendingCall may be called from any thread, with or without the GIL, while
        // an interpreter exists; `flush` ignores its argument.
        // If the queue is full, the next call of `drop_deferred` does the work.
        unsafe { ffi::Py_AddPendingCall(Some(flush), std::ptr::null_mut()) };
    }
}

extern "C" fn flush(_: *mut c_void) -> c_int {
    holding(drop_deferred);
    0
}
