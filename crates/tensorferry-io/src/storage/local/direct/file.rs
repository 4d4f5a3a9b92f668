//! `DirectFile`: a file opened with `O_DIRECT`, where the file system allows it.

use crate::error::{Error, Result};
use crate::storage::local::direct::spans::Wanted;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Files that are read together, by index.
pub(crate) trait Files {
    /// # Errors
    /// [`Error::Io`] if the file cannot be opened.
    fn open(&self, file: usize) -> Result<Arc<DirectFile>>;

    fn path(&self, file: usize) -> &Path;

    /// That of [`DirectFile::alignment`]; 1 if the file cannot be opened.
    fn alignment(&self, file: usize) -> u64;

    /// # Errors
    /// [`Error::FileChanged`] if the file changed since it was opened; [`Error::Io`].
    fn check(&self, file: usize) -> Result<()>;

    /// The error for a read that the operating system rejected.
    fn refused(&self, wanted: &Wanted, source: io::Error) -> Error {
        Error::Read {
            path: self.path(wanted.file).to_owned(),
            offset: wanted.offset,
            len: wanted.len,
            source,
        }
    }
}

/// A file to read from.
#[derive(Debug)]
pub(crate) struct DirectFile {
    file: File,
    /// Offsets and lengths of reads are multiples of this.
    alignment: u64,
    direct: AtomicBool,
}

impl DirectFile {
    /// Opens a file.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        match platform::open(path) {
            Ok(Some((file, alignment))) => {
                Ok(Self { file, alignment, direct: AtomicBool::new(true) })
            }
            Ok(None) => Ok(Self {
                file: OpenOptions::new().read(true).open(path)?,
                alignment: 1,
                direct: AtomicBool::new(false),
            }),
            Err(error) => Err(error),
        }
    }

    /// The open file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Offsets and lengths of reads are multiples of this: a power of two, at most
    /// [`MOST`](crate::storage::local::direct::spans::MOST); 1 if reads go through the cache.
    pub(crate) fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Whether reads bypass the page cache.
    pub(crate) fn is_direct(&self) -> bool {
        self.direct.load(Ordering::Relaxed)
    }

    /// Switches to the page cache after an aligned direct read was rejected. Returns false if it
    /// was switched before.
    pub(super) fn give_up_direct(&self) -> bool {
        self.direct.swap(false, Ordering::Relaxed) && platform::through_cache(&self.file)
    }
}

#[cfg(target_os = "linux")]
mod platform {
    use crate::storage::local::direct::spans::MOST;
    use rustix::fs::{AtFlags, OFlags, StatxFlags, fcntl_getfl, fcntl_setfl, statx};
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    /// Minimum alignment of reads. Disks do not read less, even if they accept it.
    const BLOCK: u64 = 4096;

    /// The file and its alignment. `None` if it cannot bypass the page cache.
    pub(super) fn open(path: &Path) -> io::Result<Option<(File, u64)>> {
        let flags = OFlags::DIRECT.bits().cast_signed();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(None),
            Err(error) => return Err(error),
        };
        let alignment = alignment(&file);
        Ok((alignment <= MOST as u64).then_some((file, alignment)))
    }

    /// As reported by Linux since 6.1; otherwise the block size of all common disks.
    fn alignment(file: &File) -> u64 {
        match statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
            Ok(found)
                if StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::DIOALIGN) =>
            {
                // An alignment of 0 means that direct reads are not supported.
                let (memory, offset) =
                    (u64::from(found.stx_dio_mem_align), u64::from(found.stx_dio_offset_align));
                let possible = offset > 0 && memory <= super::super::queue::PAGE as u64;
                if possible {
                    offset.max(BLOCK).checked_next_power_of_two().unwrap_or(u64::MAX)
                } else {
                    u64::MAX
                }
            }
            _ => BLOCK,
        }
    }

    pub(super) fn through_cache(file: &File) -> bool {
        fcntl_getfl(file).and_then(|flags| fcntl_setfl(file, flags - OFlags::DIRECT)).is_ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub(super) fn open(_path: &Path) -> io::Result<Option<(File, u64)>> {
        Ok(None)
    }

    pub(super) fn through_cache(_file: &File) -> bool {
        false
    }
}
