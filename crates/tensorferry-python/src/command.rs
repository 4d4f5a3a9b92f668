//! The `tensorferry` command in a Python process.

use crate::runtime::unwinding::guard;
use pyo3::prelude::*;
use std::ffi::OsString;

/// Does what the arguments say, the first of which is the command's name, and returns the exit
/// status.
#[pyfunction]
pub(crate) fn run_command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    guard();
    py.detach(|| tensorferry_cli::run(arguments))
}
