//! Formats: the tensors or arrays that components are returned as.

use crate::errors::{OrRaise, raise};
use crate::frameworks::tensorflow::Door;
use crate::interop::capsule;
use crate::interop::source::{GIL_BYTES, framework_obstacle};
use crate::runtime::attach;
use crate::runtime::exception::{exception, raised};
use crate::tensor::object::PyTensor;
use numpy::npyffi::PY_ARRAY_API;
use pyo3::exceptions::PyModuleNotFoundError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyList;
use tensorferry::buffers::pool::PoolBuffer;
use tensorferry::dataset::Element;
use tensorferry::{Casting, Tensor};

/// The kinds of tensors that iteration returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    TensorFlow,
    Torch,
    Jax,
    NumPy,
    Tensorferry,
}

impl Format {
    pub(crate) fn parse(py: Python<'_>, name: &str) -> PyResult<Self> {
        Ok(match name {
            "tensorflow" => Self::TensorFlow,
            "torch" => Self::Torch,
            "jax" => Self::Jax,
            "numpy" => Self::NumPy,
            "tensorferry" => Self::Tensorferry,
            _ => {
                let message = format!(
                    "with_format: {name:?} is none of \"tensorflow\", \"torch\", \"jax\", \
                    \"numpy\" and \"tensorferry\""
                );
                return Err(raise(py, "argument", message));
            }
        })
    }

    /// Looks up the parts that all components of an element share.
    pub(crate) fn open(self, py: Python<'_>) -> PyResult<Opened<'_>> {
        Ok(match self {
            Self::TensorFlow => Opened::TensorFlow(
                Door::open(py).map_err(|error| missing(py, error, "tensorflow"))?,
            ),
            Self::Torch => {
                Opened::Torch(function(py, &TORCH, "torch.utils.dlpack", "from_dlpack", "torch")?)
            }
            Self::Jax => Opened::Jax {
                one: function(py, &JAX, "tensorferry.jax", "from_tensor", "jax")?,
                all: function(py, &JAX_ALL, "tensorferry.jax", "from_tensors", "jax")?,
            },
            Self::NumPy => Opened::NumPy,
            Self::Tensorferry => Opened::Tensorferry,
        })
    }
}

static TORCH: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static JAX: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static JAX_ALL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
/// Components that JAX takes faster together than one by one.
const TOGETHER: usize = 3;

fn function<'py>(
    py: Python<'py>,
    cell: &'static PyOnceLock<Py<PyAny>>,
    module: &str,
    name: &str,
    framework: &str,
) -> PyResult<&'py Bound<'py, PyAny>> {
    let found = cell.get_or_try_init(py, || py.import(module)?.getattr(name).map(Bound::unbind));
    Ok(found.map_err(|error| missing(py, error, framework))?.bind(py))
}

/// Adds to the error of a missing framework the formats that work without it.
fn missing(py: Python<'_>, error: PyErr, framework: &str) -> PyErr {
    let error = exception(py, error);
    let named = error
        .getattr("name")
        .and_then(|name| name.extract::<String>())
        .is_ok_and(|name| name == framework);
    if !named || !error.is_instance_of::<PyModuleNotFoundError>() {
        return raised(error);
    }
    PyModuleNotFoundError::new_err(format!(
        "elements are to be handed out as {framework} tensors, but {framework} is not installed: \
        pip install {framework}. Or choose \
         another format: dataset.with_format(\"numpy\")."
    ))
}

/// A format, ready to convert components.
pub(crate) enum Opened<'py> {
    TensorFlow(Door<'py>),
    Torch(&'py Bound<'py, PyAny>),
    Jax { one: &'py Bound<'py, PyAny>, all: &'py Bound<'py, PyAny> },
    NumPy,
    Tensorferry,
}

impl<'py> Opened<'py> {
    /// All components at once, where that is faster; `None` where it is not.
    pub(crate) fn together(
        &self,
        py: Python<'py>,
        element: &Element,
    ) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
        let Self::Jax { all, .. } = self else { return Ok(None) };
        let tensors: Option<Vec<_>> = element.iter().map(|value| value.tensor().ok()).collect();
        let Some(tensors) = tensors.filter(|tensors| tensors.len() >= TOGETHER) else {
            return Ok(None);
        };
        let tensors =
            tensors.into_iter().map(|tensor| PyTensor::object(py, normal(py, tensor.clone())?));
        let tensors = PyList::new(py, tensors.collect::<PyResult<Vec<_>>>()?)?;
        let arrays = attach::call(all, (tensors,))?;
        Ok(Some(arrays.try_iter()?.collect::<PyResult<_>>()?))
    }

    /// One component.
    pub(crate) fn hand_out(&self, py: Python<'py>, tensor: Tensor) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::TensorFlow(door) => door.pass(py, aligned(py, tensor)?),
            Self::Torch(from_dlpack) => {
                attach::call(from_dlpack, (capsule::legacy(py, writable(py, tensor)?)?,))
            }
            Self::Jax { one, .. } => attach::call(one, (PyTensor::object(py, tensor)?,)),
            Self::NumPy => numpy(py, tensor),
            Self::Tensorferry => Ok(PyTensor::object(py, normal(py, tensor)?)?.into_any()),
        }
    }
}

/// The tensor, or a copy if frameworks do not accept its memory.
fn aligned(py: Python<'_>, tensor: Tensor) -> PyResult<Tensor> {
    if framework_obstacle(&tensor.as_view()).is_none() { Ok(tensor) } else { copied(py, &tensor) }
}

/// The tensor, or a copy if its memory is shared: PyTorch has no read-only tensors.
fn writable(py: Python<'_>, tensor: Tensor) -> PyResult<Tensor> {
    let owner = tensor.buffer().owner();
    let ours = (**owner).is::<PoolBuffer>() && std::sync::Arc::strong_count(owner) == 1;
    if ours { aligned(py, tensor) } else { copied(py, &tensor) }
}

/// The tensor, or a copy if a bool is neither 0 nor 1.
fn normal(py: Python<'_>, tensor: Tensor) -> PyResult<Tensor> {
    if tensor.as_view().has_normal_bools() { Ok(tensor) } else { copied(py, &tensor) }
}

fn copied(py: Python<'_>, tensor: &Tensor) -> PyResult<Tensor> {
    let copy = || tensorferry::convert(&tensor.as_view(), tensor.dtype(), Casting::Checked);
    if tensor.layout().nbytes() > GIL_BYTES {
        py.detach(copy).or_raise(py)
    } else {
        copy().or_raise(py)
    }
}

/// A read-only array over the tensor's memory; a NumPy scalar for a 0-d tensor, as from
/// `as_numpy_iterator`.
fn numpy(py: Python<'_>, tensor: Tensor) -> PyResult<Bound<'_, PyAny>> {
    let scalar = tensor.shape().is_empty();
    let array = PyTensor::numpy(&PyTensor::object(py, normal(py, tensor)?)?)?;
    if !scalar {
        return Ok(array);
    }
    // SAFETY: the call takes over the reference to the array and returns a new one, or null with an
    // exception set.
    let value = unsafe { PY_ARRAY_API.PyArray_Return(py, array.into_ptr().cast()) };
    // SAFETY: as above.
    unsafe { Bound::from_owned_ptr_or_err(py, value) }
}
