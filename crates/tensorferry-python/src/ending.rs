//! Python code that runs while the interpreter may end.
//!
//! When the interpreter exits, threads of the library that are inside Python are waited for a
//! moment, and none enters it any more. One that is still in a Python function then is held where
//! it is: see [`crate::unwinding`].

use crate::gil::Gil;
use crate::logging;
use crate::release::release_parked;
use crate::unwinding::guard;
use pyo3::BoundObject;
use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// The thread that ends the interpreter, once it does.
static ENDED_BY: OnceLock<ThreadId> = OnceLock::new();
/// How many threads are inside Python, called by us.
static INSIDE: AtomicUsize = AtomicUsize::new(0);

/// How long the exit waits for functions of the user's to return.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether the interpreter is ending, or has.
pub(crate) fn is_ending() -> bool {
    ENDED_BY.get().is_some()
}

/// Counts a thread that is inside Python.
struct Inside;

impl Inside {
    /// `None` if the interpreter is being ended by another thread.
    fn enter() -> Option<Self> {
        // In one order with what `interpreter_exits` does: it sees this thread, or this thread sees
        // it.
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

/// Runs Python code for a thread that does not hold the GIL. While the interpreter ends there is an
/// exception instead, which ends a thread of Python's without a word.
pub(crate) fn attached<T>(run: impl FnOnce(Python<'_>) -> PyResult<T>) -> PyResult<T> {
    let inside = Inside::enter();
    let ran = inside.as_ref().and_then(|_| {
        guard();
        let _gil = Gil::hold();
        #[expect(
            clippy::disallowed_methods,
            reason = "it is guarded, and the interpreter is not ending"
        )]
        Python::try_attach(|py| {
            release_parked(py);
            run(py)
        })
    });
    ran.unwrap_or_else(|| Err(PySystemExit::new_err("the interpreter is ending")))
}

/// Runs Python code in a thread that holds the GIL already, where nothing that was passed on says
/// so.
pub(crate) fn here<T>(run: impl FnOnce(Python<'_>) -> T) -> T {
    guard();
    #[expect(clippy::disallowed_methods, reason = "it is guarded")]
    Python::attach(run)
}

/// Calls a function that may take its time: one of the user's, or of a framework.
pub(crate) fn call<'py, A>(
    function: &Bound<'py, PyAny>,
    arguments: A,
) -> PyResult<Bound<'py, PyAny>>
where
    A: IntoPyObject<'py, Target = PyTuple>,
{
    guard();
    function.call1(arguments.into_pyobject(function.py()).map_err(Into::into)?.into_bound())
}

/// Called by `atexit`.
#[pyfunction]
pub(crate) fn interpreter_exits(py: Python<'_>) -> PyResult<()> {
    guard();
    if ENDED_BY.set(thread::current().id()).is_err() {
        return Ok(());
    }
    let began = Instant::now();
    py.detach(|| {
        while INSIDE.load(Ordering::SeqCst) > 0 && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
    });
    logging::hand_on(py)
}
