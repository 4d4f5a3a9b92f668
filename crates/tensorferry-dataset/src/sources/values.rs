//! [`Values`]: an array in memory or in files, read in runs of rows.

use crate::error::Result;
use crate::stage::{Context, Hints};
use tensorferry_core::{ByteOrder, DType, Error as CoreError, Index, Tensor};
use tensorferry_io::array::array::Array;
use tensorferry_io::array::row_source::RowRun;
use tensorferry_io::array::tensor_rows::{Source, plain_rows};
use tensorferry_io::gather::copy::prefetch;
use tensorferry_io::gather::rows_out::{RowsOut, copy_view, filled, normalise_bools};
use tensorferry_io::storage::mode::Mode;

/// The values of [`Dataset::token_windows`](crate::stage::Dataset::token_windows) and of a
/// [`Ragged`](crate::Ragged): a tensor or an opened array.
#[derive(Clone, Debug)]
pub struct Values {
    pub(crate) place: Place,
}

#[derive(Clone, Debug)]
pub(crate) enum Place {
    Memory(Source),
    /// In files. Each gather reads the rows that it needs.
    Opened(Array),
}

impl From<Source> for Values {
    fn from(source: Source) -> Self {
        Self { place: Place::Memory(source) }
    }
}

impl From<Tensor> for Values {
    fn from(tensor: Tensor) -> Self {
        Source::from(tensor).into()
    }
}

impl From<Array> for Values {
    fn from(array: Array) -> Self {
        match array.tensor() {
            Ok(tensor) => tensor.into(),
            Err(_) => Self { place: Place::Opened(array) },
        }
    }
}

/// Runs to prefetch into the cache ahead: runs at random positions wait for memory.
const AHEAD: usize = 4;

impl Values {
    pub(crate) fn dtype(&self) -> DType {
        match &self.place {
            Place::Memory(source) => source.tensor.dtype(),
            Place::Opened(array) => array.dtype(),
        }
    }

    pub(crate) fn shape(&self) -> &[usize] {
        match &self.place {
            Place::Memory(source) => source.tensor.shape(),
            Place::Opened(array) => array.shape(),
        }
    }

    /// The values as an opened array.
    pub(crate) fn into_array(self) -> Result<Array> {
        match self.place {
            Place::Memory(source) => Ok(Array::try_from(source)?),
            Place::Opened(array) => Ok(array),
        }
    }

    /// The hints of a stage that reads these values.
    pub(crate) fn hints(&self, inputs: Hints) -> Hints {
        let Place::Opened(array) = &self.place else { return inputs };
        Hints {
            reads_files: inputs.reads_files || array.mode() != Mode::Map,
            sequential: inputs.sequential || array.source().0.is_sequential(),
            direct_arrays: inputs.direct_arrays + usize::from(array.mode() == Mode::Direct),
            remote_arrays: inputs.remote_arrays + usize::from(array.is_remote()),
            ..inputs
        }
    }

    /// Rows `start..start + len`, which must exist. Shares memory that does not change.
    pub(crate) fn rows(&self, start: u64, len: usize, cx: &Context) -> Result<Tensor> {
        if let Place::Memory(source) = &self.place {
            let rows = source.tensor.index(&[slice(start, len)])?;
            if source.frozen
                && rows.byte_order() == ByteOrder::Native
                && rows.as_view().has_normal_bools()
            {
                return Ok(rows);
            }
        }
        let (dtype, inner) = (self.dtype(), self.shape().get(1..).unwrap_or_default());
        let shape: Vec<usize> = std::iter::once(len).chain(inner.iter().copied()).collect();
        let row = inner.iter().product::<usize>() * dtype.size();
        filled(dtype, &shape, |bytes| {
            self.read_runs(&[RowRun { index: start, slot: 0, len }], RowsOut { bytes, row }, cx)
        })
    }

    /// Writes runs of rows, sorted by slot, in native byte order.
    ///
    /// # Errors
    /// [`CoreError::OutOfBounds`] for rows or slots that do not exist; errors of reading.
    pub(crate) fn read_runs(
        &self,
        runs: &[RowRun],
        mut out: RowsOut<'_>,
        cx: &Context,
    ) -> Result<()> {
        if out.row == 0 {
            return Ok(());
        }
        check(runs, self.shape()[0], out.bytes.len() / out.row)?;
        match &self.place {
            Place::Memory(source) => copy_runs(source, runs, &mut out)?,
            Place::Opened(array) => {
                let (source, column) = array.source();
                let bytes = runs.iter().map(|run| run.len * out.row).sum();
                let read = || source.read_runs(column, runs, out.reborrow(), &cx.cancel);
                array.counting(bytes, read)?;
            }
        }
        if self.dtype() == DType::Bool {
            runs.iter().for_each(|run| normalise_bools(slots(&mut out, run)));
        }
        Ok(())
    }
}

/// Checks that all rows and slots exist.
fn check(runs: &[RowRun], rows: usize, slots: usize) -> Result<()> {
    let outside = |start: u64, len: usize, count: usize| {
        let end = i128::from(start) + len as i128;
        (end > count as i128).then(|| CoreError::OutOfBounds {
            start: start.into(),
            end,
            len: count,
        })
    };
    for run in runs {
        let row = outside(run.index, run.len, rows);
        if let Some(error) = row.or_else(|| outside(run.slot as u64, run.len, slots)) {
            return Err(error.into());
        }
    }
    Ok(())
}

fn slice(start: u64, len: usize) -> Index {
    Index::Slice { start: usize::try_from(start).unwrap_or(usize::MAX), step: 1, len }
}

/// The bytes of a run's slots, which exist.
fn slots<'a>(out: &'a mut RowsOut<'_>, run: &RowRun) -> &'a mut [u8] {
    &mut out.bytes[run.slot * out.row..(run.slot + run.len) * out.row]
}

/// Copies runs that are known to exist.
fn copy_runs(source: &Source, runs: &[RowRun], out: &mut RowsOut<'_>) -> Result<()> {
    let view = source.tensor.as_view();
    let Some(bytes) = plain_rows(&view) else {
        for run in runs {
            copy_view(&view.index(&[slice(run.index, run.len)])?, slots(out, run))?;
        }
        return Ok(());
    };
    let row = out.row;
    let of = |run: &RowRun| {
        let start = usize::try_from(run.index).unwrap_or(usize::MAX) * row;
        &bytes[start..start + run.len * row]
    };
    runs.iter().take(AHEAD).for_each(|run| prefetch(of(run)));
    for (at, run) in runs.iter().enumerate() {
        if let Some(later) = runs.get(at + AHEAD) {
            prefetch(of(later));
        }
        slots(out, run).copy_from_slice(of(run));
    }
    Ok(())
}
