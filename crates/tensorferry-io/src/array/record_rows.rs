//! Rows of arrays of records, read from storage: each field is a column.

use crate::array::parts::{Parts, Run};
use crate::array::row_source::RowSource;
use crate::array::tensor_rows::Source;
use crate::cancel::CancelToken;
use crate::error::Result;
use crate::gather::request::RowRequest;
use crate::gather::rows_out::RowsOut;
use crate::memory::pool;
use crate::memory::room::list_of;
use crate::storage::engine::engine;
use crate::storage::mode::Mode;
use crate::storage::read_at::{Extent, Piece, ReadAt, ReadEngine};
use std::path::Path;
use std::sync::Arc;
use tensorferry_core::{Buffer, ByteOrder, Layout, Tensor, TensorSpec};

/// Bytes of records to read at once.
const TOGETHER: usize = 4 << 20;

/// The rows of one file: one or more records each.
#[derive(Debug)]
pub(crate) struct RecordPart {
    pub(crate) source: Arc<dyn ReadAt>,
    /// Offset of the first record.
    pub(crate) offset: u64,
    pub(crate) rows: usize,
    /// Bytes of a row.
    pub(crate) row: usize,
    /// One for each column.
    pub(crate) columns: Vec<ColumnPlace>,
}

/// Where a column is in a row.
#[derive(Debug)]
pub(crate) struct ColumnPlace {
    pub(crate) offset: usize,
    pub(crate) order: ByteOrder,
    /// Bytes from one element to the next within a row.
    pub(crate) strides: Vec<isize>,
}

/// Files of records with the same fields, joined.
#[derive(Debug)]
pub(crate) struct RecordRows {
    specs: Vec<TensorSpec>,
    files: Vec<RecordPart>,
    parts: Parts,
    engine: Arc<dyn ReadEngine>,
}

impl RecordRows {
    /// Joins files whose columns have these specs, with fixed shapes.
    pub(crate) fn new(specs: Vec<TensorSpec>, files: Vec<RecordPart>, mode: Mode) -> Result<Self> {
        let parts = Parts::new(files.iter().map(|file| file.rows as u64))?;
        let extent = |file: &RecordPart| Extent {
            source: Arc::clone(&file.source),
            bytes: file.offset..file.offset + file.rows as u64 * file.row as u64,
        };
        let engine = engine(mode, files.iter().map(extent).collect());
        Ok(Self { specs, files, parts, engine })
    }

    /// How the files are read.
    pub(crate) fn mode(&self) -> Mode {
        self.engine.mode()
    }

    /// Reads whole records of one file, and copies the columns out of them.
    fn read(
        &self,
        which: &[usize],
        runs: &[Run],
        out: &mut [RowsOut<'_>],
        cancel: &CancelToken,
    ) -> Result<()> {
        let Some(file) = runs.first().map(|run| &self.files[run.part]) else { return Ok(()) };
        let rows: usize = runs.iter().map(|run| run.len).sum();
        let mut block = pool::take(rows * file.row)?;
        let (mut pieces, mut rest) = (list_of(runs.len())?, block.as_mut_slice());
        let mut requests = list_of(rows)?;
        for run in runs {
            let (here, later) = rest.split_at_mut(run.len * file.row);
            let offset = file.offset + run.row * file.row as u64;
            pieces.push(Piece { source: run.part, offset, out: here });
            let first = requests.len();
            requests.extend(
                (0..run.len)
                    .map(|at| RowRequest { index: (first + at) as u64, slot: run.slot + at }),
            );
            rest = later;
        }
        match self.parts.ends(&cancel.rows()) {
            Some((first, end)) => {
                let place = |(part, rows): (usize, u64)| {
                    (part, self.files[part].offset + rows * self.files[part].row as u64)
                };
                self.engine.read_within(&mut pieces, &(place(first)..place(end)), cancel)?;
            }
            None => self.engine.read(&mut pieces, cancel)?,
        }
        let block = block.freeze();
        for (column, out) in which.iter().zip(out) {
            self.column(file, *column, rows, block.clone())?.gather(&requests, out)?;
        }
        Ok(())
    }

    /// A column of `rows` rows that were read.
    fn column(&self, file: &RecordPart, at: usize, rows: usize, block: Buffer) -> Result<Source> {
        let (spec, place) = (&self.specs[at], &file.columns[at]);
        let shape = [&[rows], spec.shape.as_fixed().unwrap_or_default().as_slice()].concat();
        let strides = [&[file.row.cast_signed()], &place.strides[..]].concat();
        let layout = Layout::strided(&shape, &strides, spec.dtype.size())?;
        Ok(Tensor::new(spec.dtype, place.order, layout, block, place.offset)?.into())
    }
}

impl RowSource for RecordRows {
    fn columns(&self) -> &[TensorSpec] {
        &self.specs
    }

    fn rows(&self) -> u64 {
        self.parts.rows()
    }

    fn read_rows(
        &self,
        which: &[usize],
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cancel: &CancelToken,
    ) -> Result<()> {
        if out.iter().all(|rows| rows.row == 0) {
            return Ok(());
        }
        let mut runs = self.parts.runs(requests)?;
        runs.sort_unstable_by_key(|run| (run.part, run.row));
        let (mut together, mut bytes): (Vec<Run>, usize) = (Vec::new(), 0);
        for mut run in runs {
            let row = self.files[run.part].row.max(1);
            while run.len > 0 {
                let other = together.last().is_some_and(|last| last.part != run.part);
                if other || bytes >= TOGETHER {
                    self.read(which, &together, out, cancel)?;
                    together.clear();
                    bytes = 0;
                }
                let len = run.len.min((TOGETHER - bytes).div_ceil(row));
                together.push(Run { len, ..run });
                bytes += len * row;
                run = Run {
                    row: run.row + len as u64,
                    slot: run.slot + len,
                    len: run.len - len,
                    ..run
                };
            }
        }
        self.read(which, &together, out, cancel)
    }

    fn place(&self, row: u64) -> Option<(&Path, u64)> {
        let (part, row) = self.parts.find(row).ok()?;
        Some((self.files[part].source.name(), row))
    }
}
