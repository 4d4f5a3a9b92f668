//! `array[index]` of an opened array: the rows to read, and the index within them.

use crate::errors::{OrRaise, raise};
use crate::files::array::PyArray;
use crate::interop::index;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyEllipsis, PySlice, PyTuple};
use tensorferry::error::CoreError;
use tensorferry::{Index, Tensor};

/// A parsed index.
pub(crate) struct Rows<'py> {
    which: Which,
    /// The index within the stacked rows.
    rest: Vec<Bound<'py, PyAny>>,
}

enum Which {
    One(usize),
    Run { start: usize, len: usize },
    These(Vec<usize>),
}

impl<'py> Rows<'py> {
    /// Parses the expression between the brackets.
    pub(crate) fn parse(array: &PyArray, index: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = index.py();
        let shape = array.inner.shape();
        let mut parts: Vec<Bound<'py, PyAny>> = match index.cast::<PyTuple>() {
            Ok(tuple) => tuple.iter().collect(),
            Err(_) => vec![index.clone()],
        };
        let consumed = parts
            .iter()
            .filter(|part| !part.is_none() && !part.is_instance_of::<PyEllipsis>())
            .count();
        if consumed > shape.len() {
            return Err(CoreError::TooManyIndices { ndim: shape.len(), given: consumed })
                .or_raise(py);
        }
        // A leading new dimension or ellipsis indexes all rows.
        let first =
            parts.first().filter(|first| !first.is_none() && !first.is_instance_of::<PyEllipsis>());
        let Some(first) = first.cloned() else {
            return Ok(Self {
                which: Which::Run { start: 0, len: array.inner.len() },
                rest: parts,
            });
        };
        parts.remove(0);
        let which = Which::parse(&first, array.inner.len())?;
        if !matches!(which, Which::One(_)) {
            parts.insert(0, PySlice::full(py).into_any());
        }
        Ok(Self { which, rest: parts })
    }

    /// Reads the rows.
    pub(crate) fn take(self, py: Python<'_>, array: &PyArray) -> PyResult<Tensor> {
        let scalar = array.inner.shape().is_empty();
        let row = array.inner.nbytes().checked_div(array.inner.len()).unwrap_or(0);
        let rows = match &self.which {
            Which::One(at) => {
                array.run(py, row, |array| Ok(array.slice(*at, 1)?.index(&[Index::At(0)])?))
            }
            Which::Run { len, .. } if scalar && *len == 1 => array.read(py, None),
            Which::Run { start, len } => {
                array.run(py, len * row, |array| array.slice(*start, *len))
            }
            Which::These(rows) => array.run(py, rows.len() * row, |array| array.rows(rows)),
        }?;
        if self.rest.is_empty() {
            return Ok(rows);
        }
        let rest = index::parse(PyTuple::new(py, self.rest)?.as_any(), rows.layout())?;
        rows.index(&rest).or_raise(py)
    }
}

impl Which {
    fn parse(first: &Bound<'_, PyAny>, len: usize) -> PyResult<Self> {
        let py = first.py();
        if let Ok(slice) = first.cast::<PySlice>() {
            let indices = slice.indices(len.cast_signed())?;
            if indices.step == 1 || indices.slicelength == 0 {
                let start =
                    if indices.slicelength == 0 { 0 } else { usize::try_from(indices.start)? };
                return Ok(Self::Run { start, len: indices.slicelength });
            }
            let rows =
                (0..indices.slicelength).map(|at| indices.start + at.cast_signed() * indices.step);
            return Ok(Self::These(rows.map(usize::try_from).collect::<Result<_, _>>()?));
        }
        if !first.is_instance_of::<PyBool>()
            && let Ok(at) = first.extract::<isize>()
        {
            return Ok(Self::One(position(py, at, len)?));
        }
        let numpy = py.import(intern!(py, "numpy"))?;
        let asked = numpy.call_method1(intern!(py, "asarray"), (first,))?;
        let (kind, ndim): (String, usize) = (
            asked.getattr("dtype")?.getattr("kind")?.extract()?,
            asked.getattr("ndim")?.extract()?,
        );
        let size: usize = asked.getattr("size")?.extract()?;
        let rows = match (kind.as_str(), ndim) {
            ("i" | "u", 1) => asked,
            ("f", 1) if size == 0 => return Ok(Self::These(Vec::new())), // an empty list
            ("b", 1) if size == len => numpy.call_method1("flatnonzero", (asked,))?,
            ("b", 1) => {
                return Err(raise(
                    py,
                    "index_out_of_range",
                    format!("a mask of length {size} for {len} rows"),
                ));
            }
            _ => {
                let message = format!(
                    "an array's rows are indexed with a number, a slice, a list of numbers or a \
                    mask, not {}. For other indices use tensor(array).numpy()[index].",
                    first.get_type().name()?
                );
                return Err(raise(py, "not_an_index", message));
            }
        };
        let rows: Vec<isize> = rows.call_method0("tolist")?.extract()?;
        Ok(Self::These(rows.into_iter().map(|at| position(py, at, len)).collect::<PyResult<_>>()?))
    }
}

/// A row's number, counted from the end if negative.
fn position(py: Python<'_>, at: isize, len: usize) -> PyResult<usize> {
    let position = if at < 0 { at + len.cast_signed() } else { at };
    match usize::try_from(position) {
        Ok(position) if position < len => Ok(position),
        _ => Err(CoreError::IndexOutOfRange { index: at, axis: 0, len }).or_raise(py),
    }
}
