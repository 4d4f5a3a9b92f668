//! Datasets over what the user has in memory.

use super::plan::Plan;
use crate::errors::OrRaise;
use crate::source::Source;
use pyo3::prelude::*;
use tensorferry::dataset::{self, Dataset};

/// A source of a dataset: its memory is shared; what may change is copied element by element. `immutable` says that nothing can change
/// it, although it may not look so.
fn source(py: Python<'_>, value: &Bound<'_, PyAny>, immutable: bool) -> PyResult<dataset::Source> {
    let (tensor, frozen) = Source::of_ours(value)?.shared().or_raise(py)?;
    Ok(dataset::Source { tensor, frozen: frozen || immutable })
}

/// The rows of arrays, each with whether nothing can change it.
#[pyfunction]
pub(crate) fn from_tensor_slices(py: Python<'_>, arrays: Vec<(Bound<'_, PyAny>, bool)>) -> PyResult<Plan> {
    let sources = arrays.iter().map(|(array, immutable)| source(py, array, *immutable)).collect::<PyResult<Vec<_>>>()?;
    Ok(Dataset::from_tensor_slices(sources).or_raise(py)?.into())
}
