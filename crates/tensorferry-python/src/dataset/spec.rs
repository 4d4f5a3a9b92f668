//! Specifications of components in Python: `(dtype name, dimensions)`, or a list of such for a
//! nested dataset. Dimensions are None if their number is unknown, each None if its length is.

use crate::errors::raise;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use tensorferry::DType;
use tensorferry::dataset::{Component, Shape, TensorSpec};

/// A flat specification for Python.
pub(crate) fn to_python<'py>(py: Python<'py>, spec: &[Component]) -> PyResult<Bound<'py, PyList>> {
    let parts = spec.iter().map(|part| match part {
        Component::Tensor(spec) => {
            let dims = spec.shape.dims().map(|dims| PyTuple::new(py, dims)).transpose()?;
            Ok((spec.dtype.name(), dims).into_pyobject(py)?.into_any())
        }
        Component::Dataset(parts) => Ok(to_python(py, parts)?.into_any()),
    });
    PyList::new(py, parts.collect::<PyResult<Vec<_>>>()?)
}

/// A flat specification from Python.
pub(crate) fn from_python(spec: &Bound<'_, PyAny>) -> PyResult<Vec<Component>> {
    spec.try_iter()?.map(|part| component(&part?)).collect()
}

/// One component from Python.
pub(crate) fn component(part: &Bound<'_, PyAny>) -> PyResult<Component> {
    if part.is_instance_of::<PyList>() {
        return Ok(Component::Dataset(from_python(part)?));
    }
    let (name, dims): (String, Option<Vec<Option<usize>>>) = part.extract()?;
    let Some(dtype) = DType::from_name(&name) else {
        return Err(raise(
            part.py(),
            "unsupported_dtype",
            format!("dtype {name}: tensorferry's datasets carry numbers"),
        ));
    };
    Ok(Component::Tensor(TensorSpec::new(dtype, dims.map_or_else(Shape::unknown, Shape::new))))
}
