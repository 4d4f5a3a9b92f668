//! Early writeback: writes a file to disk while more of it is produced.
//!
//! # Rationale
//! By default written bytes stay in the system's cache until the sync, which then waits for all of
//! them. Here the disk writes one part while the next is copied into the cache, so little is left
//! for the sync (W8).

use crate::write::sync_range as writeback;
use std::borrow::Borrow;
use std::fs::File;
use std::io::{Result, Seek, SeekFrom, Write};

/// Bytes per part.
const PART: u64 = 8 << 20;

/// A file, owned or borrowed.
#[derive(Debug)]
pub struct Writeback<F> {
    file: F,
    at: u64,
    /// Writeback has started for the bytes before this offset.
    begun: u64,
}

impl<F: Borrow<File>> Writeback<F> {
    /// A writer that starts at the beginning of the file.
    pub fn new(file: F) -> Self {
        Self { file, at: 0, begun: 0 }
    }

    /// The file to write.
    pub fn file(&self) -> &File {
        self.file.borrow()
    }
}

impl<F: Borrow<File>> Write for Writeback<F> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let most = usize::try_from(PART).unwrap_or(usize::MAX).min(bytes.len());
        let written = self.file().write(&bytes[..most])?;
        self.at += written as u64;
        // After a backward seek, little has to be written.
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

impl<F: Borrow<File>> Seek for Writeback<F> {
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
        let mut file = Writeback::new(tempfile::tempfile()?);
        file.write_all(&given)?;
        for (at, mended) in [(5, [1, 2, 3]), (2 * PART - 1, [4, 5, 6])] {
            let end = file.stream_position()?;
            file.seek(SeekFrom::Start(at))?;
            file.write_all(&mended)?;
            file.seek(SeekFrom::Start(end))?;
            file.write_all(&mended)?;
            let at = usize::try_from(at).unwrap_or_default();
            given[at..at + 3].copy_from_slice(&mended);
            given.extend(mended);
        }
        let mut found = Vec::new();
        file.rewind()?;
        std::io::Read::read_to_end(&mut file.file(), &mut found)?;
        assert!(found == given);
        Ok(())
    }
}
