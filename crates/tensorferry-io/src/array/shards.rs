//! Joins several files into one array. All shards have the same dtype and row shape.

use crate::array::array::Array;
use crate::array::in_memory::InMemory;
use crate::array::packed::Packed;
use crate::array::tensor_rows::Source;
use crate::error::{Error, Result};
use crate::storage::located::Located;
use crate::storage::mode::Mode;
use std::path::PathBuf;
use std::sync::Arc;
use tensorferry_core::{DType, Index, Tensor};
use tensorferry_core::{Shape, TensorSpec};

/// Joins located arrays, at least one.
///
/// # Errors
/// [`Error::Argument`] for shards that do not match each other; errors of mapping.
pub fn array(arrays: Vec<Located>, mode: Mode) -> Result<Array> {
    let paths: Arc<[PathBuf]> = arrays.iter().map(|array| array.source.name().to_owned()).collect();
    let Some(first) = arrays.first() else {
        return Err(Error::argument("open", "no files were given"));
    };
    arrays.iter().try_for_each(|other| same_rows(first, other))?;
    let rows = first.layout.shape().get(1..).unwrap_or_default();
    let spec = TensorSpec::new(first.dtype, Shape::fixed(rows));
    let scalar = first.layout.ndim() == 0;
    if mode == Mode::Map {
        let map = |array: &Located| {
            let tensor = array.map()?;
            Ok(Source::from(if scalar { tensor.index(&[Index::NewAxis])? } else { tensor }))
        };
        let tensors = arrays.iter().map(map).collect::<Result<Vec<_>>>()?;
        return Array::new(
            Arc::new(InMemory::new(spec, tensors, Arc::clone(&paths))?),
            0,
            scalar,
            mode,
            paths,
        );
    }
    let packed = Packed::new(spec, arrays, mode)?;
    let mode = packed.mode();
    Array::new(Arc::new(packed), 0, scalar, mode, paths)
}

/// Joins tensors that were read from these files, at least one.
///
/// # Errors
/// [`Error::Argument`] for shards that do not match each other.
pub(crate) fn in_memory(tensors: Vec<Tensor>, paths: Arc<[PathBuf]>) -> Result<Array> {
    let Some(first) = tensors.first() else {
        return Err(Error::argument("open", "no files were given"));
    };
    let spec =
        TensorSpec::new(first.dtype(), Shape::fixed(first.shape().get(1..).unwrap_or_default()));
    let scalar = first.shape().is_empty();
    for (at, other) in tensors.iter().enumerate().skip(1) {
        let (ours, theirs) = (first.shape(), other.shape());
        if scalar || theirs.is_empty() || ours[1..] != theirs[1..] || first.dtype() != other.dtype()
        {
            let path = |at: usize| {
                paths.get(at).map(|path| path.display().to_string()).unwrap_or_default()
            };
            return Err(mismatch(
                (path(0), first.dtype(), ours),
                (path(at), other.dtype(), theirs),
            ));
        }
    }
    let rows = |tensor: Tensor| {
        Ok(Source::from(if scalar { tensor.index(&[Index::NewAxis])? } else { tensor }))
    };
    let tensors = tensors.into_iter().map(rows).collect::<Result<_>>()?;
    Array::new(
        Arc::new(InMemory::new(spec, tensors, Arc::clone(&paths))?),
        0,
        scalar,
        Mode::Map,
        paths,
    )
}

/// # Errors
/// [`Error::Argument`], naming both files, if two shards differ in dtype or row shape.
fn same_rows(first: &Located, other: &Located) -> Result<()> {
    let (ours, theirs) = (first.layout.shape(), other.layout.shape());
    let alone = std::ptr::eq(first, other);
    if first.dtype == other.dtype
        && (alone || (!theirs.is_empty() && !ours.is_empty() && ours[1..] == theirs[1..]))
    {
        return Ok(());
    }
    let path = |array: &Located| array.source.name().display().to_string();
    Err(mismatch((path(first), first.dtype, ours), (path(other), other.dtype, theirs)))
}

/// The error of two files, each a name, dtype and shape, whose rows differ.
pub(crate) fn mismatch(
    first: (String, DType, &[usize]),
    other: (String, DType, &[usize]),
) -> Error {
    let what = format!(
        "{} holds {}{:?}, {} holds {}{:?}: the files of one array need one dtype and rows of one \
        shape. Convert those that differ, or open \
         them one by one.",
        first.0, first.1, first.2, other.0, other.1, other.2
    );
    Error::argument("open", what)
}
