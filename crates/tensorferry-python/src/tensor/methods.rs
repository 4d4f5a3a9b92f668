//! The methods of `tensorferry.Tensor`.

use super::object::PyTensor;
use crate::errors::{OrRaise, raise};
use crate::interop::array::{self, as_asked};
use crate::interop::capsule;
use crate::interop::dtype;
use crate::interop::index;
use crate::interop::source::{Sharing, Source};
use crate::runtime::attach::keywords;
use crate::runtime::unwinding::guard;
use pyo3::basic::CompareOp;
use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use tensorferry::dlpack::{FLAG_IS_COPIED, FLAG_READ_ONLY};
use tensorferry::{ByteOrder, Casting, DType, Index, Tensor};

impl PyTensor {
    /// The tensor if frameworks accept its memory; otherwise, or with `copy=True`, a copy.
    fn for_framework(&self, py: Python<'_>, copy: Option<bool>) -> PyResult<Tensor> {
        let source = Source::frozen(self.inner.clone());
        source.to_tensor(py, None, Casting::Checked, Sharing { copy, framework: true })
    }

    /// An unversioned capsule for a framework that does not write to it.
    pub(crate) fn framework_capsule<'py>(
        &self,
        py: Python<'py>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        capsule::legacy(py, self.for_framework(py, copy)?)
    }
}

#[pymethods]
impl PyTensor {
    /// Length of each dimension.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        guard();
        PyTuple::new(py, self.inner.shape())
    }

    /// The `numpy.dtype` of the elements.
    #[getter]
    fn dtype<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        guard();
        dtype::to_numpy(py, self.inner.dtype(), self.inner.byte_order())
    }

    /// Bytes from one element to the next along each dimension.
    #[getter]
    fn strides<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        guard();
        PyTuple::new(py, self.inner.layout().strides())
    }

    /// Number of dimensions.
    #[getter]
    fn ndim(&self) -> usize {
        guard();
        self.inner.layout().ndim()
    }

    /// Number of elements.
    #[getter]
    fn size(&self) -> usize {
        guard();
        self.inner.layout().len()
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
        self.inner.layout().nbytes()
    }

    /// The elements as a read-only NumPy array, without a copy.
    pub(crate) fn numpy<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        guard();
        let inner = &slf.get().inner;
        let (dtype, data) = ((inner.dtype(), inner.byte_order()), inner.as_ptr().cast_mut());
        // SAFETY: the tensor, which becomes the array's base, keeps the memory alive; the array is
        // read-only.
        unsafe { array::over(slf.py(), dtype, inner.layout(), data, false, slf.clone().into_any()) }
    }

    /// The elements in another dtype; this tensor itself if it has that dtype already.
    #[pyo3(signature = (dtype, casting = "checked"))]
    fn astype<'py>(
        slf: &Bound<'py, Self>,
        dtype: &Bound<'_, PyAny>,
        casting: &str,
    ) -> PyResult<Bound<'py, Self>> {
        guard();
        let py = slf.py();
        let casting = dtype::parse_casting(py, casting)?;
        let target = dtype::parse_ours(Some(dtype))?;
        let source = Source::frozen(slf.get().inner.clone());
        Self::object(
            py,
            source.to_tensor(py, target, casting, Sharing { copy: None, framework: false })?,
        )
    }

    /// A `tf.Tensor`, sharing this memory where TensorFlow can take it.
    fn to_tensorflow<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        guard();
        slf.py().import("tensorferry.tensorflow")?.call_method1("from_tensor", (slf,))
    }

    /// A `torch.Tensor` of its own memory: PyTorch has no read-only tensors, and writing to this
    /// one's would crash.
    fn to_torch<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        guard();
        slf.py().import("tensorferry.torch")?.call_method1("from_tensor", (slf,))
    }

    /// A `jax.Array`, sharing this memory where JAX can take it.
    fn to_jax<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        guard();
        slf.py().import("tensorferry.jax")?.call_method1("from_tensor", (slf,))
    }

    #[pyo3(signature = (dtype = None, copy = None))]
    fn __array__<'py>(
        slf: &Bound<'py, Self>,
        dtype: Option<&Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard();
        as_asked(Self::numpy(slf)?, dtype, copy)
    }

    /// NumPy's description of the memory. It has no bfloat16, for which NumPy calls `__array__`.
    #[getter]
    fn __array_interface__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        guard();
        if slf.get().inner.dtype() == DType::BFloat16 {
            return Err(PyAttributeError::new_err(
                "__array_interface__ has no bfloat16. Use tensor.numpy().",
            ));
        }
        Self::numpy(slf)?.getattr("__array_interface__")
    }

    /// DLPack's device: main memory.
    fn __dlpack_device__(&self) -> (i32, i32) {
        guard();
        (1, 0)
    }

    /// A DLPack capsule. A versioned one (`max_version=(1, 0)` or higher) shares this memory and
    /// marks it as read-only. An unversioned one cannot, and holds a copy; so does one for PyTorch,
    /// which ignores the mark. `copy=False` accepts that the consumer could write.
    #[pyo3(signature = (
        *, stream = None, max_version = None, dl_device = None, copy = CopyAsked::Unnamed
    ))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<&Bound<'py, PyAny>>,
        max_version: Option<&Bound<'py, PyAny>>,
        dl_device: Option<&Bound<'py, PyAny>>,
        copy: CopyAsked,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard();
        // Extracted after the guard: extraction may run user code.
        let max_version = max_version.map(|version| version.extract::<(u32, u32)>()).transpose()?;
        let dl_device = dl_device.map(|device| device.extract::<(i32, i32)>()).transpose()?;
        let unnamed = copy == CopyAsked::Unnamed;
        let copy = match copy {
            CopyAsked::Unnamed => None,
            CopyAsked::Named(copy) => copy,
        };
        if stream.is_some() {
            return Err(raise(
                py,
                "dlpack",
                "stream= must be None: the tensor is in main memory".to_owned(),
            ));
        }
        if dl_device.is_some_and(|device| device != (1, 0)) {
            return Err(raise(
                py,
                "dlpack",
                "dl_device= must be (1, 0): the tensor is in main memory".to_owned(),
            ));
        }
        let native = self.inner.byte_order() == ByteOrder::Native;
        let whole = self
            .inner
            .layout()
            .strides()
            .iter()
            .all(|stride| stride.unsigned_abs().is_multiple_of(self.itemsize()));
        let shareable = native && whole;
        if copy == Some(false) && !shareable {
            let why = "its elements are byte-swapped or not whole strides apart. Allow a copy \
                with copy=None.";
            return Err(tensorferry::error::CoreError::NotShareable { why }).or_raise(py);
        }
        if max_version.is_some_and(|(major, _)| major >= 1) {
            let writes =
                || py.import("tensorferry._convert.dlpack")?.call_method0("may_write")?.is_truthy();
            let shared = copy != Some(true) && shareable && !(unnamed && writes()?);
            return match shared {
                true => capsule::versioned(py, self.inner.clone(), FLAG_READ_ONLY),
                false => {
                    capsule::versioned(py, self.for_framework(py, Some(true))?, FLAG_IS_COPIED)
                }
            };
        }
        match copy {
            Some(false) => capsule::legacy(py, self.inner.clone()),
            _ => capsule::legacy(py, self.for_framework(py, Some(true))?),
        }
    }

    fn __len__(&self) -> PyResult<usize> {
        guard();
        self.inner
            .shape()
            .first()
            .copied()
            .ok_or_else(|| PyTypeError::new_err("len() of a 0-d tensor"))
    }

    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        index: &Bound<'_, PyAny>,
    ) -> PyResult<Bound<'py, Self>> {
        guard();
        let index = index::parse(index, self.inner.layout())?;
        Self::object(py, self.inner.index(&index).or_raise(py)?)
    }

    fn __iter__(slf: &Bound<'_, Self>) -> PyResult<Rows> {
        guard();
        slf.get().__len__()?; // a 0-d tensor has no rows
        Ok(Rows { tensor: slf.get().inner.clone(), next: 0 })
    }

    /// Elementwise, as in NumPy.
    fn __richcmp__<'py>(
        slf: &Bound<'py, Self>,
        other: &Bound<'py, PyAny>,
        op: CompareOp,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard();
        let other = match other.cast::<Self>() {
            Ok(tensor) => Self::numpy(tensor)?,
            Err(_) => other.clone(),
        };
        Self::numpy(slf)?.rich_compare(other, op)
    }

    fn __bool__(slf: &Bound<'_, Self>) -> PyResult<bool> {
        guard();
        Self::numpy(slf)?.is_truthy()
    }

    fn __int__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        guard();
        Self::numpy(slf)?.call_method0("__int__")
    }

    fn __float__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        guard();
        Self::numpy(slf)?.call_method0("__float__")
    }

    fn __index__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        guard();
        Self::numpy(slf)?.call_method0("__index__")
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        guard();
        let py = slf.py();
        let options = keywords(py, "separator", ", ")?;
        options.set_item("prefix", "tensorferry.Tensor(")?;
        let text = py.import("numpy")?.call_method(
            "array2string",
            (Self::numpy(slf)?,),
            Some(&options),
        )?;
        let (shape, dtype) = (slf.get().shape(py)?, slf.get().dtype(py)?);
        Ok(format!("tensorferry.Tensor({text}, shape={shape}, dtype={dtype})"))
    }

    /// Pickled as its elements; protocol 5 can carry them out of band.
    fn __reduce_ex__<'py>(slf: &Bound<'py, Self>, protocol: u32) -> PyResult<Bound<'py, PyTuple>> {
        guard();
        let py = slf.py();
        let rebuild = py.import("tensorferry._convert.pickling")?;
        rebuild.call_method1("reduce", (slf, protocol))?.cast_into().map_err(PyErr::from)
    }
}

/// The argument `copy=` of `__dlpack__`. A consumer that passes it also knows read-only memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopyAsked {
    Unnamed,
    Named(Option<bool>),
}

impl<'py> FromPyObject<'_, 'py> for CopyAsked {
    type Error = PyErr;

    fn extract(copy: pyo3::Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        copy.extract().map(Self::Named)
    }
}

/// Iterates over the rows of a tensor.
#[pyclass]
pub(crate) struct Rows {
    tensor: Tensor,
    next: isize,
}

#[pymethods]
impl Rows {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        guard();
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTensor>>> {
        guard();
        let Ok(row) = self.tensor.index(&[Index::At(self.next)]) else { return Ok(None) };
        self.next += 1;
        PyTensor::object(py, row).map(Some)
    }
}
