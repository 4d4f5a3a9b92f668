//! The functions that save arrays.

use super::array::PyArray;
use super::format::parse_format;
use super::path::fs_path;
use super::storage::{Storage, options};
use crate::errors::OrRaise;
use crate::interop::nested::Input;
use crate::runtime::unwinding::guard;
use crate::runtime::wait::interruptible;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::collections::BTreeMap;
use tensorferry::dataset::{self, CancelToken};
use tensorferry::{Array, RaggedArray, SaveOptions, WriteOptions};

/// An opened array, or one in memory, to save or to read rows from. `immutable` promises that it
/// does not change.
pub(crate) fn array_of(
    py: Python<'_>,
    value: &Bound<'_, PyAny>,
    immutable: bool,
) -> PyResult<Array> {
    if let Ok(array) = value.cast::<PyArray>() {
        return Ok(array.get().inner.clone());
    }
    let (tensor, frozen) = Input::source(value)?.shared().or_raise(py)?;
    Array::try_from(dataset::Source { tensor, frozen: frozen || immutable }).or_raise(py)
}

/// How a file or object is written: the options of its store, and whether it is replaced.
pub(crate) type Where = (Storage, Option<bool>);

pub(crate) fn write_options((storage, replace): Where, cancel: &CancelToken) -> WriteOptions {
    WriteOptions { storage: options(storage), replace, cancel: cancel.clone() }
}

/// Writes one array.
#[pyfunction]
pub(crate) fn save(
    py: Python<'_>,
    path: &Bound<'_, PyAny>,
    value: &Bound<'_, PyAny>,
    format: Option<&str>,
    to: Where,
) -> PyResult<()> {
    guard();
    let (path, format) = (fs_path(path)?, parse_format(py, format)?);
    // The caller has to prevent writes, as with every NumPy function that releases the GIL.
    let array = array_of(py, value, true)?;
    let write = |cancel: &CancelToken| {
        let write = write_options(to, cancel);
        let options = SaveOptions { format, write, ..SaveOptions::default() };
        tensorferry::save_with(&path, &array.cancelled_by(cancel), &options)
    };
    interruptible(py, write)?.or_raise(py)
}

/// Writes arrays by name: pairs of a name and an array.
#[pyfunction]
pub(crate) fn save_arrays(
    py: Python<'_>,
    path: &Bound<'_, PyAny>,
    arrays: &Bound<'_, PyList>,
    format: Option<&str>,
    compress: bool,
    metadata: BTreeMap<String, String>,
    to: Where,
) -> PyResult<()> {
    guard();
    let (path, format) = (fs_path(path)?, parse_format(py, format)?);
    let pair = |pair: Bound<'_, PyAny>| {
        let (name, value): (String, Bound<'_, PyAny>) = pair.extract()?;
        Ok((name, array_of(py, &value, true)?))
    };
    let arrays = arrays.iter().map(pair).collect::<PyResult<Vec<_>>>()?;
    let write = |cancel: &CancelToken| {
        let arrays: Vec<_> =
            arrays.iter().map(|(name, array)| (name, array.cancelled_by(cancel))).collect();
        let write = write_options(to, cancel);
        let options = SaveOptions { format, compress, metadata, write };
        tensorferry::save_arrays_with(&path, &arrays, &options)
    };
    interruptible(py, write)?.or_raise(py)
}

/// Writes a TFRecord file of Examples: pairs of a name and an array, and names with values and row
/// splits.
#[pyfunction]
pub(crate) fn save_examples(
    py: Python<'_>,
    path: &Bound<'_, PyAny>,
    arrays: Vec<(String, Bound<'_, PyAny>)>,
    ragged: Vec<(String, Bound<'_, PyAny>, Bound<'_, PyAny>)>,
    to: Where,
) -> PyResult<()> {
    guard();
    let path = fs_path(path)?;
    let pair = |(name, value): (String, Bound<'_, PyAny>)| Ok((name, array_of(py, &value, true)?));
    let arrays = arrays.into_iter().map(pair).collect::<PyResult<Vec<_>>>()?;
    let rows = |(name, values, splits): (String, Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let (values, splits) = (array_of(py, &values, true)?, array_of(py, &splits, true)?);
        let splits = interruptible(py, |_cancel| splits.read())?.or_raise(py)?;
        Ok((name, RaggedArray::from_row_splits(values, splits).or_raise(py)?))
    };
    let ragged = ragged.into_iter().map(rows).collect::<PyResult<Vec<_>>>()?;
    let write = |cancel: &CancelToken| {
        let arrays: Vec<_> =
            arrays.iter().map(|(name, array)| (name, array.cancelled_by(cancel))).collect();
        let ragged: Vec<_> =
            ragged.iter().map(|(name, rows)| (name, rows.cancelled_by(cancel))).collect();
        tensorferry::save_examples_with(&path, &arrays, &ragged, &write_options(to, cancel))
    };
    interruptible(py, write)?.or_raise(py)
}
