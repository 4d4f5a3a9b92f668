//! Datasets over arrays and other sources.

use super::plan::Plan;
use crate::errors::{OrRaise, in_component};
use crate::files::array::PyArray;
use crate::files::save::array_of;
use crate::interop::dtype;
use crate::interop::nested::Input;
use crate::runtime::unwinding::guard;
use pyo3::prelude::*;
use std::sync::Arc;
use tensorferry::DType;
use tensorferry::dataset::{self, Dataset, SampleOptions};

/// A source of a dataset. Memory that cannot change is shared; other memory is copied element by
/// element. `immutable` promises that it does not change.
pub(super) fn source(
    py: Python<'_>,
    value: &Bound<'_, PyAny>,
    immutable: bool,
) -> PyResult<dataset::Source> {
    let (tensor, frozen) = Input::source(value)?.shared().or_raise(py)?;
    Ok(dataset::Source { tensor, frozen: frozen || immutable })
}

/// The sources of a dataset, and their names for errors.
fn sources(
    py: Python<'_>,
    arrays: &[(Bound<'_, PyAny>, bool)],
    stage: &str,
    names: &[Arc<str>],
) -> PyResult<Vec<dataset::Source>> {
    let one = |(at, (array, immutable)): (usize, &(Bound<'_, PyAny>, bool))| {
        source(py, array, *immutable).map_err(|raised| in_component(py, raised, stage, at, names))
    };
    arrays.iter().enumerate().map(one).collect()
}

/// Whether an array is an opened one that is not in memory.
pub(super) fn is_in_files(array: &Bound<'_, PyAny>) -> bool {
    array.cast::<PyArray>().is_ok_and(|array| array.get().inner.tensor().is_err())
}

/// The rows of arrays; the bools promise that an array does not change.
#[pyfunction]
pub(crate) fn from_tensor_slices(
    py: Python<'_>,
    arrays: Vec<(Bound<'_, PyAny>, bool)>,
    names: Vec<String>,
) -> PyResult<Plan> {
    guard();
    let names: Vec<Arc<str>> = names.into_iter().map(Arc::from).collect();
    let named =
        |made: tensorferry::Result<Dataset>| made.map_err(|error| error.named(&names)).or_raise(py);
    if arrays.iter().any(|(array, _)| array.is_instance_of::<PyArray>()) {
        let arrays = arrays
            .iter()
            .map(|(array, immutable)| array_of(py, array, *immutable))
            .collect::<PyResult<Vec<_>>>()?;
        return Ok(named(Dataset::from_rows(arrays))?.into());
    }
    Ok(named(Dataset::from_tensor_slices(sources(py, &arrays, "from_tensor_slices: ", &names)?))?
        .into())
}

/// One element: the arrays as they are.
#[pyfunction]
pub(crate) fn from_tensors(
    py: Python<'_>,
    arrays: Vec<(Bound<'_, PyAny>, bool)>,
    names: Vec<String>,
) -> PyResult<Plan> {
    guard();
    if arrays.iter().any(|(array, _)| is_in_files(array)) {
        let arrays = arrays
            .iter()
            .map(|(array, immutable)| array_of(py, array, *immutable))
            .collect::<PyResult<Vec<_>>>()?;
        return Ok(Dataset::from_whole_arrays(arrays).into());
    }
    let names: Vec<Arc<str>> = names.into_iter().map(Arc::from).collect();
    Ok(Dataset::from_tensors(sources(py, &arrays, "from_tensors: ", &names)?).into())
}

/// The numbers from `start` to `stop`.
#[pyfunction]
pub(crate) fn range(
    py: Python<'_>,
    start: i64,
    stop: i64,
    step: i64,
    dtype: &Bound<'_, PyAny>,
) -> PyResult<Plan> {
    guard();
    let dtype = dtype::parse_ours(Some(dtype))?.unwrap_or(DType::Int64);
    Ok(Dataset::range(start, stop, step, dtype).or_raise(py)?.into())
}

/// Random numbers.
#[pyfunction]
pub(crate) fn random(seed: Option<u64>, rerandomize: bool) -> Plan {
    guard();
    Dataset::random(seed, rerandomize).into()
}

/// Elements of several datasets together.
#[pyfunction]
pub(crate) fn zip(py: Python<'_>, plans: Vec<Py<Plan>>) -> PyResult<Plan> {
    guard();
    let datasets = plans.iter().map(|plan| plan.get().dataset()).collect();
    Ok(Dataset::zip(datasets).or_raise(py)?.into())
}

/// Elements of datasets drawn at random.
#[pyfunction]
pub(crate) fn sample_from_datasets(
    py: Python<'_>,
    plans: Vec<Py<Plan>>,
    weights: Option<Vec<f64>>,
    seed: Option<u64>,
    stop_on_empty: bool,
    rerandomize: bool,
) -> PyResult<Plan> {
    guard();
    let datasets = plans.iter().map(|plan| plan.get().dataset()).collect();
    Ok(Dataset::sample_from_datasets(
        datasets,
        SampleOptions {
            weights,
            seed,
            stop_on_empty_dataset: stop_on_empty,
            rerandomize_each_iteration: rerandomize,
        },
    )
    .or_raise(py)?
    .into())
}

/// Elements of the datasets that another dataset names.
#[pyfunction]
pub(crate) fn choose_from_datasets(
    py: Python<'_>,
    plans: Vec<Py<Plan>>,
    choice: &Bound<'_, Plan>,
    stop_on_empty: bool,
) -> PyResult<Plan> {
    guard();
    let datasets = plans.iter().map(|plan| plan.get().dataset()).collect();
    Ok(Dataset::choose_from_datasets(datasets, choice.get().dataset(), stop_on_empty)
        .or_raise(py)?
        .into())
}
