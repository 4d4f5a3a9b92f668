//! Conversion functions that need no framework.

use crate::errors::{self, OrRaise, raise};
use crate::files::array::read_for;
use crate::interop::array;
use crate::interop::capsule;
use crate::interop::dtype;
use crate::interop::exports;
use crate::interop::masked;
use crate::interop::nested::{Input, Rule};
use crate::interop::source::{GIL_BYTES, Sharing, Source};
use crate::runtime::exception::{exception, raised};
use crate::runtime::unwinding::guard;
use crate::tensor::object::PyTensor;
use numpy::PyUntypedArray;
use pyo3::prelude::*;
use tensorferry::{Casting, Scalar, ViewMut};

/// An immutable `Tensor` of the values: shared where that is sound, else copied and converted in
/// one pass.
///
/// Args:
///     value: an ndarray, a Tensor, an object with `__array__`, `__array_interface__`, `__dlpack__`
///         or the buffer protocol, a number, a nested list of numbers, a table or a column of
///         pandas, polars or Arrow, an array of h5py, zarr or netCDF4.
///     dtype: a `numpy.dtype`, `tf.DType`, `torch.dtype`, type or name; None keeps the source's.
///         Python numbers get a dtype that holds them.
///     casting: what happens to values that the dtype cannot hold: `"checked"` raises,
///         `"saturate"` clamps, `"wrap"` keeps the low bits.
///     copy: None shares memory that cannot change (arrays that are read-only down to the owner of
///         the memory, files mmapped read-only, tensors), False shares or raises, True copies.
///         Marking an array read-only is a promise: earlier views of it can still be written.
///
/// Raises:
///     tensorferry.errors.ValueOverflowError: values do not fit (also a builtin OverflowError and
///         ValueError).
///     tensorferry.errors.NotShareableError: `copy=False`, and a copy is needed; the message says
///         why.
///     tensorferry.errors.InvalidArgumentError: a dtype that tensors do not share.
///     tensorferry.errors.InvalidTypeError: a masked array, or complex to real.
///
/// >>> import numpy as np, tensorferry
/// >>> tensorferry.tensor(np.array([[1, 2], [3, 4]]), "uint8")
/// tensorferry.Tensor([[1, 2],
///                     [3, 4]], shape=(2, 2), dtype=uint8)
#[pyfunction]
#[pyo3(signature = (value, dtype = None, *, casting = "checked", copy = None))]
pub(crate) fn tensor<'py>(
    py: Python<'py>,
    value: &Bound<'py, PyAny>,
    dtype: Option<&Bound<'py, PyAny>>,
    casting: &str,
    copy: Option<bool>,
) -> PyResult<Bound<'py, PyTensor>> {
    guard();
    let casting = dtype::parse_casting(py, casting)?;
    let target = dtype::parse_ours(dtype)?;
    let read = read_for(value, target, casting, copy)?;
    let input = Input::wanted(read.as_ref().unwrap_or(value), target, casting, copy)?;
    PyTensor::object(py, input.to_tensor(py, target, casting, Sharing { copy, framework: false })?)
}

/// The level of vector instructions that kernels use: "baseline", "avx2" or "avx512".
#[pyfunction]
pub(crate) fn cpu_level() -> &'static str {
    guard();
    tensorferry::cpu_level().name()
}

/// A capsule of a new copy of the values, which a framework may write to.
#[pyfunction]
#[pyo3(signature = (value, dtype = None, casting = "checked"))]
pub(crate) fn writable_capsule<'py>(
    py: Python<'py>,
    value: &Bound<'py, PyAny>,
    dtype: Option<&Bound<'py, PyAny>>,
    casting: &str,
) -> PyResult<Bound<'py, PyAny>> {
    guard();
    let casting = dtype::parse_casting(py, casting)?;
    let target = dtype::parse_ours(dtype)?;
    let input = Input::wanted(value, target, casting, None)?;
    capsule::legacy(
        py,
        input.to_tensor(py, target, casting, Sharing { copy: Some(true), framework: true })?,
    )
}

/// Converts the values of `src` into the array `out` of the same shape, which the caller owns.
/// Allocates nothing.
///
/// If values do not fit, `out` is left with unspecified values. If the two overlap, `src` is copied
/// first.
///
/// Args:
///     src: as `tensor` takes it.
///     out: a writeable ndarray of the same shape, of any dtype, strides and byte order.
///     casting: `"checked"`, `"saturate"` or `"wrap"`.
///
/// Raises:
///     tensorferry.errors.ValueOverflowError: values do not fit.
///     tensorferry.errors.InvalidArgumentError: the shapes differ, or `out` cannot be written.
///
/// >>> import numpy as np, tensorferry
/// >>> out = np.empty(3, np.int16)
/// >>> tensorferry.convert_into(np.array([1, 2, 3]), out)
/// >>> out
/// array([1, 2, 3], dtype=int16)
#[pyfunction]
#[pyo3(signature = (src, out, *, casting = "checked"))]
pub(crate) fn convert_into(
    py: Python<'_>,
    src: &Bound<'_, PyAny>,
    out: &Bound<'_, PyAny>,
    casting: &str,
) -> PyResult<()> {
    guard();
    let casting = dtype::parse_casting(py, casting)?;
    let Ok(array) = out.cast::<PyUntypedArray>() else {
        let message =
            format!("out must be a NumPy array to write into, not {}", out.get_type().name()?);
        return Err(raise(py, "not_writable", message));
    };
    if !array::is_writeable(array) {
        return Err(raise(py, "not_writable", "out is read-only".to_owned()));
    }
    let unmasked = masked::data(array)?;
    let array = unmasked.as_ref().unwrap_or(array);
    let Some(parts) = array::parts(array)? else {
        let message =
            format!("out has dtype {}, which tensors do not support", out.getattr("dtype")?);
        return Err(raise(py, "unsupported_dtype", message));
    };
    if array::overlaps_itself(&parts.layout) {
        let message =
            "elements of out share memory (a broadcast array?). Pass an array without overlap."
                .to_owned();
        return Err(raise(py, "not_writable", message));
    }
    let _held = exports::hold(array);
    let source = match Input::wanted(src, Some(parts.dtype), casting, None)? {
        Input::Elements(source) => source,
        // Converted value by value to the dtype of `out`, then copied.
        Input::Values(values) => {
            let tensor = values.to_tensor(py, Some(parts.dtype), casting, None, Rule::Own)?;
            Source::frozen(tensor)
        }
    };
    let copied;
    let mut view = source.view();
    let big = view.layout().nbytes().max(parts.layout.nbytes()) > GIL_BYTES;
    if array::overlap((view.as_ptr(), view.layout()), (parts.data, &parts.layout)) {
        // A copy, as in NumPy: no element is overwritten before it is read.
        copied = source.to_tensor(
            py,
            None,
            Casting::Checked,
            Sharing { copy: Some(true), framework: false },
        )?;
        view = copied.as_view();
    }
    // SAFETY: NumPy vouches for the array's fields, `array` keeps it alive, it is writeable, its
    // elements do not overlap one another nor the source. The caller has to prevent access by other
    // threads, as with every NumPy function that releases the GIL.
    let mut target =
        unsafe { ViewMut::from_raw(parts.dtype, parts.order, parts.layout, parts.data) };
    if big {
        py.detach(|| tensorferry::convert_into(&view, &mut target, casting)).or_raise(py)
    } else {
        tensorferry::convert_into(&view, &mut target, casting).or_raise(py)
    }
}

/// Whether every value can become `dtype` with `casting="checked"`, without converting.
///
/// >>> import numpy as np, tensorferry
/// >>> tensorferry.can_convert(np.array([1, 300]), "uint8")
/// False
#[pyfunction]
pub(crate) fn can_convert(
    py: Python<'_>,
    value: &Bound<'_, PyAny>,
    dtype: &Bound<'_, PyAny>,
) -> PyResult<bool> {
    guard();
    let Some(target) = dtype::parse_ours(Some(dtype))? else { return Ok(true) };
    let source = match Input::wanted(value, Some(target), Casting::Checked, None) {
        Err(error) => {
            let error = exception(py, error);
            return match errors::code(&error).as_deref() {
                Some("values_do_not_fit") => Ok(false),
                _ => Err(raised(error)),
            };
        }
        Ok(Input::Elements(source)) => source,
        Ok(Input::Values(values)) => return Ok(values.fits(py, target)),
    };
    let view = source.view();
    Ok(py.detach(|| tensorferry::can_convert(&view, target, Casting::Checked)))
}

/// The least and greatest value, as Python numbers; NaN if a value is NaN, as in NumPy.
///
/// Raises:
///     tensorferry.errors.InvalidArgumentError: there are no elements.
///     tensorferry.errors.InvalidTypeError: complex numbers have no order.
///     tensorferry.errors.ValueOverflowError: a list holds an integer of more than 127 bits.
///
/// >>> import numpy as np, tensorferry
/// >>> tensorferry.value_range(np.array([3, -1, 2]))
/// (-1, 3)
#[pyfunction]
pub(crate) fn value_range<'py>(
    py: Python<'py>,
    value: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    guard();
    let range = match Input::read(value)? {
        Input::Elements(source) => {
            let view = source.view();
            py.detach(|| tensorferry::value_range(&view)).or_raise(py)?
        }
        Input::Values(values) => values.range(py)?,
    };
    match range {
        Some((low, high)) => Ok((scalar(py, low)?, scalar(py, high)?)),
        None => Err(raise(py, "no_elements", "an array without elements has no range".to_owned())),
    }
}

/// The narrowest integer dtype that holds the values: unsigned if none is negative, as
/// `numpy.min_scalar_type`.
///
/// bool stays bool; an array without elements is uint8; floats must all be integers.
///
/// Raises:
///     tensorferry.errors.ValueOverflowError: a float is not integral, or no integer dtype holds
///         it.
///
/// >>> import numpy as np, tensorferry
/// >>> tensorferry.smallest_dtype(np.array([3, -1, 200]))
/// dtype('int16')
#[pyfunction]
pub(crate) fn smallest_dtype<'py>(
    py: Python<'py>,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    guard();
    let smallest = match Input::read(value)? {
        Input::Elements(source) => {
            let view = source.view();
            py.detach(|| tensorferry::smallest_dtype(&view)).or_raise(py)?
        }
        Input::Values(values) => values.smallest_dtype(py)?,
    };
    dtype::to_numpy(py, smallest, tensorferry::ByteOrder::Native)
}

fn scalar<'py>(py: Python<'py>, value: Scalar) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Scalar::Bool(value) => value.into_pyobject(py)?.to_owned().into_any(),
        Scalar::Int(value) => value.into_pyobject(py)?.into_any(),
        Scalar::Float32(value) => f64::from(value).into_pyobject(py)?.into_any(),
        Scalar::Float64(value) => value.into_pyobject(py)?.into_any(),
        Scalar::Complex(re, im) => pyo3::types::PyComplex::from_doubles(py, re, im).into_any(),
    })
}

/// A capsule of this tensor's memory, or, if frameworks do not accept that, of a copy if `copy`
/// allows one.
#[pyfunction]
#[pyo3(signature = (tensor, copy = None))]
pub(crate) fn framework_capsule<'py>(
    py: Python<'py>,
    tensor: &Bound<'py, PyTensor>,
    copy: Option<bool>,
) -> PyResult<Bound<'py, PyAny>> {
    guard();
    tensor.get().framework_capsule(py, copy)
}
