//! The functions that open files.

use super::array::PyArray;
use super::arrays::OpenedArrays;
use super::format::parse_format;
use super::path::fs_path;
use crate::dataset::spec;
use crate::errors::{OrRaise, raise};
use crate::interop::dtype;
use crate::runtime::unwinding::guard;
use crate::runtime::wait::interruptible;
use pyo3::prelude::*;
use std::path::PathBuf;
use tensorferry::dataset::{CancelToken, Component, Shape};
use tensorferry::{Mode, OpenOptions, Opened, Raw};

fn parse_mode(py: Python<'_>, mode: &str) -> PyResult<Mode> {
    Mode::from_name(mode).ok_or_else(|| {
        let names = Mode::ALL.map(Mode::name);
        raise(py, "argument", format!("mode {mode:?} is none of {names:?}"))
    })
}

fn fs_paths(paths: &[Bound<'_, PyAny>]) -> PyResult<Vec<PathBuf>> {
    paths.iter().map(fs_path).collect()
}

/// Opens files as an `Array` or `OpenedArrays`. `recipe` is pickled in their place.
#[pyfunction]
pub(crate) fn open<'py>(
    py: Python<'py>,
    paths: Vec<Bound<'py, PyAny>>,
    format: Option<&str>,
    mode: &str,
    features: Vec<(String, Option<Bound<'py, PyAny>>)>,
    recipe: Py<PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    guard();
    let (paths, format, mode) =
        (fs_paths(&paths)?, parse_format(py, format)?, parse_mode(py, mode)?);
    let feature = |(name, part): &(String, Option<Bound<'py, PyAny>>)| match part
        .as_ref()
        .map(spec::component)
        .transpose()?
    {
        None => Ok((name.clone(), None)),
        Some(Component::Tensor(spec)) => Ok((name.clone(), Some(spec))),
        Some(Component::Dataset(_)) => {
            Err(raise(py, "wrong_type", format!("feature {name:?} cannot be a dataset")))
        }
    };
    let features = features.iter().map(feature).collect::<PyResult<Vec<_>>>()?;
    let options = |cancel: &CancelToken| OpenOptions {
        format,
        mode,
        features: features.clone(),
        memory_limit: None,
        cancel: cancel.clone(),
        ..OpenOptions::default()
    };
    match interruptible(py, |cancel| tensorferry::open_with(&paths, &options(cancel)))?
        .or_raise(py)?
    {
        Opened::Array(inner) => Ok(Bound::new(py, PyArray { inner, recipe })?.into_any()),
        Opened::Arrays(inner) => Ok(Bound::new(py, OpenedArrays { inner, recipe })?.into_any()),
    }
}

/// Opens raw files.
#[pyfunction]
pub(crate) fn open_raw(
    py: Python<'_>,
    paths: Vec<Bound<'_, PyAny>>,
    dtype: &Bound<'_, PyAny>,
    shape: Option<Vec<Option<usize>>>,
    offset: u64,
    mode: &str,
    recipe: Py<PyAny>,
) -> PyResult<PyArray> {
    guard();
    let (paths, mode) = (fs_paths(&paths)?, parse_mode(py, mode)?);
    let (dtype, order) = dtype::parse_stored(dtype)?;
    let raw =
        Raw { dtype, order, shape: shape.map_or_else(|| Shape::new([None]), Shape::new), offset };
    let inner = py.detach(|| tensorferry::open_raw(&paths, &raw, mode)).or_raise(py)?;
    Ok(PyArray { inner, recipe })
}
