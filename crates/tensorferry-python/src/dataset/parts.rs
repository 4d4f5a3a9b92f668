//! Parts of datasets: elements by index, selections, splits, samples and batched filters.

use super::callee::Callee;
use super::functions::{Name, named};
use super::packer::Packer;
use super::plan::Plan;
use super::value;
use crate::errors::{OrRaise, raise};
use crate::files::save::array_of;
use crate::runtime::interrupt;
use crate::runtime::unwinding::guard;
use crate::runtime::wait::interruptible;
use pyo3::prelude::*;
use tensorferry::dataset::{Dataset, DrawOptions, Element, Epoch, FilterOptions};
use tensorferry::{DType, Kind};

/// The element at an index, of the epoch that was set or else the first.
#[pyfunction]
pub(crate) fn get<'py>(
    plan: &Bound<'py, Plan>,
    index: u64,
    packer: &Bound<'py, Packer>,
) -> PyResult<Bound<'py, PyAny>> {
    guard();
    read(plan, packer, |dataset, epoch| dataset.get_in(index, epoch))
}

/// As `get`, of several indices, stacked.
#[pyfunction]
pub(crate) fn get_batch<'py>(
    plan: &Bound<'py, Plan>,
    indices: Vec<u64>,
    packer: &Bound<'py, Packer>,
) -> PyResult<Bound<'py, PyAny>> {
    guard();
    read(plan, packer, |dataset, epoch| dataset.get_batch(&indices, epoch))
}

fn read<'py>(
    plan: &Bound<'py, Plan>,
    packer: &Bound<'py, Packer>,
    get: impl FnOnce(&Dataset, Epoch) -> tensorferry::Result<Element> + Send,
) -> PyResult<Bound<'py, PyAny>> {
    let py = plan.py();
    let opened = packer.get().open(py)?;
    let (dataset, epoch) = (plan.get().dataset(), plan.get().set_epoch_or_first());
    let (element, interrupted) = interrupt::run(py, || get(&dataset, epoch));
    interrupted?;
    packer.get().pack_as(py, &opened, element.or_raise(py)?)
}

/// The elements at the indices of an array, or at the true values of a mask.
#[pyfunction]
pub(crate) fn select(
    py: Python<'_>,
    plan: &Bound<'_, Plan>,
    indices: (Bound<'_, PyAny>, bool),
) -> PyResult<Plan> {
    guard();
    let array = array_of(py, &indices.0, indices.1)?;
    if !(array.dtype().is_integer() || array.dtype() == DType::Bool) {
        let message =
            format!("select: indices have to be integers or bools, not {}", array.dtype());
        return Err(raise(py, "wrong_type", message));
    }
    let dataset = plan.get().dataset();
    let select = || interruptible(py, |cancel| dataset.select(&array.cancelled_by(cancel)));
    // A thread for the work takes longer than a few indices.
    let picked = if array.len() < SHORT { dataset.select(&array) } else { select()? };
    Ok(picked.or_raise(py)?.into())
}

/// Indices that are read without checks for signals.
const SHORT: usize = 1 << 16;

/// Elements at equal distances.
#[pyfunction]
pub(crate) fn stride(
    py: Python<'_>,
    plan: &Bound<'_, Plan>,
    start: u64,
    step: i64,
    len: u64,
) -> PyResult<Plan> {
    guard();
    Ok(plan.get().dataset().stride(start, step, len).or_raise(py)?.into())
}

/// Part `at` of a dataset divided into parts of these sizes.
#[pyfunction]
pub(crate) fn split(
    py: Python<'_>,
    plan: &Bound<'_, Plan>,
    sizes: Vec<u64>,
    seed: Option<u64>,
    at: usize,
) -> PyResult<Plan> {
    guard();
    let parts = plan.get().dataset().split(&sizes, seed).or_raise(py)?;
    match parts.into_iter().nth(at) {
        Some(part) => Ok(part.into()),
        None => Err(raise(py, "argument", format!("split: there is no part {at}"))),
    }
}

/// Elements drawn at random, with replacement.
#[pyfunction]
pub(crate) fn draw(
    py: Python<'_>,
    plan: &Bound<'_, Plan>,
    num_samples: Option<u64>,
    weights: Option<Bound<'_, PyAny>>,
    seed: Option<u64>,
    rerandomize: bool,
) -> PyResult<Plan> {
    guard();
    let weights = weights.map(|weights| floats(py, &weights)).transpose()?;
    let options =
        DrawOptions { num_samples, weights, seed, rerandomize_each_iteration: rerandomize };
    let dataset = plan.get().dataset();
    Ok(py.detach(|| dataset.draw(options)).or_raise(py)?.into())
}

fn floats(py: Python<'_>, weights: &Bound<'_, PyAny>) -> PyResult<Vec<f64>> {
    let tensor = value::tensor(weights, None)?;
    if tensor.shape().len() != 1 || tensor.dtype().kind() == Kind::Complex {
        let message = format!(
            "sample: weights have to be one dimension of numbers, not {} of shape {:?}",
            tensor.dtype(),
            tensor.shape()
        );
        return Err(raise(py, "wrong_type", message));
    }
    // The nearest double of an integer is as good a weight.
    let (wide, nearest) = (DType::Float64, tensorferry::Casting::Saturate);
    let wide = tensorferry::convert(&tensor.as_view(), wide, nearest).or_raise(py)?;
    Ok(wide.view::<f64>().or_raise(py)?.iter().collect())
}

/// The elements for which a function of whole batches returns true.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "one Python call")]
pub(crate) fn filter_batched(
    py: Python<'_>,
    plan: &Bound<'_, Plan>,
    name: Name,
    function: Py<PyAny>,
    packer: Py<Packer>,
    components: Option<Vec<usize>>,
    batch_size: usize,
    strings: Vec<usize>,
) -> PyResult<Plan> {
    guard();
    let callee = Callee::new(function, vec![packer]);
    let captured = callee.captured();
    let call = move |batch| callee.call(batch, |kept| bools(&kept));
    let predicate = named(name, call).capturing(captured);
    let options = FilterOptions { components, batch_size, strings };
    Ok(plan.get().dataset().filter_batched(predicate, options).or_raise(py)?.into())
}

/// The predicate of some components, for elements one by one.
#[pyfunction]
pub(crate) fn filter_components(
    plan: &Bound<'_, Plan>,
    name: Name,
    function: Py<PyAny>,
    packer: Py<Packer>,
    components: Vec<usize>,
) -> Plan {
    guard();
    let callee = Callee::new(function, vec![packer]);
    let captured = callee.captured();
    let call = move |element: Element| {
        let asked = components.iter().filter_map(|&at| element.get(at).cloned()).collect();
        callee.call(asked, |kept| value::truth(&kept, "filter"))
    };
    plan.get().dataset().filter(named(name, call).capturing(captured)).into()
}

/// A predicate's answers.
fn bools(kept: &Bound<'_, PyAny>) -> PyResult<Vec<bool>> {
    let py = kept.py();
    let tensor = value::tensor(kept, None)?;
    if tensor.dtype() != DType::Bool || tensor.shape().len() != 1 {
        let message = format!(
            "filter: with batched=True, the predicate has to return one bool for each element, not \
            {} of shape {:?}. Compare, and reduce other dimensions with all() or any().",
            tensor.dtype(),
            tensor.shape()
        );
        return Err(raise(py, "argument", message));
    }
    Ok(tensor.view::<bool>().or_raise(py)?.iter().collect())
}
