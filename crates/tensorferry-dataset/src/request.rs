//! Requests for elements: which components, and which parts of them.

use crate::error::Result;
use tensorferry_io::gather::request::RowRequest;

/// Values of a measured component to gather: `start..start + len` of element `index`. They go to
/// the slots from `slot` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowPart {
    pub(crate) index: u64,
    pub(crate) start: usize,
    pub(crate) len: usize,
    pub(crate) slot: usize,
}

/// A request for an element.
pub(crate) trait Request {
    /// The element's index.
    fn index(&self) -> u64;

    /// Asks for another element.
    fn set_index(&mut self, index: u64);
}

impl Request for RowRequest {
    fn index(&self) -> u64 {
        self.index
    }

    fn set_index(&mut self, index: u64) {
        self.index = index;
    }
}

impl Request for RowPart {
    fn index(&self) -> u64 {
        self.index
    }

    fn set_index(&mut self, index: u64) {
        self.index = index;
    }
}

/// Sorts requests by `key` of their indices, and calls `each` for those of each key.
pub(crate) fn each_group<T: Request, K: Ord + Copy>(
    requests: &mut [T],
    key: impl Fn(u64) -> K,
    mut each: impl FnMut(K, &mut [T]) -> Result<()>,
) -> Result<()> {
    let of = |request: &T| key(request.index());
    if !requests.is_sorted_by_key(of) {
        requests.sort_by_key(of);
    }
    for group in requests.chunk_by_mut(|a, b| of(a) == of(b)) {
        if let Some(key) = group.first().map(of) {
            each(key, group)?;
        }
    }
    Ok(())
}

/// The components that a [`Stage::gather`](crate::stage::Stage::gather) writes.
#[derive(Clone, Copy)]
pub(crate) enum Columns<'a> {
    All,
    /// These components, in this order. The others are not read if that can be avoided.
    Some(&'a [usize]),
}

impl Columns<'_> {
    /// The component that goes to place `at` of the output.
    pub(crate) fn at(self, at: usize) -> usize {
        match self {
            Self::All => at,
            Self::Some(which) => which[at],
        }
    }

    /// The components of an output of `len` places.
    pub(crate) fn indices(self, len: usize) -> impl Iterator<Item = usize> + Clone {
        (0..len).map(move |at| self.at(at))
    }
}
