//! [`RaggedArray`]: rows of different lengths in files.

use crate::array::array::Array;
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
