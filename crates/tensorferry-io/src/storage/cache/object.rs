//! [`CachedObject`]: the pieces of one version of a remote object.

use crate::storage::cache::pieces::PieceCache;
use crate::storage::read_at::Version;
use std::sync::Arc;

/// One version of a remote object, as the cache has it. While it exists, the pieces of this object
/// are not evicted. A failure of the disk is not an error: a piece is read again, or not kept.
#[derive(Debug)]
pub struct CachedObject {
    _cache: Arc<PieceCache>,
    len: u64,
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

impl PieceCache {
    /// The pieces of `len` bytes of this version of an object. Only the hash of `url` reaches the
    /// disk.
    #[must_use]
    pub fn object(self: &Arc<Self>, _url: &str, _version: &Version, len: u64) -> CachedObject {
        CachedObject { _cache: Arc::clone(self), len }
    }
}

impl CachedObject {
    /// Length of every piece but the last, in bytes.
    pub const PIECE: u64 = 1 << 20;

    /// Length of a piece in bytes; 0 if the object has no such piece.
    #[must_use]
    pub fn piece_len(&self, piece: u64) -> u64 {
        self.len.saturating_sub(piece.saturating_mul(Self::PIECE)).min(Self::PIECE)
    }

    /// Copies the bytes of a piece that start at `offset` into `out`. Returns whether the cache has
    /// them, intact; if not, the contents of `out` are unspecified.
    #[must_use]
    pub fn read(&self, _piece: u64, _offset: usize, _out: &mut [u8]) -> bool {
        false
    }

    /// Whether a piece of this length would be kept now. Evicts unused objects if that helps.
    #[must_use]
    pub fn has_room(&self, _bytes: u64) -> bool {
        false
    }

    /// Keeps a whole piece if there is room.
    pub fn keep(&self, _piece: u64, _bytes: &[u8]) {}

    /// What the cache did for this object so far.
    #[must_use]
    pub fn counts(&self) -> CacheCounts {
        CacheCounts::default()
    }
}
