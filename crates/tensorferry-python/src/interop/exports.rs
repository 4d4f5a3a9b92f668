//! Buffer exports, which keep the owner of borrowed memory from freeing it.
//!
//! An array is often a view of memory that another object owns, and may close or move: a memory
//! map, a bytearray, shared memory. NumPy releases the owner's buffer as soon as the array is made.
//! So arrays that are read or shared here take their own export from the owner. While it lasts,
//! `close()`, `release()` and `resize()` raise `BufferError`.
//!
//! # Limitations
//! An owner that exports no buffer, or does not count its exports
//! (`ndarray.resize(refcheck=False)`, `ctypes.resize`), is only kept alive.

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

/// An array, and an export that keeps its memory in place.
pub(crate) struct Held {
    // Dropped in this order: the export first.
    _export: Option<PyUntypedBuffer>,
    /// The owner of the memory, which `array.data = ...` can replace in some versions of NumPy.
    _owner: Py<PyAny>,
    _array: Py<PyUntypedArray>,
}

/// Keeps the owner of an array's memory from freeing it; `None` if that is the array itself, or an
/// owner that never frees it.
pub(crate) fn hold(array: &Bound<'_, PyUntypedArray>) -> Option<Arc<Keep<Held>>> {
    let owner = owner(array).filter(exports)?;
    // If the owner refuses, it is only kept alive.
    let export = PyUntypedBuffer::get(&owner).ok();
    Some(Arc::new(Keep::new(Held {
        _export: export,
        _owner: owner.unbind(),
        _array: array.clone().unbind(),
    })))
}

/// Keeps an array alive, and its memory in place.
pub(crate) fn keep(
    array: &Bound<'_, PyUntypedArray>,
    held: Option<&Arc<Keep<Held>>>,
) -> Arc<dyn Any + Send + Sync> {
    match held {
        Some(held) => Arc::<Keep<Held>>::clone(held),
        None => Arc::new(Keep::new(array.clone().into_any().unbind())),
    }
}

/// The owner of an array's memory, if it is not an array.
fn owner<'py>(array: &Bound<'py, PyUntypedArray>) -> Option<Bound<'py, PyAny>> {
    let mut base = base_of(array)?;
    loop {
        match base.cast_into::<PyUntypedArray>() {
            Ok(array) => base = base_of(&array)?,
            Err(other) => return Some(other.into_inner()),
        }
    }
}

/// Whether an owner may export a buffer, and could free its memory without that.
fn exports(owner: &Bound<'_, PyAny>) -> bool {
    !(owner.is_instance_of::<Block>()
        || owner.is_instance_of::<PyTensor>()
        || owner.is_instance_of::<PyBytes>()
        || owner.is_instance_of::<PyCapsule>())
}
