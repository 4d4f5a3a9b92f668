//! [`Scratch`]: a temporary file without a name, whose sections are sources.

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::memory::mmap::map;
use crate::storage::io_error::io;
use crate::storage::local::pread::read_up_to;
use crate::storage::read_at::{Mmap, ReadAt};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensorferry_core::Buffer;

/// A file in the system's folder for temporary files. It is gone once its sections are dropped or
/// the process ends. All sections share one open file.
pub(crate) struct Scratch {
    file: Arc<File>,
    folder: PathBuf,
    len: u64,
}

impl Scratch {
    /// An empty file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn new() -> Result<Self> {
        let folder = std::env::temp_dir();
        let file = tempfile::tempfile_in(&folder).map_err(io("create a file in", &folder))?;
        Ok(Self { file: Arc::new(file), folder, len: 0 })
    }

    /// Number of bytes written so far.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`Error::Io`], also if the file system is full.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        (&*self.file).write_all(bytes).map_err(io("write a temporary file in", &self.folder))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// The bytes written since `start`, as a source of another name.
    pub(crate) fn section(&self, name: &Path, start: u64) -> Arc<dyn ReadAt> {
        Arc::new(Section {
            name: name.to_owned(),
            file: Arc::clone(&self.file),
            start,
            len: self.len.saturating_sub(start),
        })
    }
}

/// A range of the file. Nothing else writes to it.
#[derive(Debug)]
struct Section {
    name: PathBuf,
    file: Arc<File>,
    start: u64,
    len: u64,
}

impl ReadAt for Section {
    fn len(&self) -> u64 {
        self.len
    }

    fn name(&self) -> &Path {
        &self.name
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8], cancel: &CancelToken) -> Result<()> {
        cancel.check()?;
        let (expected, left) = (out.len(), self.len.saturating_sub(offset));
        let fits = usize::try_from(left).unwrap_or(usize::MAX).min(expected);
        let refused =
            |source| Error::Read { path: self.name.clone(), offset, len: expected, source };
        let read = read_up_to(&self.file, self.start.saturating_add(offset), &mut out[..fits]);
        match read.map_err(refused)? {
            actual if actual == expected => Ok(()),
            actual => Err(Error::ShortRead { offset, expected, actual }.in_file(&self.name)),
        }
    }

    fn as_mmap(&self) -> Option<&dyn Mmap> {
        Some(self)
    }
}

impl Mmap for Section {
    fn mmap(&self, offset: u64, len: usize) -> Result<(Buffer, usize)> {
        map(&self.file, self.start.saturating_add(offset), len).map_err(io("map", &self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read_and_mapped_apart() {
        let mut scratch = Scratch::new().unwrap();
        scratch.write(&[1; 70_000]).unwrap();
        let first = scratch.section("a".as_ref(), 0);
        let start = scratch.len();
        scratch.write(&[2, 3, 4]).unwrap();
        let second = scratch.section("b".as_ref(), start);
        assert_eq!((first.len(), second.len()), (70_000, 3));
        assert_eq!(second.read_up_to(1, 9).unwrap(), [3, 4]);
        assert!(first.read_exact_at(69_999, &mut [0; 2], &CancelToken::default()).is_err());
        let (buffer, at) = second.as_mmap().unwrap().mmap(1, 2).unwrap();
        assert_eq!(buffer.as_slice()[at..at + 2], [3, 4]);
    }
}
