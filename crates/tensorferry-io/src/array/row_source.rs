//! [`RowSource`]: random access to rows.

use crate::cancel::CancelToken;
use crate::error::Result;
use crate::gather::request::RowRequest;
use crate::gather::rows_out::RowsOut;
use crate::memory::room::Room;
use std::path::Path;
use tensorferry_core::TensorSpec;
use tensorferry_core::{ByteOrder, Layout, Tensor};

/// Rows by index: of one array, or of several that are read together, its *columns*.
pub trait RowSource: Send + Sync + std::fmt::Debug {
    /// dtype and shape of a row of each column. The shapes are fixed.
    fn columns(&self) -> &[TensorSpec];

    /// Number of rows.
    fn rows(&self) -> u64;

    /// Writes the requested rows of the columns `which`, packed and in native byte order, to one
    /// [`RowsOut`] per column. No two requests have the same slot. May overwrite the requests.
    /// After an error, the contents of `out` are unspecified.
    ///
    /// # Errors
    /// [`tensorferry_core::Error::IndexOutOfRange`] for a row that does not exist; errors of
    /// reading.
    fn read_rows(
        &self,
        which: &[usize],
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cancel: &CancelToken,
    ) -> Result<()>;

    /// As [`RowSource::read_rows`] for one column, with runs of rows instead of single requests.
    /// Runs are sorted by slot.
    ///
    /// # Errors
    /// As [`RowSource::read_rows`]; [`tensorferry_core::Error::Allocation`].
    fn read_runs(
        &self,
        column: usize,
        runs: &[RowRun],
        out: RowsOut<'_>,
        cancel: &CancelToken,
    ) -> Result<()> {
        let mut requests = Vec::new();
        requests.make_room(runs.iter().map(|run| run.len).sum())?;
        for run in runs {
            requests.extend(
                (0..run.len)
                    .map(|at| RowRequest { index: run.index + at as u64, slot: run.slot + at }),
            );
        }
        self.read_rows(&[column], &mut requests, &mut [out], cancel)
    }

    /// Zero-copy rows `start..start + len` of a column, or `None` if they are not contiguous in
    /// memory in native byte order.
    fn share(&self, _column: usize, _start: u64, _len: usize) -> Option<Tensor> {
        None
    }

    /// A zero-copy tensor of a whole column, in any byte order and strides.
    fn tensor(&self, _column: usize) -> Option<&Tensor> {
        None
    }

    /// How the elements of a column are stored. `None` if this differs or they are converted.
    fn stored(&self, column: usize) -> Option<Stored> {
        let tensor = self.tensor(column)?;
        Some(Stored::of(tensor.byte_order(), tensor.layout()))
    }

    /// Whether only one thread at a time may read.
    fn is_sequential(&self) -> bool {
        false
    }

    /// The file of a row, and the row's number in it.
    fn place(&self, _row: u64) -> Option<(&Path, u64)> {
        None
    }
}

/// Rows `index..index + len`, for the same number of slots starting at `slot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRun {
    /// Index of the first row.
    pub index: u64,
    /// Slot of the first row.
    pub slot: usize,
    /// Number of rows.
    pub len: usize,
}

/// How elements are stored in a file or in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// Byte order of the elements.
    pub order: ByteOrder,
    /// Whether the order is column-major (Fortran). An array in both orders counts as row-major.
    pub column_major: bool,
}

impl Stored {
    /// How a tensor of this byte order and layout is stored.
    #[must_use]
    pub fn of(order: ByteOrder, layout: &Layout) -> Self {
        Self { order, column_major: layout.is_f_contiguous() && !layout.is_c_contiguous() }
    }

    /// The common way of storage, if there is one.
    pub(crate) fn common(mut all: impl Iterator<Item = Self>) -> Option<Self> {
        let first = all.next()?;
        all.all(|other| other == first).then_some(first)
    }
}
