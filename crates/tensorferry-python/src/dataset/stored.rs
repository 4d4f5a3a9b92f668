//! Saved datasets, and parts of them that several processes write.

use super::plan::Plan;
use crate::dataset::spec;
use crate::errors::OrRaise;
use crate::files::path::fs_path;
use crate::files::save::{Where, write_options};
use crate::files::storage::{Storage, options};
use crate::runtime::brief_lock::brief_lock;
use crate::runtime::interrupt;
use crate::runtime::unwinding::guard;
use pyo3::prelude::*;
use std::ffi::OsString;
use std::sync::Mutex;
use std::time::Duration;
use tensorferry::Error;
use tensorferry::dataset::{CancelToken, Component, Dataset, DatasetParts, Options};

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

/// A dataset whose parts other processes write.
#[pyclass(frozen, module = "tensorferry._internal")]
pub(crate) struct PartsOfDataset {
    parts: Mutex<Option<DatasetParts>>,
    cancel: CancelToken,
}

#[pymethods]
impl PartsOfDataset {
    #[new]
    fn new(path: &Bound<'_, PyAny>, to: Where, resume: bool) -> PyResult<Self> {
        guard();
        let (py, path, cancel) = (path.py(), fs_path(path)?, CancelToken::default());
        let write = write_options(to, &cancel);
        let begin = if resume { DatasetParts::resume } else { DatasetParts::new };
        let parts = interruptible(py, &cancel, || begin(&path, &write))?;
        Ok(Self { parts: Mutex::new(Some(parts)), cancel })
    }

    /// Where the files of parts are written; None after the dataset was finished or abandoned.
    fn folder(&self) -> Option<OsString> {
        guard();
        let parts = brief_lock(&self.parts)?;
        parts.as_ref().map(|parts| parts.folder().into_os_string())
    }

    /// The name of the file of a component that holds its rows of a part.
    #[staticmethod]
    fn file_name(py: Python<'_>, component: usize, part: &str) -> PyResult<String> {
        guard();
        DatasetParts::file_name(component, part).or_raise(py)
    }

    /// The name of the file that holds where these rows start, if they vary in length.
    #[staticmethod]
    fn splits_name(py: Python<'_>, component: usize, part: &str) -> PyResult<String> {
        guard();
        DatasetParts::splits_name(component, part).or_raise(py)
    }

    /// Makes the dataset appear, of these parts: their names and numbers of rows.
    fn finish(
        &self,
        components: &Bound<'_, PyAny>,
        structure: &str,
        parts: Vec<(String, u64)>,
    ) -> PyResult<()> {
        guard();
        let py = components.py();
        let tensor = |part: Component| match part {
            Component::Tensor(spec) => Some(spec),
            _ => None,
        };
        let specs = spec::from_python(components)?.into_iter().filter_map(tensor).collect();
        let Some(writing) = self.take() else { return Ok(()) };
        interruptible(py, &self.cancel, || writing.finish(specs, Some(structure), parts))
    }

    /// Leaves what was written for a dataset that resumes this one.
    fn keep(&self) {
        guard();
        if let Some(writing) = self.take() {
            writing.keep();
        }
    }

    /// Removes what was written.
    fn abandon(&self, py: Python<'_>) -> PyResult<()> {
        guard();
        let Some(writing) = self.take() else { return Ok(()) };
        interruptible(py, &self.cancel, || writing.abandon())
    }
}

impl PartsOfDataset {
    fn take(&self) -> Option<DatasetParts> {
        brief_lock(&self.parts)?.take()
    }
}
