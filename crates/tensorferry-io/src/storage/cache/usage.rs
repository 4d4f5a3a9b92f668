//! [`Usage`]: the number of bytes that count in a folder, and the lock of the folder.
//!
//! # Rationale
//! The lock is held for some microseconds, or for as long as the folder is walked. A wait for it
//! ends: a process that is stopped, or a forked child of one that was killed, could hold it for
//! ever, and the cache can do without.

use crate::storage::cache::positional::{is_removed, write_all};
use crate::storage::local::pread::read_up_to;
use crate::storage::local::regular::open_beside;
use std::fs::{File, TryLockError};
use std::io::{Error, ErrorKind, Result};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long to wait for the lock, and the pause between attempts after the first few.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_micros(50);
const ATTEMPTS: u32 = 20;

const MAGIC: &[u8; 4] = b"used";
const LEN: usize = 16;

/// The open file `usage`.
#[derive(Debug)]
pub(crate) struct Usage {
    file: File,
    /// Whether the file system has locks.
    locks: bool,
}

/// The lock of a folder.
#[derive(Debug)]
pub(crate) struct Locked<'a>(&'a Usage);

impl Usage {
    /// Opens the file, and creates it if it does not exist.
    pub(crate) fn open(path: &Path, locks: bool) -> Result<Self> {
        Ok(Self { file: open_beside(path, true)?, locks })
    }

    /// Whether the file system has locks. Without, no process knows what others have open.
    pub(crate) fn has_locks(&self) -> bool {
        match self.file.try_lock() {
            Ok(()) => {
                let _ = self.file.unlock();
                true
            }
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(_)) => false,
        }
    }

    /// Locks the folder against other processes.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] if another has it for long.
    pub(crate) fn lock(&self) -> Result<Locked<'_>> {
        let started = Instant::now();
        for attempt in 0_u32.. {
            match if self.locks { self.file.try_lock() } else { Ok(()) } {
                Ok(()) => return Ok(Locked(self)),
                Err(TryLockError::Error(error)) if error.kind() != ErrorKind::Interrupted => {
                    return Err(error);
                }
                Err(_) if started.elapsed() > PATIENCE => break,
                Err(_) if attempt < ATTEMPTS => std::thread::yield_now(),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
        Err(Error::new(ErrorKind::TimedOut, "another process has the lock of the cache for long"))
    }

    /// Whether the file was removed, as by a user who clears the cache.
    pub(crate) fn is_removed(&self) -> Result<bool> {
        is_removed(&self.file)
    }

    /// The number of bytes; `None` if it has to be counted. Without the lock it may be old.
    pub(crate) fn read(&self) -> Result<Option<u64>> {
        let mut bytes = [0; LEN];
        let whole = read_up_to(&self.file, 0, &mut bytes)? == LEN;
        let number = bytes[4..12].first_chunk().map(|number| u64::from_le_bytes(*number));
        Ok(number.filter(|number| whole && bytes == encode(*number)))
    }

    /// Writes the number of bytes. The caller has the lock.
    pub(crate) fn write(&self, used: u64) -> Result<()> {
        write_all(&self.file, 0, &encode(used))
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if self.0.locks {
            // Closing the file would not suffice: a forked child may have it open.
            let _ = self.0.file.unlock();
        }
    }
}

fn encode(used: u64) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..4].copy_from_slice(MAGIC);
    bytes[4..12].copy_from_slice(&used.to_le_bytes());
    let sum = crc32c::crc32c(&bytes[..12]).to_le_bytes();
    bytes[12..].copy_from_slice(&sum);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_back_and_a_damaged_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("usage");
        let usage = Usage::open(&path, true).unwrap();
        assert_eq!(usage.read().unwrap(), None);
        usage.write(1 << 40).unwrap();
        assert_eq!(Usage::open(&path, true).unwrap().read().unwrap(), Some(1 << 40));
        for at in 0..LEN {
            let mut bytes = encode(5);
            bytes[at] ^= 4;
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(usage.read().unwrap(), None, "byte {at}");
        }
        assert!(!usage.is_removed().unwrap());
        std::fs::remove_file(&path).unwrap();
        assert!(usage.is_removed().unwrap());
    }

    #[test]
    fn one_of_two_handles_has_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("usage");
        let [one, other] = [0; 2].map(|_| Usage::open(&path, true).unwrap());
        assert!(one.has_locks());
        let held = one.lock().unwrap();
        assert!(matches!(other.file.try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        drop(other.lock().unwrap());
        assert!(one.lock().is_ok());
    }
}
