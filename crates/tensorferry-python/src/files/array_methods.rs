//! The methods of `tensorferry.Array`.

use super::array::{AT_ONCE, PyArray};
use super::path::path_or_url;
use super::rows::Rows;
use crate::errors::{OrRaise, raise};
use crate::interop::array::as_asked;
use crate::interop::dtype;
use crate::runtime::unwinding::guard;
use crate::tensor::object::PyTensor;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use tensorferry::{ByteOrder, Mode, Tensor};

#[pymethods]
impl PyArray {
    /// Length of each dimension.
    #[getter]
    pub(crate) fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        guard();
        PyTuple::new(py, self.inner.shape())
    }

    /// The `numpy.dtype` of the elements, in this machine's byte order.
    #[getter]
    fn dtype<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        guard();
        dtype::to_numpy(py, self.inner.dtype(), ByteOrder::Native)
    }

    /// Number of dimensions.
    #[getter]
    fn ndim(&self) -> usize {
        guard();
        self.inner.shape().len()
    }

    /// Number of elements.
    #[getter]
    fn size(&self) -> usize {
        guard();
        self.inner.shape().iter().product()
    }

    /// Bytes per element.
    #[getter]
    fn itemsize(&self) -> usize {
        guard();
        self.inner.dtype().size()
    }

    /// Bytes of all elements.
    #[getter]
    fn nbytes(&self) -> usize {
        guard();
        self.inner.nbytes()
    }

    /// How it is read: "map", "read" or "direct".
    #[getter]
    fn mode(&self) -> &'static str {
        guard();
        self.inner.mode().name()
    }

    /// The files, in the order of their rows; URLs as text.
    #[getter]
    fn paths<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        guard();
        self.inner.paths().map(|path| path_or_url(py, path)).collect()
    }

    /// All elements as a read-only NumPy array over the mmapped file, without reading or copying.
    /// Its dtype has the file's byte order.
    ///
    /// Raises:
    ///     tensorferry.errors.NotShareableError: the array is not mmapped, or is in several files;
    ///         `numpy.asarray(array)` reads all of it.
    fn numpy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        guard();
        let Ok(tensor) = self.inner.tensor() else {
            let why = match self.inner.mode() {
                Mode::Map => "it is in several files",
                _ => "it is not mmapped. Open it with mode=\"map\"",
            };
            let message = format!(
                "this array cannot be viewed as a NumPy array: {why}. Take rows, array[:100], or \
                read all with numpy.asarray(array)."
            );
            return Err(raise(py, "not_shareable", message));
        };
        PyTensor::numpy(&PyTensor::object(py, tensor)?)
    }

    /// The same array in another dtype: nothing is read now, and elements are converted when they
    /// are read.
    ///
    /// Saving it makes a file of the other dtype, of any size: `save("narrow.npy",
    /// open("wide.npy").astype("int32"))`. To read all of it into memory, `tensor(array, dtype)`
    /// does the same, and shares memory if no conversion is needed; a dataset has `Dataset.cast`.
    ///
    /// Args:
    ///     dtype: a `numpy.dtype`, `tf.DType`, type or name.
    ///     casting: what happens to values that the dtype cannot hold: `"checked"` raises on
    ///         reading, `"saturate"` clamps, `"wrap"` keeps the low bits.
    ///
    /// Raises:
    ///     tensorferry.errors.InvalidTypeError: the conversion is not defined (complex to real).
    ///
    /// >>> import numpy as np, os, tempfile, tensorferry
    /// >>> path = os.path.join(tempfile.mkdtemp(), "squares.npy")
    /// >>> np.save(path, np.arange(5) ** 2)
    /// >>> tensorferry.open(path).astype("uint8")[3:]
    /// tensorferry.Tensor([ 9, 16], shape=(2,), dtype=uint8)
    #[pyo3(signature = (dtype, casting = "checked"))]
    fn astype(&self, py: Python<'_>, dtype: &Bound<'_, PyAny>, casting: &str) -> PyResult<Self> {
        guard();
        let to = dtype::parse_ours(Some(dtype))?.unwrap_or(self.inner.dtype());
        let inner = self.inner.cast(to, dtype::parse_casting(py, casting)?).or_raise(py)?;
        let recipe =
            ("astype", (&self.recipe, to.name(), casting)).into_pyobject(py)?.into_any().unbind();
        Ok(Self { inner, recipe })
    }

    #[pyo3(signature = (dtype = None, copy = None))]
    fn __array__<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<&Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard();
        let elements = match copy {
            Some(false) => self.numpy(py)?,
            _ => PyTensor::numpy(&PyTensor::object(py, self.read(py, None)?)?)?,
        };
        as_asked(elements, dtype, copy)
    }

    fn __len__(&self) -> PyResult<usize> {
        guard();
        self.inner
            .shape()
            .first()
            .copied()
            .ok_or_else(|| PyTypeError::new_err("len() of a 0-d array"))
    }

    /// Rows as a `Tensor`, by a number, a slice, a list or array of numbers, or a mask. Further
    /// indices apply within the rows.
    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        index: &Bound<'_, PyAny>,
    ) -> PyResult<Bound<'py, PyTensor>> {
        guard();
        PyTensor::object(py, Rows::parse(self, index)?.take(py, self)?)
    }

    fn __iter__(slf: &Bound<'_, Self>) -> PyResult<RowIterator> {
        guard();
        slf.get().__len__()?;
        Ok(RowIterator { array: slf.clone().unbind(), next: 0, block: None })
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        guard();
        let files = match self.inner.paths().len() {
            0 => String::new(),
            1 => self
                .inner
                .paths()
                .map(|path| format!(", {:?}", path.display().to_string()))
                .collect(),
            many => format!(", {many} files"),
        };
        let (shape, dtype, mode) = (self.shape(py)?, self.inner.dtype(), self.inner.mode());
        Ok(format!("<tensorferry.Array shape={shape} dtype={dtype} mode={mode}{files}>"))
    }

    /// Pickled as the names of its files, which unpickling opens again.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        guard();
        slf.py()
            .import("tensorferry._files.opened")?
            .call_method1("reduce", (slf, &slf.get().recipe))
    }
}

/// Iterates over the rows of an array, reading a few MiB at a time.
#[pyclass]
pub(crate) struct RowIterator {
    array: Py<PyArray>,
    next: usize,
    /// A block of rows, and the number of its first row.
    block: Option<(usize, Tensor)>,
}

#[pymethods]
impl RowIterator {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        guard();
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTensor>>> {
        guard();
        let array = self.array.get();
        let len = array.inner.len();
        if self.next >= len {
            self.block = None;
            return Ok(None);
        }
        let ready = self.block.take().filter(|(first, rows)| self.next < first + rows.shape()[0]);
        let (first, rows) = match ready {
            Some(block) => block,
            None => {
                let row = array.inner.nbytes() / len;
                let rows = (AT_ONCE / row.max(1)).clamp(1, len - self.next);
                (self.next, array.run(py, rows * row, |array| array.slice(self.next, rows))?)
            }
        };
        let at = isize::try_from(self.next - first)?;
        let row = rows.index(&[tensorferry::Index::At(at)]).or_raise(py)?;
        self.block = Some((first, rows));
        self.next += 1;
        PyTensor::object(py, row).map(Some)
    }
}
