//! dtypes of Python (`numpy.dtype`, `tf.DType`, types and names), to and from the library's.

use crate::errors::raise;
use crate::runtime::unwinding::guard;
use numpy::{PyArrayDescr, PyArrayDescrMethods};
use pyo3::PyTypeInfo;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyFloat, PyInt, PyString, PyType};
use tensorferry::{ByteOrder, Casting, DType};

/// The dtype for a NumPy dtype; `None` if tensors do not support it (strings, datetimes,
/// structures, float8 ...).
pub(crate) fn from_descr(descr: &Bound<'_, PyArrayDescr>) -> Option<(DType, ByteOrder)> {
    let dtype = match (descr.kind(), descr.itemsize()) {
        _ if descr.num() >= 256 => return user_dtype(descr),
        (b'b', 1) => DType::Bool,
        (b'i', 1) => DType::Int8,
        (b'i', 2) => DType::Int16,
        (b'i', 4) => DType::Int32,
        (b'i', 8) => DType::Int64,
        (b'u', 1) => DType::UInt8,
        (b'u', 2) => DType::UInt16,
        (b'u', 4) => DType::UInt32,
        (b'u', 8) => DType::UInt64,
        (b'f', 2) => DType::Float16,
        (b'f', 4) => DType::Float32,
        (b'f', 8) => DType::Float64,
        (b'c', 8) => DType::Complex64,
        (b'c', 16) => DType::Complex128,
        _ => return None,
    };
    let swapped =
        matches!((descr.byteorder(), cfg!(target_endian = "little")), (b'>', true) | (b'<', false));
    Some((dtype, if swapped { ByteOrder::Swapped } else { ByteOrder::Native }))
}

/// Extension dtypes of NumPy: bfloat16 of ml_dtypes is supported.
fn user_dtype(descr: &Bound<'_, PyArrayDescr>) -> Option<(DType, ByteOrder)> {
    let name = descr.typeobj().name().ok()?;
    (descr.itemsize() == 2 && name == "bfloat16").then_some((DType::BFloat16, ByteOrder::Native))
}

/// The `numpy.dtype` of a tensor's elements. bfloat16 needs the package ml_dtypes.
pub(crate) fn to_numpy<'py>(
    py: Python<'py>,
    dtype: DType,
    order: ByteOrder,
) -> PyResult<Bound<'py, PyAny>> {
    static CACHE: [PyOnceLock<Py<PyAny>>; 15] = [const { PyOnceLock::new() }; 15];
    let native = CACHE[dtype as usize].get_or_try_init(py, || {
        let name: Bound<'_, PyAny> = match dtype {
            DType::BFloat16 => py.import("ml_dtypes")?.getattr("bfloat16")?,
            _ => PyString::new(py, dtype.name()).into_any(),
        };
        PyResult::Ok(PyArrayDescr::new(py, &name)?.into_any().unbind())
    })?;
    let native = native.bind(py).clone();
    match order {
        ByteOrder::Native => Ok(native),
        ByteOrder::Swapped => native.call_method1(intern!(py, "newbyteorder"), ("S",)),
    }
}

/// The value of a `dtype=` argument.
pub(crate) enum Asked {
    /// None: the source's dtype.
    Inferred,
    /// A dtype of the library.
    Ours(DType),
    /// Another dtype (a string, float8 ...), which is left to TensorFlow.
    Other,
}

/// Reads a `dtype=` argument: a `tf.DType`, `torch.dtype`, `numpy.dtype`, type or name, the
/// same for all functions.
///
/// Python types mean what TensorFlow makes of their values: float is float32, int is int32. Other
/// names are NumPy's.
pub(crate) fn parse(dtype: Option<&Bound<'_, PyAny>>) -> PyResult<Asked> {
    let Some(dtype) = dtype else { return Ok(Asked::Inferred) };
    let py = dtype.py();
    if let Ok(name) = dtype.cast::<PyString>()
        && let Some(dtype) = named(&name.to_cow()?)
    {
        return Ok(Asked::Ours(dtype));
    }
    if let Ok(descr) = dtype.cast::<PyArrayDescr>() {
        return Ok(asked(descr));
    }
    if let Ok(class) = dtype.cast::<PyType>() {
        if class.is(PyFloat::type_object(py)) {
            return Ok(Asked::Ours(DType::Float32));
        }
        if class.is(PyInt::type_object(py)) {
            return Ok(Asked::Ours(DType::Int32));
        }
    } else if let Some(framework) = frameworks(dtype)? {
        return Ok(framework.map_or(Asked::Other, Asked::Ours));
    }
    match PyArrayDescr::new(py, dtype) {
        Ok(descr) => Ok(asked(&descr)),
        Err(_) => {
            let message = format!(
                "dtype={} is not a dtype. Pass a tf.DType, torch.dtype, numpy.dtype, type or name.",
                dtype.repr()?
            );
            Err(raise(py, "unknown_dtype", message))
        }
    }
}

/// The dtype of a name that NumPy does not know, or knows as another: the library's, TensorFlow's
/// and PyTorch's names.
fn named(name: &str) -> Option<DType> {
    match name {
        "float" => Some(DType::Float32),
        "int" => Some(DType::Int32),
        _ => DType::from_name(name.strip_prefix("torch.").unwrap_or(name)),
    }
}

/// The dtype for a `tf.DType` or `torch.dtype`. The outer `None` means neither, the inner one an
/// unsupported dtype.
pub(crate) fn frameworks(dtype: &Bound<'_, PyAny>) -> PyResult<Option<Option<DType>>> {
    let py = dtype.py();
    if dtype.is_instance_of::<PyString>() {
        return Ok(None);
    }
    if let Some(number) = dtype.getattr_opt(intern!(py, "as_datatype_enum"))? {
        // Reference dtypes (of graph variables) are numbered 100 higher.
        let number: i32 = number.extract()?;
        return Ok(Some(DType::from_tensorflow(number % 100)));
    }
    if dtype.get_type().fully_qualified_name()? == "torch.dtype" {
        let name = dtype.str()?;
        return Ok(Some(DType::from_name(name.to_cow()?.trim_start_matches("torch."))));
    }
    Ok(None)
}

fn asked(descr: &Bound<'_, PyArrayDescr>) -> Asked {
    from_descr(descr).map_or(Asked::Other, |(dtype, _)| Asked::Ours(dtype))
}

/// Reads a `dtype=` argument that has to be a dtype of the library.
pub(crate) fn parse_ours(dtype: Option<&Bound<'_, PyAny>>) -> PyResult<Option<DType>> {
    match (parse(dtype)?, dtype) {
        (Asked::Ours(dtype), _) => Ok(Some(dtype)),
        (Asked::Other, Some(dtype)) => {
            let message = format!(
                "dtype={}: only bool, the integers, floats and complex numbers become tensors here",
                dtype.repr()?
            );
            Err(raise(dtype.py(), "unsupported_dtype", message))
        }
        _ => Ok(None),
    }
}

/// Reads a dtype and byte order of elements in a file.
pub(crate) fn parse_stored(dtype: &Bound<'_, PyAny>) -> PyResult<(DType, ByteOrder)> {
    let ours = parse_ours(Some(dtype))?.unwrap_or(DType::UInt8);
    let described = PyArrayDescr::new(dtype.py(), dtype).ok().and_then(|descr| from_descr(&descr));
    Ok((
        ours,
        described.filter(|(dtype, _)| *dtype == ours).map_or(ByteOrder::Native, |(_, order)| order),
    ))
}

/// Reads a `casting=` argument.
pub(crate) fn parse_casting(py: Python<'_>, casting: &str) -> PyResult<Casting> {
    casting
        .parse()
        .map_err(|error| raise(py, "unknown_casting", format!("casting={casting:?}: {error}")))
}

/// The name of a dtype of the library.
#[pyfunction]
pub(crate) fn dtype_name(dtype: &Bound<'_, PyAny>) -> PyResult<&'static str> {
    guard();
    let named = parse_ours(Some(dtype))?;
    named
        .map(DType::name)
        .ok_or_else(|| raise(dtype.py(), "unknown_dtype", "dtype=None is not a dtype".to_owned()))
}

/// The `numpy.dtype` of that name.
#[pyfunction]
pub(crate) fn numpy_dtype<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    guard();
    match DType::from_name(name) {
        Some(dtype) => to_numpy(py, dtype, ByteOrder::Native),
        None => Err(raise(py, "unknown_dtype", format!("{name:?} is not a dtype"))),
    }
}
