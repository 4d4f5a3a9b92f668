//! [`RowReader`]: custom code that reads rows.

use crate::array::array::Array;
use crate::array::row_source::RowSource;
use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::gather::request::{RowRequest, no_row};
use crate::gather::rows_out::RowsOut;
use crate::memory::pool;
use crate::storage::mode::Mode;
use std::fmt;
use std::sync::Arc;
use tensorferry_core::{DType, Layout};
use tensorferry_core::{Shape, TensorSpec};

/// Custom storage of rows.
pub trait RowReader: Send + Sync {
    /// Writes the rows with these indices contiguously, packed and in native byte order. The
    /// indices are increasing and less than the number of rows.
    ///
    /// # Errors
    /// Errors of reading. [`Error::Function`] wraps errors of any kind.
    fn read_rows(&self, rows: &[u64], out: &mut [u8]) -> Result<()>;
}

/// Maximum bytes of rows per call of a reader, unless one row is larger.
const PART: usize = 64 << 20;

struct Read {
    reader: Arc<dyn RowReader>,
    spec: [TensorSpec; 1],
    rows: u64,
    row: usize,
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read")
            .field("spec", &self.spec)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl Array {
    /// An array whose rows a reader reads on request: the rows of a batch in one call, in order and
    /// without duplicates.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tensorferry_core::DType;
    /// use tensorferry_io::{Array, Result, RowReader};
    ///
    /// struct Squares;
    ///
    /// impl RowReader for Squares {
    ///     fn read_rows(&self, rows: &[u64], out: &mut [u8]) -> Result<()> {
    ///         for (row, out) in rows.iter().zip(out.chunks_exact_mut(8)) {
    ///             out.copy_from_slice(&(row * row).to_ne_bytes());
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let squares = Array::from_reader(DType::UInt64, &[10], Arc::new(Squares))?;
    /// assert_eq!(squares.rows(&[4, 2])?.view::<u64>()?.as_slice(), Some(&[16, 4][..]));
    /// # Ok::<(), tensorferry_io::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for a shape without dimensions;
    /// [`tensorferry_core::Error::SizeOverflow`].
    pub fn from_reader(dtype: DType, shape: &[usize], reader: Arc<dyn RowReader>) -> Result<Self> {
        let Some((rows, dims)) = shape.split_first() else {
            return Err(Error::argument("from_reader", "an array without dimensions has no rows"));
        };
        let row = Layout::contiguous(dims, dtype.size())?.nbytes();
        let spec = [TensorSpec::new(dtype, Shape::fixed(dims))];
        let source = Read { reader, spec, rows: *rows as u64, row };
        Self::new(Arc::new(source), 0, false, Mode::Read, Arc::default())
    }
}

impl Read {
    /// Reads sorted requests into their slots.
    fn read_part(&self, requests: &[RowRequest], out: &mut RowsOut<'_>) -> Result<()> {
        let mut numbers: Vec<u64> = requests.iter().map(|request| request.index).collect();
        numbers.dedup();
        let in_place = numbers.len() == requests.len()
            && requests.windows(2).all(|pair| pair[0].slot + 1 == pair[1].slot);
        if in_place && let Some(first) = requests.first() {
            let start = first.slot * self.row;
            return self
                .reader
                .read_rows(&numbers, &mut out.bytes[start..start + numbers.len() * self.row]);
        }
        let mut read = pool::take(numbers.len() * self.row)?;
        self.reader.read_rows(&numbers, read.as_mut_slice())?;
        let read = read.as_mut_slice();
        let mut at = 0;
        for request in requests {
            if numbers[at] != request.index {
                at += 1;
            }
            out.slot(request.slot).copy_from_slice(&read[at * self.row..(at + 1) * self.row]);
        }
        Ok(())
    }
}

impl RowSource for Read {
    fn columns(&self) -> &[TensorSpec] {
        &self.spec
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn read_rows(
        &self,
        _which: &[usize],
        requests: &mut [RowRequest],
        out: &mut [RowsOut<'_>],
        cancel: &CancelToken,
    ) -> Result<()> {
        let Some(out) = out.first_mut() else { return Ok(()) };
        requests.sort_unstable_by_key(|request| (request.index, request.slot));
        if let Some(last) = requests.last().filter(|last| last.index >= self.rows) {
            return Err(no_row(last.index, self.rows).into());
        }
        if self.row == 0 {
            return Ok(());
        }
        for part in requests.chunks((PART / self.row).max(1)) {
            cancel.check()?;
            self.read_part(part, out)?;
        }
        Ok(())
    }

    fn is_sequential(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Squares(Mutex<Vec<Vec<u64>>>);

    impl RowReader for Squares {
        fn read_rows(&self, rows: &[u64], out: &mut [u8]) -> Result<()> {
            self.0.lock().unwrap().push(rows.to_vec());
            assert_eq!(out.len(), rows.len() * 2);
            for (row, out) in rows.iter().zip(out.chunks_exact_mut(2)) {
                out.copy_from_slice(&u16::try_from(row * row).unwrap().to_ne_bytes());
            }
            Ok(())
        }
    }

    #[test]
    fn rows_are_asked_for_in_order_and_once() {
        let reader = Arc::new(Squares::default());
        let array =
            Array::from_reader(DType::UInt16, &[20], Arc::clone(&reader) as Arc<dyn RowReader>)
                .unwrap();
        let rows = array.rows(&[3, 1, 3, 19, 1]).unwrap();
        assert_eq!(rows.view::<u16>().unwrap().as_slice(), Some(&[9, 1, 9, 361, 1][..]));
        assert_eq!(
            array.slice(4, 2).unwrap().view::<u16>().unwrap().as_slice(),
            Some(&[16, 25][..])
        );
        assert_eq!(*reader.0.lock().unwrap(), [vec![1, 3, 19], vec![4, 5]]);
        assert_eq!(array.rows(&[20]).unwrap_err().code(), "index_out_of_range");
        assert!(array.tensor().is_err());
    }

    #[test]
    fn a_scalar_is_refused() {
        assert_eq!(
            Array::from_reader(DType::UInt16, &[], Arc::new(Squares::default()))
                .unwrap_err()
                .code(),
            "argument"
        );
    }
}
