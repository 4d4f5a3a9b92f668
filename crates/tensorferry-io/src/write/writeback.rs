//! A file that goes to the disk while it is written.
//!
//! # Rationale
//! What is written stays in the system's cache until it is synced, and then all of it is waited
//! for. Here the disk begins with the first part while the next is copied into the cache, and
//! little is left for the sync (W8).

use crate::write::sync_range as writeback;
use std::borrow::Borrow;
use std::fs::File;
use std::io::{Result, Seek, SeekFrom, Write};

/// Bytes that are enough work for a disk.
const PART: u64 = 8 << 20;

/// A file, owned or borrowed.
#[derive(Debug)]
pub struct Flowing<F> {
    file: F,
    at: u64,
    /// Up to where the disk was told to begin.
    begun: u64,
}

impl<F: Borrow<File>> Flowing<F> {
    /// The file is written from its start.
    pub fn new(file: F) -> Self {
        Self { file, at: 0, begun: 0 }
    }

    /// The file that is written.
    pub fn file(&self) -> &File {
        self.file.borrow()
    }
}

impl<F: Borrow<File>> Write for Flowing<F> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let most = usize::try_from(PART).unwrap_or(usize::MAX).min(bytes.len());
        let written = self.file().write(&bytes[..most])?;
        self.at += written as u64;
        // Before it after a seek: what is mended there is little.
        let since = self.at.saturating_sub(self.begun);
        if since >= PART {
            writeback::begin(self.file(), self.begun, since);
            self.begun = self.at;
        }
        Ok(written)
    }

    fn flush(&mut self) -> Result<()> {
        self.file().flush()
    }
}

impl<F: Borrow<File>> Seek for Flowing<F> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.at = self.file().seek(to)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_parts_is_what_was_given() -> Result<()> {
        let mut given: Vec<u8> = (0..(3 * PART + 100)).map(|at| (at % 251) as u8).collect();
        let mut flowing = Flowing::new(tempfile::tempfile()?);
        flowing.write_all(&given)?;
        for (at, mended) in [(5, [1, 2, 3]), (2 * PART - 1, [4, 5, 6])] {
            let end = flowing.stream_position()?;
            flowing.seek(SeekFrom::Start(at))?;
            flowing.write_all(&mended)?;
            flowing.seek(SeekFrom::Start(end))?;
            flowing.write_all(&mended)?;
            let at = usize::try_from(at).unwrap_or_default();
            given[at..at + 3].copy_from_slice(&mended);
            given.extend(mended);
        }
        let mut found = Vec::new();
        flowing.rewind()?;
        std::io::Read::read_to_end(&mut flowing.file(), &mut found)?;
        assert!(found == given);
        Ok(())
    }
}
