//! [`RowSource`]: rows by index.

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

    /// The number of rows.
    fn rows(&self) -> u64;

    /// Writes the requested rows of the columns `which`, packed and in this machine's byte order,
    /// to one [`RowsOut`] for each column. No two requests have the same slot. The requests may be
    /// overwritten; after an error what `out` holds is unspecified.
    ///
    /// # Errors
    /// [`tensorferry_core::Error::IndexOutOfRange`] for a row that does not exist; what reading
    /// fails with.
    fn read_rows(
        &self,
        which: &[usize],
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cancel: &CancelToken,
    ) -> Result<()>;

    /// As [`RowSource::read_rows`], of one column, without a request for each row of a long run.
    /// Runs are in the order of their slots.
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

    /// How the elements of a column are stored, if all are stored in one way and unchanged.
    fn stored(&self, column: usize) -> Option<Stored> {
        let tensor = self.tensor(column)?;
        Some(Stored::of(tensor.byte_order(), tensor.layout()))
    }

    /// Only one thread at a time may read.
    fn is_sequential(&self) -> bool {
        false
    }

    /// The file of a row, and the row's number in it.
    fn place(&self, _row: u64) -> Option<(&Path, u64)> {
        None
    }
}

/// Rows `index..index + len`, for as many slots from `slot` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRun {
    /// The first row.
    pub index: u64,
    /// The slot of the first row.
    pub slot: usize,
    /// The number of rows.
    pub len: usize,
}

/// How elements are stored in a file or in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// The order of the bytes of an element.
    pub order: ByteOrder,
    /// Column-major (Fortran) order. An array in both orders counts as row-major.
    pub column_major: bool,
}

impl Stored {
    /// How a tensor of this byte order and layout is stored.
    #[must_use]
    pub fn of(order: ByteOrder, layout: &Layout) -> Self {
        Self { order, column_major: layout.is_f_contiguous() && !layout.is_c_contiguous() }
    }

    /// The way in which all are stored, if it is one.
    pub(crate) fn common(mut all: impl Iterator<Item = Self>) -> Option<Self> {
        let first = all.next()?;
        all.all(|other| other == first).then_some(first)
    }
}
