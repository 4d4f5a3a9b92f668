//! `.npy` files.

use super::path::fs_path;
use crate::errors::OrRaise;
use crate::interop::nested::Input;
use crate::runtime::unwinding::guard;
use crate::runtime::wait::interruptible;
use crate::tensor::object::PyTensor;
use pyo3::prelude::*;
use tensorferry::WriteOptions;
use tensorferry::dataset::CancelToken;

/// A `Tensor` over a read-only memory map of a `.npy` file: elements are read on access.
///
/// The header, and the file's length, are checked before the file is mmapped. Truncating an mmapped
/// file kills a process that reads it (SIGBUS), as with `numpy.memmap`. Replace files by renaming,
/// as `save_npy` does.
///
/// Args:
///     path: a str, bytes or PathLike.
///
/// Raises:
///     OSError: the file cannot be opened.
///     tensorferry.errors.FileFormatError: it is not a `.npy` file, or is truncated.
///     tensorferry.errors.InvalidArgumentError: its dtype is not supported (strings, objects,
///         structures).
///
/// >>> import numpy as np, os, tempfile, tensorferry
/// >>> path = os.path.join(tempfile.mkdtemp(), "ids.npy")
/// >>> tensorferry.save_npy(path, np.arange(3, dtype=np.int32))
/// >>> tensorferry.open_npy(path)
/// tensorferry.Tensor([0, 1, 2], shape=(3,), dtype=int32)
#[pyfunction]
pub(crate) fn open_npy<'py>(
    py: Python<'py>,
    path: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyTensor>> {
    guard();
    let path = fs_path(path)?;
    PyTensor::object(py, py.detach(|| tensorferry::open_npy(&path)).or_raise(py)?)
}

/// Writes the values as a `.npy` file that `numpy.load` and `open_npy` read.
///
/// The write is atomic: under a temporary name in the same folder, flushed to the disk, then
/// renamed. A path can be the URL of an object, which must not exist yet; `save` has options for
/// it.
///
/// Raises:
///     OSError: the file cannot be written; an existing file is unchanged.
///     tensorferry.errors.InvalidArgumentError: a dtype that `.npy` files do not have (bfloat16).
#[pyfunction]
pub(crate) fn save_npy(
    py: Python<'_>,
    path: &Bound<'_, PyAny>,
    value: &Bound<'_, PyAny>,
) -> PyResult<()> {
    guard();
    let path = fs_path(path)?;
    let source = Input::source(value)?;
    let view = source.view();
    let write = |cancel: &CancelToken| {
        let options = WriteOptions { cancel: cancel.clone(), ..WriteOptions::default() };
        tensorferry::save_npy_with(&path, &view, &options)
    };
    interruptible(py, write)?.or_raise(py)
}
