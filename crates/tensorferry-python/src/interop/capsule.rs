//! DLPack capsules: the Python side of the exchange (dlpack.h 1.0, and `__dlpack__` of
//! data-apis.org/array-api).

use crate::errors::{OrRaise, raise};
use crate::runtime::attach::keywords;
use crate::runtime::exception::{exception, raised};
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyString};
use std::ffi::{CStr, c_void};
use std::ptr::NonNull;
use tensorferry::Tensor;
use tensorferry::dlpack::{self, DLManagedTensor, DLManagedTensorVersioned};

const LEGACY: &CStr = c"dltensor";
const LEGACY_USED: &CStr = c"used_dltensor";
const VERSIONED: &CStr = c"dltensor_versioned";
const VERSIONED_USED: &CStr = c"used_dltensor_versioned";

/// An unversioned capsule, which cannot mark the memory as read-only. TensorFlow accepts no other.
pub(crate) fn legacy<'py>(py: Python<'py>, tensor: Tensor) -> PyResult<Bound<'py, PyAny>> {
    let managed = dlpack::export(tensor).or_raise(py)?;
    // SAFETY: the name is static, and `drop_legacy` frees the tensor unless a consumer has taken
    // it.
    let capsule =
        unsafe { ffi::PyCapsule_New(managed.as_ptr().cast(), LEGACY.as_ptr(), Some(drop_legacy)) };
    if capsule.is_null() {
        // SAFETY: the capsule was not made, so this function still owns the tensor.
        unsafe { dlpack::delete(managed) };
    }
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, capsule) }
}

/// A DLPack 1.0 capsule; `flags` mark the memory as read-only, or as a copy.
pub(crate) fn versioned<'py>(
    py: Python<'py>,
    tensor: Tensor,
    flags: u64,
) -> PyResult<Bound<'py, PyAny>> {
    let managed = dlpack::export_versioned(tensor, flags).or_raise(py)?;
    // SAFETY: the name is static, and `drop_versioned` frees the tensor unless a consumer has taken
    // it.
    let capsule = unsafe {
        ffi::PyCapsule_New(managed.as_ptr().cast(), VERSIONED.as_ptr(), Some(drop_versioned))
    };
    if capsule.is_null() {
        // SAFETY: the capsule was not made, so this function still owns the tensor.
        unsafe { dlpack::delete_versioned(managed) };
    }
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, capsule) }
}

/// The tensor in a capsule of this name; `None` for another name, as a consumed capsule has.
unsafe fn untaken(capsule: *mut ffi::PyObject, name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: the caller passes a live capsule.
    if unsafe { ffi::PyCapsule_IsValid(capsule, name.as_ptr()) } == 0 {
        return None;
    }
    // SAFETY: the capsule is valid under this name.
    NonNull::new(unsafe { ffi::PyCapsule_GetPointer(capsule, name.as_ptr()) })
}

unsafe extern "C" fn drop_legacy(capsule: *mut ffi::PyObject) {
    // SAFETY: Python calls this with the dying capsule.
    if let Some(managed) = unsafe { untaken(capsule, LEGACY) } {
        // SAFETY: no consumer took the tensor, so the capsule still owns it.
        unsafe { dlpack::delete(managed.cast()) };
    }
}

unsafe extern "C" fn drop_versioned(capsule: *mut ffi::PyObject) {
    // SAFETY: Python calls this with the dying capsule.
    if let Some(managed) = unsafe { untaken(capsule, VERSIONED) } {
        // SAFETY: no consumer took the tensor, so the capsule still owns it.
        unsafe { dlpack::delete_versioned(managed.cast()) };
    }
}

/// The tensor behind an object's `__dlpack__`, and whether it is read-only.
pub(crate) fn import(object: &Bound<'_, PyAny>) -> PyResult<(Tensor, bool)> {
    let py = object.py();
    check_exportable(object)?;
    let resolved;
    let object = if object.hasattr(intern!(py, "resolve_neg"))? {
        resolved =
            py.import("tensorferry._convert.dlpack")?.call_method1("exportable", (object,))?;
        &resolved
    } else {
        object
    };
    if let Ok(device) = object.call_method0(intern!(py, "__dlpack_device__")) {
        let (kind, _): (i64, i64) = device.extract()?;
        if kind != 1 {
            let message = format!(
                "the array is on a device of DLPack type {kind}, not in main memory. Move it to \
                the CPU first."
            );
            return Err(raise(py, "dlpack", message));
        }
    }
    let keywords = keywords(py, "max_version", (1, 0))?;
    let capsule = match object.call_method(intern!(py, "__dlpack__"), (), Some(&keywords)) {
        Ok(capsule) => capsule,
        Err(error) => {
            let error = exception(py, error);
            // Producers older than DLPack 1.0 do not know the argument.
            if !error.is_instance_of::<PyTypeError>() {
                return Err(raised(error));
            }
            object.call_method0(intern!(py, "__dlpack__"))?
        }
    };
    take(&capsule)
}

/// Refuses dtypes for which TensorFlow's exporter aborts the process.
fn check_exportable(object: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = object.py();
    let Some(dtype) = object.getattr_opt(intern!(py, "dtype"))? else { return Ok(()) };
    let Some(name) = dtype.getattr_opt(intern!(py, "name"))? else { return Ok(()) };
    let Ok(name) = name.cast_into::<PyString>() else { return Ok(()) };
    let name = name.to_cow()?;
    if matches!(name.trim_end_matches("_ref"), "string" | "variant" | "resource") {
        let message = format!(
            "a tensor of dtype {name} holds no numbers. Decode strings into numbers with \
            TensorFlow first, or keep them there."
        );
        return Err(raise(py, "unsupported_dtype", message));
    }
    Ok(())
}

/// Takes the tensor out of a capsule, which is used up.
fn take(capsule: &Bound<'_, PyAny>) -> PyResult<(Tensor, bool)> {
    let py = capsule.py();
    if !capsule.is_instance_of::<PyCapsule>() {
        let message =
            format!("__dlpack__ returned a {}, not a capsule", capsule.get_type().name()?);
        return Err(raise(py, "dlpack", message));
    }
    // SAFETY: `capsule` is a live capsule.
    let imported = if let Some(managed) = unsafe { untaken(capsule.as_ptr(), VERSIONED) } {
        mark(capsule, VERSIONED_USED)?;
        // SAFETY: the producer vouches for what a capsule of this name holds; it was unused, and is
        // now marked as used.
        unsafe { dlpack::import_versioned(managed.cast::<DLManagedTensorVersioned>()) }
    // SAFETY: `capsule` is a live capsule.
    } else if let Some(managed) = unsafe { untaken(capsule.as_ptr(), LEGACY) } {
        mark(capsule, LEGACY_USED)?;
        // SAFETY: as above.
        unsafe { dlpack::import(managed.cast::<DLManagedTensor>()) }
    } else {
        return Err(raise(
            py,
            "dlpack",
            "the capsule holds no tensor, or its tensor was already taken".to_owned(),
        ));
    };
    imported.map(|imported| (imported.tensor, imported.read_only)).or_raise(py)
}

fn mark(capsule: &Bound<'_, PyAny>, name: &'static CStr) -> PyResult<()> {
    // SAFETY: `capsule` is a live capsule and the name is static.
    let status = unsafe { ffi::PyCapsule_SetName(capsule.as_ptr(), name.as_ptr()) };
    if status == 0 { Ok(()) } else { Err(PyErr::fetch(capsule.py())) }
}
