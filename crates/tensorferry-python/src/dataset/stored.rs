//! Saved datasets.

use super::plan::Plan;
use crate::errors::OrRaise;
use crate::files::path::fs_path;
use crate::files::save::{Where, write_options};
use crate::files::storage::{Storage, options};
use crate::runtime::interrupt;
use crate::runtime::unwinding::guard;
use pyo3::prelude::*;
use std::time::Duration;
use tensorferry::Error;
use tensorferry::dataset::{CancelToken, Dataset, Options};

/// The interval between checks for signals.
const STEP: Duration = Duration::from_millis(20);

/// Saves the elements of the next epoch to a directory. `load_dataset` returns `structure`, which
/// is JSON.
#[pyfunction]
pub(crate) fn save_dataset(
    plan: &Bound<'_, Plan>,
    path: &Bound<'_, PyAny>,
    structure: &str,
    threads: Option<usize>,
    memory_limit: Option<usize>,
    read_ahead: Option<usize>,
    to: Where,
) -> PyResult<()> {
    guard();
    let (py, path, plan) = (plan.py(), fs_path(path)?, plan.get());
    let options = Options { threads, memory_limit, read_ahead };
    let cancel = CancelToken::default();
    let write = write_options(to, &cancel);
    let begin =
        || plan.dataset().writer(&path, Some(structure), || plan.next_epoch(), &options, &write);
    let mut saving = interruptible(py, &cancel, begin)?;
    while interruptible(py, &cancel, || saving.step(STEP))? {}
    interruptible(py, &cancel, || saving.finish())
}

/// Runs a step without the GIL. A signal whose handler raises ends it, and cancels what follows.
fn interruptible<T: Send>(
    py: Python<'_>,
    cancel: &CancelToken,
    step: impl FnOnce() -> Result<T, Error> + Send,
) -> PyResult<T> {
    let (done, raised) = interrupt::run(py, step);
    if raised.is_err() {
        cancel.cancel();
    }
    raised?;
    done.or_raise(py)
}

/// The plan over a saved dataset, and its structure.
#[pyfunction]
pub(crate) fn load_dataset(
    py: Python<'_>,
    path: &Bound<'_, PyAny>,
    storage: Storage,
) -> PyResult<(Plan, Option<String>)> {
    guard();
    let (path, storage) = (fs_path(path)?, options(storage));
    let (dataset, structure) =
        interruptible(py, &CancelToken::default(), || Dataset::load_nested(&path, &storage))?;
    Ok((dataset.into(), structure))
}
