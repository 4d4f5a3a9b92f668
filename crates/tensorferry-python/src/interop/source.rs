//! Python values as elements to read: ndarrays, tensors, and values that NumPy or DLPack convert.

use crate::errors::OrRaise;
use crate::files::array::PyArray;
use crate::interop::array::{self, Parts};
use crate::interop::capsule;
use crate::interop::exports::{self, Held};
use crate::interop::foreign;
use crate::interop::frozen::is_frozen;
use crate::interop::interface;
use crate::interop::kinds;
use crate::interop::masked;
use crate::runtime::deferred_drop::Keep;
use crate::tensor::object::PyTensor;
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::intern;
use pyo3::prelude::*;
use std::ptr::NonNull;
use std::sync::Arc;
use tensorferry::error::CoreError;
use tensorferry::{ALIGNMENT, Buffer, ByteOrder, Casting, DType, Tensor, View};

/// The GIL is released for work on more bytes than this.
pub(crate) const GIL_BYTES: usize = 64 << 10;

/// Elements to read, and what keeps them alive.
pub(crate) enum Source<'py> {
    /// An ndarray, and the export of memory that it does not own.
    Array(Bound<'py, PyUntypedArray>, Parts, Option<Arc<Keep<Held>>>),
    /// A tensor of this library or of DLPack; `frozen` if it cannot change.
    Tensor { tensor: Tensor, frozen: bool },
}

/// How memory may be shared.
#[derive(Clone, Copy)]
pub(crate) struct Sharing {
    /// `copy=`: `None` shares what cannot change, `Some(false)` shares or raises, `Some(true)`
    /// copies.
    pub(crate) copy: Option<bool>,
    /// Whether the result must be what frameworks take: C-contiguous, native, aligned to 64 bytes,
    /// bools 0 or 1.
    pub(crate) framework: bool,
}

/// The elements of a value.
pub(crate) enum Elements<'py> {
    Source(Source<'py>),
    /// An array of Python objects.
    Objects(Bound<'py, PyUntypedArray>),
}

impl<'py> Source<'py> {
    /// A tensor that cannot change.
    pub(crate) fn frozen(tensor: Tensor) -> Self {
        Self::Tensor { tensor, frozen: true }
    }

    /// Reads an array, not a Python list or number; `None` for other values, and if the dtype is
    /// not supported.
    ///
    /// A table is converted to the dtype `to`, if given, column by column.
    pub(crate) fn read(
        value: &Bound<'py, PyAny>,
        to: Option<(DType, Casting)>,
        copy: Option<bool>,
    ) -> PyResult<Option<Elements<'py>>> {
        if let Some(known) = Self::known(value)? {
            return Ok(known.map(Elements::Source).or_else(|| objects(value)));
        }
        let py = value.py();
        if let Some(read) = foreign::read(value, to, copy)? {
            return Ok(Self::known(&read)?
                .flatten()
                .map(Elements::Source)
                .or_else(|| objects(&read)));
        }
        if kinds::is_foreign(value)? {
            return Ok(None);
        }
        if value.hasattr(intern!(py, "__dlpack__"))?
            && !value.hasattr(intern!(py, "__array_interface__"))?
        {
            let (tensor, read_only) = capsule::import(value)?;
            return Ok(Some(Elements::Source(Self::Tensor { tensor, frozen: read_only })));
        }
        if kinds::is_composite(value)? || !kinds::is_array_like(value)? {
            return Ok(None);
        }
        interface::check(value)?;
        let array = kinds::as_array(value)?;
        match Self::known(&array)? {
            Some(Some(known)) => Ok(Some(Elements::Source(known))),
            _ => Ok(objects(&array)),
        }
    }

    /// Reads an ndarray, or a tensor or array of this library. The outer `None` means neither, the
    /// inner one an unsupported dtype.
    pub(crate) fn known(value: &Bound<'py, PyAny>) -> PyResult<Option<Option<Self>>> {
        if let Ok(array) = value.cast::<PyUntypedArray>() {
            let unmasked = masked::data(array)?;
            let array = unmasked.as_ref().unwrap_or(array);
            let parts = array::parts(array)?;
            return Ok(Some(
                parts.map(|parts| Self::Array(array.clone(), parts, exports::hold(array))),
            ));
        }
        if let Ok(tensor) = value.cast::<PyTensor>() {
            return Ok(Some(Some(Self::frozen(tensor.get().inner.clone()))));
        }
        if let Ok(array) = value.cast::<PyArray>() {
            return Ok(Some(Some(Self::frozen(array.get().read(value.py(), None)?))));
        }
        Ok(None)
    }

    pub(crate) fn dtype(&self) -> DType {
        match self {
            Self::Array(_, parts, _) => parts.dtype,
            Self::Tensor { tensor, .. } => tensor.dtype(),
        }
    }

    fn order(&self) -> ByteOrder {
        match self {
            Self::Array(_, parts, _) => parts.order,
            Self::Tensor { tensor, .. } => tensor.byte_order(),
        }
    }

    /// The elements.
    pub(crate) fn view(&self) -> View<'_> {
        match self {
            // SAFETY: NumPy vouches for the array's fields, and `self` keeps the array alive. The
            // caller has to prevent writes by other threads, as with every NumPy function that
            // releases the GIL.
            Self::Array(_, parts, _) => unsafe {
                View::from_raw(parts.dtype, parts.order, parts.layout.clone(), parts.data)
            },
            Self::Tensor { tensor, .. } => tensor.as_view(),
        }
    }

    /// A tensor of the elements, shared or copied as `sharing` says.
    pub(crate) fn to_tensor(
        &self,
        py: Python<'py>,
        dtype: Option<DType>,
        casting: Casting,
        sharing: Sharing,
    ) -> PyResult<Tensor> {
        let named = dtype.is_some();
        let dtype = dtype.unwrap_or(self.dtype());
        if sharing.copy != Some(true) {
            match (self.obstacle(dtype, named, sharing), sharing.copy) {
                (None, _) => return self.share().or_raise(py),
                (Some(why), Some(false)) => {
                    return Err(CoreError::NotShareable { why }).or_raise(py);
                }
                (Some(_), _) => {}
            }
        }
        let view = self.view();
        if view.layout().nbytes() > GIL_BYTES {
            py.detach(|| tensorferry::convert(&view, dtype, casting)).or_raise(py)
        } else {
            tensorferry::convert(&view, dtype, casting).or_raise(py)
        }
    }

    /// Why the elements cannot be shared, if so. A `named` dtype has this machine's byte order.
    fn obstacle(&self, dtype: DType, named: bool, sharing: Sharing) -> Option<&'static str> {
        if dtype != self.dtype() {
            return Some(
                "the dtype changes. Ask for the source's dtype, or allow a copy with copy=None.",
            );
        }
        if named && self.order() == ByteOrder::Swapped {
            return Some(
                "its byte order is not this machine's. Ask for no dtype, or allow a copy with \
                copy=None.",
            );
        }
        if sharing.framework
            && let Some(why) = framework_obstacle(&self.view())
        {
            return Some(why);
        }
        if sharing.copy == Some(false) {
            return None; // the user asked to share memory that may change
        }
        (!self.is_frozen()).then_some("the source may change")
    }

    fn is_frozen(&self) -> bool {
        match self {
            Self::Array(array, ..) => is_frozen(array),
            Self::Tensor { frozen, .. } => *frozen,
        }
    }

    /// A tensor that shares the elements, and whether they cannot change.
    ///
    /// The caller reads the tensor of an array that may change only while its user could read the
    /// array.
    pub(crate) fn shared(&self) -> Result<(Tensor, bool), CoreError> {
        Ok((self.share()?, self.is_frozen()))
    }

    fn share(&self) -> Result<Tensor, CoreError> {
        match self {
            Self::Tensor { tensor, .. } => Ok(tensor.clone()),
            Self::Array(array, parts, held) => {
                let span = parts.layout.span();
                let start = NonNull::new(parts.data.wrapping_offset(span.start))
                    .unwrap_or(NonNull::dangling());
                let owner = exports::keep(array, held.as_ref());
                // SAFETY: the array, which the owner keeps alive, vouches for the bytes its layout
                // spans. They are not written: the array is frozen, or copy=False promises that.
                let buffer =
                    unsafe { Buffer::from_raw_parts(start, span.end.abs_diff(span.start), owner) };
                Tensor::new(
                    parts.dtype,
                    parts.order,
                    parts.layout.clone(),
                    buffer,
                    span.start.unsigned_abs(),
                )
            }
        }
    }
}

/// Why a framework cannot take these elements where they are, if so.
pub(crate) fn framework_obstacle(view: &View<'_>) -> Option<&'static str> {
    if view.byte_order() == ByteOrder::Swapped {
        return Some(
            "its byte order is not this machine's. Convert it with astype, or allow a copy with \
            copy=None.",
        );
    }
    if !view.layout().is_c_contiguous() {
        return Some(
            "it is not C-contiguous. Use numpy.ascontiguousarray, or allow a copy with copy=None.",
        );
    }
    if !view.layout().is_empty() && !view.as_ptr().addr().is_multiple_of(ALIGNMENT) {
        return Some(
            "it is not aligned to 64 bytes, which TensorFlow and JAX require. Make arrays with \
            tensorferry.empty or inside tensorferry.aligned_memory(), or allow a copy with copy=None.",
        );
    }
    if !view.has_normal_bools() {
        return Some(
            "a bool is neither 0 nor 1. Compare with != 0, or allow a copy with copy=None.",
        );
    }
    None
}

/// An array of objects.
fn objects<'py>(array: &Bound<'py, PyAny>) -> Option<Elements<'py>> {
    let array = array.cast::<PyUntypedArray>().ok()?;
    (array.dtype().kind() == b'O').then(|| Elements::Objects(array.clone()))
}
