//! Rows read from files that hold them as they are.

use crate::array::parts::{Parts, Run, slots};
use crate::array::row_source::{RowRun, RowSource, Stored};
use crate::cancel::Stop;
use crate::error::Result;
use crate::gather::copy::Request;
use crate::gather::rows_out::Rows;
use crate::gather::rows_out::copy_view;
use crate::memory::pool;
use crate::storage::local::engine::{Engine, Piece, engine};
use crate::storage::local::located::Located;
use crate::storage::mode::Mode;
use std::path::Path;
use std::sync::Arc;
use tensorferry_core::TensorSpec;
use tensorferry_core::{ByteOrder, DType, Kind, Layout, Tensor};

/// Bytes of column-major rows that are brought together at a time.
const TOGETHER: usize = 4 << 20;

/// Arrays of one dtype and row shape, each in a file, as one.
#[derive(Debug)]
pub(crate) struct Packed {
    spec: [TensorSpec; 1],
    arrays: Vec<Located>,
    parts: Parts,
    engine: Arc<dyn Engine>,
}

impl Packed {
    /// Of arrays that have at least one dimension, and whose rows are as `spec` says.
    pub(crate) fn new(spec: TensorSpec, arrays: Vec<Located>, mode: Mode) -> Result<Self> {
        let parts = Parts::new(arrays.iter().map(|array| rows_of(&array.layout)))?;
        let bytes = |array: &Located| {
            array.offset..array.offset.saturating_add(array.layout.nbytes() as u64)
        };
        let engine =
            engine(mode, arrays.iter().map(|array| (Arc::clone(&array.file), bytes(array))));
        Ok(Self { spec: [spec], arrays, parts, engine })
    }

    /// How the files are read.
    pub(crate) fn mode(&self) -> Mode {
        self.engine.mode()
    }

    /// Rows of a column-major array: each column's elements lie together, so they are read column
    /// by column and transposed in memory.
    fn read_columns(&self, run: Run, out: &mut [u8], row: usize, stop: &Stop) -> Result<()> {
        let array = &self.arrays[run.part];
        let size = array.dtype.size();
        let shape = array.layout.shape();
        let all = shape[0] as u64 * size as u64; // bytes of a column: no more than of the layout
        let most = (TOGETHER / row).max(1);
        for (start, out) in (0..run.len).step_by(most).zip(out.chunks_mut(most * row)) {
            let len = most.min(run.len - start);
            let mut block = pool::take(len * row)?;
            let first = array.offset + (run.row + start as u64) * size as u64;
            let columns = block.as_mut_slice().chunks_exact_mut(len * size).enumerate();
            let piece = |(column, out)| Piece {
                file: &array.file,
                offset: first + column as u64 * all,
                out,
            };
            self.engine.read(&mut columns.map(piece).collect::<Vec<_>>(), stop)?;
            let mut dims = shape.to_vec();
            dims[0] = len;
            let rows = Tensor::new(
                array.dtype,
                array.order,
                Layout::fortran(&dims, size)?,
                block.freeze(),
                0,
            )?;
            copy_view(&rows.as_view(), out)?;
        }
        Ok(())
    }
}

impl Packed {
    fn read(&self, runs: &[Run], bytes: &mut [u8], row: usize, stop: &Stop) -> Result<()> {
        if row == 0 {
            return Ok(());
        }
        let mut pieces = Vec::with_capacity(runs.len());
        let mut columns = Vec::new();
        for (run, out) in runs.iter().zip(slots(bytes, row, runs)?) {
            let array = &self.arrays[run.part];
            if array.layout.is_c_contiguous() {
                pieces.push(Piece {
                    file: &array.file,
                    offset: array.offset + run.row * row as u64,
                    out,
                });
            } else {
                columns.push((*run, out));
            }
        }
        self.engine.read(&mut pieces, stop)?;
        for (run, out) in columns {
            self.read_columns(run, out, row, stop)?;
        }
        for run in runs {
            let array = &self.arrays[run.part];
            if array.order == ByteOrder::Swapped && array.layout.is_c_contiguous() {
                swap(array.dtype, &mut bytes[run.slot * row..(run.slot + run.len) * row]);
            }
        }
        Ok(())
    }
}

/// The length of the first dimension.
fn rows_of(layout: &Layout) -> u64 {
    layout.shape().first().map_or(1, |rows| *rows as u64)
}

/// Reverses the bytes of each number.
pub(crate) fn swap(dtype: DType, bytes: &mut [u8]) {
    let size = if dtype.kind() == Kind::Complex { dtype.size() / 2 } else { dtype.size() };
    match size {
        2 => bytes.as_chunks_mut::<2>().0.iter_mut().for_each(|number| number.reverse()),
        4 => bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|number| number.reverse()),
        8 => bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|number| number.reverse()),
        _ => {}
    }
}

/// The way in which all are stored.
pub(crate) fn one_way(mut all: impl Iterator<Item = Stored>) -> Option<Stored> {
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

impl RowSource for Packed {
    fn columns(&self) -> &[TensorSpec] {
        &self.spec
    }

    fn rows(&self) -> u64 {
        self.parts.rows()
    }

    fn read_rows(
        &self,
        _which: &[usize],
        requests: &mut [Request],
        out: &mut [Rows<'_>],
        stop: &Stop,
    ) -> Result<()> {
        let Some(Rows { bytes, row }) = out.first_mut() else { return Ok(()) };
        self.read(&self.parts.runs(requests)?, bytes, *row, stop)
    }

    fn read_runs(&self, _column: usize, runs: &[RowRun], out: Rows<'_>, stop: &Stop) -> Result<()> {
        self.read(&self.parts.cut(runs)?, out.bytes, out.row, stop)
    }

    fn stored(&self, _column: usize) -> Option<Stored> {
        one_way(self.arrays.iter().map(|array| Stored::of(array.order, &array.layout)))
    }

    fn place(&self, row: u64) -> Option<(&Path, u64)> {
        let (part, row) = self.parts.find(row).ok()?;
        Some((self.arrays[part].file.path(), row))
    }
}
