//! Paths of files.

use pyo3::prelude::*;
use std::path::PathBuf;

/// A str, bytes or PathLike, as `open` takes it.
pub(crate) fn fs_path(path: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    path.py().import("os")?.call_method1("fsdecode", (path,))?.extract()
}
