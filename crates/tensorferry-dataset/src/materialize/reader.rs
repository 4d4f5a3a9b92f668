//! Opening a saved dataset: only the location of elements is read. Files are memory-mapped, and
//! objects of a store read on request.

use crate::error::{Error, Result, malformed};
use crate::materialize::home::Home;
use crate::materialize::layout::{FORMAT, MANIFEST, Part, is_flat, npy_dtype};
use crate::materialize::manifest::{Manifest, PartRows};
use crate::sources::ragged;
use crate::sources::values::Values;
use crate::stage::{Context, Hints};
use std::path::PathBuf;
use tensorferry_core::{ByteOrder, DType, Dims, Index, Layout, Shape, Tensor, TensorSpec};
use tensorferry_io::array::shards;
use tensorferry_io::format::npy::locate;
use tensorferry_io::gather::rows_out::packed;
use tensorferry_io::memory::room::list_of;
use tensorferry_io::storage::located::Located;
use tensorferry_io::storage::mode::Mode;
use tensorferry_io::storage::url::Place;

/// A component of all elements.
#[derive(Clone, Debug)]
pub(crate) enum Column {
    /// Elements of one shape, stacked.
    Rows(Values),
    /// Elements that differ in their first length only, and are read on request: many at once.
    Lengths(Box<ragged::Ragged>),
    Ragged(Box<Ragged>),
}

/// Elements of several shapes.
#[derive(Clone, Debug)]
pub(crate) struct Ragged {
    values: Values,
    shapes: Tensor,
    starts: Tensor,
    spec: TensorSpec,
    /// The file that gives the start of each element.
    path: PathBuf,
}

/// Opens the components of all elements.
///
/// # Errors
/// [`Error::Io`] if a file is missing or refused; [`tensorferry_core::Error::Malformed`] or
/// [`tensorferry_core::Error::WrongLength`], in a file, if it is not what `dataset.json` says.
pub(crate) fn columns(home: &Home, manifest: &Manifest) -> Result<Vec<Column>> {
    let home = &manifest.folder.as_ref().map_or_else(|| home.clone(), |name| home.inner(name));
    let count = usize::try_from(manifest.cardinality).unwrap_or(usize::MAX);
    let components = manifest.components.iter().enumerate().map(|(at, spec)| {
        let Some(parts) = &manifest.parts else { return component(home, at, spec, count) };
        if is_flat(spec) {
            return flat(home, at, spec, parts);
        }
        let parts = parts.iter().map(|part| rows_of_part(home, at, spec, part));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        Ok(Column::Rows(shards::array(parts, mode(home))?.into()))
    });
    components.collect()
}

fn mode(home: &Home) -> Mode {
    match home.place {
        Place::Local(_) => Mode::Map,
        Place::Remote(_) => Mode::Direct,
    }
}

/// Elements of one dimension and any length, in parts: the values of all, and where each starts.
fn flat(home: &Home, at: usize, spec: &TensorSpec, parts: &[PartRows]) -> Result<Column> {
    let (mut values, mut splits): (_, Vec<i64>) = (Vec::new(), vec![0]);
    for part in parts {
        let name = Part::splits_of_rows(at, &part.name);
        let count = usize::try_from(part.rows).unwrap_or(usize::MAX).saturating_add(1);
        let starts = TensorSpec::new(DType::Int64, Shape::fixed(&[count]));
        let starts = numbers(&in_memory(home, located(home, &name, &starts)?)?)?;
        let rows = TensorSpec::new(spec.dtype, Shape::new([None]));
        let rows = located(home, &Part::of_rows(at, &part.name), &rows)?;
        let length = rows.layout.shape()[0];
        if starts.first() != Some(&0) || starts.last() != Some(&length) {
            let what = format!("the starts of elements were expected to end at {length}");
            return Err(malformed(FORMAT, what, &home.path(&name)));
        }
        let before = splits.last().copied().unwrap_or_default();
        for start in starts.iter().skip(1) {
            splits.push(before.saturating_add(i64::try_from(*start).unwrap_or(i64::MAX)));
        }
        values.push(rows);
    }
    let count = splits.len();
    let splits = Tensor::from_vec(splits, &[count])?;
    let values: Values = shards::array(values, mode(home))?.into();
    Ok(Column::Lengths(Box::new(ragged::Ragged::from_row_splits(values, &splits)?)))
}

/// The rows of a part.
fn rows_of_part(home: &Home, at: usize, spec: &TensorSpec, part: &PartRows) -> Result<Located> {
    let name = Part::of_rows(at, &part.name);
    let Some(row) = spec.shape.as_fixed() else {
        return Err(malformed(FORMAT, format!("{spec} in parts"), &home.path(MANIFEST)));
    };
    let rows = usize::try_from(part.rows).unwrap_or(usize::MAX);
    located(home, &name, &TensorSpec::new(spec.dtype, Shape::fixed(&row).batched(Some(rows))))
}

fn component(home: &Home, at: usize, spec: &TensorSpec, count: usize) -> Result<Column> {
    let find =
        |part: Part, dtype, shape| located(home, &part.name(at), &TensorSpec::new(dtype, shape));
    if let Some(row) = spec.shape.as_fixed() {
        let rows = find(Part::Values, spec.dtype, Shape::fixed(&row).batched(Some(count)))?;
        return Ok(Column::Rows(on_request(home, rows)?));
    }
    let starts = Shape::fixed(&[count.saturating_add(1), 2]);
    let starts = in_memory(home, find(Part::Starts, DType::Int64, starts)?)?;
    let shapes = in_memory(home, find(Part::Shapes, DType::Int64, Shape::new([None]))?)?;
    let found = find(Part::Values, spec.dtype, Shape::new([None]))?;
    let values = on_request(home, found.clone())?;
    let path = home.path(&Part::Starts.name(at));
    let ragged = Ragged { values, shapes, starts, spec: spec.clone(), path };
    let ends = [ragged.values.shape()[0], ragged.shapes.shape()[0]];
    if ragged.start(0)? != [0, 0] || ragged.start(count as u64)? != ends {
        return Err(ragged.damaged(format!("the last element was expected to end at {ends:?}")));
    }
    if let Place::Remote(_) = home.place
        && let Some(lengths) = ragged.lengths(home, found)?
    {
        return Ok(Column::Lengths(Box::new(lengths)));
    }
    Ok(Column::Ragged(Box::new(ragged)))
}

/// Locates the array of a file, which must be one of `spec`.
fn located(home: &Home, name: &str, spec: &TensorSpec) -> Result<Located> {
    let mut located = locate(&home.open(name)?)?;
    let found = TensorSpec::new(located.dtype, Shape::fixed(located.layout.shape()));
    let expected = TensorSpec::new(npy_dtype(spec.dtype), spec.shape.clone());
    if found.dtype != expected.dtype
        || !expected.shape.admits(located.layout.shape())
        || !located.layout.is_c_contiguous()
    {
        let what = format!("{found} where the dataset has {expected}");
        return Err(malformed(FORMAT, what, &home.path(name)));
    }
    located.dtype = spec.dtype;
    Ok(located)
}

/// An array that is read when its rows are.
fn on_request(home: &Home, located: Located) -> Result<Values> {
    match home.place {
        Place::Local(_) => Ok(located.map()?.into()),
        Place::Remote(_) => Ok(shards::array(vec![located], Mode::Direct)?.into()),
    }
}

/// An array that is read at once, unless it can be mapped.
fn in_memory(home: &Home, located: Located) -> Result<Tensor> {
    match home.place {
        Place::Local(_) => Ok(located.map()?),
        Place::Remote(_) => Ok(shards::array(vec![located], Mode::Direct)?.read()?),
    }
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
    pub(crate) fn get(&self, index: u64, cx: &Context) -> Result<Tensor> {
        let (from, shape) = self.place(index)?;
        let layout = Layout::contiguous(&shape, self.spec.dtype.size())?;
        let flat = self.values.rows(from as u64, layout.len(), cx)?;
        let (buffer, offset) = (flat.buffer().clone(), flat.offset());
        Ok(Tensor::new(self.spec.dtype, ByteOrder::Native, layout, buffer, offset)?)
    }

    /// The elements as rows of different lengths, if they differ in their first length only. `None`
    /// also if the files contradict each other, for an error that names the element.
    fn lengths(&self, home: &Home, mut values: Located) -> Result<Option<ragged::Ragged>> {
        let dims = self.spec.shape.dims().unwrap_or_default();
        let inner = dims.get(1..).and_then(|dims| dims.iter().copied().collect::<Option<Vec<_>>>());
        let (Some(None), Some(inner)) = (dims.first(), inner) else { return Ok(None) };
        let width: usize = inner.iter().product();
        let (starts, shapes) = (numbers(&self.starts)?, numbers(&self.shapes)?);
        let count = self.values.shape()[0];
        if width == 0
            || !count.is_multiple_of(width)
            || shapes.len() / dims.len() * 2 + 2 != starts.len()
        {
            return Ok(None);
        }
        let mut splits: Vec<i64> = list_of(starts.len() / 2)?;
        for (at, start) in starts.chunks_exact(2).enumerate() {
            let begins = start[1] == at * dims.len() && start[0].is_multiple_of(width);
            let row = start[0] / width;
            let ended = at.checked_sub(1).map(|before| {
                let shape = &shapes[before * dims.len()..at * dims.len()];
                let rises = starts[before * 2] / width + shape[0] == row;
                rises && shape[1..] == inner
            });
            let Ok(row) = i64::try_from(row) else { return Ok(None) };
            if !begins || ended == Some(false) {
                return Ok(None);
            }
            splits.push(row);
        }
        let rows: Vec<usize> = std::iter::once(count / width).chain(inner).collect();
        values.layout = Layout::contiguous(&rows, self.spec.dtype.size())?;
        let splits = Tensor::from_vec(splits, &[starts.len() / 2])?;
        Ok(Some(ragged::Ragged::from_row_splits(on_request(home, values)?, &splits)?))
    }

    /// Where the values of an element begin, and its shape.
    fn place(&self, index: u64) -> Result<(usize, Dims)> {
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
        let layout = Layout::contiguous(&shape, self.spec.dtype.size())
            .map_err(|error| self.damaged(format!("element {index}: {error}")))?;
        if layout.len() != len || !self.spec.shape.admits(&shape) {
            return Err(self.damaged(format!(
                "element {index}, of shape {shape:?}, was expected to have {len} values and be {}",
                self.spec
            )));
        }
        Ok((from, shape))
    }

    /// The hints of a stage that reads these elements.
    pub(crate) fn hints(&self, inputs: Hints) -> Hints {
        self.values.hints(inputs)
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
