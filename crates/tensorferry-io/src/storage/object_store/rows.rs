//! [`Rows`]: the bytes of a group of objects that some work reads.

use crate::storage::read_at::{Piece, Place};
use std::ops::Range;

/// All bytes of a group.
pub(super) const ALL: Range<Place> = (0, 0)..(usize::MAX, u64::MAX);

/// The bytes of each object that hold rows, as far as they are within a range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    all: &'a [Range<u64>],
    from: Place,
    to: Place,
}

impl<'a> Rows<'a> {
    /// The rows within a range. The range is ignored if it has not all of these pieces, which are
    /// sorted by source and offset: it is that of other work.
    pub(super) fn of(all: &'a [Range<u64>], within: &Range<Place>, pieces: &[Piece<'_>]) -> Self {
        let starts = pieces.first().is_none_or(|p| (p.source, p.offset) >= within.start);
        let ends = |p: &Piece<'_>| (p.source, p.offset + p.out.len() as u64) <= within.end;
        let within = if starts && pieces.iter().all(ends) { within } else { &ALL };
        Self { all, from: within.start, to: within.end }
    }

    /// Those of an object of the group; an empty range if it has none.
    pub(super) fn get(&self, source: usize) -> Range<u64> {
        let Some(rows) = self.all.get(source) else { return 0..0 };
        let start = match source.cmp(&self.from.0) {
            std::cmp::Ordering::Less => return 0..0,
            std::cmp::Ordering::Equal => rows.start.max(self.from.1),
            std::cmp::Ordering::Greater => rows.start,
        };
        let end = match source.cmp(&self.to.0) {
            std::cmp::Ordering::Less => rows.end,
            std::cmp::Ordering::Equal => rows.end.min(self.to.1),
            std::cmp::Ordering::Greater => return 0..0,
        };
        start..end.max(start)
    }

    /// The next object that has rows.
    pub(super) fn after(&self, source: usize) -> Option<usize> {
        let last = self.all.len().min(self.to.0.saturating_add(1));
        (source + 1..last).find(|source| !self.get(*source).is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: [Range<u64>; 4] = [128..1000, 0..0, 128..2000, 64..500];

    #[test]
    fn rows_are_those_within_a_range() {
        let all = Rows::of(&GROUP, &ALL, &[]);
        assert_eq!([0, 1, 2, 3].map(|at| all.get(at)), GROUP);
        assert_eq!((all.after(0), all.after(2), all.after(3)), (Some(2), Some(3), None));
        let part = Rows::of(&GROUP, &((0, 400)..(2, 300)), &[]);
        assert_eq!([0, 1, 2, 3].map(|at| part.get(at)), [400..1000, 0..0, 128..300, 0..0]);
        assert_eq!((part.after(0), part.after(2)), (Some(2), None));
    }

    #[test]
    fn a_range_of_other_work_is_ignored() {
        let (mut out, within) = (vec![0; 100], (0, 400)..(2, 300));
        let mut rows = |source: usize, offset: u64| {
            Rows::of(&GROUP, &within, &[Piece { source, offset, out: &mut out }]).get(3)
        };
        assert_eq!((rows(0, 400), rows(2, 200)), (0..0, 0..0));
        assert_eq!((rows(0, 399), rows(2, 201)), (64..500, 64..500));
    }
}
