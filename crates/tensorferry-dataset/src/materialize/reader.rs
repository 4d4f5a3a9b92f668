//! Opening a saved dataset: files are memory-mapped, and only the location of elements is read.

use crate::error::{Error, Result, malformed};
use crate::materialize::layout::{FORMAT, Part, npy_dtype};
use crate::materialize::manifest::Manifest;
use std::path::{Path, PathBuf};
use tensorferry_core::{ByteOrder, DType, Dims, Index, Layout, Shape, Tensor, TensorSpec};
use tensorferry_io::format::npy::locate;
use tensorferry_io::gather::rows_out::packed;
use tensorferry_io::storage::local;

/// A component of all elements.
#[derive(Clone, Debug)]
pub(crate) enum Column {
    /// Elements of one shape, stacked.
    Rows(Tensor),
    Ragged(Box<Ragged>),
}

/// Elements of several shapes.
#[derive(Clone, Debug)]
pub(crate) struct Ragged {
    values: Tensor,
    shapes: Tensor,
    starts: Tensor,
    spec: TensorSpec,
    /// The file that gives the start of each element.
    path: PathBuf,
}

/// # Errors
/// [`Error::Io`] if a file is missing or refused; [`tensorferry_core::Error::Malformed`] or
/// [`tensorferry_core::Error::WrongLength`], in a file, if it is not what `dataset.json` says.
pub(crate) fn open(directory: &Path) -> Result<(Manifest, Vec<Column>)> {
    let manifest = Manifest::read(directory)?;
    let count = usize::try_from(manifest.cardinality).unwrap_or(usize::MAX);
    let components = manifest
        .components
        .iter()
        .enumerate()
        .map(|(at, spec)| component(directory, at, spec, count));
    let components = components.collect::<Result<_>>()?;
    Ok((manifest, components))
}

fn component(directory: &Path, at: usize, spec: &TensorSpec, count: usize) -> Result<Column> {
    if let Some(row) = spec.shape.as_fixed() {
        let rows = TensorSpec::new(spec.dtype, Shape::fixed(&row).batched(Some(count)));
        return Ok(Column::Rows(array(&Part::Values.path(directory, at), &rows)?));
    }
    let flat = |part: Part, dtype| {
        array(&part.path(directory, at), &TensorSpec::new(dtype, Shape::new([None])))
    };
    let path = Part::Starts.path(directory, at);
    let starts =
        array(&path, &TensorSpec::new(DType::Int64, Shape::fixed(&[count.saturating_add(1), 2])))?;
    let (values, shapes) = (flat(Part::Values, spec.dtype)?, flat(Part::Shapes, DType::Int64)?);
    let ragged = Ragged { values, shapes, starts, spec: spec.clone(), path };
    let ends = [ragged.values.shape()[0], ragged.shapes.shape()[0]];
    if ragged.start(0)? != [0, 0] || ragged.start(count as u64)? != ends {
        return Err(ragged.damaged(format!("the last element was expected to end at {ends:?}")));
    }
    Ok(Column::Ragged(Box::new(ragged)))
}

/// Memory-maps a file that must hold an array of `spec`.
fn array(path: &Path, spec: &TensorSpec) -> Result<Tensor> {
    let mut located = locate(&local::open(path)?)?;
    let found = TensorSpec::new(located.dtype, Shape::fixed(located.layout.shape()));
    let expected = TensorSpec::new(npy_dtype(spec.dtype), spec.shape.clone());
    if found.dtype != expected.dtype
        || !expected.shape.admits(located.layout.shape())
        || !located.layout.is_c_contiguous()
    {
        let what = format!("{found} where the dataset has {expected}");
        return Err(malformed(FORMAT, what, path));
    }
    located.dtype = spec.dtype;
    Ok(located.map()?)
}

impl Ragged {
    /// The start of an element in `values` and in `shapes`.
    fn start(&self, index: u64) -> Result<[usize; 2]> {
        let row = isize::try_from(index).unwrap_or(isize::MAX);
        let numbers = numbers(&self.starts.index(&[Index::At(row)])?)?;
        match numbers.as_slice() {
            &[value, shape] => Ok([value, shape]),
            _ => Err(self.damaged(format!("row {index} says no place"))),
        }
    }

    /// Element `index`, which must exist.
    ///
    /// # Errors
    /// [`tensorferry_core::Error::Malformed`], in a file, if the files do not say where it lies.
    pub(crate) fn get(&self, index: u64) -> Result<Tensor> {
        let ([from, dims_from], [to, dims_to]) = (self.start(index)?, self.start(index + 1)?);
        let what = || {
            format!("element {index} was expected to lie where rows {index} and {} say", index + 1)
        };
        let (Some(len), Some(rank)) = (to.checked_sub(from), dims_to.checked_sub(dims_from)) else {
            return Err(self.damaged(what()));
        };
        if to > self.values.shape()[0] || dims_to > self.shapes.shape()[0] {
            return Err(self.damaged(what()));
        }
        let shape: Dims = numbers(&self.shapes.index(&[Index::Slice {
            start: dims_from,
            step: 1,
            len: rank,
        }])?)?
        .into();
        let itemsize = self.spec.dtype.size();
        let layout = Layout::contiguous(&shape, itemsize)
            .map_err(|error| self.damaged(format!("element {index}: {error}")))?;
        if layout.len() != len || !self.spec.shape.admits(&shape) {
            return Err(self.damaged(format!(
                "element {index}, of shape {shape:?}, was expected to have {len} values and be {}",
                self.spec
            )));
        }
        let offset = self.values.offset() + from * itemsize;
        let tensor = Tensor::new(
            self.spec.dtype,
            self.values.byte_order(),
            layout,
            self.values.buffer().clone(),
            offset,
        )?;
        if tensor.byte_order() == ByteOrder::Native { Ok(tensor) } else { Ok(packed(&tensor)?) }
    }

    fn damaged(&self, what: String) -> Error {
        malformed(FORMAT, what, &self.path)
    }
}

/// Numbers that must be offsets.
fn numbers(tensor: &Tensor) -> Result<Vec<usize>> {
    let native = packed(tensor)?;
    // A negative number becomes an offset past every end.
    let place = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
    Ok(native.view::<i64>()?.iter().map(place).collect())
}
