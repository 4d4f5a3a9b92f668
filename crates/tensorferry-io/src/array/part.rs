//! Consecutive rows of an array as an array.

use crate::array::array::Array;
use crate::array::row_source::{RowRun, RowSource, Stored};
use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::gather::request::{RowRequest, no_row};
use crate::gather::rows_out::RowsOut;
use std::path::Path;
use std::sync::Arc;
use tensorferry_core::TensorSpec;
use tensorferry_core::{Index, Tensor};

/// Consecutive rows of a column of another source.
#[derive(Debug)]
struct Part {
    source: Arc<dyn RowSource>,
    column: usize,
    spec: [TensorSpec; 1],
    start: u64,
    len: u64,
    /// The rows, if the source is in memory.
    tensor: Option<Tensor>,
}

impl Array {
    /// Rows `start..start + len` as an array. Nothing is read.
    ///
    /// ```
    /// use tensorferry_core::Tensor;
    /// use tensorferry_io::Array;
    ///
    /// let squares = Array::try_from(Tensor::from_vec(vec![0_i64, 1, 4, 9], &[4])?)?;
    /// let last = squares.part(2, 2)?;
    /// assert_eq!(last.read()?.view::<i64>()?.as_slice(), Some(&[4, 9][..]));
    /// # Ok::<(), tensorferry_io::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`tensorferry_core::Error::IndexOutOfRange`] if the rows do not exist; [`Error::Argument`]
    /// for an array without dimensions.
    pub fn part(&self, start: usize, len: usize) -> Result<Self> {
        if self.shape().is_empty() {
            return Err(Error::argument("part", "an array without dimensions has no rows"));
        }
        self.check_rows(start, len)?;
        let (source, column) = self.source();
        let rows = Index::Slice { start, step: 1, len };
        let tensor = source.tensor(column).map(|whole| whole.index(&[rows])).transpose()?;
        let spec = [source.columns()[column].clone()];
        let part = Part {
            source: Arc::clone(source),
            column,
            spec,
            start: start as u64,
            len: len as u64,
            tensor,
        };
        self.over(Arc::new(part))
    }
}

impl Part {
    /// The token for the whole source.
    fn reading(&self, cancel: &CancelToken) -> CancelToken {
        let rows = cancel.rows();
        let whole = |row: u64| self.start + row.min(self.len);
        cancel.reading(whole(rows.start)..whole(rows.end))
    }
}

impl RowSource for Part {
    fn columns(&self) -> &[TensorSpec] {
        &self.spec
    }

    fn rows(&self) -> u64 {
        self.len
    }

    fn read_rows(
        &self,
        _which: &[usize],
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cancel: &CancelToken,
    ) -> Result<()> {
        for request in requests.iter_mut() {
            if request.index >= self.len {
                return Err(no_row(request.index, self.len).into());
            }
            request.index += self.start;
        }
        self.source.read_rows(&[self.column], requests, out, &self.reading(cancel))
    }

    fn read_runs(
        &self,
        _column: usize,
        runs: &[RowRun],
        out: RowsOut<'_>,
        cancel: &CancelToken,
    ) -> Result<()> {
        let mut moved = runs.to_vec();
        for run in &mut moved {
            let last = run.index.saturating_add(run.len.saturating_sub(1) as u64);
            if run.len > 0 && last >= self.len {
                return Err(no_row(last, self.len).into());
            }
            run.index += self.start;
        }
        self.source.read_runs(self.column, &moved, out, &self.reading(cancel))
    }

    fn share(&self, _column: usize, start: u64, len: usize) -> Option<Tensor> {
        let end = start.checked_add(len as u64)?;
        if end <= self.len { self.source.share(self.column, self.start + start, len) } else { None }
    }

    fn tensor(&self, _column: usize) -> Option<&Tensor> {
        self.tensor.as_ref()
    }

    fn stored(&self, _column: usize) -> Option<Stored> {
        self.source.stored(self.column)
    }

    fn is_sequential(&self) -> bool {
        self.source.is_sequential()
    }

    fn place(&self, row: u64) -> Option<(&Path, u64)> {
        self.source.place(row.checked_add(self.start)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::npy::save_npy;
    use crate::open::open_with;
    use crate::storage::mode::Mode;

    #[test]
    fn parts_of_parts_are_rows_of_the_whole_in_every_mode() {
        let directory = tempfile::tempdir().unwrap();
        for (at, rows) in [(0_i32, 3_usize), (1, 0), (2, 5)] {
            let values = (0..rows * 2).map(|i| at * 100 + i32::try_from(i).unwrap()).collect();
            let path = directory.path().join(format!("{at}.npy"));
            save_npy(path, &Tensor::from_vec(values, &[rows, 2]).unwrap().as_view()).unwrap();
        }
        for mode in [Mode::Map, Mode::Read] {
            let whole = open_with(&[directory.path().join("*.npy")], &mode.into())
                .unwrap()
                .array()
                .unwrap();
            for start in 0..=8 {
                for len in 0..=8 - start {
                    let part = whole.part(start, len).unwrap();
                    assert_eq!((part.shape(), part.mode()), (&[len, 2][..], mode));
                    let bytes = |tensor: Tensor| tensor.as_view().as_bytes().unwrap().to_vec();
                    assert_eq!(
                        bytes(part.read().unwrap()),
                        bytes(whole.slice(start, len).unwrap())
                    );
                    let inner = part.part(len / 2, len - len / 2).unwrap();
                    assert_eq!(
                        bytes(inner.read().unwrap()),
                        bytes(whole.slice(start + len / 2, len - len / 2).unwrap())
                    );
                    assert!(
                        part.slice(0, len + 1).is_err()
                            && part.rows(&[len]).is_err()
                            && part.part(1, len).is_err()
                    );
                }
            }
            let part = whole.part(2, 5).unwrap();
            let (path, row) = part.file_of(3).unwrap();
            assert_eq!((path.file_name().unwrap().to_str().unwrap(), row), ("2.npy", 2));
            assert_eq!(whole.file_of(8), None);
        }
        let scalar = Array::try_from(Tensor::from_vec(vec![1_u8], &[]).unwrap()).unwrap();
        assert_eq!(scalar.part(0, 1).unwrap_err().code(), "argument");
    }
}
