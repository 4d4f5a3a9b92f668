//! Rows of uncompressed arrays, read from storage.

use crate::array::parts::{Parts, Run, slots};
use crate::array::row_source::{RowRun, RowSource, Stored};
use crate::cancel::CancelToken;
use crate::error::Result;
use crate::gather::byte_order::swap;
use crate::gather::request::RowRequest;
use crate::gather::rows_out::RowsOut;
use crate::gather::rows_out::copy_view;
use crate::memory::pool;
use crate::memory::room::list_of;
use crate::storage::engine::engine;
use crate::storage::located::Located;
use crate::storage::mode::Mode;
use crate::storage::read_at::{Piece, ReadEngine};
use std::path::Path;
use std::sync::Arc;
use tensorferry_core::TensorSpec;
use tensorferry_core::{ByteOrder, Layout, Tensor};

/// Bytes of column-major rows to transpose at once.
const TOGETHER: usize = 4 << 20;

/// Arrays of one dtype and row shape in several sources, joined into one.
#[derive(Debug)]
pub(crate) struct Packed {
    spec: [TensorSpec; 1],
    arrays: Vec<Located>,
    parts: Parts,
    engine: Arc<dyn ReadEngine>,
}

impl Packed {
    /// Joins arrays of at least one dimension whose rows have this `spec`.
    pub(crate) fn new(spec: TensorSpec, arrays: Vec<Located>, mode: Mode) -> Result<Self> {
        let parts = Parts::new(arrays.iter().map(|array| rows_of(&array.layout)))?;
        let engine = engine(mode, arrays.iter().map(Located::extent).collect());
        Ok(Self { spec: [spec], arrays, parts, engine })
    }

    /// How the sources are read.
    pub(crate) fn mode(&self) -> Mode {
        self.engine.mode()
    }

    /// Reads rows of a column-major array: column by column, then transposed in memory.
    fn read_columns(
        &self,
        run: Run,
        out: &mut [u8],
        row: usize,
        cancel: &CancelToken,
    ) -> Result<()> {
        let array = &self.arrays[run.part];
        let size = array.dtype.size();
        let shape = array.layout.shape();
        let all = shape[0] as u64 * size as u64; // bytes of a column, less than of the layout
        let most = (TOGETHER / row).max(1);
        for (start, out) in (0..run.len).step_by(most).zip(out.chunks_mut(most * row)) {
            let len = most.min(run.len - start);
            let mut block = pool::take(len * row)?;
            let first = array.offset + (run.row + start as u64) * size as u64;
            let columns = block.as_mut_slice().chunks_exact_mut(len * size).enumerate();
            let piece = |(column, out)| Piece {
                source: run.part,
                offset: first + column as u64 * all,
                out,
            };
            self.engine.read(&mut columns.map(piece).collect::<Vec<_>>(), cancel)?;
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
    fn read(&self, runs: &[Run], bytes: &mut [u8], row: usize, cancel: &CancelToken) -> Result<()> {
        if row == 0 {
            return Ok(());
        }
        let mut pieces = list_of(runs.len())?;
        let mut columns = Vec::new();
        for (run, out) in runs.iter().zip(slots(bytes, row, runs)?) {
            let array = &self.arrays[run.part];
            if array.layout.is_c_contiguous() {
                pieces.push(Piece {
                    source: run.part,
                    offset: array.offset + run.row * row as u64,
                    out,
                });
            } else {
                columns.push((*run, out));
            }
        }
        match self.parts.ends(&cancel.rows()) {
            Some((first, end)) => {
                let place = |(part, rows): (usize, u64)| {
                    (part, self.arrays[part].offset + rows * row as u64)
                };
                self.engine.read_within(&mut pieces, &(place(first)..place(end)), cancel)?;
            }
            None => self.engine.read(&mut pieces, cancel)?,
        }
        for (run, out) in columns {
            self.read_columns(run, out, row, cancel)?;
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
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cancel: &CancelToken,
    ) -> Result<()> {
        let Some(RowsOut { bytes, row }) = out.first_mut() else { return Ok(()) };
        self.read(&self.parts.runs(requests)?, bytes, *row, cancel)
    }

    fn read_runs(
        &self,
        _column: usize,
        runs: &[RowRun],
        out: RowsOut<'_>,
        cancel: &CancelToken,
    ) -> Result<()> {
        self.read(&self.parts.cut(runs)?, out.bytes, out.row, cancel)
    }

    fn stored(&self, _column: usize) -> Option<Stored> {
        Stored::common(self.arrays.iter().map(|array| Stored::of(array.order, &array.layout)))
    }

    fn place(&self, row: u64) -> Option<(&Path, u64)> {
        let (part, row) = self.parts.find(row).ok()?;
        Some((self.arrays[part].source.name(), row))
    }
}
