//! [`SegmentFile`]: the open file of a segment, whose pieces are checked once.
//!
//! # Rationale
//! A piece is written first, then its checksums, then its mark, without a sync. A process that is
//! killed leaves no mark. After a power failure the mark may be there and the piece not: then the
//! checksums differ. Checking takes a third of the time of a read from the page cache, so each
//! process checks a block when it first reads it. Blocks that it wrote count as checked.
//!
//! A file is removed as a whole, and what a piece holds never changes. So a process that has a
//! file open reads the right bytes from it, even if the file was removed meanwhile.

use crate::storage::cache::header::{Header, LEN};
use crate::storage::cache::key::{Key, ObjectId};
use crate::storage::cache::layout::{BLOCK, BLOCKS, Layout, cost};
use crate::storage::cache::positional::{is_removed, write_all};
use crate::storage::local::pread::read_up_to;
use crate::storage::local::regular::open_beside;
use std::fs::File;
use std::io::{ErrorKind, Result};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// The mark of a piece that is kept.
const KEPT: u8 = b'+';

/// The open file of a segment.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    file: File,
    layout: Layout,
    /// What every checksum of this file begins with, so that a block of another place is damaged.
    seed: u32,
    checked: Arc<Checked>,
}

/// Which blocks of a file this process has found to be intact.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The number of the file's header.
    nonce: u64,
    /// A word for each piece, with a bit for each block.
    pieces: Box<[AtomicU64]>,
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// All bytes, intact.
    All,
    /// The piece is not kept.
    Nothing,
    /// At least one block is damaged.
    Damage,
}

impl SegmentFile {
    /// Opens the file of a segment. `checked` is what an earlier handle of this process knew.
    ///
    /// # Errors
    /// Those of the system, as [`ErrorKind::NotFound`]; [`ErrorKind::InvalidData`] if it has
    /// another header.
    pub(crate) fn open(
        path: &Path,
        key: &Key,
        segment: u64,
        checked: Option<Arc<Checked>>,
    ) -> Result<Self> {
        let file = open_beside(path, false)?;
        let header = read_header(&file)?.filter(|header| header.is_of(key, segment));
        let header = header.ok_or(ErrorKind::InvalidData)?;
        Ok(Self::new(file, header, checked))
    }

    /// Creates the file of a segment. The caller has the lock of the folder.
    ///
    /// # Errors
    /// Those of the system, as [`ErrorKind::AlreadyExists`].
    pub(crate) fn create(path: &Path, key: &Key, segment: u64) -> Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        let header = Header::new(key, segment);
        file.set_len(Layout::of(key.len, segment).piece_at(0))?;
        write_all(&file, 0, &header.encode())?;
        Ok(Self::new(file, header, None))
    }

    fn new(file: File, header: Header, checked: Option<Arc<Checked>>) -> Self {
        let layout = Layout::of(header.len, header.segment);
        let fresh = || {
            let pieces = (0..layout.pieces()).map(|_| AtomicU64::new(0)).collect();
            Arc::new(Checked { nonce: header.nonce, pieces })
        };
        let checked = checked.filter(|checked| checked.nonce == header.nonce);
        let seed = crc32c::crc32c(&header.hash);
        let seed = crc32c::crc32c_append(seed, &header.segment.to_le_bytes());
        Self { file, layout, seed, checked: checked.unwrap_or_else(fresh) }
    }

    /// Length of a piece in bytes.
    pub(crate) fn piece_len(&self, piece: u64) -> u64 {
        self.layout.piece_len(piece)
    }

    pub(crate) fn checked(&self) -> &Arc<Checked> {
        &self.checked
    }

    /// Whether both are handles of one file.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.checked.nonce == other.checked.nonce
    }

    /// Whether the file was removed.
    pub(crate) fn is_removed(&self) -> Result<bool> {
        is_removed(&self.file)
    }

    /// Notes that the segment was used now.
    pub(crate) fn touch(&self) {
        // Where the system refuses, the segment is evicted earlier than it could be.
        let _ = self.file.set_modified(SystemTime::now());
    }

    /// Whether a piece is kept.
    pub(crate) fn is_kept(&self, piece: u64) -> Result<bool> {
        let mut mark = [0];
        Ok(read_up_to(&self.file, self.layout.mark_at(piece), &mut mark)? == 1 && mark == [KEPT])
    }

    /// Marks a piece as kept, or not. The caller has the lock of the folder.
    pub(crate) fn mark(&self, piece: u64, kept: bool) -> Result<()> {
        write_all(&self.file, self.layout.mark_at(piece), &[if kept { KEPT } else { 0 }])
    }

    /// Writes a piece and its checksums.
    pub(crate) fn write(&self, piece: u64, bytes: &[u8]) -> Result<()> {
        let block_len = usize::try_from(BLOCK).map_err(|_| ErrorKind::Unsupported)?;
        let first = piece * BLOCKS;
        let sums: Vec<u8> = (first..)
            .zip(bytes.chunks(block_len))
            .flat_map(|(block, bytes)| self.sum(block, bytes).to_le_bytes())
            .collect();
        write_all(&self.file, self.layout.piece_at(piece), bytes)?;
        write_all(&self.file, self.layout.sum_at(first), &sums)
    }

    /// Counts a piece that this process has written as checked.
    pub(crate) fn trust(&self, piece: u64) {
        self.word(piece).store(u64::MAX, Ordering::Release);
    }

    /// Reads the bytes of a piece that start at `offset`, which lie in it.
    pub(crate) fn read(&self, piece: u64, offset: usize, out: &mut [u8]) -> Result<Found> {
        let start = offset as u64;
        let end = start + out.len() as u64;
        let blocks = start / BLOCK..end.div_ceil(BLOCK).max(start / BLOCK);
        let unknown = mask(&blocks) & !self.word(piece).load(Ordering::Acquire);
        if (unknown != 0 || out.is_empty()) && !self.is_kept(piece)? {
            return Ok(Found::Nothing);
        }
        let intact = if unknown == 0 {
            read_up_to(&self.file, self.layout.piece_at(piece) + start, out)? == out.len()
        } else {
            self.read_and_check(piece, start, out, &blocks, unknown)?
        };
        Ok(if intact { Found::All } else { Found::Damage })
    }

    /// Reads bytes of a piece, and checks these blocks of them. Returns whether they are intact.
    fn read_and_check(
        &self,
        piece: u64,
        start: u64,
        out: &mut [u8],
        blocks: &Range<u64>,
        unknown: u64,
    ) -> Result<bool> {
        let end = start + out.len() as u64;
        let place = |bytes: Range<u64>, from: u64| {
            let place = |at: u64| usize::try_from(at - from).unwrap_or(usize::MAX);
            place(bytes.start)..place(bytes.end)
        };
        let sums = blocks.clone().zip(self.sums(piece, blocks)?);
        let sums: Vec<_> = sums.filter(|(block, _)| unknown & (1 << block) != 0).collect();
        let is_whole = |bytes: &Range<u64>| start <= bytes.start && bytes.end <= end;
        // Of the first and the last block a part may be wanted: they are read apart, and checked.
        let (mut rest, mut block_bytes) = (start..end, Vec::new());
        for &(block, sum) in &sums {
            let bytes = self.block(piece, block);
            if is_whole(&bytes) {
                continue;
            }
            if !self.is_intact(piece, block, sum, &mut block_bytes)? {
                return Ok(false);
            }
            let part = bytes.start.max(start)..bytes.end.min(end);
            out[place(part.clone(), start)]
                .copy_from_slice(&block_bytes[place(part.clone(), bytes.start)]);
            if bytes.start <= start { rest.start = part.end } else { rest.end = part.start }
        }
        let at = self.layout.piece_at(piece) + rest.start;
        let rest = &mut out[place(rest, start)];
        if !rest.is_empty() && read_up_to(&self.file, at, rest)? < rest.len() {
            return Ok(false);
        }
        for &(block, sum) in &sums {
            let bytes = self.block(piece, block);
            let is_intact = !is_whole(&bytes)
                || self.sum(piece * BLOCKS + block, &out[place(bytes, start)]) == sum;
            if !is_intact {
                return Ok(false);
            }
            self.word(piece).fetch_or(1 << block, Ordering::AcqRel);
        }
        Ok(true)
    }

    /// Whether every block of a piece is intact now. Forgets what was known of it if not.
    pub(crate) fn check(&self, piece: u64) -> bool {
        let blocks = 0..self.layout.piece_len(piece).div_ceil(BLOCK);
        let mut bytes = Vec::new();
        let intact = self.sums(piece, &blocks).is_ok_and(|sums| {
            blocks.zip(sums).all(|(block, expected)| {
                self.is_intact(piece, block, expected, &mut bytes).is_ok_and(|intact| intact)
            })
        });
        if !intact {
            self.word(piece).store(0, Ordering::Release);
        }
        intact
    }

    /// Reads a block into `bytes`. Returns whether it has this checksum.
    fn is_intact(
        &self,
        piece: u64,
        block: u64,
        expected: u32,
        bytes: &mut Vec<u8>,
    ) -> Result<bool> {
        let place = self.block(piece, block);
        let len = usize::try_from(place.end - place.start).map_err(|_| ErrorKind::Unsupported)?;
        bytes.resize(len, 0);
        let read = read_up_to(&self.file, self.layout.piece_at(piece) + place.start, bytes)?;
        Ok(read == bytes.len() && self.sum(piece * BLOCKS + block, bytes) == expected)
    }

    /// Where a block is in its piece.
    fn block(&self, piece: u64, block: u64) -> Range<u64> {
        block * BLOCK..((block + 1) * BLOCK).min(self.layout.piece_len(piece))
    }

    /// The stored checksums of blocks of a piece.
    fn sums(&self, piece: u64, blocks: &Range<u64>) -> Result<Vec<u32>> {
        let count = usize::try_from(blocks.end - blocks.start).unwrap_or_default();
        let mut bytes = vec![0; 4 * count];
        let at = self.layout.sum_at(piece * BLOCKS + blocks.start);
        // If the file ends before, 0 stays, which is the checksum of no block.
        read_up_to(&self.file, at, &mut bytes)?;
        let sums = bytes.chunks_exact(4);
        Ok(sums.map(|sum| sum.first_chunk().map_or(0, |sum| u32::from_le_bytes(*sum))).collect())
    }

    /// The checksum of a block: never 0, so that bytes that were never written have none.
    fn sum(&self, block: u64, bytes: &[u8]) -> u32 {
        let seed = crc32c::crc32c_append(self.seed, &block.to_le_bytes());
        crc32c::crc32c_append(seed, bytes).max(1)
    }

    fn word(&self, piece: u64) -> &AtomicU64 {
        &self.checked.pieces[usize::try_from(piece).unwrap_or(usize::MAX)]
    }
}

/// The number of bytes that the pieces in a file count for, whichever segment it holds.
///
/// # Errors
/// Those of the system; [`ErrorKind::InvalidData`] if it is not the file of `id`'s segment.
pub(crate) fn kept_bytes(path: &Path, id: &ObjectId, segment: u64) -> Result<u64> {
    let file = open_beside(path, false)?;
    let header = read_header(&file)?
        .filter(|header| header.segment == segment && ObjectId::rest_of(&header.hash) == id.rest());
    let layout =
        header.map(|header| Layout::of(header.len, segment)).ok_or(ErrorKind::InvalidData)?;
    let mut marks = vec![0; usize::try_from(layout.pieces()).unwrap_or_default()];
    read_up_to(&file, layout.mark_at(0), &mut marks)?;
    let kept = (0..).zip(marks).filter(|(_, mark)| *mark == KEPT);
    Ok(kept.map(|(piece, _)| cost(layout.piece_len(piece))).sum())
}

/// The header of a file; `None` if it has none that is intact.
fn read_header(file: &File) -> Result<Option<Header>> {
    let mut bytes = [0; LEN];
    let read = read_up_to(file, 0, &mut bytes)?;
    Ok(if read == LEN { Header::decode(&bytes) } else { None })
}

/// The bits of blocks of a piece.
fn mask(blocks: &Range<u64>) -> u64 {
    let up_to = |end: u64| if end >= BLOCKS { u64::MAX } else { (1 << end) - 1 };
    up_to(blocks.end) & !up_to(blocks.start)
}
