//! What is where in the file of a segment: a header, a mark for each piece, a checksum for each
//! block, and the pieces, each at its own offset.
//!
//! # Rationale
//! One file per piece would be a million files for a terabyte. A file of up to 4,096 pieces is
//! sparse: pieces that are not kept take no space. Its first page with data is aligned, so that the
//! pieces can be read in any way that a local file can.

/// Length of every piece but the last of an object, in bytes.
pub(crate) const PIECE: u64 = 1 << 20;
/// Length of what has a checksum, in bytes.
pub(crate) const BLOCK: u64 = 16 << 10;
/// Number of blocks in a piece. A word has a bit for each.
pub(crate) const BLOCKS: u64 = PIECE / BLOCK;
/// Number of pieces in a segment, which is what is evicted together.
pub(crate) const PIECES: u64 = 4096;
/// Maximum number of segments of an object. Later pieces are not kept.
pub(crate) const SEGMENTS: u64 = 1 << 16;
/// Length of the header in bytes.
pub(crate) const HEADER: u64 = 96;
/// What file systems allocate, in bytes.
const PAGE: u64 = 4096;

const _: () = assert!(BLOCKS == u64::BITS as u64, "a word has a bit for each block of a piece");

/// The bytes of disk that count for a piece of `len` bytes.
pub(crate) const fn cost(len: u64) -> u64 {
    match len.checked_next_multiple_of(PAGE) {
        Some(bytes) => bytes,
        None => u64::MAX,
    }
}

/// Places in the file of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Number of bytes of the object in this segment.
    bytes: u64,
}

impl Layout {
    /// The layout of a segment of an object of `len` bytes.
    pub(crate) fn of(len: u64, segment: u64) -> Self {
        let most = PIECES * PIECE;
        Self { bytes: len.saturating_sub(segment.saturating_mul(most)).min(most) }
    }

    /// Number of segments of an object that can be kept.
    pub(crate) fn segments(len: u64) -> u64 {
        len.div_ceil(PIECES * PIECE).min(SEGMENTS)
    }

    pub(crate) fn pieces(self) -> u64 {
        self.bytes.div_ceil(PIECE)
    }

    /// Length of a piece in bytes. Pieces are counted from the start of the segment.
    pub(crate) fn piece_len(self, piece: u64) -> u64 {
        self.bytes.saturating_sub(piece * PIECE).min(PIECE)
    }

    /// Offset of the mark of a piece.
    pub(crate) fn mark_at(self, piece: u64) -> u64 {
        HEADER + piece
    }

    /// Offset of the checksum of a block. Blocks are counted from the start of the segment.
    pub(crate) fn sum_at(self, block: u64) -> u64 {
        HEADER + self.pieces().next_multiple_of(4) + 4 * block
    }

    /// Offset of a piece.
    pub(crate) fn piece_at(self, piece: u64) -> u64 {
        self.sum_at(self.bytes.div_ceil(BLOCK)).next_multiple_of(PAGE) + piece * PIECE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_file_follow_each_other() {
        for len in [1, BLOCK, PIECE - 1, PIECE, PIECE + 1, 7 * PIECE + 5, PIECES * PIECE] {
            let layout = Layout::of(len, 0);
            assert_eq!(layout.mark_at(0), HEADER);
            assert!(layout.mark_at(layout.pieces() - 1) < layout.sum_at(0));
            let last = layout.sum_at((len - 1) / BLOCK) + 4;
            assert!(last <= layout.piece_at(0) && layout.piece_at(0) < last + PAGE);
            assert_eq!(layout.piece_at(0) % PAGE, 0);
            let lens: u64 = (0..layout.pieces()).map(|piece| layout.piece_len(piece)).sum();
            assert_eq!((lens, Layout::segments(len)), (len, 1));
        }
    }

    #[test]
    fn segments_are_full_but_the_last() {
        let len = 2 * PIECES * PIECE + PIECE + 1;
        assert_eq!(Layout::segments(len), 3);
        assert_eq!([0, 1, 2, 3].map(|at| Layout::of(len, at).pieces()), [PIECES, PIECES, 2, 0]);
        assert_eq!(Layout::of(len, 2).piece_len(1), 1);
        assert_eq!(Layout::segments(u64::MAX), SEGMENTS);
        assert_eq!(Layout::of(u64::MAX, u64::MAX).pieces(), 0);
        assert_eq!((Layout::segments(0), Layout::of(0, 0).pieces()), (0, 0));
    }

    #[test]
    fn a_piece_counts_for_the_pages_it_takes() {
        assert_eq!([0, 1, 4096, 4097, PIECE].map(cost), [0, 4096, 4096, 8192, PIECE]);
        assert_eq!(cost(u64::MAX), u64::MAX);
    }
}
