//! Arrays by name, opened and not loaded.

use super::array::PyArray;
use super::path::path_or_url;
use crate::errors::{OrRaise, raise};
use crate::runtime::unwinding::guard;
use crate::runtime::wait::interruptible;
use crate::tensor::object::PyTensor;
use pyo3::prelude::*;
use std::collections::BTreeMap;
use tensorferry::dataset::CancelToken;
use tensorferry::{Array, Arrays};

/// The arrays by name that `open` finds; `tensorferry.Arrays` makes a mapping of it.
#[pyclass(frozen, module = "tensorferry._internal")]
pub(crate) struct OpenedArrays {
    pub(super) inner: Arrays,
    pub(super) recipe: Py<PyAny>,
}

#[pymethods]
impl OpenedArrays {
    fn names(&self) -> Vec<&str> {
        guard();
        self.inner.names().collect()
    }

    fn paths<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        guard();
        self.inner.paths().map(|path| path_or_url(py, path)).collect()
    }

    fn mode(&self) -> &'static str {
        guard();
        self.inner.mode().name()
    }

    /// The metadata of `.safetensors` files.
    fn metadata(&self) -> BTreeMap<String, String> {
        guard();
        self.inner.metadata().clone()
    }

    /// Members that are not arrays, and why.
    fn left_out(&self, py: Python<'_>) -> PyResult<Vec<(String, String)>> {
        guard();
        interruptible(py, |_cancel| self.inner.left_out())?.or_raise(py)
    }

    fn get(&self, py: Python<'_>, name: &str) -> PyResult<PyArray> {
        guard();
        let array = interruptible(py, |_cancel| self.inner.get(name))?.or_raise(py)?;
        self.member(py, name, array)
    }

    /// All arrays; compressed ones are decompressed on all cores. Arrays of an unsupported dtype
    /// are an error, or left out if `readable`.
    fn get_all(&self, py: Python<'_>, readable: bool) -> PyResult<Vec<(String, PyArray)>> {
        guard();
        let get = |_cancel: &CancelToken| {
            if readable { self.inner.get_readable() } else { self.inner.get_all() }
        };
        let arrays = interruptible(py, get)?.or_raise(py)?;
        arrays
            .into_iter()
            .map(|(name, array)| Ok((name.clone(), self.member(py, &name, array)?)))
            .collect()
    }

    /// Names of the features whose rows differ in length.
    fn ragged_names(&self) -> Vec<&str> {
        guard();
        self.inner.ragged().iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Values and row splits of a feature whose rows differ in length.
    fn ragged<'py>(
        &self,
        py: Python<'py>,
        name: &str,
    ) -> PyResult<(PyArray, Bound<'py, PyTensor>)> {
        guard();
        let found = self.inner.ragged().iter().find(|(other, _)| other == name);
        let Some((_, rows)) = found else {
            return Err(raise(py, "argument", format!("{name:?} has no rows of its own length")));
        };
        let values = self.member(py, name, rows.values().clone())?;
        Ok((values, PyTensor::object(py, rows.row_splits().clone())?))
    }

    fn verify(&self, py: Python<'_>) -> PyResult<()> {
        guard();
        interruptible(py, |_cancel| self.inner.verify())?.or_raise(py)
    }

    fn recipe(&self, py: Python<'_>) -> Py<PyAny> {
        guard();
        self.recipe.clone_ref(py)
    }
}

impl OpenedArrays {
    fn member(&self, py: Python<'_>, name: &str, inner: Array) -> PyResult<PyArray> {
        Ok(PyArray::new(inner, (&self.recipe, name).into_pyobject(py)?.into_any().unbind()))
    }
}
