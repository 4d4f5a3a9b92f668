//! [`RowRequest`]: a row that is wanted, and where it goes.

use crate::error::Error;

/// One row to gather: row `index` of the source goes to row `slot` of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRequest {
    /// The row of the source.
    pub index: u64,
    /// The row of the output.
    pub slot: usize,
}

impl RowRequest {
    /// Whether row and slot are those after another request's.
    #[must_use]
    pub fn follows(&self, other: &Self) -> bool {
        other.index.checked_add(1) == Some(self.index)
            && other.slot.checked_add(1) == Some(self.slot)
    }
}

/// How many of the first requests follow one another; at least one is asked for.
#[must_use]
pub fn run(requests: &[RowRequest]) -> usize {
    requests.windows(2).take_while(|pair| pair[1].follows(&pair[0])).count() + 1
}

/// The error of a row that a source of `len` rows does not have.
pub(crate) fn no_row(index: u64, len: u64) -> Error {
    Error::IndexOutOfRange {
        index: isize::try_from(index).unwrap_or(isize::MAX),
        axis: 0,
        len: usize::try_from(len).unwrap_or(usize::MAX),
    }
}
