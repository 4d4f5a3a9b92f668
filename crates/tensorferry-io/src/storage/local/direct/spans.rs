//! `Span`s: the reads that cover all wanted ranges. Adjacent ranges share a read.

use std::ops::Range;

/// Maximum bytes of one read.
pub(crate) const MOST: usize = 64 << 10;
/// Maximum gap between two ranges that share a read, in bytes. Reading the gap costs less than
/// another read.
pub(crate) const GAP: u64 = 8 << 10;

/// A wanted range of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Index of the file in the group.
    pub(crate) file: usize,
    pub(crate) offset: u64,
    pub(crate) len: usize,
}

impl Wanted {
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.len as u64)
    }
}

/// One read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(super) file: usize,
    /// Offset of the first byte, a multiple of the file's alignment.
    pub(super) start: u64,
    /// The end of the last wanted byte.
    pub(super) end: u64,
    /// Indices of the wanted ranges that overlap this read; they may extend beyond it.
    pub(super) wanted: Range<usize>,
}

impl Span {
    /// Number of bytes up to the end of the last wanted one, at most [`MOST`].
    pub(super) fn len(&self) -> usize {
        distance(self.start, self.end)
    }

    /// The bytes of `wanted` in this read: their range in the read, and in `wanted`.
    pub(super) fn part(&self, wanted: &Wanted) -> Option<(Range<usize>, Range<usize>)> {
        let (from, to) = (self.start.max(wanted.offset), self.end.min(wanted.end()));
        let after = |base: u64| distance(base, from)..distance(base, to);
        (from < to).then(|| (after(self.start), after(wanted.offset)))
    }
}

/// Distance of two offsets in one range or read, which fits in memory.
fn distance(from: u64, to: u64) -> usize {
    usize::try_from(to - from).unwrap_or(usize::MAX)
}

/// The reads that cover the wanted ranges, which are sorted by file and offset. `alignment` of each
/// file is a power of two, at most [`MOST`].
pub(crate) fn spans(wanted: &[Wanted], alignment: impl Fn(usize) -> u64) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::with_capacity(wanted.len());
    for (at, one) in wanted.iter().enumerate() {
        let mut from = one.offset;
        while from < one.end() {
            let extends = |last: &&mut Span| {
                last.file == one.file
                    && (last.start..last.start.saturating_add(MOST as u64)).contains(&from)
                    && from <= last.end + GAP
            };
            if let Some(last) = spans.last_mut().filter(extends) {
                from = one.end().min(last.start + MOST as u64);
                last.end = last.end.max(from);
                last.wanted.end = at + 1;
            } else {
                let start = from - from % alignment(one.file);
                from = one.end().min(start.saturating_add(MOST as u64));
                spans.push(Span { file: one.file, start, end: from, wanted: at..at + 1 });
            }
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::local::direct::testing::numbers;

    fn sorted(mut wanted: Vec<Wanted>) -> Vec<Wanted> {
        wanted.sort_by_key(|one| (one.file, one.offset));
        wanted
    }

    fn wanted(file: usize, offset: u64, len: usize) -> Wanted {
        Wanted { file, offset, len }
    }

    #[test]
    fn rows_of_one_block_are_read_once() {
        let rows: Vec<Wanted> =
            [0, 400, 400, 3600, 3700].map(|offset| wanted(0, offset, 400)).into();
        let once = spans(&rows, |_| 4096);
        assert_eq!(once, [Span { file: 0, start: 0, end: 4100, wanted: 0..5 }]);
        let part = once[0].part(&rows[4]);
        assert_eq!(part, Some((3700..4100, 0..400)));
    }

    #[test]
    fn rows_far_apart_or_of_other_files_are_read_one_by_one() {
        let rows = [wanted(0, 100, 50), wanted(0, 150 + GAP + 1, 50), wanted(1, 100, 50)];
        let starts: Vec<u64> = spans(&rows, |_| 512).iter().map(|span| span.start).collect();
        assert_eq!(starts, [0, 150 + GAP + 1 - (150 + GAP + 1) % 512, 0]);
        assert_eq!(spans(&rows[..2], |_| 1).len(), 2);
        assert_eq!(spans(&[rows[0], wanted(0, 150 + GAP, 50)], |_| 1).len(), 1);
    }

    #[test]
    fn what_is_long_is_cut_where_a_read_ends() {
        let most = MOST as u64;
        let spans = spans(
            &[
                wanted(0, 1000, 2 * MOST),
                wanted(0, 1000 + 2 * most, 10),
                wanted(0, 2000 + 2 * most, 5),
            ],
            |_| 512,
        );
        let cut: Vec<(u64, usize)> = spans.iter().map(|span| (span.start, span.len())).collect();
        assert_eq!(cut, [(512, MOST), (512 + most, MOST), (512 + 2 * most, 1493)]);
    }

    #[test]
    fn of_random_wants_every_byte_is_brought_and_no_read_is_too_long() {
        for seed in 0..300 {
            let mut random = numbers(seed);
            let mut below = |bound: u64| random.next().unwrap() % bound;
            let area = [20_000, 500_000, 1 << 45][usize::try_from(seed % 3).unwrap()];
            let alignment = [1, 512, 4096][usize::try_from(below(3)).unwrap()];
            let longest = [1, 400, 9000, 200_000][usize::try_from(below(4)).unwrap()];
            let all = (0..below(40)).map(|_| {
                let len = usize::try_from(below(longest + 1)).unwrap();
                wanted(usize::try_from(below(2)).unwrap(), below(area), len)
            });
            let all = sorted(all.collect());
            let spans = spans(&all, |_| alignment);
            let mut brought: Vec<Vec<bool>> = all.iter().map(|one| vec![false; one.len]).collect();
            for span in &spans {
                assert!(
                    span.len() <= MOST && span.start.is_multiple_of(alignment) && span.len() > 0,
                    "{span:?}"
                );
                for at in span.wanted.clone() {
                    assert_eq!(all[at].file, span.file);
                    if let Some((from, to)) = span.part(&all[at]) {
                        assert_eq!(
                            span.start + from.start as u64,
                            all[at].offset + to.start as u64
                        );
                        assert_eq!(from.len(), to.len());
                        brought[at][to].fill(true);
                    }
                }
            }
            assert!(brought.iter().flatten().all(|brought| *brought), "seed {seed}");
            assert!(spans.len() <= all.iter().map(|one| one.len / MOST + 2).sum());
        }
    }
}
