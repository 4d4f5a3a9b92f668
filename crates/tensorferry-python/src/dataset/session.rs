//! Sessions: what an iteration calls instead of a function, such as its worker processes.

use super::callee::{Callee, Returned, attached, gone};
use super::captured::Running;
use crate::errors::OrRaise;
use crate::runtime::attach;
use crate::runtime::interrupt::raised_in_function;
use crate::tensor::object::PyTensor;
use pyo3::exceptions::{PyBaseException, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::vec::IntoIter;
use tensorferry::dataset::{Element, Many, ManyResults, MapApart};
use tensorferry::{Result, Tensor};

/// A Python function that an iteration calls instead of another: a session.
pub(crate) struct Begun(Running);

impl Begun {
    /// Calls it with a list of the element's tensors, and reads the result.
    pub(crate) fn call<T>(
        &self,
        element: Element,
        read: impl FnOnce(Bound<'_, PyAny>) -> PyResult<T>,
    ) -> Result<T> {
        attached(|py| {
            let (_open, session) = self.0.open(py).ok_or_else(gone)?;
            read(attach::call(&session, (objects(py, element)?,))?)
        })
    }

    /// Its results for several elements: of its `call_many`, called with lists of tensors, or of
    /// its `read`, with where the elements are. `None` if it cannot read.
    pub(crate) fn call_many(
        &self,
        inputs: Many<'_, Element>,
        returned: &Returned,
    ) -> ManyResults<Element> {
        attached(|py| {
            let (_open, session) = self.0.open(py).ok_or_else(gone)?;
            let (answer, count) = match inputs {
                Many::Inputs(elements) => {
                    let count = elements.len();
                    let lists = elements.into_iter().map(|element| objects(py, element));
                    let lists = PyList::new(py, lists.collect::<PyResult<Vec<_>>>()?)?;
                    let call = session.getattr(intern!(py, "call_many"))?;
                    (attach::call(&call, (lists,))?, count)
                }
                Many::Read { epoch, seeds, indices } => {
                    let read = session.getattr(intern!(py, "read"))?;
                    let (seeds, indices) = (PyList::new(py, seeds)?, PyList::new(py, indices)?);
                    let count = indices.len();
                    (attach::call(&read, (epoch, seeds, indices))?, count)
                }
            };
            if answer.is_none() {
                return Ok(None);
            }
            results(&answer, count, returned).map(Some)
        })
    }
}

impl Begun {
    /// Ends it, maybe while calls are in progress. An error has no place to surface.
    pub(crate) fn end(&self) {
        let _ended = attached(|py| {
            // The iterator may be deallocated while an exception is raised.
            let raised = PyErr::take(py);
            let ended = match self.0.open(py) {
                Some((_open, session)) => session
                    .getattr(intern!(py, "close"))
                    .and_then(|close| attach::call(&close, ()).map(drop)),
                None => Ok(()),
            };
            if let Some(raised) = raised {
                raised.restore(py);
            }
            ended
        });
    }
}

/// Begins a session: calls what [`Callee::in_sessions`] took.
pub(crate) fn begin(callee: &Callee) -> Result<Begun> {
    callee.with(|_, open| {
        let begin = open.other(1).ok_or_else(gone)?;
        Ok(Begun(open.run(attach::call(&begin, ())?.unbind())))
    })
}

/// The exceptions of calls by number, None for an element that cannot be read; the results of the
/// others: stacked, or each.
pub(super) type Answer<'py> =
    (Bound<'py, PyDict>, Option<Vec<Bound<'py, PyTensor>>>, Bound<'py, PyList>);

/// The tensors of an element.
pub(super) fn objects<'py>(py: Python<'py>, element: Element) -> PyResult<Bound<'py, PyList>> {
    let tensors = element.into_iter().map(|value| {
        let tensor = value.into_tensor().or_raise(py)?;
        PyTensor::object(py, tensor)
    });
    PyList::new(py, tensors.collect::<PyResult<Vec<_>>>()?)
}

/// What a session returned for `count` elements: an [`Answer`] of a worker.
fn results(
    answer: &Bound<'_, PyAny>,
    count: usize,
    returned: &Returned,
) -> PyResult<Vec<Option<tensorferry::Result<Element>>>> {
    let py = answer.py();
    let (failed, stacked, each): Answer<'_> = answer.extract()?;
    let done = count.saturating_sub(failed.len());
    let mut rows = stacked.map(|all| split(py, &all, done)).transpose()?;
    let mut each = each.iter();
    let mut result = || -> PyResult<Element> {
        match rows.as_mut().map(IntoIter::next) {
            Some(row) => row.ok_or_else(missing),
            None => returned.element(&each.next().ok_or_else(missing)?),
        }
    };
    let one = |at: usize| {
        if let Some(raised) = failed.get_item(at)? {
            let raised = raised.cast_into::<PyBaseException>().ok();
            return Ok(raised
                .map(|raised| Err(raised_in_function(py, PyErr::from_value(raised.into_any())))));
        }
        Ok(Some(returned.checked(result()?)))
    };
    (0..count).map(one).collect()
}

fn split(
    py: Python<'_>,
    stacked: &[Bound<'_, PyTensor>],
    count: usize,
) -> PyResult<IntoIter<Element>> {
    let stacked: Vec<Tensor> = stacked.iter().map(|tensor| tensor.get().inner.clone()).collect();
    Ok(MapApart::rows(&stacked, count).or_raise(py)?.into_iter())
}

fn missing() -> PyErr {
    PyValueError::new_err("a worker process returned too few results")
}
