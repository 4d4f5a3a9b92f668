//! The `tensorferry` command in a Python process.

use crate::runtime::attach::{attached, call};
use crate::runtime::exception::exception;
use crate::runtime::interrupt;
use crate::runtime::unwinding::guard;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList};
use std::ffi::OsString;
use tensorferry::dataset::CancelToken;
use tensorferry_cli::{Elsewhere, Host, ShardState};

/// What this process knows and does, by Python functions.
struct Interpreter {
    /// Returns the facts of `doctor`.
    facts: Py<PyAny>,
    /// Returns an iterator over what becomes of the shards that a cluster writes.
    shards: Py<PyAny>,
}

impl Host for Interpreter {
    fn facts(&self, seconds: u64) -> Result<String, String> {
        attached(|py| call(self.facts.bind(py), (seconds,))?.extract())
            .map_err(|error| error.to_string())
    }

    fn write_shards(
        &self,
        shards: &[usize],
        next: &mut (dyn FnMut(Option<ShardState>) -> bool + Send),
    ) -> Result<(), Elsewhere> {
        let begun = attached(|py| {
            let shards = PyList::new(py, shards)?;
            Ok(call(self.shards.bind(py), (shards,))?.unbind())
        });
        let finished = begun.map_err(elsewhere)?;
        loop {
            // Each item is the number of a shard and whether it is finished, or None.
            let item = attached(|py| {
                let mut finished = finished.bind(py).cast::<PyIterator>()?.clone();
                finished.next().transpose()?.map(|item| item.extract()).transpose()
            });
            let Some(shard): Option<Option<(usize, bool)>> = item.map_err(elsewhere)? else {
                return Ok(());
            };
            let state = |(at, finished)| match finished {
                true => ShardState::Finished(at),
                false => ShardState::Begun(at),
            };
            if !next(shard.map(state)) {
                return attached(|py| finished.bind(py).call_method0("close").map(drop))
                    .map_err(elsewhere);
            }
        }
    }
}

/// An exception as an error of another process, which it has as attributes if it was one.
fn elsewhere(error: PyErr) -> Elsewhere {
    let read = attached(|py| {
        let value = exception(py, error);
        let code = value.getattr("code").and_then(|code| code.extract());
        let exit_status = value.getattr("exit_status").and_then(|status| status.extract());
        Ok(Elsewhere {
            code: code.unwrap_or_else(|_| "io".to_owned()),
            message: value.str()?.to_string(),
            exit_status: exit_status.unwrap_or(3),
            errno: value.getattr("errno").and_then(|errno| errno.extract()).unwrap_or(None),
        })
    });
    read.unwrap_or_else(|error| Elsewhere {
        code: "io".to_owned(),
        message: error.to_string(),
        exit_status: 3,
        errno: None,
    })
}

/// Does what the arguments say, the first of which is the command's name, and returns the exit
/// status. `facts(seconds)` returns what `doctor` says about Python, as JSON. `shards(numbers)` is
/// a generator that has a cluster write shards: it yields `(number, False)` before and
/// `(number, True)` after each, and None now and then.
#[pyfunction]
pub(crate) fn run_command(
    py: Python<'_>,
    arguments: Vec<OsString>,
    facts: Py<PyAny>,
    shards: Py<PyAny>,
) -> u8 {
    guard();
    let host = Interpreter { facts, shards };
    py.detach(|| tensorferry_cli::run_in(Some(&host), arguments))
}

/// As `run_command`, inside a program: without handlers of signals. Returns the exit status and the
/// output.
#[pyfunction]
pub(crate) fn run_inside(
    py: Python<'_>,
    arguments: Vec<OsString>,
    shards: Py<PyAny>,
) -> PyResult<(u8, String)> {
    guard();
    let host = Interpreter { facts: py.None(), shards };
    let cancel = CancelToken::default();
    let run = || tensorferry_cli::run_inside(Some(&host), arguments, &cancel);
    let ((status, output), raised) = interrupt::run(py, run);
    raised?;
    Ok((status, String::from_utf8_lossy(&output).into_owned()))
}
