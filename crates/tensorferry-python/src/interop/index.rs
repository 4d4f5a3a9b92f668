//! `tensor[index]`: reading Python's index expressions.

use crate::errors::raise;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyEllipsis, PyInt, PySlice, PyTuple};
use tensorferry::{Index, Layout};

/// Reads the expression between the brackets.
pub(crate) fn parse(index: &Bound<'_, PyAny>, layout: &Layout) -> PyResult<Vec<Index>> {
    let parts: Vec<Bound<'_, PyAny>> = match index.cast::<PyTuple>() {
        Ok(tuple) => tuple.iter().collect(),
        Err(_) => vec![index.clone()],
    };
    let is_axis = |part: &Bound<'_, PyAny>| !part.is_none() && !part.is_instance_of::<PyEllipsis>();
    let consumed = parts.iter().filter(|part| is_axis(part)).count();
    let mut axis = 0;
    let mut out = Vec::with_capacity(parts.len());
    for part in &parts {
        if part.is_none() {
            out.push(Index::NewAxis);
        } else if part.is_instance_of::<PyEllipsis>() {
            out.push(Index::Ellipsis);
            axis += layout.ndim().saturating_sub(consumed);
        } else {
            // Beyond the last dimension the length is unused: Layout::index refuses the index.
            out.push(one(part, layout.shape().get(axis).copied().unwrap_or(0))?);
            axis += 1;
        }
    }
    Ok(out)
}

fn one(part: &Bound<'_, PyAny>, dim: usize) -> PyResult<Index> {
    if let Ok(slice) = part.cast::<PySlice>() {
        let indices = slice.indices(dim.cast_signed())?;
        let start = usize::try_from(indices.start).unwrap_or(0); // -1 only with no elements
        return Ok(Index::Slice { start, step: indices.step, len: indices.slicelength });
    }
    if !part.is_instance_of::<PyBool>()
        && let Ok(at) = part.extract::<isize>()
    {
        return Ok(Index::At(at));
    }
    if part.is_instance_of::<PyInt>() && !part.is_instance_of::<PyBool>() {
        return Err(raise(
            part.py(),
            "index_out_of_range",
            format!(
                "an index of more than 64 bits is out of range for a dimension of length {dim}"
            ),
        ));
    }
    let message = format!(
        "a tensor is indexed with integers, slices, ... and None, not {}. For other indices use \
        tensor.numpy()[index].",
        part.get_type().name()?
    );
    Err(raise(part.py(), "not_an_index", message))
}
