//! Helpers of the tests: objects of known contents.

use crate::storage::cache::folder::Folder;
use crate::storage::cache::key::Key;
use crate::storage::cache::layout::PIECE;
use crate::storage::cache::object::CachedObject;
use crate::storage::cache::pieces::PieceCache;
use crate::storage::cache::segment_file::kept_bytes;
use crate::storage::cache::usage::Usage;
use crate::storage::read_at::Version;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(super) const MIB: usize = 1 << 20;

/// Pseudo-random numbers that are the same each time.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

/// A version of an object in a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Remote {
    pub(super) url: String,
    pub(super) version: u64,
    pub(super) len: usize,
}

impl Remote {
    pub(super) fn new(name: impl std::fmt::Display, version: u64, len: usize) -> Self {
        Self { url: format!("s3://bucket/{name}"), version, len }
    }

    /// The file of its first segment.
    pub(super) fn file(&self, folder: &Path) -> PathBuf {
        let version = Version::new(self.version.to_string());
        let key = Key::new(&self.url, &version, self.len as u64);
        Folder::new(folder).segment(&key.id, 0)
    }

    /// Makes its file as old as this.
    pub(super) fn age(&self, folder: &Path, age: Duration) {
        let file = File::options().write(true).open(self.file(folder)).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    pub(super) fn open(&self, cache: &Arc<PieceCache>) -> CachedObject {
        let version = Version::new(self.version.to_string());
        cache.object(&self.url, &version, self.len as u64)
    }

    pub(super) fn pieces(&self) -> usize {
        self.len.div_ceil(MIB)
    }

    /// The bytes of a piece.
    pub(super) fn piece(&self, piece: usize) -> Vec<u8> {
        let seed = format!("{} {} {piece}", self.url, self.version);
        let mut random = Random::new(u64::from(crc32c::crc32c(seed.as_bytes())));
        let len = self.len.saturating_sub(piece * MIB).min(MIB);
        let mut bytes: Vec<u8> =
            (0..len.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect();
        bytes.truncate(len);
        bytes
    }

    /// Whether a whole piece is read. Panics if the bytes are wrong.
    pub(super) fn is_read(&self, object: &CachedObject, piece: usize) -> bool {
        let expected = self.piece(piece);
        let mut out = vec![0; expected.len()];
        let hit = object.read(piece as u64, 0, &mut out);
        assert!(!hit || out == expected, "{self:?}: piece {piece} has wrong bytes");
        hit
    }

    pub(super) fn keep(&self, object: &CachedObject, piece: usize) {
        object.keep(piece as u64, &self.piece(piece));
    }

    pub(super) fn keep_all(&self, object: &CachedObject) {
        (0..self.pieces()).for_each(|piece| self.keep(object, piece));
    }

    /// The number of pieces that are read.
    pub(super) fn hits(&self, object: &CachedObject) -> usize {
        (0..self.pieces()).filter(|piece| self.is_read(object, *piece)).count()
    }
}

/// A cache of its own, as another process has it.
pub(super) fn cache(folder: &Path, limit: usize) -> Arc<PieceCache> {
    PieceCache::open(folder.to_owned(), limit as u64, true).unwrap()
}

/// The number of bytes that a folder's count says, and what the pieces add up to.
pub(super) fn counted(folder: &Path) -> (u64, u64) {
    let folder = Folder::new(folder);
    let used = Usage::open(&folder.usage(), true).unwrap().read().unwrap().unwrap();
    let entries = folder.entries().unwrap();
    let kept = entries.iter().map(|entry| kept_bytes(&entry.path, &entry.id, entry.segment));
    (used, kept.map(|bytes| bytes.unwrap_or_default()).sum())
}

/// The number of segment files in a folder.
pub(super) fn files(folder: &Path) -> usize {
    Folder::new(folder).entries().unwrap().len()
}

const _: () = assert!(PIECE == MIB as u64);
