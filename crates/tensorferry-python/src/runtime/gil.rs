//! The GIL, for threads of the library and of TensorFlow that do not hold it.
//!
//! # Rationale
//! `PyGILState_Ensure` creates a thread state for a thread without one, under a lock of the
//! interpreter and without the GIL. If another thread forks meanwhile, Python 3.11 takes that lock
//! in the child, which deadlocks. So thread states are created here, and a fork waits until none is
//! being created. They are destroyed with the GIL, which a forking thread holds.

use super::unwinding::guard;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::c_void;
use std::mem;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

static INTERPRETER: AtomicPtr<ffi::PyInterpreterState> = AtomicPtr::new(null_mut());
/// A thread state is being created, or the process is forking.
static BUSY: AtomicBool = AtomicBool::new(false);

/// Stores the interpreter, and makes forks wait.
pub(crate) fn start(_: Python<'_>) {
    // SAFETY: this thread holds the GIL, so there is an interpreter.
    let interpreter = unsafe { ffi::PyInterpreterState_Get() };
    #[cfg(unix)]
    {
        extern "C" fn before() {
            lock();
        }
        extern "C" fn after() {
            unlock();
        }
        // SAFETY: the handlers only use an atomic flag, and live as long as the process.
        if unsafe { libc::pthread_atfork(Some(before), Some(after), Some(after)) } != 0 {
            return; // forks do not wait
        }
    }
    INTERPRETER.store(interpreter, Ordering::Release);
}

/// Spins briefly: the holder needs nothing that a forking thread may hold.
fn lock() {
    while BUSY.swap(true, Ordering::Acquire) {
        std::thread::yield_now();
    }
}

fn unlock() {
    BUSY.store(false, Ordering::Release);
}

/// The GIL, held; unlike PyO3, acquires it also for a thread that lost it inside PyO3's scope.
pub(crate) struct Gil(Option<ffi::PyGILState_STATE>);

impl Gil {
    pub(crate) fn hold() -> Self {
        // SAFETY: may be called at any time.
        let exists = unsafe { ffi::Py_IsInitialized() } != 0;
        if !exists || holds_gil() {
            return Self(None);
        }
        let made = make_state();
        // SAFETY: there is an interpreter. `drop` undoes the call, in the same thread: the state
        // that it returns is not `Send`.
        let state = unsafe { ffi::PyGILState_Ensure() };
        if made {
            // SAFETY: this thread holds the GIL, and keeps it. A new state counts one call already:
            // taken off, it ends with the call above.
            unsafe { ffi::PyGILState_Release(ffi::PyGILState_STATE::PyGILState_LOCKED) };
        }
        Self(Some(state))
    }
}

/// Creates a thread state, if this thread has none.
fn make_state() -> bool {
    // SAFETY: there is an interpreter.
    let has_one = unsafe { !ffi::PyGILState_GetThisThreadState().is_null() };
    let interpreter = INTERPRETER.load(Ordering::Acquire);
    if has_one || interpreter.is_null() {
        return false;
    }
    lock();
    // SAFETY: the interpreter is that of the process, and the call needs no GIL.
    let made = unsafe { !ffi::PyThreadState_New(interpreter).is_null() };
    unlock();
    made
}

impl Drop for Gil {
    fn drop(&mut self) {
        if let Some(state) = self.0.take() {
            // SAFETY: what `PyGILState_Ensure` returned to this thread, given back once.
            unsafe { ffi::PyGILState_Release(state) };
        }
    }
}

/// Runs Python code in a thread that holds the GIL but has no `Python` token.
pub(crate) fn holding<T>(run: impl FnOnce(Python<'_>) -> T) -> T {
    guard();
    #[expect(clippy::disallowed_methods, reason = "the thread is guarded")]
    Python::attach(run)
}

/// `PyThreadState_GetUnchecked`: this thread's state if it holds the GIL, else null. In Python 3.11
/// it is the state of the thread that holds the GIL. It is not part of the stable ABI, so it is
/// looked up by name: public since Python 3.13, underscored before.
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

/// Whether this thread holds the GIL; `false` if that is unknown.
pub(crate) fn holds_gil() -> bool {
    let Some(current_thread) = current_thread() else { return false };
    // SAFETY: may be called with or without the GIL while an interpreter exists: it is not ending.
    let current = unsafe { current_thread() };
    // SAFETY: as above.
    !current.is_null() && current == unsafe { ffi::PyGILState_GetThisThreadState() }
}
