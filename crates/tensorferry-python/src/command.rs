//! The `tensorferry` command in a Python process.

use crate::runtime::attach::{attached, call};
use crate::runtime::unwinding::guard;
use pyo3::prelude::*;
use std::ffi::OsString;
use tensorferry_cli::Host;

/// The facts of this process, from a Python function.
struct Interpreter(Py<PyAny>);

impl Host for Interpreter {
    fn facts(&self, seconds: u64) -> Result<String, String> {
        attached(|py| call(self.0.bind(py), (seconds,))?.extract())
            .map_err(|error| error.to_string())
    }
}

/// Does what the arguments say, the first of which is the command's name, and returns the exit
/// status. `facts(seconds)` returns what `doctor` says about Python, as JSON.
#[pyfunction]
pub(crate) fn run_command(py: Python<'_>, arguments: Vec<OsString>, facts: Py<PyAny>) -> u8 {
    guard();
    let host = Interpreter(facts);
    py.detach(|| tensorferry_cli::run_in(Some(&host), arguments))
}
