//! What runs when the interpreter begins to exit.

use super::unwinding::guard;
use super::{exit, logging};
use pyo3::prelude::*;
use std::thread;
use std::time::{Duration, Instant};

/// How long exit waits for Python functions that the library's threads call, and for the removal of
/// what interrupted uploads left in stores.
const PATIENCE: Duration = Duration::from_secs(1);

/// Called by `atexit`.
#[pyfunction]
pub(crate) fn interpreter_exits(py: Python<'_>) -> PyResult<()> {
    guard();
    if !exit::begin() {
        return Ok(());
    }
    let began = Instant::now();
    py.detach(|| {
        while exit::is_any_inside() && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
        tensorferry::await_cleanup(PATIENCE);
    });
    logging::forward(py)
}
