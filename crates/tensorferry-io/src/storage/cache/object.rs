//! [`CachedObject`]: the pieces of one version of a remote object.

use crate::storage::cache::key::Key;
use crate::storage::cache::layout::{Layout, PIECE, PIECES, cost};
use crate::storage::cache::pieces::PieceCache;
use crate::storage::cache::segment::Segment;
use crate::storage::cache::segment_file::SegmentFile;
use crate::storage::read_at::Version;
use crate::sync::process::process_id;
use std::io::{ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One version of a remote object, as the cache has it. While it exists, the pieces of this object
/// are not evicted. A failure of the disk is not an error: a piece is read again, or not kept.
#[derive(Debug)]
pub struct CachedObject {
    pub(super) cache: Arc<PieceCache>,
    key: Key,
    segments: Box<[Arc<Segment>]>,
    /// The process whose lease has the object, and the place there.
    lease: AtomicU64,
    pub(super) counts: Counts,
}

/// What the cache did for an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Number of reads that the cache answered.
    pub hits: u64,
    /// Number of reads that it did not.
    pub misses: u64,
    /// Number of bytes that it was read for.
    pub bytes: u64,
    /// Number of bytes that it was given and kept.
    pub kept: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) bytes: AtomicU64,
    kept: AtomicU64,
}

/// The place of an object that no lease has.
const NO_PLACE: u32 = u32::MAX;

impl PieceCache {
    /// The pieces of `len` bytes of this version of an object. Only the hash of `url` reaches the
    /// disk.
    ///
    /// ```
    /// use tensorferry_io::Version;
    /// use tensorferry_io::storage::cache::{CachedObject, PieceCache};
    ///
    /// let folder = tempfile::tempdir().unwrap();
    /// let cache = PieceCache::at(folder.path(), 100 << 20)?;
    /// let object = cache.object("s3://bucket/labels.npy", &Version::new("an ETag"), 5);
    /// let mut out = [0; 2];
    /// assert!(!object.read(0, 3, &mut out));
    /// object.keep(0, b"bytes");
    /// assert!(object.read(0, 3, &mut out));
    /// assert_eq!(&out, b"es");
    /// # Ok::<(), tensorferry_io::Error>(())
    /// ```
    #[must_use]
    pub fn object(self: &Arc<Self>, url: &str, version: &Version, len: u64) -> CachedObject {
        let key = Key::new(url, version, len);
        let segments = 0..Layout::segments(len);
        let object = CachedObject {
            cache: Arc::clone(self),
            key,
            segments: segments.map(|index| Arc::new(Segment::new(key, index))).collect(),
            lease: AtomicU64::new(0),
            counts: Counts::default(),
        };
        object.renew_lease();
        object
    }
}

impl CachedObject {
    /// Length of every piece but the last, in bytes.
    pub const PIECE: u64 = PIECE;

    /// Length of a piece in bytes; 0 if the object has no such piece.
    #[must_use]
    pub fn piece_len(&self, piece: u64) -> u64 {
        self.key.len.saturating_sub(piece.saturating_mul(PIECE)).min(PIECE)
    }

    /// Whether a piece of this length would be kept now. Unused objects make way for it.
    #[must_use]
    pub fn has_room(&self, bytes: u64) -> bool {
        self.cache.has_room(bytes)
    }

    /// Keeps a whole piece if there is room.
    pub fn keep(&self, piece: u64, bytes: &[u8]) {
        let whole = bytes.len() as u64 == self.piece_len(piece) && !bytes.is_empty();
        if !whole || !self.cache.may_have_room(bytes.len() as u64) {
            return;
        }
        self.renew_lease();
        match self.try_keep(piece, bytes) {
            Ok(false) => {}
            Ok(true) => {
                self.counts.kept.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            Err(error) => self.cache.failed(&error),
        }
    }

    /// What the cache did for this object so far.
    #[must_use]
    pub fn counts(&self) -> CacheCounts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        CacheCounts {
            hits: load(&self.counts.hits),
            misses: load(&self.counts.misses),
            bytes: load(&self.counts.bytes),
            kept: load(&self.counts.kept),
        }
    }

    /// Returns whether the piece was written.
    fn try_keep(&self, piece: u64, bytes: &[u8]) -> Result<bool> {
        let (Some(segment), piece) = (self.segment(piece / PIECES), piece % PIECES) else {
            return Ok(false);
        };
        let len = bytes.len() as u64;
        let file = self.cache.locked(|ledger| {
            let open = || segment.file_to_write(&self.cache.folder, &self.cache.files);
            let (file, is_new) = match open() {
                // A process ended while it created the file, or its header is damaged.
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    ledger.count()?;
                    open()?
                }
                other => other?,
            };
            if is_new {
                ledger.remove_other_versions(&self.key.id)?;
            }
            let wanted = !file.is_kept(piece)? && self.cache.reserve(ledger, len)?;
            Ok(wanted.then_some(file))
        })?;
        let Some(file) = file else { return Ok(false) };
        let written = file.write(piece, bytes);
        let kept = self.cache.locked(|ledger| {
            let marked = if written.is_ok() { mark(&file, piece) } else { Ok(false) };
            ledger.settle(cost(len), matches!(marked, Ok(true)))?;
            marked
        })?;
        if kept {
            file.trust(piece);
        } else {
            self.cache.look_again();
        }
        written?;
        Ok(kept)
    }

    pub(super) fn segment(&self, index: u64) -> Option<&Arc<Segment>> {
        self.segments.get(usize::try_from(index).ok()?)
    }

    /// Lists the object in the lease of this process: a forked process has one of its own.
    pub(super) fn renew_lease(&self) {
        let here = process_id();
        let known = self.lease.load(Ordering::Acquire);
        if known >> 32 == u64::from(here) {
            return;
        }
        let place = self.cache.lease(self.key.id);
        let number = place.and_then(|place| u32::try_from(place).ok()).unwrap_or(NO_PLACE);
        let new = u64::from(here) << 32 | u64::from(number);
        let put = self.lease.compare_exchange(known, new, Ordering::AcqRel, Ordering::Acquire);
        if let (Err(_), Some(place)) = (put, place) {
            self.cache.release(place, self.key.id);
        }
    }
}

/// Marks a piece that was written, unless another process kept it, or removed the file.
fn mark(file: &SegmentFile, piece: u64) -> Result<bool> {
    let is_last = !file.is_kept(piece)? && !file.is_removed()?;
    if is_last {
        file.mark(piece, true)?;
    }
    Ok(is_last)
}

impl Drop for CachedObject {
    fn drop(&mut self) {
        self.segments.iter().for_each(|segment| segment.close());
        let lease = self.lease.load(Ordering::Acquire);
        let place = lease & u64::from(NO_PLACE);
        if lease >> 32 == u64::from(process_id()) && place != u64::from(NO_PLACE) {
            self.cache.release(usize::try_from(place).unwrap_or(usize::MAX), self.key.id);
        }
    }
}
