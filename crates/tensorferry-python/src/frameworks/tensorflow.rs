//! Conversion to TensorFlow: a DLPack capsule passed to the eager runtime, without Python in
//! between in the common case.
//!
//! Strings, tensors, graphs and device scopes go through `tensorferry.tensorflow`.

use crate::files::array::read_for;
use crate::interop::capsule;
use crate::interop::dtype::{self, Asked};
use crate::interop::nested::{self, Leave, Nested, Rule, Unread};
use crate::interop::source::{Elements, Sharing, Source};
use crate::runtime::attach;
use crate::runtime::unwinding::guard;
use crate::tensor::object::PyTensor;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyModule, PyString, PyTuple};
use tensorferry::{DType, Tensor};

/// The parts of TensorFlow that the fast path uses, looked up once.
struct Runtime {
    /// `tensorflow.python.eager.context`, whose `_context` is the current context.
    module: Py<PyAny>,
    /// The context of the other parts.
    context: Py<PyAny>,
    /// Per-thread state of the context; its `device_name` is the scope of `tf.device`.
    thread: Py<PyAny>,
    /// The context's list of devices if the CPU is the only one, else another object.
    only_device: Py<PyAny>,
    /// `ops._default_graph_stack`, whose `stack` lists the graphs that this thread is building.
    graphs: Py<PyAny>,
    /// `context.EAGER_MODE`, a small integer.
    eager_mode: Py<PyAny>,
    /// `TFE_FromDlpackCapsule(capsule, handle)`.
    from_capsule: Py<PyAny>,
    handle: Py<PyAny>,
}

fn python(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    Ok(MODULE
        .get_or_try_init(py, || py.import("tensorferry.tensorflow").map(Bound::unbind))?
        .bind(py))
}

/// The fast path; `None` if this TensorFlow's private parts are not the expected ones.
fn runtime(py: Python<'_>) -> PyResult<Option<&'static Runtime>> {
    static RUNTIME: PyOnceLock<Option<Runtime>> = PyOnceLock::new();
    let runtime = RUNTIME.get_or_try_init(py, || {
        let parts = python(py)?.getattr("fast_road")?.call0()?;
        if parts.is_none() {
            return PyResult::Ok(None);
        }
        let (module, context, thread, only_device, graphs, eager_mode, from_capsule, handle) =
            parts.cast::<PyTuple>()?.extract()?;
        Ok(Some(Runtime {
            module,
            context,
            thread,
            only_device,
            graphs,
            eager_mode,
            from_capsule,
            handle,
        }))
    })?;
    Ok(runtime.as_ref())
}

impl Runtime {
    /// Hands over a tensor that frameworks accept.
    fn pass<'py>(&self, py: Python<'py>, tensor: Tensor) -> PyResult<Bound<'py, PyAny>> {
        attach::call(self.from_capsule.bind(py), (capsule::legacy(py, tensor)?, &self.handle))
    }

    /// Whether a tensor made now belongs on the CPU of this context, outside any graph.
    ///
    /// `is_eager` and `device_name` would tell, but each, a C++ property, takes a fifth of the
    /// whole call. Instead of `is_eager`: no graph is being built, and eager execution is not
    /// turned off. Instead of `device_name`: the CPU is the only device. (The context replaces the
    /// list when it finds another.)
    fn is_plain_eager(&self, py: Python<'_>) -> PyResult<bool> {
        let (module, context) = (self.module.bind(py), self.context.bind(py));
        Ok(module.getattr(intern!(py, "_context"))?.is(context)
            && self
                .graphs
                .bind(py)
                .getattr(intern!(py, "stack"))?
                .cast::<PyList>()
                .is_ok_and(|graphs| graphs.is_empty())
            && module.getattr(intern!(py, "default_execution_mode"))?.is(&self.eager_mode)
            && (context.getattr(intern!(py, "_logical_devices"))?.is(&self.only_device)
                || !self.thread.bind(py).getattr(intern!(py, "device_name"))?.is_truthy()?))
    }
}

/// A `tf.Tensor` of the values, as `tf.convert_to_tensor`, but without a copy where that is sound,
/// and never with a wrong number.
///
/// Other values (strings, tensors, variables, ragged and composite tensors) are passed to
/// TensorFlow unchanged. Inside `tf.function` the result is a constant of the graph.
///
/// Args:
///     value: an array, a number, a nested list of numbers, or any value that
///         `tf.convert_to_tensor` takes.
///     dtype: a `tf.DType`, `numpy.dtype`, type or name; None infers it as TensorFlow does.
///     casting: what happens to values that the dtype cannot hold: `"checked"` raises,
///         `"saturate"` clamps, `"wrap"` keeps the low bits.
///     copy: None shares memory that cannot change (arrays that are read-only down to the owner of
///         the memory, files mmapped read-only, tensors), False shares or raises, True copies.
///         Marking an array read-only is a promise: earlier views of it can still be written.
///         Memory not aligned to 64 bytes is always copied: TensorFlow would abort the process.
///     name: the name of the constant inside `tf.function`.
///
/// Raises:
///     tensorferry.errors.ValueOverflowError: values do not fit (also a builtin OverflowError and
///         ValueError).
///     tensorferry.errors.NotShareableError: `copy=False`, and a copy is needed; the message says
///         why.
///     tensorferry.errors.InvalidArgumentError: a dtype that TensorFlow does not have.
///     tensorferry.errors.InvalidTypeError: a masked array, or complex to real.
///
/// >>> import numpy as np, tensorferry
/// >>> tensorferry.convert_to_tensor(np.array([1, 2, 3]), dtype="int32").dtype
/// tf.int32
#[pyfunction]
#[pyo3(signature = (value, dtype = None, *, casting = "checked", copy = None, name = None))]
pub(crate) fn convert_to_tensor<'py>(
    py: Python<'py>,
    value: &Bound<'py, PyAny>,
    dtype: Option<&Bound<'py, PyAny>>,
    casting: &str,
    copy: Option<bool>,
    name: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    guard();
    let cast = dtype::parse_casting(py, casting)?;
    let asked = dtype::parse(dtype)?;
    let read = match asked {
        Asked::Ours(target) => read_for(value, Some(target), cast, copy)?,
        _ => read_for(value, None, cast, copy)?,
    };
    let value = read.as_ref().unwrap_or(value);
    let target = match asked {
        Asked::Inferred => None,
        Asked::Ours(target) => Some(target),
        Asked::Other => return theirs(value, dtype, (casting, copy, name)),
    };
    let tensor = match Source::known(value)? {
        Some(Some(source)) => {
            source.to_tensor(py, target, cast, Sharing { copy, framework: true })?
        }
        known => match numbers(py, value, target, known.is_some())? {
            Some(numbers) => numbers.to_tensor(py, target, cast, copy, Rule::Eager)?,
            None => {
                let named = target.map(|target| PyString::new(py, target.name()));
                return theirs(
                    value,
                    named.as_ref().map(|name| name.as_any()),
                    (casting, copy, name),
                );
            }
        },
    };
    match Door::open(py)?.road {
        Some(runtime) => runtime.pass(py, tensor),
        None => place(py, tensor, copy, name),
    }
}

/// The numbers of a value that is not an array of this library; `None` if TensorFlow converts it.
fn numbers<'py>(
    py: Python<'py>,
    value: &Bound<'py, PyAny>,
    target: Option<DType>,
    array: bool,
) -> PyResult<Option<Nested<'py>>> {
    // An object array is read value by value; without a dtype, TensorFlow converts it.
    let objects = array
        && target.is_some()
        && matches!(Source::read(value, None, None)?, Some(Elements::Objects(_)));
    if !objects && (array || !nested::is_plain(value)) {
        return Ok(None);
    }
    python(py)?;
    let leave = if target.is_some() { Leave::Symbols } else { Leave::Tensors };
    match Nested::read(value, leave) {
        Ok(numbers) => Ok(Some(numbers)),
        Err(Unread::TensorFlows) => Ok(None),
        Err(Unread::Raised(error)) => Err(error),
    }
}

/// Converts a value that is neither a directly read array nor a number.
fn theirs<'py>(
    value: &Bound<'py, PyAny>,
    dtype: Option<&Bound<'py, PyAny>>,
    (casting, copy, name): (&str, Option<bool>, Option<&Bound<'py, PyAny>>),
) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    let options = PyDict::new(py);
    options.set_item("casting", casting)?;
    options.set_item("copy", copy)?;
    options.set_item("name", name)?;
    python(py)?.getattr("convert_other")?.call((value, dtype), Some(&options))
}

/// Hands over a tensor without the fast path.
fn place<'py>(
    py: Python<'py>,
    tensor: Tensor,
    copy: Option<bool>,
    name: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let options = PyDict::new(py);
    options.set_item("copy", copy)?;
    options.set_item("name", name)?;
    python(py)?.getattr("place")?.call((PyTensor::object(py, tensor)?,), Some(&options))
}

/// The path to TensorFlow for several tensors, looked up once. It stays valid until a graph or
/// device scope is entered or left.
pub(crate) struct Door<'py> {
    road: Option<&'py Runtime>,
}

impl<'py> Door<'py> {
    pub(crate) fn open(py: Python<'py>) -> PyResult<Self> {
        let road = match runtime(py)? {
            Some(runtime) if runtime.is_plain_eager(py)? => Some(runtime),
            _ => None,
        };
        Ok(Self { road })
    }

    /// A `tf.Tensor` of a tensor that frameworks accept, see
    /// [`crate::interop::source::framework_obstacle`].
    pub(crate) fn pass(&self, py: Python<'py>, tensor: Tensor) -> PyResult<Bound<'py, PyAny>> {
        match self.road {
            Some(runtime) => runtime.pass(py, tensor),
            None => place(py, tensor, None, None),
        }
    }
}
