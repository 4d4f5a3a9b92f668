//! Calls into Python, also while the interpreter exits.
//!
//! At interpreter exit, `atexit` waits briefly for threads of the library that are inside Python,
//! and no further thread enters. A thread that is still in a Python function then is held where it
//! is: see [`super::unwinding`].

use super::deferred_drop::drop_deferred;
use super::exit::Inside;
use super::gil::Gil;
use super::unwinding::guard;
use pyo3::BoundObject;
use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// Runs Python code in a thread that does not hold the GIL. During interpreter exit it returns a
/// `SystemExit`, which ends a Python thread without a message.
pub(crate) fn attached<T>(run: impl FnOnce(Python<'_>) -> PyResult<T>) -> PyResult<T> {
    let inside = Inside::enter();
    let ran = inside.as_ref().and_then(|_| {
        guard();
        let _gil = Gil::hold();
        #[expect(
            clippy::disallowed_methods,
            reason = "the thread is guarded, and the interpreter is not exiting"
        )]
        Python::try_attach(|py| {
            drop_deferred(py);
            run(py)
        })
    });
    ran.unwrap_or_else(|| Err(is_exiting()))
}

/// Ends a Python thread without a message.
pub(crate) fn is_exiting() -> PyErr {
    PySystemExit::new_err("the interpreter is exiting")
}

/// Calls a function that may take long: a user's, or a framework's.
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

/// The keyword arguments `name=value` of one call.
pub(crate) fn keywords<'py>(
    py: Python<'py>,
    name: &str,
    value: impl IntoPyObject<'py>,
) -> PyResult<Bound<'py, PyDict>> {
    let keywords = PyDict::new(py);
    keywords.set_item(name, value)?;
    Ok(keywords)
}
