//! Opened arrays in another dtype, converted as they are read.

use super::Array;
use crate::buffers::pool;
use crate::{ByteOrder, Casting, DType, Error, Layout, Misfits, Result, Tensor, ViewMut, convert, convert_into};

/// An error of a conversion of rows that are the ones from `start` on of a whole.
pub(crate) fn in_rows_from(start: usize, error: Error) -> Error {
    match error {
        Error::ValuesDoNotFit(mut misfits) => {
            if let Some(row) = misfits.index.first_mut() {
                *row += start;
            }
            Error::ValuesDoNotFit(misfits)
        }
        other => other,
    }
}

impl Array {
    /// The whole array in memory, in a dtype: shared if it lies there in this dtype, else read and converted some MiB at a time.
    ///
    /// ```
    /// use tensorferry::{Casting, DType, Mode, Tensor, open, save_npy};
    ///
    /// let directory = tempfile::tempdir().unwrap();
    /// let path = directory.path().join("labels.npy");
    /// save_npy(&path, &Tensor::from_vec(vec![3_i64, 300], &[2])?.as_view())?;
    /// let labels = open(&[path], None, Mode::Read)?.array()?;
    /// let error = labels.convert(DType::UInt8, Casting::Checked).unwrap_err();
    /// assert!(error.to_string().contains("1 of 2 values does not fit (first: [1] = 300"));
    /// # Ok::<(), tensorferry::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Array::slice`] and [`convert()`]; a misfit is counted among all values.
    pub fn convert(&self, dtype: DType, casting: Casting) -> Result<Tensor> {
        if let Ok(tensor) = self.tensor() {
            let same = tensor.dtype() == dtype && tensor.byte_order() == ByteOrder::Native;
            return if same { Ok(tensor) } else { convert(&tensor.as_view(), dtype, casting) };
        }
        if dtype == self.dtype() {
            return self.read();
        }
        let layout = Layout::contiguous(self.shape(), dtype.size())?;
        let mut buffer = pool::take(layout.nbytes())?;
        let (mut left, mut start) = (buffer.as_mut_slice(), 0);
        let mut misfits: Option<Box<Misfits>> = None;
        for rows in self.chunks() {
            let rows = rows?;
            let (out, rest) = left.split_at_mut(rows.layout().len() * dtype.size());
            left = rest;
            let mut out = ViewMut::from_bytes(dtype, out, rows.shape())?;
            match convert_into(&rows.as_view(), &mut out, casting) {
                Ok(()) => {}
                Err(Error::ValuesDoNotFit(found)) => match &mut misfits {
                    // Those that follow are only counted.
                    Some(misfits) => misfits.count += found.count,
                    None => misfits = first_of(found, start, self),
                },
                Err(other) => return Err(other),
            }
            start += rows.shape().first().copied().unwrap_or(1);
        }
        match misfits {
            None => Tensor::new(dtype, ByteOrder::Native, layout, buffer.freeze(), 0),
            Some(misfits) => Err(Error::ValuesDoNotFit(misfits)),
        }
    }
}

/// Misfits of rows as those of a whole array.
fn first_of(mut found: Box<Misfits>, start: usize, whole: &Array) -> Option<Box<Misfits>> {
    found.total = whole.shape().iter().product();
    match found.index.first_mut() {
        _ if whole.shape().is_empty() => found.index.clear(), // read as its only row
        Some(row) => *row += start,
        None => {}
    }
    Some(found)
}
