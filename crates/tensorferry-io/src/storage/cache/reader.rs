//! [`CacheReader`]: reads the pieces of an object.

use crate::storage::cache::layout::PIECES;
use crate::storage::cache::object::{CacheCounts, CachedObject};
use crate::storage::cache::segment_file::{Found, SegmentFile};
use std::io::Result;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Reads from one object, for one thread and one batch. Readers share nothing that they write to
/// for each read.
#[derive(Debug)]
pub struct CacheReader<'a> {
    object: &'a CachedObject,
    /// The segment of the last read, and its file.
    last: Option<(u64, Arc<SegmentFile>)>,
    counts: CacheCounts,
}

impl CachedObject {
    /// A reader, for many reads.
    #[must_use]
    pub fn reader(&self) -> CacheReader<'_> {
        self.renew_lease();
        CacheReader { object: self, last: None, counts: CacheCounts::default() }
    }

    /// Copies the bytes of a piece that start at `offset` into `out`. Returns whether the cache has
    /// them, intact; if not, the contents of `out` are unspecified.
    #[must_use]
    pub fn read(&self, piece: u64, offset: usize, out: &mut [u8]) -> bool {
        self.reader().read(piece, offset, out)
    }
}

impl CacheReader<'_> {
    /// As [`CachedObject::read`].
    #[must_use]
    pub fn read(&mut self, piece: u64, offset: usize, out: &mut [u8]) -> bool {
        let end = (offset as u64).saturating_add(out.len() as u64);
        let len = self.object.piece_len(piece);
        let hit = len > 0
            && end <= len
            && self.try_read(piece, offset, out).unwrap_or_else(|error| {
                log::debug!("{}: piece {piece}: {error}", self.object.cache.folder().display());
                false
            });
        if hit {
            self.counts.hits += 1;
            self.counts.bytes += out.len() as u64;
        } else {
            self.counts.misses += 1;
        }
        hit
    }

    fn try_read(&mut self, piece: u64, offset: usize, out: &mut [u8]) -> Result<bool> {
        let (segment, piece) = (piece / PIECES, piece % PIECES);
        if self.last.as_ref().is_none_or(|(last, _)| *last != segment) {
            self.last = self.file(segment, false)?.map(|file| (segment, file));
        }
        let Some((_, file)) = &self.last else { return Ok(false) };
        let mut found = file.read(piece, offset, out);
        if matches!(found, Ok(Found::Nothing)) && file.is_removed()? {
            self.last = self.file(segment, true)?.map(|file| (segment, file));
            let Some((_, file)) = &self.last else { return Ok(false) };
            found = file.read(piece, offset, out);
        }
        let Some((_, file)) = &self.last else { return Ok(false) };
        Ok(match found {
            Ok(Found::All) => true,
            Ok(Found::Nothing) => false,
            // Another thread or process may have replaced the piece meanwhile.
            Ok(Found::Damage) | Err(_) => {
                self.is_intact(file, piece)? && file.read(piece, offset, out)? == Found::All
            }
        })
    }

    /// The file of a segment; if `current`, not one that was removed.
    fn file(&self, segment: u64, current: bool) -> Result<Option<Arc<SegmentFile>>> {
        let Some(segment) = self.object.segment(segment) else { return Ok(None) };
        let cache = &self.object.cache;
        if current {
            segment.current_file(&cache.folder, &cache.files)
        } else {
            segment.file(&cache.folder, &cache.files)
        }
    }

    /// Whether a piece is intact after all. Removes it if not.
    fn is_intact(&self, file: &SegmentFile, piece: u64) -> Result<bool> {
        let cache = &self.object.cache;
        cache.locked(|ledger| {
            if !file.is_kept(piece)? || file.check(piece) {
                return file.is_kept(piece);
            }
            ledger.remove_piece(file, piece)?;
            cache.removed_piece();
            Ok(false)
        })
    }
}

impl Drop for CacheReader<'_> {
    fn drop(&mut self) {
        let (all, own) = (&self.object.counts, &self.counts);
        for (all, own) in
            [(&all.hits, own.hits), (&all.misses, own.misses), (&all.bytes, own.bytes)]
        {
            if own > 0 {
                all.fetch_add(own, Ordering::Relaxed);
            }
        }
    }
}
