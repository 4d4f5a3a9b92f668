//! Whether anything can change an array.

use super::array::{base_of, is_writeable};
use super::memory::Block;
use crate::tensor::object::PyTensor;
use numpy::PyUntypedArray;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

/// Whether the array's elements cannot change: it is read-only, and so is everything that it is a
/// view of.
///
/// An array that owns its memory counts as frozen if its `writeable` flag is off, although the flag
/// can be set again.
pub(crate) fn is_frozen(array: &Bound<'_, PyUntypedArray>) -> bool {
    let mut array = array.clone();
    loop {
        if is_writeable(&array) {
            return false;
        }
        let Some(base) = base_of(&array) else { return true };
        match base.cast_into::<PyUntypedArray>() {
            Ok(base) => array = base,
            Err(other) => return is_frozen_owner(&other.into_inner()),
        }
    }
}

/// Whether an object that owns memory and is not an array protects it from change.
fn is_frozen_owner(owner: &Bound<'_, PyAny>) -> bool {
    // The only array over a block was found to be read-only before.
    if owner.is_instance_of::<PyBytes>()
        || owner.is_instance_of::<PyTensor>()
        || owner.is_instance_of::<Block>()
    {
        return true;
    }
    let py = owner.py();
    if owner.is_instance_of::<PyMemoryView>() {
        return owner.getattr(intern!(py, "obj")).is_ok_and(|obj| is_frozen_owner(&obj));
    }
    // A file mmapped with ACCESS_READ exports a read-only buffer. Other read-only exporters may
    // still change their memory.
    let is_map = owner.get_type().fully_qualified_name().is_ok_and(|name| name == "mmap.mmap");
    is_map
        && PyMemoryView::from(owner)
            .and_then(|view| view.getattr(intern!(py, "readonly"))?.is_truthy())
            .unwrap_or(false)
}
