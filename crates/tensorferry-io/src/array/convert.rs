//! Converts opened arrays to another dtype.

use crate::array::array::Array;
use crate::convert::convert;
use crate::convert::convert_into;
use crate::error::{Error, Result};
use crate::memory::pool;
use tensorferry_core::Error as CoreError;
use tensorferry_core::{ByteOrder, Casting, DType, Layout, Misfits, Tensor, ViewMut};

impl Array {
    /// The whole array in memory, in `dtype`. Shared if it is already in memory in that dtype,
    /// otherwise read and converted a few MiB at a time.
    ///
    /// ```
    /// use tensorferry_core::{Casting, DType, Tensor};
    /// use tensorferry_io::{Mode, open, save_npy};
    ///
    /// let directory = tempfile::tempdir().unwrap();
    /// let path = directory.path().join("labels.npy");
    /// save_npy(&path, &Tensor::from_vec(vec![3_i64, 300], &[2])?.as_view())?;
    /// let labels = open(path)?.array()?;
    /// let error = labels.convert(DType::UInt8, Casting::Checked).unwrap_err();
    /// assert!(error.to_string().contains("1 of 2 values does not fit (first: [1] = 300"));
    /// # Ok::<(), tensorferry_io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Array::slice`] and [`convert()`]. Counts all misfits, and reports the first with its
    /// index and file.
    pub fn convert(&self, dtype: DType, casting: Casting) -> Result<Tensor> {
        if let Ok(tensor) = self.tensor() {
            let same = tensor.dtype() == dtype && tensor.byte_order() == ByteOrder::Native;
            return if same {
                Ok(tensor)
            } else {
                convert(&tensor.as_view(), dtype, casting)
                    .map_err(|error| self.misfit_in(0, error.into()))
            };
        }
        if dtype == self.dtype() {
            return self.read();
        }
        let layout = Layout::contiguous(self.shape(), dtype.size())?;
        let mut buffer = pool::take(layout.nbytes())?;
        let (mut left, mut start) = (buffer.as_mut_slice(), 0);
        let mut misfits = Found::default();
        for rows in self.chunks() {
            let rows = rows?;
            let (out, rest) = left.split_at_mut(rows.layout().len() * dtype.size());
            left = rest;
            let mut out = ViewMut::from_bytes(dtype, out, rows.shape())?;
            misfits.add(
                start,
                convert_into(&rows.as_view(), &mut out, casting).map_err(Error::from),
            )?;
            start += rows.shape().first().copied().unwrap_or(1);
        }
        misfits.of(self)?;
        Ok(Tensor::new(dtype, ByteOrder::Native, layout, buffer.freeze(), 0)?)
    }

    /// Checks all values of an array that is converted on reading ([`Array::cast`]), and counts
    /// those that do not fit. Reading itself stops at the first. Does nothing for other arrays.
    ///
    /// ```
    /// use tensorferry_core::{Casting, DType, Tensor};
    /// use tensorferry_io::Array;
    ///
    /// let numbers = Array::try_from(Tensor::from_vec(vec![3_i64, 300, 400], &[3])?)?;
    /// let error = numbers.cast(DType::UInt8, Casting::Checked)?.check_values().unwrap_err();
    /// assert!(error.to_string().contains("2 of 3 values do not fit (first: [1] = 300"));
    /// # Ok::<(), tensorferry_io::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`tensorferry_core::Error::ValuesDoNotFit`] with the file, as [`Array::convert`]; errors of
    /// reading; [`Error::Interrupted`].
    pub fn check_values(&self) -> Result<()> {
        let Some((from, casting)) = self.converted() else { return Ok(()) };
        let from = from.read_as(self);
        from.check_values()?;
        let (mut misfits, mut start) = (Found::default(), 0);
        for rows in from.chunks() {
            let rows = rows?;
            let mut room = pool::take(rows.layout().len() * self.dtype().size())?;
            let mut out = ViewMut::from_bytes(self.dtype(), room.as_mut_slice(), rows.shape())?;
            misfits.add(
                start,
                convert_into(&rows.as_view(), &mut out, casting).map_err(Error::from),
            )?;
            start += rows.shape().first().copied().unwrap_or(1);
        }
        misfits.of(&from)
    }
}

/// Values that do not fit, collected over parts: the first one, the count of all, and the first row
/// of its part.
#[derive(Default)]
struct Found(Option<(Box<Misfits>, u64)>);

impl Found {
    /// Adds the misfits of a part that starts at row `start`.
    fn add(&mut self, start: usize, converted: Result<()>) -> Result<()> {
        match (converted, &mut self.0) {
            // Later misfits are only counted.
            (Err(Error::Core(CoreError::ValuesDoNotFit(found))), Some((misfits, _))) => {
                misfits.count += found.count
            }
            (Err(Error::Core(CoreError::ValuesDoNotFit(found))), none) => {
                *none = Some((found, start as u64))
            }
            (other, _) => return other,
        }
        Ok(())
    }

    /// The error, if any, after all parts of the array were checked.
    fn of(self, array: &Array) -> Result<()> {
        let Some((mut misfits, start)) = self.0 else { return Ok(()) };
        misfits.total = array.shape().iter().product();
        Err(array.misfit_in(start, Error::Core(CoreError::ValuesDoNotFit(misfits))))
    }
}
