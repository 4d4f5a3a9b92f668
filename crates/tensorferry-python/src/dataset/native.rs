//! Native per-row stages, which run while rows are gathered.

use super::plan::Plan;
use super::sources::is_in_files;
use crate::errors::OrRaise;
use crate::files::save::array_of;
use crate::interop::dtype;
use crate::interop::nested::Input;
use crate::interop::source::Sharing;
use crate::runtime::interrupt;
use crate::runtime::unwinding::guard;
use pyo3::prelude::*;
use pyo3::types::PyFloat;
use tensorferry::dataset::{CropOptions, Factor, FlipOptions, PadToOptions};
use tensorferry::{Casting, DType};

/// Components converted to dtypes; None leaves a component unchanged.
#[pyfunction]
pub(crate) fn cast(
    py: Python<'_>,
    plan: &Bound<'_, Plan>,
    dtypes: Vec<Option<Bound<'_, PyAny>>>,
    casting: &str,
) -> PyResult<Plan> {
    guard();
    let casting = dtype::parse_casting(py, casting)?;
    let dtypes = dtypes
        .iter()
        .map(|asked| dtype::parse_ours(asked.as_ref()))
        .collect::<PyResult<Vec<_>>>()?;
    Ok(plan.get().dataset().cast(&dtypes, casting).or_raise(py)?.into())
}

/// `x * mul + add` as float32, for the components in `which`.
#[pyfunction]
pub(crate) fn scale(
    py: Python<'_>,
    plan: &Bound<'_, Plan>,
    mul: &Bound<'_, PyAny>,
    add: &Bound<'_, PyAny>,
    which: Option<Vec<bool>>,
) -> PyResult<Plan> {
    guard();
    let (mul, add) = (factor(mul)?, factor(add)?);
    Ok(plan.get().dataset().scale(mul, add, which.as_deref()).or_raise(py)?.into())
}

/// `x * mul + add` as float32, with the factor and the summand of each component; None leaves a
/// component unchanged.
#[pyfunction]
pub(crate) fn scale_each(
    py: Python<'_>,
    plan: &Bound<'_, Plan>,
    factors: Vec<Option<(Bound<'_, PyAny>, Bound<'_, PyAny>)>>,
) -> PyResult<Plan> {
    guard();
    let pair = |pair: &Option<(Bound<'_, PyAny>, Bound<'_, PyAny>)>| match pair {
        Some((mul, add)) => Ok(Some((factor(mul)?, factor(add)?))),
        None => Ok(None),
    };
    let factors = factors.iter().map(pair).collect::<PyResult<Vec<_>>>()?;
    Ok(plan.get().dataset().scale_each(&factors).or_raise(py)?.into())
}

/// A number, or an array of numbers.
fn factor(value: &Bound<'_, PyAny>) -> PyResult<Factor> {
    if let Ok(number) = value.cast::<PyFloat>() {
        return Ok(number.value().into());
    }
    let (py, sharing) = (value.py(), Sharing { copy: None, framework: false });
    let values = Input::source(value)?.to_tensor(py, None, Casting::Checked, sharing)?;
    Factor::array(&values).or_raise(py)
}

/// Integers as one-hot vectors.
#[pyfunction]
pub(crate) fn one_hot(
    py: Python<'_>,
    plan: &Bound<'_, Plan>,
    depth: usize,
    dtype: &Bound<'_, PyAny>,
    which: Option<Vec<bool>>,
) -> PyResult<Plan> {
    guard();
    let dtype = dtype::parse_ours(Some(dtype))?.unwrap_or(DType::Float32);
    Ok(plan.get().dataset().one_hot(depth, dtype, which.as_deref()).or_raise(py)?.into())
}

/// Integers replaced by rows of a table.
#[pyfunction]
pub(crate) fn lookup(
    py: Python<'_>,
    plan: &Bound<'_, Plan>,
    table: &Bound<'_, PyAny>,
    which: Option<Vec<bool>>,
) -> PyResult<Plan> {
    guard();
    if is_in_files(table) {
        let table = array_of(py, table, true)?;
        let input = plan.get().inner.clone();
        let (made, interrupted) =
            interrupt::run(py, || input.lookup_rows(&table, which.as_deref()));
        interrupted?;
        return Ok(made.or_raise(py)?.into());
    }
    let sharing = Sharing { copy: None, framework: false };
    let table = Input::source(table)?.to_tensor(py, None, Casting::Checked, sharing)?;
    Ok(plan.get().dataset().lookup(table, which.as_deref()).or_raise(py)?.into())
}

/// A random crop of each element; None keeps a dimension whole.
#[pyfunction]
pub(crate) fn random_crop(
    py: Python<'_>,
    plan: &Bound<'_, Plan>,
    size: Vec<Option<usize>>,
    seed: Option<u64>,
    which: Option<Vec<bool>>,
) -> PyResult<Plan> {
    guard();
    Ok(plan
        .get()
        .dataset()
        .random_crop(&size, CropOptions { seed, which: which.as_deref() })
        .or_raise(py)?
        .into())
}

/// Elements reversed along axes, each with a probability.
#[pyfunction]
pub(crate) fn flip(
    py: Python<'_>,
    plan: &Bound<'_, Plan>,
    axes: Vec<i64>,
    probability: f64,
    seed: Option<u64>,
    which: Option<Vec<bool>>,
) -> PyResult<Plan> {
    guard();
    Ok(plan
        .get()
        .dataset()
        .flip(&axes, FlipOptions { probability, seed, which: which.as_deref() })
        .or_raise(py)?
        .into())
}

/// Elements padded to a shape; None leaves a dimension unchanged.
#[pyfunction]
pub(crate) fn pad_to(
    py: Python<'_>,
    plan: &Bound<'_, Plan>,
    shape: Vec<Option<usize>>,
    value: &Bound<'_, PyAny>,
    which: Option<Vec<bool>>,
) -> PyResult<Plan> {
    guard();
    let sharing = Sharing { copy: None, framework: false };
    let value = Input::read(value)?.to_exact(py, sharing)?;
    Ok(plan
        .get()
        .dataset()
        .pad_to(&shape, PadToOptions { value: Some(value), which: which.as_deref() })
        .or_raise(py)?
        .into())
}
