//! [`Lease`]: which objects a process has open, and the bytes that it is about to keep.
//!
//! # Rationale
//! A process has the lock of its lease, which the system releases when the process ends for any
//! reason. So a lease that can be locked is dead: its process ended. If it ended while the count of
//! the folder did not match the pieces, its lease says so.

use crate::storage::cache::key::ObjectId;
use crate::storage::cache::positional::write_all;
use crate::storage::local::regular::open_beside;
use std::collections::HashSet;
use std::fs;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Result};
use std::path::{Path, PathBuf};

/// The number of reserved bytes, a mark, padding, and then a slot for each object.
const SLOTS_AT: usize = 32;
const MARK_AT: usize = 8;
const SUFFIX: &str = ".lease";
/// A slot without an object.
const FREE: ObjectId = ObjectId([0; ObjectId::LEN]);

/// The lease of this process on a folder.
#[derive(Debug)]
pub(crate) struct Lease {
    file: File,
    path: PathBuf,
    slots: Vec<ObjectId>,
    /// Slots without an object.
    free: Vec<usize>,
    reserved: u64,
}

/// What the leases of all processes say.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// Objects that a process has open.
    pub(crate) ids: HashSet<ObjectId>,
    /// Bytes that processes are about to keep.
    pub(crate) reserved: u64,
    /// Number of processes.
    pub(crate) processes: usize,
    /// Leases of processes that ended without removing theirs, and their locks.
    pub(crate) dead: Vec<(PathBuf, File)>,
    /// Whether the count may be wrong, because a process ended in the middle of a change.
    pub(crate) in_doubt: bool,
    /// Whether a running process has a lease that this one cannot read.
    pub(crate) unreadable: bool,
}

impl Lease {
    /// Creates the lease of this process.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("").rand_bytes(12).suffix(SUFFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // The system subtracts the umask.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        loop {
            let file = builder.tempfile_in(folder)?;
            match file.as_file().try_lock() {
                // Another process takes it for a dead one, and removes it.
                Err(TryLockError::WouldBlock) => continue,
                Ok(()) if !file.path().try_exists()? => continue,
                Err(TryLockError::Error(error)) => return Err(error),
                Ok(()) => {}
            }
            // A forked child would remove a temporary file of its parent.
            let (file, path) = file.keep().map_err(|error| error.error)?;
            let lease = Self { file, path, slots: Vec::new(), free: Vec::new(), reserved: 0 };
            write_all(&lease.file, 0, &[0; SLOTS_AT])?;
            return Ok(lease);
        }
    }

    /// Notes that this process has an object open, and returns its slot.
    pub(crate) fn add(&mut self, id: ObjectId) -> Result<usize> {
        let slot = self.free.last().copied().unwrap_or(self.slots.len());
        self.write_slot(slot, id)?;
        match self.free.pop() {
            Some(slot) => self.slots[slot] = id,
            None => self.slots.push(id),
        }
        Ok(slot)
    }

    /// Frees a slot, if it is of this object.
    pub(crate) fn remove(&mut self, slot: usize, id: ObjectId) -> Result<()> {
        if self.slots.get(slot) != Some(&id) {
            return Ok(());
        }
        self.slots[slot] = FREE;
        self.free.push(slot);
        self.write_slot(slot, FREE)
    }

    fn write_slot(&self, slot: usize, id: ObjectId) -> Result<()> {
        write_all(&self.file, (SLOTS_AT + slot * ObjectId::LEN) as u64, &id.0)
    }

    /// The objects that this process has open.
    pub(crate) fn ids(&self) -> HashSet<ObjectId> {
        self.slots.iter().copied().filter(|id| *id != FREE).collect()
    }

    /// The number of bytes that this process is about to keep.
    pub(crate) fn reserved(&self) -> u64 {
        self.reserved
    }

    pub(crate) fn set_reserved(&mut self, reserved: u64) -> Result<()> {
        self.reserved = reserved;
        write_all(&self.file, 0, &reserved.to_le_bytes())
    }

    /// Notes that the count does not match the pieces, or matches again.
    pub(crate) fn set_doubt(&self, doubt: bool) -> Result<()> {
        write_all(&self.file, MARK_AT as u64, &[u8::from(doubt)])
    }

    /// Ends the lease. Only the process that created it may do so.
    pub(crate) fn end(self) {
        // If it is not removed now, the next process finds it dead.
        let _ = fs::remove_file(&self.path);
    }
}

impl Leases {
    /// Reads the leases of all processes. The caller has the lock of the folder.
    ///
    /// # Errors
    /// Those of the system, if the folder cannot be read.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let mut leases = Self::default();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if !path.as_os_str().as_encoded_bytes().ends_with(SUFFIX.as_bytes()) {
                continue;
            }
            let mut file = match open_beside(&path, false) {
                Ok(file) => file,
                // Not there any more, or not a lease.
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) =>
                {
                    continue;
                }
                Err(_) => {
                    leases.unreadable = true;
                    continue;
                }
            };
            let locked = file.try_lock();
            let bytes = read(&mut file);
            match (locked, bytes) {
                (Ok(()), bytes) => {
                    leases.in_doubt |=
                        bytes.is_none_or(|bytes| bytes[..=MARK_AT] != [0; MARK_AT + 1]);
                    leases.dead.push((path, file));
                }
                (Err(TryLockError::WouldBlock), Some(bytes)) => leases.add(&bytes),
                _ => leases.unreadable = true,
            }
        }
        Ok(leases)
    }

    /// Adds the lease of a running process.
    fn add(&mut self, bytes: &[u8]) {
        let (head, slots) = bytes.split_at(SLOTS_AT);
        let reserved = head.first_chunk().map_or(0, |reserved| u64::from_le_bytes(*reserved));
        let ids = slots.chunks_exact(ObjectId::LEN);
        let ids = ids.filter_map(|id| Some(ObjectId(id.try_into().ok()?)));
        self.ids.extend(ids.filter(|id| *id != FREE));
        self.reserved = self.reserved.saturating_add(reserved);
        self.processes += 1;
    }

    /// Removes the leases of processes that ended.
    pub(crate) fn remove_dead(&mut self) {
        for (path, _lock) in self.dead.drain(..) {
            let _ = fs::remove_file(path);
        }
    }
}

/// The bytes of a lease, at least those before the slots; `None` if it cannot be read.
fn read(file: &mut File) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    bytes.resize(bytes.len().max(SLOTS_AT), 0);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> ObjectId {
        ObjectId([byte; ObjectId::LEN])
    }

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn leases_of_running_processes_count_and_others_are_dead() {
        let folder = tempfile::tempdir().unwrap();
        let [mut one, mut other] = [0; 2].map(|_| Lease::create(folder.path()).unwrap());
        let slots = [1, 2, 3].map(|byte| one.add(id(byte)).unwrap());
        other.add(id(3)).unwrap();
        one.set_reserved(5).unwrap();
        other.set_reserved(7).unwrap();
        one.remove(slots[1], id(2)).unwrap();
        one.remove(slots[0], id(9)).unwrap();
        let mut leases = Leases::read(folder.path()).unwrap();
        assert_eq!(leases.ids, HashSet::from([id(1), id(3)]));
        assert_eq!((leases.reserved, leases.processes, leases.dead.len()), (12, 2, 0));
        assert_eq!(one.add(id(4)).unwrap(), slots[1]);
        assert_eq!(one.ids(), HashSet::from([id(1), id(3), id(4)]));
        one.end();
        assert!(!leases.in_doubt && !leases.unreadable);
        drop(other); // as a process that is killed
        leases.remove_dead();
        assert_eq!(files(folder.path()), 1);
        leases = Leases::read(folder.path()).unwrap();
        assert_eq!((leases.ids.len(), leases.processes, leases.dead.len()), (0, 0, 1));
        assert!(leases.in_doubt, "it had reserved bytes");
        leases.remove_dead();
        assert_eq!(files(folder.path()), 0);
    }

    #[test]
    fn a_process_that_ended_leaves_a_doubt_only_in_the_middle_of_a_change() {
        let folder = tempfile::tempdir().unwrap();
        for doubt in [false, true] {
            let lease = Lease::create(folder.path()).unwrap();
            lease.set_doubt(true).unwrap();
            lease.set_doubt(doubt).unwrap();
            drop(lease);
            let mut leases = Leases::read(folder.path()).unwrap();
            assert_eq!(leases.in_doubt, doubt);
            leases.remove_dead();
        }
    }

    #[test]
    fn other_files_are_not_leases() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        fs::create_dir(folder.path().join("a.lease")).unwrap();
        let leases = Leases::read(folder.path()).unwrap();
        assert_eq!((leases.processes, leases.dead.len()), (0, 0));
    }

    #[test]
    fn a_lease_that_is_being_created_is_never_taken_for_a_dead_one() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let creator = scope.spawn(|| {
                for _ in 0..300 {
                    let lease = Lease::create(folder.path()).unwrap();
                    assert!(lease.path.exists());
                    lease.end();
                }
            });
            while !creator.is_finished() {
                Leases::read(folder.path()).unwrap().remove_dead();
            }
        });
        assert_eq!(files(folder.path()), 0);
    }
}
