//! [`PieceCache`]: a folder of pieces of remote objects.

use crate::error::{Error, Result};
use crate::storage::cache::folder::Folder;
use crate::storage::cache::key::ObjectId;
use crate::storage::cache::layout::{PIECE, cost};
use crate::storage::cache::ledger::{Ledger, Room};
use crate::storage::cache::segment::OpenFiles;
use crate::storage::cache::usage::Usage;
use crate::storage::io_error::io;
use crate::sync::fork_safe::ForkSafe;
use std::fs;
use std::io;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How long nothing is kept after a failure, as of a full disk.
const PAUSE: Duration = Duration::from_secs(60);
/// How long a full cache stays full: if this process has open what is in it, and if others do.
const FULL: Duration = Duration::from_secs(30);
const FULL_OF_OTHERS: Duration = Duration::from_secs(1);
/// Looking for room takes at most one part in this many of the time.
const RARELY: u32 = 50;

/// The caches of this process.
static CACHES: ForkSafe<Vec<Weak<PieceCache>>> = ForkSafe::new(Vec::new());

/// A folder of pieces of remote objects, shared by processes.
///
/// Pieces are kept until the limit is reached. Then the pieces of objects that no process has open
/// make way, least recently used first. A piece without room is not kept.
#[derive(Debug)]
pub struct PieceCache {
    path: PathBuf,
    pub(super) folder: Arc<Folder>,
    pub(super) files: OpenFiles,
    limit: AtomicU64,
    /// Whether the file system has locks.
    locks: bool,
    /// To look at the number of bytes without a lock.
    usage: Usage,
    ledger: ForkSafe<Option<Ledger>>,
    /// When this was made; the moments below are milliseconds after it.
    made: Instant,
    full_until: AtomicU64,
    /// The number of bytes that there is no room for until then.
    full_for: AtomicU64,
    paused_until: AtomicU64,
    warned: AtomicBool,
    warned_of_damage: AtomicBool,
}

impl PieceCache {
    /// The cache in a folder, which is created if it does not exist. `limit` is the number of bytes
    /// that its pieces may take; what describes them takes 0.03 % more, and a page per object. A
    /// process has one cache per folder, and the last limit applies.
    ///
    /// # Errors
    /// [`Error::Argument`] if the limit is less than one piece; [`Error::Io`] if the folder cannot
    /// be created or written to.
    pub fn at(folder: &Path, limit: u64) -> Result<Arc<Self>> {
        if limit < PIECE {
            return Err(Error::argument(
                "cache",
                format!(
                    "a cache of {limit} bytes has no room for a piece ({PIECE} bytes). Allow more, \
                    or use no cache."
                ),
            ));
        }
        create(folder).map_err(io("create the folder of the cache", folder))?;
        let path = fs::canonicalize(folder).map_err(io("find the folder of the cache", folder))?;
        let mut caches = CACHES.lock();
        caches.retain(|cache| cache.strong_count() > 0);
        if let Some(cache) = caches.iter().filter_map(Weak::upgrade).find(|c| c.path == path) {
            cache.limit.store(limit, Ordering::Relaxed);
            cache.full_until.store(0, Ordering::Relaxed);
            return Ok(cache);
        }
        let cache = Self::open(path, limit, true).map_err(io("write to the cache", folder))?;
        caches.push(Arc::downgrade(&cache));
        Ok(cache)
    }

    /// A cache that the process does not share.
    pub(super) fn open(path: PathBuf, limit: u64, locks: bool) -> io::Result<Arc<Self>> {
        let folder = Arc::new(Folder::new(&path));
        folder.create()?;
        let usage = Usage::open(&folder.usage(), locks)?;
        let locks = locks && usage.has_locks();
        if !locks {
            log::warn!(
                "{}: the file system has no locks: processes that fill the cache at the same time \
                may exceed its limit, and objects stay for a day after their last use",
                path.display()
            );
        }
        let cache = Arc::new(Self {
            path,
            folder,
            files: OpenFiles::new(most_open()),
            limit: AtomicU64::new(limit),
            locks,
            usage,
            ledger: ForkSafe::reset_by_fork(None),
            made: Instant::now(),
            full_until: AtomicU64::new(0),
            full_for: AtomicU64::new(0),
            paused_until: AtomicU64::new(0),
            warned: AtomicBool::new(false),
            warned_of_damage: AtomicBool::new(false),
        });
        cache.with_ledger(|_| Ok(()))?;
        Ok(cache)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.path
    }

    /// Whether a piece of `len` bytes would be kept. Unused objects make way for it.
    pub(super) fn has_room(&self, len: u64) -> bool {
        if !self.may_have_room(len) {
            return false;
        }
        let (bytes, limit) = (cost(len), self.limit.load(Ordering::Relaxed));
        if matches!(self.usage.read(), Ok(Some(used)) if used.saturating_add(bytes) <= limit) {
            return true;
        }
        self.locked(|ledger| self.make_room(ledger, bytes)).unwrap_or_else(|error| {
            self.failed(&error);
            false
        })
    }

    /// Whether it is worth looking for room for `len` bytes. Reads nothing.
    pub(super) fn may_have_room(&self, len: u64) -> bool {
        let is_past = |moment: &AtomicU64| moment.load(Ordering::Relaxed) <= self.now();
        let is_less = cost(len) < self.full_for.load(Ordering::Relaxed);
        is_past(&self.paused_until) && (is_less || is_past(&self.full_until))
    }

    /// Reserves the bytes of a piece of `len` bytes, if there is room.
    pub(super) fn reserve(&self, ledger: &mut Ledger, len: u64) -> io::Result<bool> {
        let room = self.make_room(ledger, cost(len))?;
        if room {
            ledger.reserve(cost(len))?;
        }
        Ok(room)
    }

    fn make_room(&self, ledger: &mut Ledger, bytes: u64) -> io::Result<bool> {
        let started = Instant::now();
        let room = ledger.make_room(bytes, self.limit.load(Ordering::Relaxed))?;
        let wait = match room {
            Room::Enough => return Ok(true),
            Room::Full => FULL,
            Room::Later => FULL_OF_OTHERS,
        };
        self.full_for.store(bytes, Ordering::Relaxed);
        self.set(&self.full_until, wait.max(RARELY * started.elapsed()));
        Ok(false)
    }

    /// Notes that a damaged piece was removed.
    pub(super) fn removed_piece(&self) {
        self.look_again();
        log::log!(
            Self::level(&self.warned_of_damage),
            "{}: a piece in the cache is damaged: it is read from its store again",
            self.path.display()
        );
    }

    /// Notes that there may be room.
    pub(super) fn look_again(&self) {
        self.full_until.store(0, Ordering::Relaxed);
    }

    /// Notes that this process has an object open. Returns its place in the lease, if it has one.
    pub(super) fn lease(&self, id: ObjectId) -> Option<usize> {
        let leased =
            self.with_ledger(|ledger| ledger.lease()?.map(|lease| lease.add(id)).transpose());
        leased.unwrap_or_else(|error| {
            self.failed(&error);
            None
        })
    }

    /// Notes that this process has closed an object.
    pub(super) fn release(&self, place: usize, id: ObjectId) {
        let released = self.with_ledger(|ledger| match ledger.lease()? {
            Some(lease) => lease.remove(place, id),
            None => Ok(()),
        });
        if let Err(error) = released {
            self.failed(&error);
        }
        self.look_again();
    }

    /// Works with the ledger, which no other thread or process does meanwhile.
    pub(super) fn locked<T>(
        &self,
        work: impl FnOnce(&mut Ledger) -> io::Result<T>,
    ) -> io::Result<T> {
        self.with_ledger(|ledger| {
            let usage = Arc::clone(ledger.usage());
            let _lock = usage.lock()?;
            work(ledger)
        })
    }

    /// Works with the ledger, which no other thread does meanwhile.
    fn with_ledger<T>(&self, work: impl FnOnce(&mut Ledger) -> io::Result<T>) -> io::Result<T> {
        let mut ledger = self.ledger.lock();
        // A user may have cleared the cache.
        if ledger.as_ref().is_some_and(|ledger| ledger.usage().is_removed().unwrap_or(true)) {
            *ledger = None;
        }
        if ledger.is_none() {
            *ledger = Some(self.new_ledger()?);
        }
        match ledger.as_mut() {
            Some(ledger) => work(ledger),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    /// The ledger of this process.
    fn new_ledger(&self) -> io::Result<Ledger> {
        let mut ledger = Ledger::open(&self.folder, self.locks)?;
        match ledger.lease() {
            // What is kept can still be read.
            Err(error) if is_full(&error) => self.failed(&error),
            other => other.map(drop)?,
        }
        let usage = Arc::clone(ledger.usage());
        let begun = usage.lock().and_then(|_lock| ledger.begin());
        begun.unwrap_or_else(|error| self.failed(&error));
        Ok(ledger)
    }

    /// Keeps nothing for some time. The first failure is logged as a warning.
    pub(super) fn failed(&self, error: &io::Error) {
        self.set(&self.paused_until, PAUSE);
        log::log!(
            Self::level(&self.warned),
            "{}: the cache keeps nothing for {} seconds: {error}",
            self.path.display(),
            PAUSE.as_secs()
        );
    }

    /// A warning the first time.
    fn level(warned: &AtomicBool) -> log::Level {
        let again = warned.swap(true, Ordering::Relaxed);
        if again { log::Level::Debug } else { log::Level::Warn }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn set(&self, moment: &AtomicU64, after: Duration) {
        let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        moment.store(self.now().saturating_add(after), Ordering::Relaxed);
    }
}

impl Drop for PieceCache {
    fn drop(&mut self) {
        // A forked process has another ledger, so that it leaves its parent's lease alone.
        if let Some(ledger) = self.ledger.lock().take() {
            ledger.end();
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Creates a folder. A new one is for this user only: what it holds may not be public.
fn create(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Maximum number of files to keep open: a quarter of what the system allows.
fn most_open() -> usize {
    let limit = crate::memory::limits::open_files().unwrap_or(1024);
    usize::try_from(limit / 4).unwrap_or(usize::MAX).clamp(4, 4096)
}
