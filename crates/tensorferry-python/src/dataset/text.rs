//! Strings: `bytes` of the components that hold them.

use crate::errors::{OrRaise, raise};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use tensorferry::dataset::Element;

/// The string in component `at`; with the component `splits`, a list of the strings in it, or a
/// list of such lists.
pub(super) fn strings<'py>(
    py: Python<'py>,
    element: &Element,
    at: usize,
    splits: Option<usize>,
) -> PyResult<Bound<'py, PyAny>> {
    let bytes = element[at].tensor().or_raise(py)?.view::<u8>().or_raise(py)?;
    let bytes = bytes.as_slice().ok_or_else(|| damaged(py))?;
    let Some(splits) = splits else { return Ok(PyBytes::new(py, bytes).into_any()) };
    let tensor = element[splits].tensor().or_raise(py)?;
    let splits = tensor.view::<i64>().or_raise(py)?;
    let (width, is_flat) = (tensor.shape().last().copied(), tensor.shape().len() == 1);
    let splits = splits.as_slice().ok_or_else(|| damaged(py))?;
    if is_flat {
        return list(py, bytes, splits);
    }
    let rows = splits.chunks_exact(width.unwrap_or(0).max(1)).map(|splits| list(py, bytes, splits));
    Ok(PyList::new(py, rows.collect::<PyResult<Vec<_>>>()?)?.into_any())
}

/// The list of the strings that lie between these splits.
fn list<'py>(py: Python<'py>, bytes: &[u8], splits: &[i64]) -> PyResult<Bound<'py, PyAny>> {
    let strings = splits.windows(2).map(|ends| {
        let range = usize::try_from(ends[0]).ok().zip(usize::try_from(ends[1]).ok());
        let row = range.and_then(|(start, end)| bytes.get(start..end));
        row.map(|row| PyBytes::new(py, row)).ok_or_else(|| damaged(py))
    });
    Ok(PyList::new(py, strings.collect::<PyResult<Vec<_>>>()?)?.into_any())
}

#[cold]
fn damaged(py: Python<'_>) -> PyErr {
    raise(py, "argument", "the row splits of strings do not lie in their bytes".into())
}
