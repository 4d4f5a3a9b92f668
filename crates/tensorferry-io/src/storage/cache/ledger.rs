//! [`Ledger`]: the bytes that count, and who may have them.
//!
//! # Rationale
//! An epoch reads every piece once, in random order. The least recently used piece is then the one
//! that is read next, and evicting it would leave nothing for the next epoch. So a full cache keeps
//! what running processes have open, and only the files of other objects make way.
//!
//! Bytes are reserved before they are written, so that the sum never exceeds the limit, with any
//! number of processes. A process that is killed leaves a dead lease, and then bytes are counted
//! again.
//!
//! # Limitations
//! Without file locks, no process knows what others have open: objects that were opened or written
//! to within the last day stay, and processes that write at the same time may exceed the limit.

use crate::storage::cache::folder::{Entry, Folder};
use crate::storage::cache::key::ObjectId;
use crate::storage::cache::layout::cost;
use crate::storage::cache::lease::{Lease, Leases};
use crate::storage::cache::segment_file::{SegmentFile, kept_bytes};
use crate::storage::cache::usage::Usage;
use std::fs;
use std::io::{ErrorKind, Result};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long an object stays after its last use if the file system has no locks.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The part of the limit that is made free at once, because finding unused objects takes long.
const SHARE: u64 = 64;

/// The files of a folder that this process has open. All calls need the lock of [`Usage`], except
/// where it says otherwise.
#[derive(Debug)]
pub(crate) struct Ledger {
    folder: Arc<Folder>,
    usage: Arc<Usage>,
    locks: bool,
    lease: Option<Lease>,
}

/// Whether bytes can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Yes.
    Enough,
    /// Not now: processes have everything open, and not only this one.
    Later,
    /// Not while this process has open what it has.
    Full,
}

impl Ledger {
    /// Opens the files of a folder, and creates those that are not there. Needs no lock.
    pub(crate) fn open(folder: &Arc<Folder>, locks: bool) -> Result<Self> {
        folder.create()?;
        let usage = Arc::new(Usage::open(&folder.usage(), locks)?);
        Ok(Self { folder: Arc::clone(folder), usage, locks, lease: None })
    }

    pub(crate) fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    /// The lease of this process; `None` if the file system has no locks. Needs no lock.
    pub(crate) fn lease(&mut self) -> Result<Option<&mut Lease>> {
        if self.locks && self.lease.is_none() {
            self.lease = Some(Lease::create(&self.folder.leases())?);
        }
        Ok(self.lease.as_mut())
    }

    /// Ends the lease of this process. Needs no lock.
    pub(crate) fn end(self) {
        if let Some(lease) = self.lease {
            lease.end();
        }
    }

    /// Counts if no other process uses the folder: the system may have stopped, or a user removed
    /// files.
    pub(crate) fn begin(&mut self) -> Result<()> {
        let mut leases = self.leases()?;
        let own = usize::from(self.lease.is_some());
        if leases.processes <= own || leases.in_doubt {
            self.recount(&mut leases)?;
        }
        leases.remove_dead();
        Ok(())
    }

    /// Counts, and removes files without a header.
    pub(crate) fn count(&mut self) -> Result<()> {
        let mut leases = self.leases()?;
        self.recount(&mut leases).map(drop)
    }

    /// Makes room for `bytes`, if unused objects can make way.
    pub(crate) fn make_room(&mut self, bytes: u64, limit: u64) -> Result<Room> {
        let fits = |used: u64| used.saturating_add(bytes) <= limit;
        if self.usage.read()?.is_some_and(fits) {
            return Ok(Room::Enough);
        }
        if bytes > limit {
            return Ok(Room::Full);
        }
        let mut leases = self.leases()?;
        let used = match self.usage.read()? {
            Some(used) if !leases.in_doubt => used,
            _ => self.recount(&mut leases)?,
        };
        leases.remove_dead();
        if fits(used) {
            return Ok(Room::Enough);
        }
        let own = self.lease.as_ref().map(Lease::ids).unwrap_or_default();
        let (mut unused, mut all_own) = (Vec::new(), true);
        for entry in self.folder.entries()? {
            all_own &= own.contains(&entry.id);
            if let Some(since) = self.unused_since(&entry, &leases) {
                unused.push((since, entry));
            }
        }
        unused.sort_by_key(|(since, _)| *since);
        let goal = limit.saturating_sub(bytes.max(limit / SHARE));
        let used = self.remove(unused.iter().map(|(_, entry)| entry), |used| used <= goal)?;
        Ok(match () {
            () if fits(used) => Room::Enough,
            // Reserved bytes may be given back.
            () if all_own && leases.reserved == 0 => Room::Full,
            () => Room::Later,
        })
    }

    /// Counts bytes that this process is about to keep, for which there is room.
    pub(crate) fn reserve(&mut self, bytes: u64) -> Result<()> {
        let used = self.used()?;
        if let Some(lease) = self.lease()? {
            let reserved = lease.reserved().saturating_add(bytes);
            lease.set_reserved(reserved)?;
        }
        self.usage.write(used.saturating_add(bytes))
    }

    /// Ends a reservation: the bytes are kept, or not.
    pub(crate) fn settle(&mut self, bytes: u64, kept: bool) -> Result<()> {
        if !kept {
            self.give_back(bytes)?;
        }
        match &mut self.lease {
            Some(lease) => lease.set_reserved(lease.reserved().saturating_sub(bytes)),
            None => Ok(()),
        }
    }

    /// Removes a piece.
    pub(crate) fn remove_piece(&mut self, file: &SegmentFile, piece: u64) -> Result<()> {
        self.set_doubt(true)?;
        file.mark(piece, false)?;
        // What a removed file counted for was given back with it.
        if !file.is_removed()? {
            self.give_back(cost(file.piece_len(piece)))?;
        }
        self.set_doubt(false)
    }

    fn give_back(&mut self, bytes: u64) -> Result<()> {
        let used = self.used()?;
        self.usage.write(used.saturating_sub(bytes))
    }

    /// Removes the other versions of an object, unless a process has them open.
    pub(crate) fn remove_other_versions(&mut self, id: &ObjectId) -> Result<()> {
        let others = self.folder.other_versions(id)?;
        if others.is_empty() {
            return Ok(());
        }
        let leases = self.leases()?;
        let unused = others.iter().filter(|entry| self.unused_since(entry, &leases).is_some());
        self.remove(unused.collect::<Vec<_>>(), |_| false).map(drop)
    }

    /// Removes files until it is enough. Returns the number of bytes that count then.
    fn remove<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a Entry>,
        enough: impl Fn(u64) -> bool,
    ) -> Result<u64> {
        let mut used = self.used()?;
        self.set_doubt(true)?;
        for entry in entries {
            if enough(used) {
                break;
            }
            used = used.saturating_sub(remove(entry));
        }
        self.usage.write(used)?;
        self.set_doubt(false)?;
        Ok(used)
    }

    /// Notes in the lease that the count does not match the pieces, or matches again.
    fn set_doubt(&self, doubt: bool) -> Result<()> {
        self.lease.as_ref().map_or(Ok(()), |lease| lease.set_doubt(doubt))
    }

    fn used(&mut self) -> Result<u64> {
        match self.usage.read()? {
            Some(used) => Ok(used),
            None => {
                let mut leases = self.leases()?;
                self.recount(&mut leases)
            }
        }
    }

    fn leases(&self) -> Result<Leases> {
        if self.locks { Leases::read(&self.folder.leases()) } else { Ok(Leases::default()) }
    }

    /// Counts all pieces, and removes files that no process finished to create.
    fn recount(&mut self, leases: &mut Leases) -> Result<u64> {
        let mut used = leases.reserved;
        for entry in self.folder.entries()? {
            match kept_bytes(&entry.path, &entry.id, entry.segment) {
                Ok(bytes) => used += bytes,
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    remove(&entry);
                }
                Err(error) => log::debug!("{}: not counted: {error}", entry.path.display()),
            }
        }
        self.usage.write(used)?;
        // Not before: if this process ends, the next one has to count again.
        leases.remove_dead();
        leases.in_doubt = false;
        Ok(used)
    }

    /// When the last process that had an object open used this file; `None` if one has it open.
    fn unused_since(&self, entry: &Entry, leases: &Leases) -> Option<SystemTime> {
        if leases.unreadable || leases.ids.contains(&entry.id) {
            return None;
        }
        let since = fs::symlink_metadata(&entry.path).and_then(|file| file.modified()).ok()?;
        let old = || since.elapsed().is_ok_and(|elapsed| elapsed > DAY);
        (self.locks || old()).then_some(since)
    }
}

/// Removes the file of a segment. Returns the number of bytes that it counted for.
fn remove(entry: &Entry) -> u64 {
    let bytes = kept_bytes(&entry.path, &entry.id, entry.segment).unwrap_or_default();
    match fs::remove_file(&entry.path) {
        Ok(()) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => bytes,
        Err(error) => {
            log::debug!("{}: not removed: {error}", entry.path.display());
            0
        }
    }
}
