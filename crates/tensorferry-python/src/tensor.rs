//! `tensorferry.Tensor`: an immutable array between frameworks.

use crate::array;
use crate::capsule;
use crate::dtype;
use crate::errors::{OrRaise, raise};
use crate::index;
use crate::source::{Sharing, Source, keywords};
use crate::unwinding::guard;
use pyo3::basic::CompareOp;
use pyo3::exceptions::{PyBufferError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr;
use tensorferry::dlpack::{FLAG_IS_COPIED, FLAG_READ_ONLY};
use tensorferry::{ByteOrder, DType, Index, Tensor};

/// An immutable array between frameworks. Made by `tensor()` and `open_npy()`.
#[pyclass(frozen, name = "Tensor", module = "tensorferry")]
pub(crate) struct PyTensor {
    pub(crate) inner: Tensor,
}

impl From<Tensor> for PyTensor {
    fn from(inner: Tensor) -> Self {
        Self { inner }
    }
}

impl PyTensor {
    /// A C-contiguous copy that nobody else sees.
    fn copied(&self, py: Python<'_>) -> PyResult<Tensor> {
        let source = Source::Tensor { tensor: self.inner.clone(), frozen: true };
        source.to_tensor(py, None, tensorferry::Casting::Checked, Sharing { copy: Some(true), framework: true })
    }

    /// A legacy capsule of this memory where a framework that does not write can take it, of a copy where not.
    pub(crate) fn framework_capsule<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let source = Source::Tensor { tensor: self.inner.clone(), frozen: true };
        let tensor = source.to_tensor(py, None, tensorferry::Casting::Checked, Sharing { copy: None, framework: true })?;
        capsule::legacy(py, tensor)
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
        self.inner.layout().ndim()
    }

    /// Number of elements.
    #[getter]
    fn size(&self) -> usize {
        self.inner.layout().len()
    }

    /// Bytes per element.
    #[getter]
    fn itemsize(&self) -> usize {
        self.inner.dtype().size()
    }

    /// Bytes of all elements.
    #[getter]
    fn nbytes(&self) -> usize {
        self.inner.layout().nbytes()
    }

    /// The elements as a read-only NumPy array, without a copy.
    pub(crate) fn numpy<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let inner = &slf.get().inner;
        let (dtype, data) = ((inner.dtype(), inner.byte_order()), inner.as_ptr().cast_mut());
        // SAFETY: the tensor, which becomes the array's base, keeps the memory alive; the array is read-only.
        unsafe { array::over(slf.py(), dtype, inner.layout(), data, false, slf.clone().into_any()) }
    }

    /// The elements in another dtype; this tensor itself if it has that dtype already.
    #[pyo3(signature = (dtype, casting = "checked"))]
    fn astype(slf: &Bound<'_, Self>, dtype: &Bound<'_, PyAny>, casting: &str) -> PyResult<Self> {
        let py = slf.py();
        let casting = dtype::parse_casting(py, casting)?;
        let target = dtype::parse_ours(Some(dtype))?;
        let source = Source::Tensor { tensor: slf.get().inner.clone(), frozen: true };
        Ok(source.to_tensor(py, target, casting, Sharing { copy: None, framework: false })?.into())
    }

    /// A `tf.Tensor`, sharing this memory where TensorFlow can take it.
    fn to_tensorflow<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        guard();
        slf.py().import("tensorferry.tensorflow")?.call_method1("from_tensor", (slf,))
    }

    /// A `torch.Tensor` of its own memory: PyTorch has no read-only tensors, and writing to this one's would crash.
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
        as_asked(Self::numpy(slf)?, dtype, copy)
    }

    #[getter]
    fn __array_interface__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::numpy(slf)?.getattr("__array_interface__")
    }

    /// DLPack's device: main memory.
    fn __dlpack_device__(&self) -> (i32, i32) {
        (1, 0)
    }

    /// A DLPack capsule. A versioned one (`max_version=(1, 0)` or higher) shares this memory and says that it is read-only; one without
    /// a version cannot say so and holds a copy, unless `copy=False` accepts that the consumer could write.
    #[pyo3(signature = (*, stream = None, max_version = None, dl_device = None, copy = None))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<&Bound<'py, PyAny>>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(i32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if stream.is_some() {
            return Err(raise(py, "dlpack", "stream= must be None: the tensor lies in main memory".to_owned()));
        }
        if dl_device.is_some_and(|device| device != (1, 0)) {
            return Err(raise(py, "dlpack", "dl_device= must be (1, 0): the tensor lies in main memory".to_owned()));
        }
        let native = self.inner.byte_order() == ByteOrder::Native;
        let whole = self.inner.layout().strides().iter().all(|stride| stride.unsigned_abs().is_multiple_of(self.itemsize()));
        let shareable = native && whole;
        if copy == Some(false) && !shareable {
            let why = "its elements are byte-swapped or not whole strides apart. Allow a copy with copy=None.";
            return Err(tensorferry::Error::NotShareable { why }).or_raise(py);
        }
        if max_version.is_some_and(|(major, _)| major >= 1) {
            return match copy != Some(true) && shareable {
                true => capsule::versioned(py, self.inner.clone(), FLAG_READ_ONLY),
                false => capsule::versioned(py, self.copied(py)?, FLAG_IS_COPIED),
            };
        }
        match copy {
            Some(false) => capsule::legacy(py, self.inner.clone()),
            _ => capsule::legacy(py, self.copied(py)?),
        }
    }

    fn __len__(&self) -> PyResult<usize> {
        self.inner.shape().first().copied().ok_or_else(|| PyTypeError::new_err("len() of a 0-d tensor"))
    }

    fn __getitem__(&self, py: Python<'_>, index: &Bound<'_, PyAny>) -> PyResult<Self> {
        guard();
        let index = index::parse(index, self.inner.layout())?;
        Ok(self.inner.index(&index).or_raise(py)?.into())
    }

    fn __iter__(slf: &Bound<'_, Self>) -> PyResult<Rows> {
        slf.get().__len__()?; // a 0-d tensor has no rows
        Ok(Rows { tensor: slf.get().inner.clone(), next: 0 })
    }

    /// Elementwise, as NumPy's.
    fn __richcmp__<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>, op: CompareOp) -> PyResult<Bound<'py, PyAny>> {
        let other = match other.cast::<Self>() {
            Ok(tensor) => Self::numpy(tensor)?,
            Err(_) => other.clone(),
        };
        Self::numpy(slf)?.rich_compare(other, op)
    }

    fn __bool__(slf: &Bound<'_, Self>) -> PyResult<bool> {
        Self::numpy(slf)?.is_truthy()
    }

    fn __int__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::numpy(slf)?.call_method0("__int__")
    }

    fn __float__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::numpy(slf)?.call_method0("__float__")
    }

    fn __index__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::numpy(slf)?.call_method0("__index__")
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        let options = keywords(py, "separator", ", ")?;
        options.set_item("prefix", "tensorferry.Tensor(")?;
        let text = py.import("numpy")?.call_method("array2string", (Self::numpy(slf)?,), Some(&options))?;
        let (shape, dtype) = (slf.get().shape(py)?, slf.get().dtype(py)?);
        Ok(format!("tensorferry.Tensor({text}, shape={shape}, dtype={dtype})"))
    }

    /// Pickled as its elements; protocol 5 can carry them out of band.
    fn __reduce_ex__<'py>(slf: &Bound<'py, Self>, protocol: u32) -> PyResult<Bound<'py, PyTuple>> {
        guard();
        let py = slf.py();
        let rebuild = py.import("tensorferry._pickle")?;
        rebuild.call_method1("reduce", (slf, protocol))?.cast_into().map_err(PyErr::from)
    }

    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: Python passes a Py_buffer to fill.
        unsafe { fill_buffer(&slf, view, flags) }
    }

    unsafe fn __releasebuffer__(&self, view: *mut ffi::Py_buffer) {
        // SAFETY: Python passes a Py_buffer that `fill_buffer` filled.
        let exported = unsafe { (*view).internal };
        // SAFETY: `fill_buffer` put a boxed Exported there, and each filled buffer is released once.
        drop(unsafe { Box::from_raw(exported.cast::<Exported>()) });
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
        slf
    }

    fn __next__(&mut self) -> Option<PyTensor> {
        guard();
        let row = self.tensor.index(&[Index::At(self.next)]).ok()?;
        self.next += 1;
        Some(row.into())
    }
}

/// What a filled `Py_buffer` points at.
struct Exported {
    format: CString,
    shape: Vec<isize>,
    strides: Vec<isize>,
}

/// What `__array__(dtype, copy)` gives where NumPy has the elements. NumPy 1 knows no `copy=None`, and copies where it may not.
pub(crate) fn as_asked<'py>(
    elements: Bound<'py, PyAny>,
    dtype: Option<&Bound<'py, PyAny>>,
    copy: Option<bool>,
) -> PyResult<Bound<'py, PyAny>> {
    let numpy = elements.py().import("numpy")?;
    if copy == Some(true) {
        return numpy.call_method1("array", (elements, dtype));
    }
    let array = numpy.call_method1("asarray", (&elements, dtype))?;
    if copy == Some(false) && !array.is(&elements) {
        let message = format!("{} as {}: unable to avoid a copy", elements.getattr("dtype")?, array.getattr("dtype")?);
        return Err(PyValueError::new_err(message));
    }
    Ok(array)
}

/// The struct-module format of a dtype; `None` for those the buffer protocol has no letter for.
fn format_of(dtype: DType) -> Option<&'static CStr> {
    Some(match dtype {
        DType::Bool => c"?",
        DType::Int8 => c"b",
        DType::Int16 => c"h",
        DType::Int32 => c"i",
        DType::Int64 => c"q",
        DType::UInt8 => c"B",
        DType::UInt16 => c"H",
        DType::UInt32 => c"I",
        DType::UInt64 => c"Q",
        DType::Float16 => c"e",
        DType::Float32 => c"f",
        DType::Float64 => c"d",
        DType::Complex64 => c"Zf",
        DType::Complex128 => c"Zd",
        DType::BFloat16 => return None,
    })
}

/// Fills a `Py_buffer` (docs.python.org/3/c-api/buffer.html).
unsafe fn fill_buffer(slf: &Bound<'_, PyTensor>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
    guard();
    let inner = &slf.get().inner;
    let asks = |flag: c_int| flags & flag == flag;
    let Some(format) = format_of(inner.dtype()) else {
        return Err(PyBufferError::new_err("the buffer protocol has no bfloat16: use tensor.numpy()"));
    };
    if asks(ffi::PyBUF_WRITABLE) {
        return Err(PyBufferError::new_err("a tensor is immutable: its buffer is read-only"));
    }
    let layout = inner.layout();
    let (c, f) = (layout.is_c_contiguous(), layout.is_f_contiguous());
    let needs_c = asks(ffi::PyBUF_C_CONTIGUOUS) || !asks(ffi::PyBUF_STRIDES);
    if (needs_c && !c) || (asks(ffi::PyBUF_F_CONTIGUOUS) && !f) {
        return Err(PyBufferError::new_err("the tensor is not contiguous in the order asked for"));
    }
    if asks(ffi::PyBUF_ANY_CONTIGUOUS) && !c && !f {
        return Err(PyBufferError::new_err("the tensor is not contiguous"));
    }
    let swapped = inner.byte_order() == ByteOrder::Swapped;
    let prefix = match (swapped, cfg!(target_endian = "little")) {
        (false, _) => "",
        (true, true) => ">",
        (true, false) => "<",
    };
    let mut format_bytes = prefix.as_bytes().to_vec();
    format_bytes.extend_from_slice(format.to_bytes());
    let mut exported = Box::new(Exported {
        format: CString::new(format_bytes)?,
        shape: layout.shape().iter().map(|dim| dim.cast_signed()).collect(),
        strides: layout.strides().to_vec(),
    });
    let filled = ffi::Py_buffer {
        buf: inner.as_ptr().cast_mut().cast::<c_void>(),
        obj: slf.clone().into_ptr(),
        len: layout.nbytes().cast_signed(),
        itemsize: layout.itemsize().cast_signed(),
        readonly: 1,
        ndim: c_int::try_from(layout.ndim())?,
        format: if asks(ffi::PyBUF_FORMAT) { exported.format.as_ptr().cast_mut() } else { ptr::null_mut() },
        shape: if asks(ffi::PyBUF_ND) { exported.shape.as_mut_ptr() } else { ptr::null_mut() },
        strides: if asks(ffi::PyBUF_STRIDES) { exported.strides.as_mut_ptr() } else { ptr::null_mut() },
        suboffsets: ptr::null_mut(),
        internal: Box::into_raw(exported).cast(),
    };
    // SAFETY: Python passes a Py_buffer to fill.
    unsafe { view.write(filled) };
    Ok(())
}
