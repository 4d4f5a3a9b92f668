//! File formats, as Python names them.

use super::path::fs_path;
use crate::errors::raise;
use crate::runtime::unwinding::guard;
use pyo3::prelude::*;
use tensorferry::Format;

pub(super) fn parse_format(py: Python<'_>, format: Option<&str>) -> PyResult<Option<Format>> {
    let Some(name) = format else { return Ok(None) };
    match Format::from_name(name) {
        Some(format) => Ok(Some(format)),
        None => Err(raise(
            py,
            "argument",
            format!("format {name:?} is none of {:?}", Format::ALL.map(Format::name)),
        )),
    }
}

/// The format to write a file in, by its extension or `format`; None if neither says it.
#[pyfunction]
pub(crate) fn format_for(
    py: Python<'_>,
    path: &Bound<'_, PyAny>,
    format: Option<&str>,
) -> PyResult<Option<&'static str>> {
    guard();
    let format = parse_format(py, format)?.or(Format::of_extension(&fs_path(path)?));
    Ok(format.map(Format::name))
}
