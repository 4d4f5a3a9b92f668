//! The requests that bring the pieces of a batch.

use crate::storage::object_store::fetch::Sink;
use crate::storage::read_at::Piece;
use std::ops::Range;
use std::time::Duration;

/// Most and least bytes of a request. Longer pieces are cut, for several requests at once.
pub(super) const MOST: u64 = 8 << 20;
pub(super) const LEAST: u64 = 1 << 20;
/// Requests that a large read is cut into.
const AT_ONCE: u64 = 16;
/// Limits of the gap between two pieces that one request brings.
const GAPS: Range<u64> = (16 << 10)..(1 << 20);

/// The gap that is worth receiving instead of another request: what a connection brings in the
/// time that a request waits for its first byte, divided by the requests that wait together. A
/// connection to S3 brings about 100 bytes a microsecond.
pub(super) fn gap(latency: Duration) -> u64 {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    (micros.saturating_mul(100) / AT_ONCE).clamp(GAPS.start, GAPS.end)
}

/// One request, and the pieces that it brings.
pub(super) struct Span<'p, 'a> {
    pub(super) source: usize,
    pub(super) bytes: Range<u64>,
    pieces: &'p mut [Piece<'a>],
    /// Index of the first piece that still lacks bytes.
    first: usize,
}

/// Most bytes of a request of these pieces.
pub(super) fn longest(pieces: &[Piece<'_>]) -> u64 {
    let all: u64 = pieces.iter().map(|piece| piece.out.len() as u64).sum();
    (all / AT_ONCE).clamp(LEAST, MOST).next_power_of_two()
}

/// Pieces sorted by source and offset, each cut where a request ends.
pub(super) fn cut<'a>(pieces: &'a mut [Piece<'_>], most: u64) -> Vec<Piece<'a>> {
    // Cuts are at multiples of it in the object, so that they are the cuts of a cache's pieces too.
    let mut cut = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let (mut offset, mut rest) = (piece.offset, &mut *piece.out);
        while !rest.is_empty() {
            let len = usize::try_from(most - offset % most).unwrap_or(usize::MAX).min(rest.len());
            let (out, later) = rest.split_at_mut(len);
            cut.push(Piece { source: piece.source, offset, out });
            (offset, rest) = (offset + len as u64, later);
        }
    }
    // Pieces can overlap, so that a part of one begins after the next one.
    cut.sort_by_key(|piece| (piece.source, piece.offset));
    cut
}

/// The requests for pieces that were cut.
pub(super) fn spans<'p, 'a>(
    mut pieces: &'p mut [Piece<'a>],
    gap: u64,
    most: u64,
) -> Vec<Span<'p, 'a>> {
    let mut spans = Vec::new();
    while let Some(first) = pieces.first() {
        let (source, start) = (first.source, first.offset);
        let mut end = start;
        let count = pieces.iter().take_while(|piece| {
            let to = piece.offset + piece.out.len() as u64;
            let joins = piece.source == source
                && (piece.offset == start
                    || piece.offset <= end.saturating_add(gap) && to - start <= most);
            if joins {
                end = end.max(to);
            }
            joins
        });
        let count = count.count();
        let (here, later) = pieces.split_at_mut(count);
        pieces = later;
        spans.push(Span { source, bytes: start..end, pieces: here, first: 0 });
    }
    spans
}

/// Where a span of `from..to` overlaps bytes at `offset`: the range in the piece, and in the bytes.
pub(super) fn overlap(
    piece: &Range<u64>,
    bytes: &Range<u64>,
) -> Option<(Range<usize>, Range<usize>)> {
    let (from, to) = (piece.start.max(bytes.start), piece.end.min(bytes.end));
    let index = |at: u64| usize::try_from(at).ok();
    let within = |base: u64| Some(index(from - base)?..index(to - base)?);
    if from < to { Some((within(piece.start)?, within(bytes.start)?)) } else { None }
}

impl Sink for Span<'_, '_> {
    fn put(&mut self, offset: u64, bytes: &[u8]) {
        let here = offset..offset + bytes.len() as u64;
        let of = |piece: &Piece<'_>| piece.offset..piece.offset + piece.out.len() as u64;
        while self.pieces.get(self.first).is_some_and(|piece| of(piece).end <= here.start) {
            self.first += 1;
        }
        for piece in &mut self.pieces[self.first..] {
            if piece.offset >= here.end {
                break;
            }
            if let Some((to, from)) = overlap(&of(piece), &here) {
                piece.out[to].copy_from_slice(&bytes[from]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::local::direct::testing::numbers;

    /// Reads pieces through the spans, from a source whose bytes are a function of their offset.
    fn read(pieces: &mut [Piece<'_>], gap: u64, step: usize) -> Vec<Range<u64>> {
        let byte = |source: usize, at: u64| ((at * 7 + source as u64) % 251) as u8;
        let most = longest(pieces);
        let mut cut = cut(pieces, most);
        let mut found = Vec::new();
        for mut span in spans(&mut cut, gap, most) {
            found.push(span.bytes.clone());
            let bytes: Vec<u8> = span.bytes.clone().map(|at| byte(span.source, at)).collect();
            let mut at = span.bytes.start;
            for chunk in bytes.chunks(step) {
                span.put(at, chunk);
                at += chunk.len() as u64;
            }
        }
        found
    }

    #[test]
    fn near_pieces_share_a_request_and_long_ones_are_cut() {
        let (mut a, mut b, mut c) = (vec![0; 10], vec![0; 10], vec![0; 10]);
        let mut pieces = [
            Piece { source: 0, offset: 0, out: &mut a },
            Piece { source: 0, offset: 30, out: &mut b },
            Piece { source: 1, offset: 40, out: &mut c },
        ];
        assert_eq!(read(&mut pieces, 20, 7), [0..40, 40..50]);
        assert_eq!(read(&mut pieces, 19, 7), [0..10, 30..40, 40..50]);
        let mut long = vec![0; 3 << 20];
        let mut pieces = [Piece { source: 0, offset: 5, out: &mut long }];
        let spans = read(&mut pieces, 0, 1000);
        let mib = 1 << 20;
        assert_eq!(spans, [5..mib, mib..2 * mib, 2 * mib..3 * mib, 3 * mib..3 * mib + 5]);
    }

    #[test]
    fn of_random_pieces_every_byte_is_brought() {
        for seed in 0..200 {
            let mut random = numbers(seed);
            let mut below = |bound: u64| random.next().unwrap() % bound;
            let area = [300, 20_000, 1 << 40][usize::try_from(seed % 3).unwrap()];
            let mut wanted: Vec<(usize, u64, Vec<u8>)> = (0..below(50))
                .map(|_| {
                    let len = usize::try_from(below(400)).unwrap();
                    (usize::try_from(below(2)).unwrap(), below(area), vec![0; len])
                })
                .collect();
            wanted.sort_by_key(|(source, offset, _)| (*source, *offset));
            let mut pieces: Vec<Piece<'_>> = wanted
                .iter_mut()
                .map(|(source, offset, out)| Piece { source: *source, offset: *offset, out })
                .collect();
            let (gap, step) = (below(100), usize::try_from(below(300)).unwrap() + 1);
            read(&mut pieces, gap, step);
            for (source, offset, out) in &wanted {
                let expected = (0..out.len() as u64)
                    .map(|at| (((offset + at) * 7 + *source as u64) % 251) as u8);
                assert!(expected.eq(out.iter().copied()), "seed {seed}");
            }
        }
    }
}
