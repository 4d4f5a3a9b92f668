//! [`Extents`]: the files' ranges that hold rows, and the chunks of sequential reads.

use crate::storage::local::direct::queue::Shape;
use crate::storage::local::direct::spans::{GAP, Wanted};
use std::ops::Range;

/// Bytes per chunk.
pub(crate) const CHUNK: usize = Shape::Long.slot();

/// The range of each file that holds rows, in row order.
#[derive(Clone, Debug)]
pub(crate) struct Extents {
    ranges: Vec<Range<u64>>,
    /// Index of each range's first chunk, and the number of all chunks. Chunks start at multiples
    /// of [`CHUNK`] in a file.
    chunks: Vec<u64>,
}

/// A position in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(super) file: usize,
    pub(super) offset: u64,
}

/// An aligned chunk, and the range of its bytes that belong to rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) file: usize,
    pub(super) start: u64,
    pub(super) rows: Range<u64>,
}

impl Extents {
    pub(super) fn new(ranges: Vec<Range<u64>>) -> Self {
        let mut chunks = vec![0];
        let mut all = 0;
        for range in &ranges {
            all += range.end.div_ceil(CHUNK as u64).saturating_sub(range.start / CHUNK as u64);
            chunks.push(all);
        }
        Self { ranges, chunks }
    }

    /// Number of chunks.
    pub(super) fn chunks(&self) -> u64 {
        self.chunks.last().copied().unwrap_or(0)
    }

    /// Index of the chunk that contains a byte.
    pub(super) fn number(&self, place: Place) -> Option<u64> {
        let range = self.ranges.get(place.file)?;
        let inside = range.contains(&place.offset);
        inside.then(|| {
            self.chunks[place.file] + place.offset / CHUNK as u64 - range.start / CHUNK as u64
        })
    }

    /// The chunk with this index.
    pub(super) fn chunk(&self, number: u64) -> Option<Chunk> {
        // Files without rows have no chunks, so the last of equal first indices is the right one.
        let file = self.chunks.partition_point(|first| *first <= number).checked_sub(1)?;
        let range = self.ranges.get(file)?;
        let start = (range.start / CHUNK as u64 + number - self.chunks[file]) * CHUNK as u64;
        Some(Chunk {
            file,
            start,
            rows: start.max(range.start)..(start + CHUNK as u64).min(range.end),
        })
    }

    /// Start and end of the wanted ranges, which are sorted, if they are contiguous.
    pub(super) fn run(&self, wanted: &[Wanted]) -> Option<(Place, Place)> {
        let first = wanted.first()?;
        let mut end = Place { file: first.file, offset: first.offset };
        for one in wanted {
            let overlaps = one.file == end.file && one.offset <= end.offset;
            if !overlaps && !self.follows(end, Place { file: one.file, offset: one.offset }) {
                return None;
            }
            end = Place {
                file: one.file,
                offset: if overlaps { one.end().max(end.offset) } else { one.end() },
            };
        }
        Some((Place { file: first.file, offset: first.offset }, end))
    }

    /// Whether `next` continues a sequential read that ended at `end`, with at most a small gap.
    /// After the last row, the first one follows.
    pub(super) fn follows(&self, end: Place, next: Place) -> bool {
        let near = |from: u64, to: u64| to <= from.saturating_add(GAP);
        if end.file == next.file && next.offset >= end.offset {
            return near(end.offset, next.offset);
        }
        let after = |file: usize| {
            (file + 1..self.ranges.len())
                .chain(0..=file)
                .find(|file| !self.ranges[*file].is_empty())
        };
        let (Some(old), Some(new)) = (self.ranges.get(end.file), self.ranges.get(next.file)) else {
            return false;
        };
        after(end.file) == Some(next.file)
            && near(end.offset, old.end)
            && near(new.start, next.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKS: u64 = CHUNK as u64;

    fn place(file: usize, offset: u64) -> Place {
        Place { file, offset }
    }

    fn three() -> Extents {
        Extents::new(vec![128..2 * CHUNKS + 5, 0..0, CHUNKS + 100..CHUNKS + 300])
    }

    #[test]
    fn chunks_are_numbered_through_all_files() {
        let extents = three();
        assert_eq!(extents.chunks(), 4);
        let all: Vec<Chunk> = (0..4).filter_map(|number| extents.chunk(number)).collect();
        let chunk = |file, start, rows| Chunk { file, start, rows };
        assert_eq!(
            all,
            [
                chunk(0, 0, 128..CHUNKS),
                chunk(0, CHUNKS, CHUNKS..2 * CHUNKS),
                chunk(0, 2 * CHUNKS, 2 * CHUNKS..2 * CHUNKS + 5),
                chunk(2, CHUNKS, CHUNKS + 100..CHUNKS + 300)
            ]
        );
        assert_eq!(extents.chunk(4), None);
        for (number, chunk) in (0..).zip(&all) {
            for offset in [chunk.rows.start, chunk.rows.end - 1] {
                assert_eq!(extents.number(place(chunk.file, offset)), Some(number));
            }
        }
        assert_eq!(
            [place(0, 127), place(1, 0), place(2, CHUNKS + 300), place(3, 0)]
                .map(|at| extents.number(at)),
            [None; 4]
        );
    }

    #[test]
    fn what_lies_together_is_a_run_also_from_one_file_to_the_next() {
        let extents = three();
        let wanted = |file, offset, len| Wanted { file, offset, len };
        let across = [
            wanted(0, 2 * CHUNKS - 100, 100),
            wanted(0, 2 * CHUNKS, 5),
            wanted(2, CHUNKS + 100, 10),
        ];
        assert_eq!(
            extents.run(&across),
            Some((place(0, 2 * CHUNKS - 100), place(2, CHUNKS + 110)))
        );
        assert_eq!(extents.run(&[wanted(0, 128, 10), wanted(0, 139 + GAP, 1)]), None);
        assert_eq!(extents.run(&[wanted(0, 128, 10), wanted(2, CHUNKS + 100, 1)]), None);
        assert_eq!(
            extents.run(&[wanted(0, 128, 100), wanted(0, 130, 5)]),
            Some((place(0, 128), place(0, 228)))
        );
        assert!(extents.follows(place(2, CHUNKS + 300), place(0, 128)), "the next epoch");
        assert!(!extents.follows(place(0, 300), place(0, 200)));
    }
}
