//! Lazily read arrays of other libraries: a Python function reads their rows.

use super::callee::Callee;
use crate::errors::{OrRaise, raise};
use crate::files::array::PyArray;
use crate::interop::dtype;
use crate::interop::nested::Input;
use crate::runtime::unwinding::guard;
use pyo3::prelude::*;
use std::sync::Arc;
use tensorferry::error::IoError;
use tensorferry::{Array, Casting, DType, Error, RowReader, ViewMut};

/// Reads rows by a Python function, called with an increasing list of row numbers.
struct Called {
    read: Callee,
    dtype: DType,
    /// The shape of a row.
    dims: Vec<usize>,
}

impl RowReader for Called {
    fn read_rows(&self, rows: &[u64], out: &mut [u8]) -> Result<(), IoError> {
        let read = self.read.call_with(rows.to_vec(), |read| {
            let py = read.py();
            let shape: Vec<usize> =
                std::iter::once(rows.len()).chain(self.dims.iter().copied()).collect();
            let source = Input::source(&read)?;
            let view = source.view();
            if (view.dtype(), view.layout().shape()) != (self.dtype, &shape[..]) {
                let message = format!(
                    "{} of shape {:?} was read, but {} of shape {shape:?} was requested",
                    view.dtype(),
                    view.layout().shape(),
                    self.dtype
                );
                return Err(raise(py, "file_changed", message));
            }
            let mut out = ViewMut::from_bytes(self.dtype, out, &shape).or_raise(py)?;
            py.detach(|| tensorferry::convert_into(&view, &mut out, Casting::Checked)).or_raise(py)
        });
        read.map_err(|error| match error {
            Error::Interrupted => IoError::Interrupted,
            Error::Function { source } => IoError::Function { source },
            other => IoError::Function { source: other.into() },
        })
    }
}

/// An array whose rows `read(numbers)` returns as an ndarray.
#[pyfunction]
pub(crate) fn open_rows(
    py: Python<'_>,
    read: Py<PyAny>,
    dtype: &Bound<'_, PyAny>,
    shape: Vec<usize>,
) -> PyResult<PyArray> {
    guard();
    let Some(dtype) = dtype::parse_ours(Some(dtype))? else {
        return Err(raise(py, "unknown_dtype", "dtype=None is not a dtype".to_owned()));
    };
    let dims = shape.get(1..).unwrap_or_default().to_vec();
    let reader = Called { read: Callee::new(read, Vec::new()), dtype, dims };
    let inner = Array::from_reader(dtype, &shape, Arc::new(reader)).or_raise(py)?;
    Ok(PyArray::new(inner, py.None()))
}
