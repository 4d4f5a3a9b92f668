//! Python functions that a plan calls.

use super::captured::{Captured, Open, Running};
use super::overlap::Overlap;
use super::packer::Packer;
use super::plan::Plan;
use super::{spec, value};
use crate::errors::{Raised, in_component};
use crate::runtime::attach;
use crate::runtime::interrupt::raised_in_function;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use std::sync::Arc;
use std::time::Instant;
use tensorferry::Result;
use tensorferry::dataset::{Component, Element, Value, check, check_running, failed};

/// A Python function, with packers for its arguments. It returns a flat list of values, or a single
/// value.
pub(crate) struct Callee {
    captured: Arc<Captured>,
}

impl Callee {
    /// `packers` nest the elements that are the arguments, one for each.
    pub(crate) fn new(function: Py<PyAny>, packers: Vec<Py<Packer>>) -> Self {
        let packers = packers.into_iter().map(Py::into_any).collect();
        Self { captured: Captured::new(function, packers) }
    }

    /// A function of one element, for which `begin` makes sessions.
    pub(crate) fn in_sessions(
        function: Py<PyAny>,
        packers: Vec<Py<Packer>>,
        begin: Option<Py<PyAny>>,
    ) -> Self {
        let others = packers.into_iter().map(Py::into_any).chain(begin).collect();
        Self { captured: Captured::new(function, others) }
    }

    /// The captured function, for the stage that calls it.
    pub(crate) fn captured(&self) -> Arc<Captured> {
        Arc::clone(&self.captured)
    }

    /// Calls the function with an element (a tuple becomes several arguments), and reads the
    /// result.
    pub(crate) fn call<T>(
        &self,
        element: Element,
        read: impl FnOnce(Bound<'_, PyAny>) -> PyResult<T>,
    ) -> Result<T> {
        self.with(|py, open| {
            let packer = packer(open, 0)?;
            read(attach::call(&open.function, packer.get().arguments(py, element)?)?)
        })
    }

    /// As [`Callee::call`], on one of several threads.
    pub(crate) fn call_beside<T>(
        &self,
        overlap: &Arc<Overlap>,
        element: Element,
        read: impl FnOnce(Bound<'_, PyAny>) -> PyResult<T>,
    ) -> Result<T> {
        let since = Instant::now();
        self.with(|py, open| {
            let inside = overlap.begin(since);
            let arguments = packer(open, 0)?.get().arguments(py, element)?;
            let result = attach::call(&open.function, arguments);
            // Before another thread can take the GIL.
            drop(inside);
            read(result?)
        })
    }

    /// Calls the function with one argument, and reads the result.
    pub(crate) fn call_with<A, T>(
        &self,
        argument: A,
        read: impl FnOnce(Bound<'_, PyAny>) -> PyResult<T>,
    ) -> Result<T>
    where
        A: for<'py> IntoPyObject<'py>,
    {
        self.with(|_, open| read(attach::call(&open.function, (argument,))?))
    }

    /// Calls the function without arguments, and iterates over the result.
    pub(crate) fn iterate(&self) -> Result<Running> {
        self.with(|_, open| {
            Ok(open.run(attach::call(&open.function, ())?.try_iter()?.into_any().unbind()))
        })
    }

    /// Calls the function with two elements, each as one argument, and reads the result.
    pub(crate) fn call_each<T>(
        &self,
        elements: [Element; 2],
        read: impl FnOnce(Bound<'_, PyAny>) -> PyResult<T>,
    ) -> Result<T> {
        self.with(|py, open| {
            let packed = |(at, element)| packer(open, at)?.get().pack(py, element);
            let arguments =
                elements.into_iter().enumerate().map(packed).collect::<PyResult<Vec<_>>>()?;
            read(attach::call(&open.function, PyTuple::new(py, arguments)?)?)
        })
    }

    /// Runs code with the function, as part of computing an element. An exception becomes the
    /// element's error.
    pub(super) fn with<T>(
        &self,
        run: impl FnOnce(Python<'_>, &Open<'_>) -> PyResult<T>,
    ) -> Result<T> {
        attached(|py| run(py, &self.captured.open(py).ok_or_else(gone)?))
    }
}

/// The packer of argument `at`.
fn packer<'py>(open: &Open<'py>, at: usize) -> PyResult<Bound<'py, Packer>> {
    Ok(open.other(at).ok_or_else(gone)?.cast_into()?)
}

/// The error of a pass whose dataset was garbage collected.
pub(crate) fn gone() -> PyErr {
    PyRuntimeError::new_err("the dataset and its functions were garbage collected")
}

/// Runs Python code as part of computing an element. An exception becomes the element's error, or
/// interrupts the iteration.
pub(crate) fn attached<T>(run: impl FnOnce(Python<'_>) -> PyResult<T>) -> Result<T> {
    let ran = attach::attached(|py| Ok(run(py).map_err(|raised| raised_in_function(py, raised))));
    ran.unwrap_or_else(|_| Err(failed(Raised::exiting())))
}

/// The components that a function has to return, and their names for errors, if they have any.
#[derive(Clone)]
pub(crate) struct Returned {
    pub(crate) spec: Vec<Component>,
    pub(crate) names: Vec<Arc<str>>,
}

impl Returned {
    pub(crate) fn new(spec: &Bound<'_, PyAny>, names: Vec<String>) -> PyResult<Self> {
        Ok(Self {
            spec: spec::from_python(spec)?,
            names: names.into_iter().map(Arc::from).collect(),
        })
    }

    /// The element, if its shapes match the components.
    pub(crate) fn checked(&self, element: Element) -> Result<Element> {
        check(&element, &self.spec).map_err(|error| error.named(&self.names))?;
        Ok(element)
    }

    /// As [`Returned::checked`], for the state of `scan` and `reduce`.
    pub(crate) fn checked_state(&self, state: Element) -> Result<Element> {
        check_running(&state, &self.spec).map_err(|error| error.named(&self.names))?;
        Ok(state)
    }

    /// The values of a flat list, which have to match the components.
    pub(crate) fn element(&self, values: &Bound<'_, PyAny>) -> PyResult<Element> {
        let py = values.py();
        let one = |(at, (part, value)): (usize, (&Component, Bound<'_, PyAny>))| {
            component(&value, part).map_err(|raised| in_component(py, raised, "", at, &self.names))
        };
        self.spec.iter().zip(values.cast::<PyList>()?.iter()).enumerate().map(one).collect()
    }
}

/// One value, as its component says.
pub(crate) fn component(value: &Bound<'_, PyAny>, part: &Component) -> PyResult<Value> {
    match part {
        Component::Tensor(spec) => Ok(value::tensor(value, Some(spec.dtype))?.into()),
        Component::Dataset(_) => Ok(Value::Dataset(value.cast::<Plan>()?.get().pinned())),
    }
}
