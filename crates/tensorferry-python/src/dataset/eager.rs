//! Detects TensorFlow tracing: elements read while tracing would be constants of the graph.

use crate::errors::raise;
use crate::runtime::attach;
use crate::runtime::unwinding::guard;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList};

/// The parts of TensorFlow that tell whether a function is being traced.
struct TensorFlow {
    /// The graphs that the thread builds, in `stack`: a fast check that there are none.
    graphs: Option<Py<PyAny>>,
    executing_eagerly: Py<PyAny>,
    inside_function: Py<PyAny>,
}

static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
static TENSORFLOW: PyOnceLock<TensorFlow> = PyOnceLock::new();

/// `None` as long as TensorFlow is not imported.
fn tensorflow(py: Python<'_>) -> PyResult<Option<&TensorFlow>> {
    if let Some(found) = TENSORFLOW.get(py) {
        return Ok(Some(found));
    }
    let modules = MODULES.get_or_try_init(py, || {
        Ok::<_, PyErr>(py.import("sys")?.getattr("modules")?.cast_into::<PyDict>()?.unbind())
    })?;
    let module = |name| modules.bind(py).get_item(name);
    let (Some(context), Some(ops)) = (
        module(intern!(py, "tensorflow.python.eager.context"))?,
        module(intern!(py, "tensorflow.python.framework.ops"))?,
    ) else {
        return Ok(None);
    };
    // During the import its modules exist, but are empty.
    let (Ok(eagerly), Ok(inside)) =
        (context.getattr("executing_eagerly"), ops.getattr("inside_function"))
    else {
        return Ok(None);
    };
    let graphs = ops.getattr("_default_graph_stack").ok().map(Bound::unbind);
    let found = || TensorFlow {
        graphs,
        executing_eagerly: eagerly.unbind(),
        inside_function: inside.unbind(),
    };
    Ok(Some(TENSORFLOW.get_or_init(py, found)))
}

impl TensorFlow {
    fn is_tracing(&self, py: Python<'_>) -> PyResult<bool> {
        if let Some(graphs) = &self.graphs
            && let Ok(stack) = graphs.bind(py).getattr(intern!(py, "stack"))
            && stack.cast::<PyList>().is_ok_and(|stack| stack.is_empty())
        {
            return Ok(false);
        }
        let says = |function: &Py<PyAny>| attach::call(function.bind(py), ())?.is_truthy();
        Ok(!says(&self.executing_eagerly)? && says(&self.inside_function)?)
    }
}

/// Refuses to read a dataset inside a function that TensorFlow traces.
pub(crate) fn check(py: Python<'_>, what: &str) -> PyResult<()> {
    match tensorflow(py)? {
        Some(tensorflow) if tensorflow.is_tracing(py)? => {}
        _ => return Ok(()),
    }
    let message = format!(
        "{what}: inside tf.function, and what else TensorFlow traces, elements would be read \
        once, while it traces, and be the same in \
         every call. Iterate over dataset.to_tf_data() there, or pass the elements in as arguments."
    );
    Err(raise(py, "inside_function", message))
}

/// [`check`] for Python.
#[pyfunction]
pub(crate) fn check_eager(py: Python<'_>, what: &str) -> PyResult<()> {
    guard();
    check(py, what)
}
