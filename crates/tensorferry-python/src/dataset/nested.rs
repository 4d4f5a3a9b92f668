//! Stages whose Python functions return datasets. Each takes a function that returns a `Plan`, and
//! the components of its elements.

use super::callee::Callee;
use super::functions::{Name, named};
use super::packer::Packer;
use super::plan::Plan;
use super::{spec, value};
use crate::errors::OrRaise;
use crate::runtime::unwinding::guard;
use pyo3::prelude::*;
use tensorferry::Tensor;
use tensorferry::dataset::{Dataset, Element, Function, InterleaveOptions, Value};

/// A function that makes a dataset of an element.
fn maker(name: Name, function: Py<PyAny>, packer: Py<Packer>) -> Function<Element, Dataset> {
    let callee = Callee::new(function, vec![packer]);
    let captured = callee.captured();
    named(name, move |element| callee.call(element, |plan| made(&plan))).capturing(captured)
}

/// The dataset of a plan that a function returned.
fn made(plan: &Bound<'_, PyAny>) -> PyResult<Dataset> {
    Ok(plan.cast::<Plan>()?.get().pinned())
}

/// A placeholder dataset, which a function is called with to find the components of its result.
#[pyfunction]
pub(crate) fn placeholder(spec: &Bound<'_, PyAny>) -> PyResult<Plan> {
    guard();
    Ok(Dataset::placeholder(spec::from_python(spec)?).into())
}

/// The elements of the datasets that a function makes of each element, in order.
#[pyfunction]
pub(crate) fn flat_map(
    plan: &Bound<'_, Plan>,
    name: Name,
    function: Py<PyAny>,
    packer: Py<Packer>,
    spec: &Bound<'_, PyAny>,
) -> PyResult<Plan> {
    guard();
    let spec = spec::from_python(spec)?;
    Ok(plan.get().dataset().flat_map(maker(name, function, packer), spec).into())
}

/// As `flat_map`, taking turns with several datasets.
#[pyfunction]
pub(crate) fn interleave(
    plan: &Bound<'_, Plan>,
    name: Name,
    function: Py<PyAny>,
    packer: Py<Packer>,
    spec: &Bound<'_, PyAny>,
    lengths: (usize, usize),
) -> PyResult<Plan> {
    guard();
    let (spec, (cycle_length, block_length)) = (spec::from_python(spec)?, lengths);
    let made = plan.get().dataset().interleave(
        maker(name, function, packer),
        spec,
        InterleaveOptions { cycle_length, block_length },
    );
    Ok(made.or_raise(plan.py())?.into())
}

/// Groups elements by key; a function makes a dataset of each full group. Functions come with their
/// names; the packers nest an element, a key, and a group, which is a dataset.
#[pyfunction]
pub(crate) fn group_by_window(
    plan: &Bound<'_, Plan>,
    key: (Name, Py<PyAny>),
    reduce: (Name, Py<PyAny>),
    window_size: (Name, Py<PyAny>),
    packers: (Py<Packer>, Py<Packer>, Py<Packer>),
    spec: &Bound<'_, PyAny>,
) -> PyResult<Plan> {
    guard();
    let (spec, (elements, keys, windows)) = (spec::from_python(spec)?, packers);
    let sizes = keys.clone_ref(plan.py());
    let callee = Callee::new(key.1, vec![elements]);
    let captured = callee.captured();
    let key = named(key.0, move |element| {
        callee.call(element, |key| value::integer(&key, "group_by_window: key_func"))
    })
    .capturing(captured);
    let callee = Callee::new(window_size.1, vec![sizes]);
    let captured = callee.captured();
    let window_size = named(window_size.0, move |key| {
        callee.call(of_key(key)?, |size| {
            let size = value::integer(&size, "group_by_window: window_size_func")?;
            Ok(u64::try_from(size).unwrap_or(0)) // the stage refuses a size of 0
        })
    })
    .capturing(captured);
    let callee = Callee::new(reduce.1, vec![keys, windows]);
    let captured = callee.captured();
    let reduce = named(reduce.0, move |(key, window)| {
        callee.call_each([of_key(key)?, vec![Value::Dataset(window)]], |plan| made(&plan))
    })
    .capturing(captured);
    Ok(plan.get().dataset().group_by_window(key, reduce, window_size, spec).into())
}

fn of_key(key: i64) -> tensorferry::Result<Element> {
    Ok(vec![Tensor::from_vec(vec![key], &[])?.into()])
}
