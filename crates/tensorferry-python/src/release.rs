//! Python objects that a tensor keeps alive, released from any thread.
//!
//! TensorFlow may drop a tensor on a thread that does not hold the GIL, or after the interpreter is gone. With the GIL an object is
//! released at once. Without it the reference is parked (`Py::drop` does that) until PyO3 is next entered, and a pending call makes
//! the main thread enter it soon: waiting for the GIL here could deadlock with a thread that holds it and waits for TensorFlow. Once
//! the interpreter exits, references are abandoned: the process is about to end, and touching Python then would crash.

use crate::ending::is_ending;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};
use std::mem;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static SCHEDULED: AtomicBool = AtomicBool::new(false);

/// Keeps a Python object alive; may be dropped on any thread.
pub(crate) struct Keep(Option<Py<PyAny>>);

impl Keep {
    pub(crate) fn new(object: Py<PyAny>) -> Self {
        Self(Some(object))
    }

    /// The object.
    pub(crate) fn get(&self) -> Option<&Py<PyAny>> {
        self.0.as_ref()
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        let Some(object) = self.0.take() else { return };
        if is_ending() {
            mem::forget(object);
        } else if holds_gil() {
            // SAFETY: this thread holds the GIL, and the reference is ours to give up.
            unsafe { ffi::Py_DECREF(object.into_ptr()) };
        } else {
            drop(object);
            schedule();
        }
    }
}

/// `PyThreadState_GetUnchecked`: this thread's state if it holds the GIL, else null (in Python 3.11: the state of whichever
/// thread holds it). Not part of the stable ABI, so looked up by name: public since Python 3.13, underscored before.
type CurrentThread = unsafe extern "C" fn() -> *mut ffi::PyThreadState;

fn current_thread() -> Option<CurrentThread> {
    static FOUND: OnceLock<Option<CurrentThread>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        [c"PyThreadState_GetUnchecked", c"_PyThreadState_UncheckedGet"].into_iter().find_map(|name| {
            // SAFETY: the name is a C string, and RTLD_DEFAULT searches what the process has loaded.
            let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
            // SAFETY: CPython's functions of these names take nothing and return a thread state.
            (!symbol.is_null()).then(|| unsafe { mem::transmute::<*mut c_void, CurrentThread>(symbol) })
        })
    })
}

/// Whether this thread holds the GIL; `false` if that cannot be known.
fn holds_gil() -> bool {
    let Some(current_thread) = current_thread() else { return false };
    // SAFETY: may be called with or without the GIL while an interpreter exists: it is not ending.
    let current = unsafe { current_thread() };
    // SAFETY: as above.
    !current.is_null() && current == unsafe { ffi::PyGILState_GetThisThreadState() }
}

/// Has the main thread apply the parked references soon.
fn schedule() {
    if !SCHEDULED.swap(true, Ordering::AcqRel) {
        // SAFETY: Py_AddPendingCall may be called from any thread, with or without the GIL, while an interpreter exists; `flush` is a
        // callback that ignores its argument.
        let refused = unsafe { ffi::Py_AddPendingCall(Some(flush), std::ptr::null_mut()) } != 0;
        if refused {
            SCHEDULED.store(false, Ordering::Release); // the queue is full: the next drop tries again
        }
    }
}

extern "C" fn flush(_: *mut c_void) -> c_int {
    SCHEDULED.store(false, Ordering::Release);
    Python::attach(|_| ()); // attaching applies the parked reference counts
    0
}
