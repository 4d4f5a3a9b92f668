//! Opened arrays read into memory in another dtype.

use super::Array;
use crate::buffers::pool;
use crate::{ByteOrder, Casting, DType, Error, Layout, Misfits, Result, Tensor, ViewMut, convert, convert_into};

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
    /// As [`Array::slice`] and [`convert()`]; misfits are counted among all values, and the first is named with its
    /// index and its file.
    pub fn convert(&self, dtype: DType, casting: Casting) -> Result<Tensor> {
        if let Ok(tensor) = self.tensor() {
            let same = tensor.dtype() == dtype && tensor.byte_order() == ByteOrder::Native;
            return if same {
                Ok(tensor)
            } else {
                convert(&tensor.as_view(), dtype, casting).map_err(|error| self.misfit_in(0, error))
            };
        }
        if dtype == self.dtype() {
            return self.read();
        }
        let layout = Layout::contiguous(self.shape(), dtype.size())?;
        let mut buffer = pool::take(layout.nbytes())?;
        let (mut left, mut start) = (buffer.as_mut_slice(), 0);
        let mut misfits: Option<(Box<Misfits>, u64)> = None;
        for rows in self.chunks() {
            let rows = rows?;
            let (out, rest) = left.split_at_mut(rows.layout().len() * dtype.size());
            left = rest;
            let mut out = ViewMut::from_bytes(dtype, out, rows.shape())?;
            match convert_into(&rows.as_view(), &mut out, casting) {
                Ok(()) => {}
                Err(Error::ValuesDoNotFit(found)) => match &mut misfits {
                    // Those that follow are only counted.
                    Some((misfits, _)) => misfits.count += found.count,
                    None => misfits = Some((found, start as u64)),
                },
                Err(other) => return Err(other),
            }
            start += rows.shape().first().copied().unwrap_or(1);
        }
        match misfits {
            None => Tensor::new(dtype, ByteOrder::Native, layout, buffer.freeze(), 0),
            Some((mut misfits, start)) => {
                misfits.total = self.shape().iter().product();
                Err(self.misfit_in(start, Error::ValuesDoNotFit(misfits)))
            }
        }
    }
}
