//! What of Python's a tensor or a dataset keeps alive, released from any thread; and who holds the
//! GIL.
//!
//! TensorFlow may drop a tensor on a thread that does not hold the GIL, or after the interpreter is
//! gone. With the GIL what it kept is released at once. Without it, it is parked until this module
//! is next entered, and a pending call makes the main thread enter it soon: waiting for the GIL
//! here could deadlock with a thread that holds it and waits for TensorFlow. Once the interpreter
//! exits, what is kept is abandoned: the process is about to end, and touching Python then would
//! crash.
//!
//! # Rationale
//! PyO3 parks references itself, but goes by its own count of who entered Python through it. A
//! thread that did so may have lost the GIL since: a function of the user's, or the garbage
//! collector, drops a tensor of TensorFlow's, and that gives the GIL up first.

use crate::ending::{here, is_ending};
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::thread;

/// What was given up without the GIL.
static PARKED: Mutex<Vec<Box<dyn Send>>> = Mutex::new(Vec::new());
/// Whether the main thread was asked to release it.
static SCHEDULED: AtomicBool = AtomicBool::new(false);

/// How often to try for a lock: many times longer than any thread holds it.
const TRIES: usize = 100_000;

/// Keeps something of Python's alive; may be dropped on any thread.
pub(crate) struct Keep<T: Send + 'static = Py<PyAny>>(Option<T>);

impl<T: Send> Keep<T> {
    pub(crate) fn new(kept: T) -> Self {
        Self(Some(kept))
    }

    /// What is kept.
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T: Send> Drop for Keep<T> {
    fn drop(&mut self) {
        let Some(kept) = self.0.take() else { return };
        if is_ending() {
            mem::forget(kept);
        } else if holds_gil() {
            here(|py| {
                drop(kept);
                release_parked(py);
            });
        } else {
            match held(&PARKED) {
                Some(mut parked) => parked.push(Box::new(kept)),
                None => mem::forget(kept),
            }
            schedule();
        }
    }
}

/// Releases what was given up without the GIL.
pub(crate) fn release_parked(_: Python<'_>) {
    if SCHEDULED.swap(false, Ordering::AcqRel) {
        let parked = held(&PARKED).map(|mut parked| mem::take(&mut *parked));
        drop(parked); // may run any code of Python's, and come back here
    }
}

/// Takes a lock that is held for a moment at a time; `None` if it never comes free: in a process
/// that was forked while another thread held it.
pub(crate) fn held<T>(lock: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    for _ in 0..TRIES {
        match lock.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(guard)) => return Some(guard.into_inner()),
            Err(TryLockError::WouldBlock) => thread::yield_now(),
        }
    }
    None
}

/// `PyThreadState_GetUnchecked`: this thread's state if it holds the GIL, else null (in Python
/// 3.11: the state of whichever thread holds it). Not part of the stable ABI, so looked up by name:
/// public since Python 3.13, underscored before.
type CurrentThread = unsafe extern "C" fn() -> *mut ffi::PyThreadState;

fn current_thread() -> Option<CurrentThread> {
    static FOUND: OnceLock<Option<CurrentThread>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        [c"PyThreadState_GetUnchecked", c"_PyThreadState_UncheckedGet"].into_iter().find_map(
            |name| {
                // SAFETY: the name is a C string, and RTLD_DEFAULT searches what the process has
                // loaded.
                let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
                // SAFETY: CPython's functions of these names take nothing and return a thread
                // state.
                (!symbol.is_null())
                    .then(|| unsafe { mem::transmute::<*mut c_void, CurrentThread>(symbol) })
            },
        )
    })
}

/// Whether this thread holds the GIL; `false` if that cannot be known.
pub(crate) fn holds_gil() -> bool {
    let Some(current_thread) = current_thread() else { return false };
    // SAFETY: may be called with or without the GIL while an interpreter exists: it is not ending.
    let current = unsafe { current_thread() };
    // SAFETY: as above.
    !current.is_null() && current == unsafe { ffi::PyGILState_GetThisThreadState() }
}

/// Has the main thread release what is parked soon.
fn schedule() {
    if !SCHEDULED.swap(true, Ordering::AcqRel) {
        // SAFETY: Py_AddPendingCall may be called from any thread, with or without the GIL, while
        // an interpreter exists; `flush` is a callback that ignores its argument. If the queue is
        // full, whoever has the GIL next and comes to `release_parked` does it.
        unsafe { ffi::Py_AddPendingCall(Some(flush), std::ptr::null_mut()) };
    }
}

extern "C" fn flush(_: *mut c_void) -> c_int {
    here(release_parked);
    0
}
