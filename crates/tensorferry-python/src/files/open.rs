//! The functions that open files.

use super::array::PyArray;
use super::arrays::OpenedArrays;
use super::format::parse_format;
use super::path::fs_path;
use super::storage::{Storage, options};
use crate::dataset::{spec, value};
use crate::errors::{OrRaise, raise};
use crate::interop::dtype;
use crate::runtime::unwinding::guard;
use crate::runtime::wait::interruptible;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::path::PathBuf;
use tensorferry::dataset::{CancelToken, Component, Shape};
use tensorferry::error::IoError;
use tensorferry::{FeatureSpec, Format, Mode, OpenOptions, Opened, Raw, Strings, Version};

fn parse_mode(py: Python<'_>, mode: &str) -> PyResult<Mode> {
    Mode::from_name(mode).ok_or_else(|| {
        let names = Mode::ALL.map(Mode::name);
        raise(py, "argument", format!("mode {mode:?} is none of {names:?}"))
    })
}

fn fs_paths(paths: &[Bound<'_, PyAny>]) -> PyResult<Vec<PathBuf>> {
    paths.iter().map(fs_path).collect()
}

/// A component, the row of records without the feature, whether it must be as TensorFlow parses it,
/// and whether it is a feature list. Of byte strings, whether their splits are wanted and how many
/// there are; and the name of the feature, if the array has another.
type Feature<'py> = (
    Bound<'py, PyAny>,
    Option<Bound<'py, PyAny>>,
    bool,
    bool,
    Option<(bool, Option<usize>)>,
    Option<String>,
);

fn feature(
    py: Python<'_>,
    name: &str,
    (part, default, exact, sequence, strings, key): &Feature<'_>,
) -> PyResult<FeatureSpec> {
    let Component::Tensor(spec) = spec::component(part)? else {
        return Err(raise(py, "wrong_type", format!("feature {name:?} cannot be a dataset")));
    };
    let default = default.as_ref().map(|default| value::tensor(default, Some(spec.dtype)));
    let strings = strings.map(
        |(splits, count)| {
            if splits { Strings::Splits(count) } else { Strings::Joined(count) }
        },
    );
    Ok(FeatureSpec {
        spec,
        default: default.transpose()?,
        exact: *exact,
        sequence: *sequence,
        strings,
        key: key.clone(),
    })
}

/// Opens files as an `Array` or `OpenedArrays`. `recipe` is a tuple that is pickled in their
/// place, and a list that gets the versions of objects, in order.
#[pyfunction]
pub(crate) fn open<'py>(
    py: Python<'py>,
    paths: Vec<Bound<'py, PyAny>>,
    format: Option<&str>,
    mode: &str,
    features: Vec<(String, Option<Feature<'py>>)>,
    storage: Storage,
    recipe: (Py<PyAny>, Bound<'py, PyList>),
) -> PyResult<Bound<'py, PyAny>> {
    guard();
    let (storage, (recipe, versions)) = (options(storage), recipe);
    let (paths, format, mode) =
        (fs_paths(&paths)?, parse_format(py, format)?, parse_mode(py, mode)?);
    let features = features
        .into_iter()
        .map(|(name, asked)| {
            let asked = asked.map(|asked| feature(py, &name, &asked)).transpose()?;
            Ok((name, asked))
        })
        .collect::<PyResult<Vec<_>>>()?;
    let open = |cancel: &CancelToken| OpenOptions {
        format,
        mode,
        features: features.clone(),
        memory_limit: None,
        storage: storage.clone(),
        cancel: cancel.clone(),
        ..OpenOptions::default()
    };
    match opened(py, &paths, &versions, open)? {
        Opened::Array(inner) => Ok(Bound::new(py, PyArray { inner, recipe })?.into_any()),
        Opened::Arrays(inner) => Ok(Bound::new(py, OpenedArrays { inner, recipe })?.into_any()),
    }
}

/// Opens files, and tells the versions of objects. That of a local file is of this machine alone.
fn opened(
    py: Python<'_>,
    paths: &[PathBuf],
    versions: &Bound<'_, PyList>,
    options: impl Fn(&CancelToken) -> OpenOptions + Send + Sync,
) -> PyResult<Opened> {
    let open = |cancel: &CancelToken| {
        let options = options(cancel);
        let sources = tensorferry::find_sources(paths, &options)?;
        let objects = sources.iter().filter(|source| tensorferry::is_remote(source.name()));
        let found: Vec<_> = objects.map(|object| object.version()).collect();
        Ok::<_, IoError>((tensorferry::open_sources(&sources, &options)?, found))
    };
    let (opened, found) = interruptible(py, open)?.or_raise(py)?;
    for version in found {
        versions.append(version.as_ref().map(Version::as_str))?;
    }
    Ok(opened)
}

/// Opens raw files.
#[pyfunction]
pub(crate) fn open_raw(
    py: Python<'_>,
    paths: Vec<Bound<'_, PyAny>>,
    elements: (Bound<'_, PyAny>, Option<Vec<Option<usize>>>, u64),
    mode: &str,
    storage: Storage,
    recipe: (Py<PyAny>, Bound<'_, PyList>),
) -> PyResult<PyArray> {
    guard();
    let (paths, mode) = (fs_paths(&paths)?, parse_mode(py, mode)?);
    let (dtype, shape, offset) = elements;
    let (dtype, order) = dtype::parse_stored(&dtype)?;
    let raw =
        Raw { dtype, order, shape: shape.map_or_else(|| Shape::new([None]), Shape::new), offset };
    let (storage, (recipe, versions)) = (options(storage), recipe);
    let open = |cancel: &CancelToken| OpenOptions {
        format: Some(Format::Raw),
        raw: Some(raw.clone()),
        mode,
        storage: storage.clone(),
        cancel: cancel.clone(),
        ..OpenOptions::default()
    };
    let inner = opened(py, &paths, &versions, open)?.array().or_raise(py)?;
    Ok(PyArray { inner, recipe })
}
