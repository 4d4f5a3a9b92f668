//! Interpreter exit: whether it has begun, and which threads are inside Python when it does.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};

/// The thread that ends the interpreter, once it does.
static ENDED_BY: OnceLock<ThreadId> = OnceLock::new();
/// How many threads this library has taken into Python.
static INSIDE: AtomicUsize = AtomicUsize::new(0);

/// Whether interpreter exit has begun.
pub(crate) fn is_exiting() -> bool {
    ENDED_BY.get().is_some()
}

/// Marks the calling thread as the one that ends the interpreter; `false` if exit has begun before.
pub(super) fn begin() -> bool {
    ENDED_BY.set(thread::current().id()).is_ok()
}

/// Whether any thread is still inside Python.
pub(super) fn is_any_inside() -> bool {
    INSIDE.load(Ordering::SeqCst) > 0
}

/// Counts a thread that is inside Python.
pub(super) struct Inside;

impl Inside {
    /// `None` if another thread is ending the interpreter.
    pub(super) fn enter() -> Option<Self> {
        // Sequentially consistent, as is `begin`: either exit sees this thread, or this thread
        // sees the exit.
        INSIDE.fetch_add(1, Ordering::SeqCst);
        let inside = Self;
        ENDED_BY.get().is_none_or(|by| *by == thread::current().id()).then_some(inside)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    }
}
