//! Memory that others own, and how they are kept from giving it up.
//!
//! An array is often a view of memory that something else owns, and may close or move: a mapping, a
//! bytearray, shared memory. NumPy gives the buffer of such an owner back as soon as the array is
//! made. So what is read or shared here takes an export of its own from the owner: `close()`,
//! `release()` and `resize()` raise `BufferError` while it lasts.
//!
//! # Limitations
//! An owner that exports no buffer, or does not count its exports
//! (`ndarray.resize(refcheck=False)`, `ctypes.resize`), is kept alive, and that is all that can be
//! done.

use crate::interop::array::base_of;
use crate::interop::memory::Block;
use crate::runtime::deferred_drop::Keep;
use crate::tensor::object::PyTensor;
use numpy::PyUntypedArray;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule};
use std::any::Any;
use std::sync::Arc;

/// An array, and the export that keeps the memory where it is.
pub(crate) struct Held {
    // Given back in this order: the export first.
    _export: Option<PyUntypedBuffer>,
    /// What the memory belongs to, which some versions of NumPy let an array exchange (`array.data
    /// = ...`).
    _owner: Py<PyAny>,
    _array: Py<PyUntypedArray>,
}

/// Keeps the owner of an array's memory from giving it up; `None` if that is the array itself, or
/// never gives it up.
pub(crate) fn hold(array: &Bound<'_, PyUntypedArray>) -> Option<Arc<Keep<Held>>> {
    let owner = owner(array).filter(exports)?;
    // A refusal is no error here: then the owner is kept alive.
    let export = PyUntypedBuffer::get(&owner).ok();
    Some(Arc::new(Keep::new(Held {
        _export: export,
        _owner: owner.unbind(),
        _array: array.clone().unbind(),
    })))
}

/// Keeps an array alive, and its memory where it is.
pub(crate) fn keep(
    array: &Bound<'_, PyUntypedArray>,
    held: Option<&Arc<Keep<Held>>>,
) -> Arc<dyn Any + Send + Sync> {
    match held {
        Some(held) => Arc::<Keep<Held>>::clone(held),
        None => Arc::new(Keep::new(array.clone().into_any().unbind())),
    }
}

/// What the memory of an array belongs to, if not to an array.
fn owner<'py>(array: &Bound<'py, PyUntypedArray>) -> Option<Bound<'py, PyAny>> {
    let mut base = base_of(array)?;
    loop {
        match base.cast_into::<PyUntypedArray>() {
            Ok(array) => base = base_of(&array)?,
            Err(other) => return Some(other.into_inner()),
        }
    }
}

/// Whether an owner may have a buffer to export and could give it up otherwise.
fn exports(owner: &Bound<'_, PyAny>) -> bool {
    !(owner.is_instance_of::<Block>()
        || owner.is_instance_of::<PyTensor>()
        || owner.is_instance_of::<PyBytes>()
        || owner.is_instance_of::<PyCapsule>())
}
