//! [`RowRequest`]: a row to gather and its place in the output.

use tensorferry_core::Error;

/// One row to gather: row `index` of the source goes to row `slot` of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRequest {
    /// Index of the row in the source.
    pub index: u64,
    /// Index of the row in the output.
    pub slot: usize,
}

impl RowRequest {
    /// Whether row and slot directly follow those of another request.
    #[must_use]
    pub fn follows(&self, other: &Self) -> bool {
        other.index.checked_add(1) == Some(self.index)
            && other.slot.checked_add(1) == Some(self.slot)
    }
}

/// Number of leading requests that follow one another. `requests` must not be empty.
#[must_use]
pub fn run(requests: &[RowRequest]) -> usize {
    requests.windows(2).take_while(|pair| pair[1].follows(&pair[0])).count() + 1
}

/// The error for an index of a row that is out of bounds for a source of `len` rows.
pub(crate) fn no_row(index: u64, len: u64) -> Error {
    Error::IndexOutOfRange {
        index: isize::try_from(index).unwrap_or(isize::MAX),
        axis: 0,
        len: usize::try_from(len).unwrap_or(usize::MAX),
    }
}
