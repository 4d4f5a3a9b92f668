//! `map(workers="processes")`: several calls of one message, in the worker.

use super::callee::{Callee, Returned};
use super::packer::Packer;
use super::plan::Plan;
use super::session::{Answer, objects};
use super::value;
use crate::errors::{OrRaise, to_py};
use crate::runtime::interrupt;
use crate::runtime::unwinding::guard;
use crate::tensor::object::PyTensor;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use tensorferry::dataset::{self, Dataset, Element, Epoch, Function};

/// A function in a worker process, and maybe the plan that it maps.
#[pyclass(frozen, module = "tensorferry._internal")]
pub(crate) struct MapApart {
    inner: dataset::MapApart,
}

#[pymethods]
impl MapApart {
    /// `function` returns a flat list of components, as for `map`. `plan` is what it maps, in
    /// batches if there is a `batch_size`; it has to be the one that is called `description`.
    #[new]
    fn new(
        function: Py<PyAny>,
        packer: Py<Packer>,
        spec: &Bound<'_, PyAny>,
        names: Vec<String>,
        plan: Option<(Bound<'_, Plan>, Option<usize>, String)>,
    ) -> PyResult<Self> {
        guard();
        let py = spec.py();
        let returned = Returned::new(spec, names)?;
        let (callee, spec) = (Callee::new(function, vec![packer]), returned.spec.clone());
        let call =
            move |element| returned.checked(callee.call(element, |flat| returned.element(&flat))?);
        let mut inner = dataset::MapApart::new(Function::sequential("map", call), spec);
        if let Some((plan, batch_size, description)) = plan {
            let plan: Dataset = plan.get().dataset();
            if plan.to_string() != description {
                let message = format!("the plan became {plan}, not {description}");
                return Err(PyValueError::new_err(message));
            }
            inner = inner.reading(&plan, batch_size).or_raise(py)?;
        }
        Ok(Self { inner })
    }

    /// The results for elements of the plan in an epoch.
    #[expect(clippy::needless_pass_by_value, reason = "what Python passes is extracted")]
    fn read<'py>(
        &self,
        py: Python<'py>,
        epoch: u64,
        seeds: Vec<u64>,
        indices: Vec<u64>,
    ) -> PyResult<Answer<'py>> {
        guard();
        let (found, interrupted) =
            interrupt::run(py, || self.inner.read(Epoch(epoch), &seeds, &indices));
        interrupted?;
        answer(py, found.or_raise(py)?)
    }

    /// The results for elements, given as lists of arrays.
    fn apply<'py>(
        &self,
        py: Python<'py>,
        elements: Vec<Vec<Bound<'py, PyAny>>>,
    ) -> PyResult<Answer<'py>> {
        guard();
        let mut read = Vec::with_capacity(elements.len());
        for arrays in elements {
            let values = arrays.iter().map(|array| Ok(value::tensor(array, None)?.into()));
            read.push(values.collect::<PyResult<Element>>()?);
        }
        let call = || read.into_iter().map(|element| Some(self.inner.apply(element))).collect();
        let (found, interrupted) = interrupt::run(py, call);
        interrupted?;
        answer(py, found)
    }
}

fn answer<'py>(
    py: Python<'py>,
    found: Vec<Option<tensorferry::Result<Element>>>,
) -> PyResult<Answer<'py>> {
    let (failed, mut results) = (PyDict::new(py), Vec::with_capacity(found.len()));
    for (at, result) in found.into_iter().enumerate() {
        match result {
            Some(Ok(result)) => results.push(result),
            Some(Err(error)) => failed.set_item(at, to_py(py, &error).into_value(py))?,
            None => failed.set_item(at, py.None())?,
        }
    }
    let each = PyList::empty(py);
    let stacked = dataset::MapApart::stacked(&results);
    if stacked.is_none() {
        for result in results {
            each.append(objects(py, result)?)?;
        }
    }
    let object = |tensor| PyTensor::object(py, tensor);
    let stacked = stacked.map(|all| all.into_iter().map(object).collect()).transpose()?;
    Ok((failed, stacked, each))
}
