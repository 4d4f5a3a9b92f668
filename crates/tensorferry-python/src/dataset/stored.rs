//! Saved datasets.

use super::plan::Plan;
use crate::errors::OrRaise;
use crate::files::path::fs_path;
use crate::runtime::unwinding::guard;
use pyo3::prelude::*;
use std::time::Duration;
use tensorferry::dataset::{Dataset, Options};

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
) -> PyResult<()> {
    guard();
    let (py, path, plan) = (plan.py(), fs_path(path)?, plan.get());
    let options = Options { threads, memory_limit, read_ahead };
    let begin = || plan.dataset().writer(&path, Some(structure), || plan.next_epoch(), &options);
    let mut saving = py.detach(begin).or_raise(py)?;
    while py.detach(|| saving.step(STEP)).or_raise(py)? {
        py.check_signals()?;
    }
    py.detach(|| saving.finish()).or_raise(py)
}

/// The plan over a saved dataset, and its structure.
#[pyfunction]
pub(crate) fn load_dataset(
    py: Python<'_>,
    path: &Bound<'_, PyAny>,
) -> PyResult<(Plan, Option<String>)> {
    guard();
    let path = fs_path(path)?;
    let (dataset, structure) = py.detach(|| Dataset::load_nested(&path)).or_raise(py)?;
    Ok((dataset.into(), structure))
}
