//! `tensorferry.Array`: an array in files, opened and not loaded.

use crate::errors::OrRaise;
use crate::runtime::interrupt;
use crate::runtime::wait::interruptible;
use crate::tensor::object::PyTensor;
use pyo3::prelude::*;
use tensorferry::error::IoError;
use tensorferry::{Array, ByteOrder, Casting, DType, Tensor};

/// Larger reads run in another thread, so that Ctrl-C interrupts them.
pub(super) const AT_ONCE: usize = 8 << 20;

/// An array in files, opened and not loaded: its shape and dtype are known, and elements are read
/// on access.
///
/// Made by `open()`, `open_raw()` and `Dataset.from_files()`. Indexing returns a `Tensor` of the
/// rows: shared if the file is mmapped, else read. To use all rows, pass the array to `tensor()`,
/// `convert_to_tensor()`, `numpy.asarray()` or `Dataset.from_tensor_slices()`.
///
/// >>> import numpy as np, os, tempfile, tensorferry
/// >>> path = os.path.join(tempfile.mkdtemp(), "squares.npy")
/// >>> np.save(path, np.arange(5) ** 2)
/// >>> squares = tensorferry.open(path)
/// >>> squares[[4, 1]]
/// tensorferry.Tensor([16,  1], shape=(2,), dtype=int64)
#[pyclass(frozen, name = "Array", module = "tensorferry")]
pub(crate) struct PyArray {
    pub(crate) inner: Array,
    /// How it was opened, for pickle.
    pub(super) recipe: Py<PyAny>,
}

impl PyArray {
    pub(crate) fn new(inner: Array, recipe: Py<PyAny>) -> Self {
        Self { inner, recipe }
    }

    /// All elements, in a dtype if given: shared if they are in memory, else read.
    pub(crate) fn read(&self, py: Python<'_>, to: Option<(DType, Casting)>) -> PyResult<Tensor> {
        if let Ok(tensor) = self.inner.tensor()
            && to.is_none_or(|(dtype, _)| {
                dtype == tensor.dtype() && tensor.byte_order() == ByteOrder::Native
            })
        {
            return Ok(tensor);
        }
        let read = |array: &Array| match to {
            Some((dtype, casting)) => array.convert(dtype, casting),
            None => array.read(),
        };
        self.run(py, self.inner.nbytes(), read)
    }

    /// Reads this many bytes of the array.
    pub(crate) fn run(
        &self,
        py: Python<'_>,
        bytes: usize,
        read: impl Fn(&Array) -> Result<Tensor, IoError> + Send + Sync,
    ) -> PyResult<Tensor> {
        if bytes <= AT_ONCE {
            // Too short for a thread of its own, unless it waits for a store.
            let (done, raised) = interrupt::run(py, || read(&self.inner));
            raised?;
            return done.or_raise(py);
        }
        interruptible(py, |cancel| read(&self.inner.cancelled_by(cancel)))?.or_raise(py)
    }
}

/// Reads and converts an opened array that is not in memory, if a copy is allowed; `None` for other
/// values.
///
/// # Errors
/// `copy=False`: the array cannot be shared.
pub(crate) fn read_for<'py>(
    value: &Bound<'py, PyAny>,
    dtype: Option<DType>,
    casting: Casting,
    copy: Option<bool>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let (py, Ok(array)) = (value.py(), value.cast::<PyArray>()) else { return Ok(None) };
    let array = array.get();
    let Err(not_there) = array.inner.tensor() else { return Ok(None) };
    if copy == Some(false) {
        return Err(not_there).or_raise(py);
    }
    let read = array.read(py, dtype.map(|dtype| (dtype, casting)))?;
    Ok(Some(PyTensor::object(py, read)?.into_any()))
}
