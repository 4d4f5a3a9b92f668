//! Paths of files.

use pyo3::prelude::*;
use std::path::{Path, PathBuf};

/// A str, bytes or PathLike, as `open` takes it.
pub(crate) fn fs_path(path: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    path.py().import("os")?.call_method1("fsdecode", (path,))?.extract()
}

/// A `pathlib.Path`, or the str of a URL, whose slashes a `pathlib.Path` would merge.
pub(super) fn path_or_url<'py>(py: Python<'py>, path: &Path) -> PyResult<Bound<'py, PyAny>> {
    match path.to_str() {
        Some(url) if tensorferry::is_remote(path) => Ok(url.into_pyobject(py)?.into_any()),
        _ => path.into_pyobject(py),
    }
}
