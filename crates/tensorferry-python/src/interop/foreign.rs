//! Containers of other libraries: tables, and lazily read arrays.
//! `tensorferry._convert.foreign` knows them.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyComplex, PyFloat, PyInt, PyList, PyTuple};
use tensorferry::{Casting, DType};

/// The numbers of a table, or of an array in another library's file, as an ndarray or a tensor;
/// `None` for other values.
///
/// A table is converted to the given dtype column by column, as `casting` says. Without a dtype, it
/// becomes the one that its columns share, if that holds every value.
pub(crate) fn read<'py>(
    value: &Bound<'py, PyAny>,
    to: Option<(DType, Casting)>,
    copy: Option<bool>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    static READ: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = value.py();
    if is_known(value)? {
        return Ok(None);
    }
    let read = READ.get_or_try_init(py, || {
        py.import("tensorferry._convert.foreign")?.getattr(intern!(py, "read")).map(Bound::unbind)
    })?;
    let (dtype, casting) =
        to.map_or((None, Casting::Checked), |(dtype, casting)| (Some(dtype.name()), casting));
    let found = read.bind(py).call1((value, dtype, casting.name(), copy))?;
    Ok((!found.is_none()).then_some(found))
}

/// Whether a value is a Python number, a list or a framework's tensor: a fast check for the common
/// case.
fn is_known(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = value.py();
    let numbers = value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyComplex>()
        || value.is_exact_instance_of::<PyList>()
        || value.is_exact_instance_of::<PyTuple>();
    // Arrow's arrays of some types have DLPack too.
    Ok(numbers
        || (value.hasattr(intern!(py, "__dlpack__"))?
            && !value.hasattr(intern!(py, "__arrow_c_array__"))?))
}
