//! [`RaggedArray`]: rows of different lengths in files.

use crate::array::array::Array;
use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use tensorferry_core::Tensor;

/// Rows of different lengths: row `i` is `values[row_splits[i]..row_splits[i + 1]]`.
///
/// Clones share the open files.
#[derive(Clone, Debug)]
pub struct RaggedArray {
    values: Array,
    row_splits: Tensor,
}

impl RaggedArray {
    /// `row_splits` are int64, rise from 0 to the number of values, and are one more than there
    /// are rows.
    pub(crate) fn new(values: Array, row_splits: Tensor) -> Self {
        Self { values, row_splits }
    }

    /// Rows of an array of one dimension. `row_splits` are int64.
    ///
    /// # Errors
    /// [`Error::Argument`] if the splits do not rise from 0 to the number of values, or the values
    /// are not of one dimension.
    pub fn from_row_splits(values: Array, row_splits: Tensor) -> Result<Self> {
        let wrong = |what| Err(Error::argument("rows of different lengths", what));
        if values.shape().len() != 1 {
            return wrong(format!("values of shape {:?} are not of one dimension", values.shape()));
        }
        let rows = Self { values, row_splits };
        let (splits, end) = (rows.splits()?, rows.values.len());
        let rise = splits.is_sorted() && splits.first() == Some(&0);
        if !rise || splits.last().and_then(|last| usize::try_from(*last).ok()) != Some(end) {
            return wrong(format!("row_splits do not rise from 0 to the number of values, {end}"));
        }
        Ok(rows)
    }

    /// The splits.
    pub(crate) fn splits(&self) -> Result<&[i64]> {
        let what = "row_splits are not int64, one after the other, in one dimension";
        let view = self.row_splits.view::<i64>().ok();
        view.and_then(|view| view.as_slice())
            .ok_or_else(|| Error::argument("rows of different lengths", what))
    }

    /// All values, one row after the other. They are read on request.
    #[must_use]
    pub fn values(&self) -> &Array {
        &self.values
    }

    /// Where each row begins in the values, and the number of values.
    #[must_use]
    pub fn row_splits(&self) -> &Tensor {
        &self.row_splits
    }

    /// The same rows, whose values are not read once `cancel` is cancelled.
    #[must_use]
    pub fn cancelled_by(&self, cancel: &CancelToken) -> Self {
        Self { values: self.values.cancelled_by(cancel), row_splits: self.row_splits.clone() }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.row_splits.shape().first().map_or(0, |splits| splits.saturating_sub(1))
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
