//! Reading nested lists of numbers and arrays, leaf by leaf, in row-major order.

use super::infer::{Inference, Kind};
use super::number::Number;
use crate::errors::{raise, to_py};
use crate::interop::kinds;
use crate::interop::source::{Elements, Source};
use crate::runtime::gil;
use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::PyTypeInfo;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyBytes, PyComplex, PyComplexMethods, PyFloat, PyInt, PyList, PyRange, PySequence,
    PyString, PyTuple, PyType,
};
use tensorferry::buffers::make_room;
use tensorferry::convert::scalar::Value;
use tensorferry::{DType, MAX_NDIM};

/// Shorter runs of one kind are converted together with others.
const SHORT_RUN: usize = 32;

/// Consecutive leaves.
pub(crate) enum Part<'py> {
    Bools(Vec<bool>),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    /// Numbers of any kinds.
    Numbers(Vec<Number>),
    Array(Source<'py>),
}

impl Part<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bools(run) => run.len(),
            Self::Ints(run) => run.len(),
            Self::Floats(run) => run.len(),
            Self::Numbers(run) => run.len(),
            Self::Array(source) => source.view().layout().len(),
        }
    }

    /// Whether all leaves are bools.
    pub(crate) fn is_bool(&self) -> bool {
        match self {
            Self::Bools(_) => true,
            Self::Numbers(run) => {
                run.iter().all(|number| matches!(number, Number::Value(Value::Bool(_))))
            }
            Self::Array(source) => source.dtype() == DType::Bool,
            Self::Ints(_) | Self::Floats(_) => false,
        }
    }

    /// A short run as numbers of any kinds.
    fn widened(&mut self) -> bool {
        if matches!(self, Self::Array(_)) || self.len() >= SHORT_RUN {
            return false;
        }
        let numbers = match self {
            Self::Bools(run) => {
                run.iter().map(|&value| Number::Value(Value::Bool(value))).collect()
            }
            Self::Ints(run) => {
                run.iter().map(|&value| Number::Value(Value::Int(value.into()))).collect()
            }
            Self::Floats(run) => {
                run.iter().map(|&value| Number::Value(Value::Float(value))).collect()
            }
            Self::Numbers(_) | Self::Array(_) => return false,
        };
        *self = Self::Numbers(numbers);
        true
    }
}

/// Adds an item; returns an error if memory runs out.
fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), Unread> {
    if list.len() == list.capacity() {
        make_room(list, 1).map_err(|error| gil::holding(|py| to_py(py, &error.into())))?;
    }
    list.push(item);
    Ok(())
}

/// Why reading stopped.
pub(crate) enum Unread {
    /// A string, or a value that only TensorFlow converts.
    TensorFlows,
    Raised(PyErr),
}

impl From<PyErr> for Unread {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl Unread {
    /// The error of a function without TensorFlow as a fallback.
    pub(crate) fn raised(self, value: &Bound<'_, PyAny>) -> PyErr {
        match self {
            Self::TensorFlows => kinds::unsupported(value, &[]),
            Self::Raised(error) => error,
        }
    }
}

/// Which leaves are left to TensorFlow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    Nothing,
    /// Symbolic tensors of a graph.
    Symbols,
    /// TensorFlow's tensors, and strings.
    Tensors,
}

/// The leaves read so far.
pub(crate) struct Walk<'py> {
    pub(crate) shape: Vec<usize>,
    pub(crate) parts: Vec<Part<'py>>,
    pub(crate) inference: Inference,
    /// Whether a leaf has been read, which fixes the number of dimensions.
    settled: bool,
    /// The current index in the list.
    index: Vec<usize>,
    leave: Leave,
}

impl<'py> Walk<'py> {
    pub(crate) fn new(leave: Leave) -> Self {
        Self {
            shape: Vec::new(),
            parts: Vec::new(),
            inference: Inference::default(),
            settled: false,
            index: Vec::new(),
            leave,
        }
    }

    /// Reads a value: a number, an array, a list of them.
    pub(crate) fn value(&mut self, value: &Bound<'py, PyAny>) -> Result<(), Unread> {
        if let Ok(number) = value.cast_exact::<PyInt>() {
            return self.int(number);
        }
        if let Ok(number) = value.cast_exact::<PyFloat>() {
            return self.float(number.value(), Kind::Single, None);
        }
        if let Ok(list) = value.cast::<PyList>() {
            return self.list(list.len(), |at| list.get_item(at));
        }
        if let Ok(tuple) = value.cast::<PyTuple>() {
            if !tuple.is_exact_instance_of::<PyTuple>() && kinds::is_composite(value)? {
                return Err(self.unsupported(value));
            }
            return self.list(tuple.len(), |at| tuple.get_item(at));
        }
        if let Ok(truth) = value.cast::<PyBool>() {
            let truth = truth.is_true();
            return self.scalar(Kind::Bool, None, Number::Value(Value::Bool(truth)));
        }
        self.other(value)
    }

    /// Reads the elements of an array of objects.
    pub(crate) fn objects(&mut self, array: &Bound<'py, PyUntypedArray>) -> Result<(), Unread> {
        self.list_of_objects(array.as_any(), array.ndim())
    }

    fn list_of_objects(&mut self, array: &Bound<'py, PyAny>, ndim: usize) -> Result<(), Unread> {
        if ndim == 0 {
            let item = array.call_method0("item")?;
            return if item.is(array) { Err(self.unsupported(array)) } else { self.value(&item) };
        }
        let len = array.len()?;
        self.enter(len)?;
        for at in 0..len {
            let part = array.get_item(at)?;
            self.index.push(at);
            if ndim == 1 {
                self.value(&part)?
            } else {
                self.list_of_objects(&part, ndim - 1)?
            }
            self.index.pop();
        }
        Ok(())
    }

    fn list(
        &mut self,
        len: usize,
        item: impl Fn(usize) -> PyResult<Bound<'py, PyAny>>,
    ) -> Result<(), Unread> {
        self.enter(len)?;
        if len == 0 {
            self.inference.empty_list();
        }
        self.index.push(0);
        for at in 0..len {
            if let Some(last) = self.index.last_mut() {
                *last = at;
            }
            self.value(&item(at)?)?;
        }
        self.index.pop();
        Ok(())
    }

    /// Begins a list of this length.
    fn enter(&mut self, len: usize) -> Result<(), Unread> {
        let depth = self.index.len();
        match self.shape.get(depth) {
            Some(&due) if due == len => Ok(()),
            Some(&due) => Err(self.ragged(&format!("{len} where others have {due}"))),
            None if self.settled || self.shape.last() == Some(&0) => {
                Err(self.ragged("a list where others have a number"))
            }
            None if depth >= MAX_NDIM => {
                let message = format!(
                    "lists are nested more than {MAX_NDIM} deep, which is as many dimensions as a \
                    tensor has"
                );
                Err(self.raise("too_many_dimensions", message))
            }
            None => {
                self.shape.push(len);
                Ok(())
            }
        }
    }

    /// Checks the shape of a leaf, or fixes it for all.
    fn settle(&mut self, leaf: &[usize]) -> Result<(), Unread> {
        let depth = self.index.len();
        if !self.settled && depth == self.shape.len() {
            self.shape.extend_from_slice(leaf);
            self.settled = true;
            return Ok(());
        }
        if self.shape.get(depth..) == Some(leaf) {
            return Ok(());
        }
        let what = if leaf.is_empty() {
            "a number".to_owned()
        } else {
            format!("an array of shape {leaf:?}")
        };
        let due = self.shape.get(depth..).unwrap_or_default();
        let due = if due.is_empty() { "a number".to_owned() } else { format!("shape {due:?}") };
        Err(self.ragged(&format!("{what} where others have {due}")))
    }

    fn int(&mut self, number: &Bound<'py, PyInt>) -> Result<(), Unread> {
        let number = Number::int(number)?;
        self.scalar(Kind::Int, None, number)
    }

    fn float(&mut self, number: f64, kind: Kind, dtype: Option<DType>) -> Result<(), Unread> {
        self.scalar(kind, dtype, Number::Value(Value::Float(number)))
    }

    fn scalar(&mut self, kind: Kind, dtype: Option<DType>, number: Number) -> Result<(), Unread> {
        self.settle(&[])?;
        self.inference.scalar(kind, dtype);
        let int = match number {
            Number::Value(Value::Int(value)) => i64::try_from(value).ok(),
            _ => None,
        };
        match (self.parts.last_mut(), &number, int) {
            (Some(Part::Ints(run)), _, Some(value)) => push(run, value),
            (Some(Part::Floats(run)), Number::Value(Value::Float(value)), _) => push(run, *value),
            (Some(Part::Bools(run)), Number::Value(Value::Bool(value)), _) => push(run, *value),
            (Some(Part::Numbers(run)), ..) => push(run, number),
            (last, ..) => {
                if last.is_some_and(Part::widened)
                    && let Some(Part::Numbers(run)) = self.parts.last_mut()
                {
                    return push(run, number);
                }
                let part = match (number, int) {
                    (_, Some(value)) => Part::Ints(vec![value]),
                    (Number::Value(Value::Bool(value)), _) => Part::Bools(vec![value]),
                    (Number::Value(Value::Float(value)), _) => Part::Floats(vec![value]),
                    (number, _) => Part::Numbers(vec![number]),
                };
                push(&mut self.parts, part)
            }
        }
    }

    /// Reads a value that is not a plain Python number or list.
    fn other(&mut self, value: &Bound<'py, PyAny>) -> Result<(), Unread> {
        if let Ok(array) = value.cast::<PyUntypedArray>() {
            return self.array(array, false);
        }
        if self.leave == Leave::Tensors
            && (value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>())
        {
            return Err(Unread::TensorFlows);
        }
        if value.is_instance(generic(value.py())?)? {
            return self.numpy_scalar(value);
        }
        if let Ok(number) = value.cast::<PyInt>() {
            return self.int(number);
        }
        if let Ok(number) = value.cast::<PyFloat>() {
            return self.float(number.value(), Kind::Single, None);
        }
        if let Ok(number) = value.cast::<PyComplex>() {
            return self.scalar(
                Kind::Complex,
                None,
                Number::Value(Value::Complex(number.real(), number.imag())),
            );
        }
        if let Ok(range) = value.cast::<PyRange>() {
            return self.list(range.len()?, |at| range.get_item(at));
        }
        if self.leave != Leave::Nothing
            && kinds::is_tensorflows(value, self.leave == Leave::Tensors)?
        {
            return Err(Unread::TensorFlows);
        }
        if kinds::is_composite(value)? {
            return Err(self.unsupported(value));
        }
        match Source::read(value, None, None).map_err(|error| self.at(error, value.py()))? {
            Some(Elements::Source(source)) => self.source(source, !kinds::is_buffer(value)?, true),
            Some(Elements::Objects(array)) => self.array(&array, true),
            None => match value.cast::<PySequence>() {
                Ok(sequence) if kinds::is_list_like(value)? => {
                    self.list(sequence.len()?, |at| sequence.get_item(at))
                }
                _ => Err(self.unsupported(value)),
            },
        }
    }

    /// Reads an ndarray.
    fn array(&mut self, array: &Bound<'py, PyUntypedArray>, tensor: bool) -> Result<(), Unread> {
        match Source::read(array, None, None).map_err(|error| self.at(error, array.py()))? {
            Some(Elements::Source(source)) => self.source(source, true, tensor),
            Some(Elements::Objects(array)) => self.objects(&array),
            None => Err(self.unsupported(array)),
        }
    }

    fn source(&mut self, source: Source<'py>, dtype: bool, tensor: bool) -> Result<(), Unread> {
        self.settle(source.view().layout().shape())?;
        let (own, empty) = (source.dtype(), source.view().layout().is_empty());
        if dtype {
            self.inference.array(own, empty, tensor);
        } else {
            self.inference.buffer(own, empty);
        }
        push(&mut self.parts, Part::Array(source))
    }

    /// Reads a NumPy scalar that is a number of a supported dtype.
    fn numpy_scalar(&mut self, value: &Bound<'py, PyAny>) -> Result<(), Unread> {
        if let Ok(number) = value.cast::<PyFloat>() {
            return self.float(number.value(), Kind::Double, Some(DType::Float64));
        }
        let array = kinds::as_array(value)?;
        let Some(Elements::Source(source)) = Source::read(&array, None, None)? else {
            // A long double that equals a float64.
            if let Some(number) = kinds::exact_float(value)? {
                return self.float(number, Kind::Single, Some(DType::Float64));
            }
            return Err(self.unsupported(value));
        };
        let view = source.view();
        // SAFETY: the array of a scalar has one element, of the dtype's size, which `source` keeps
        // alive.
        let element = unsafe { std::slice::from_raw_parts(view.as_ptr(), source.dtype().size()) };
        let number = tensorferry::convert::scalar::read(source.dtype(), view.byte_order(), element);
        self.scalar(Kind::of(source.dtype()), Some(source.dtype()), Number::Value(number))
    }

    fn unsupported(&self, value: &Bound<'py, PyAny>) -> Unread {
        if self.leave == Leave::Tensors && kinds::is_text(value) {
            return Unread::TensorFlows;
        }
        Unread::Raised(kinds::unsupported(value, &self.index))
    }

    /// An error of a leaf, with its index.
    fn at(&self, error: PyErr, py: Python<'_>) -> Unread {
        Unread::Raised(if self.index.is_empty() {
            error
        } else {
            kinds::at(py, error, &self.index)
        })
    }

    fn raise(&self, code: &str, message: String) -> Unread {
        Unread::Raised(gil::holding(|py| raise(py, code, message)))
    }

    fn ragged(&self, what: &str) -> Unread {
        let index = &self.index;
        self.raise(
            "argument",
            format!(
                "a list of rows of different lengths is not an array of numbers: at {index:?} \
                 there is {what}. Pad the rows to one length, or use tf.ragged.constant."
            ),
        )
    }
}

/// `numpy.generic`, the base class of NumPy's scalars.
pub(crate) fn generic(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static GENERIC: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    GENERIC.import(py, "numpy", "generic")
}

/// Whether a value is a Python number, a list or a subclass of list.
pub(crate) fn is_plain(value: &Bound<'_, PyAny>) -> bool {
    value.is_instance_of::<PyList>()
        || value.is_instance_of::<PyTuple>()
        || value.is_instance_of::<PyRange>()
        || (value.is_instance_of::<PyInt>()
            || value.is_instance_of::<PyFloat>()
            || value.is_instance_of::<PyComplex>())
            && !is_numpys(value)
}

/// Whether a value is a NumPy scalar; some are also Python floats and complex numbers.
fn is_numpys(value: &Bound<'_, PyAny>) -> bool {
    let class = value.get_type();
    let py = value.py();
    !class.is(PyInt::type_object(py))
        && !class.is(PyFloat::type_object(py))
        && generic(py).and_then(|generic| value.is_instance(generic)).unwrap_or(false)
}
