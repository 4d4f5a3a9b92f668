//! `__array_interface__`, compared with the length of the buffer, which NumPy does not check.
//!
//! # Limitations
//! An interface with a plain address cannot be checked.

use crate::errors::OrRaise;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMemoryView, PyTuple};
use tensorferry::Layout;
use tensorferry::error::CoreError;

/// Refuses an interface whose elements reach outside its buffer. NumPy refuses malformed ones.
pub(crate) fn check(value: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = value.py();
    let Some(interface) = value.getattr_opt(intern!(py, "__array_interface__"))? else {
        return Ok(());
    };
    let Ok(interface) = interface.cast::<PyDict>() else { return Ok(()) };
    // Without data, the object itself is the buffer.
    let data =
        interface.get_item("data")?.filter(|data| !data.is_none()).unwrap_or_else(|| value.clone());
    if data.is_instance_of::<PyTuple>() {
        return Ok(());
    }
    let Ok(len) = PyMemoryView::from(&data)
        .and_then(|view| view.getattr(intern!(py, "nbytes"))?.extract::<usize>())
    else {
        return Ok(());
    };
    let Some((layout, offset)) = described(interface)? else { return Ok(()) };
    let layout = layout.or_raise(py)?;
    let span = layout.span();
    let (start, end) =
        (i128::from(offset) + span.start as i128, i128::from(offset) + span.end as i128);
    if start < 0 || end > len as i128 {
        return Err(CoreError::OutOfBounds { start, end, len }).or_raise(py);
    }
    Ok(())
}

/// The layout and offset of an interface; `None` if it has none.
fn described(interface: &Bound<'_, PyDict>) -> PyResult<Option<(Result<Layout, CoreError>, i64)>> {
    let py = interface.py();
    let given =
        |name: &str| interface.get_item(name).map(|item| item.filter(|item| !item.is_none()));
    let (Some(shape), Some(typestr)) = (given("shape")?, given("typestr")?) else {
        return Ok(None);
    };
    let itemsize = py
        .import("numpy")?
        .call_method1("dtype", (typestr,))
        .and_then(|dtype| dtype.getattr("itemsize")?.extract::<usize>());
    let (Ok(shape), Ok(itemsize)) = (shape.extract::<Vec<usize>>(), itemsize) else {
        return Ok(None);
    };
    let offset = match given("offset")?.map(|offset| offset.extract::<i64>()) {
        Some(Ok(offset)) => offset,
        Some(Err(_)) => return Ok(None),
        None => 0,
    };
    let layout = match given("strides")?.map(|strides| strides.extract::<Vec<isize>>()) {
        Some(Ok(strides)) => Layout::strided(&shape, &strides, itemsize),
        Some(Err(_)) => return Ok(None),
        None => Layout::contiguous(&shape, itemsize),
    };
    Ok(Some((layout, offset)))
}
