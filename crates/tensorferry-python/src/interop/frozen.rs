//! Whether anything can change an array.

use super::array::{base_of, is_writeable};
use super::memory::Block;
use crate::tensor::object::PyTensor;
use numpy::PyUntypedArray;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

/// Whether nothing can change the array's elements: it is read-only, and so is everything it is a
/// view of.
///
/// An array that owns its memory counts as unchanging when its `writeable` flag is off, although
/// its owner could set it again.
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

/// Whether an object that owns memory, but is no array, guards it from change.
fn is_frozen_owner(owner: &Bound<'_, PyAny>) -> bool {
    // A block has one array over it, found read-only on the way here.
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
    // A file mapped with ACCESS_READ: the mapping exports a read-only buffer. Others that do may
    // still change underneath.
    let is_map = owner.get_type().fully_qualified_name().is_ok_and(|name| name == "mmap.mmap");
    is_map
        && PyMemoryView::from(owner)
            .and_then(|view| view.getattr(intern!(py, "readonly"))?.is_truthy())
            .unwrap_or(false)
}
