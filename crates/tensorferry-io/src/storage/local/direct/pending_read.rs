//! [`PendingRead`]: a range of a file that one or more reads bring into a slot.

use crate::storage::local::direct::file::DirectFile;
use crate::storage::local::direct::queue::Read;
use std::fs::File;
use std::io;
use std::io::ErrorKind;
use std::sync::Arc;

/// Maximum attempts of a read that is interrupted.
const MOST_TRIES: u32 = 100;
/// Maximum attempts of a read that returns no new bytes or is rejected as invalid.
const FEW: u32 = 3;
/// `ECANCELED` on systems with io_uring: the thread that started the read has ended.
const CANCELED: i32 = 125;

/// A range that begins at a multiple of its file's alignment.
#[derive(Debug)]
pub(crate) struct PendingRead {
    file: Arc<DirectFile>,
    start: u64,
    /// Number of bytes wanted; `done` counts the bytes read.
    len: usize,
    done: usize,
    tries: u32,
}

/// What to do after a read.
#[derive(Debug)]
pub(crate) enum Step {
    /// All bytes are read.
    Whole,
    /// Read the missing bytes.
    Again,
    /// The file has only [`PendingRead::done`] bytes after the start.
    Short,
    Failed(io::Error),
}

impl PendingRead {
    pub(super) fn new(file: Arc<DirectFile>, start: u64, len: usize) -> Self {
        Self { file, start, len, done: 0, tries: 0 }
    }

    /// Number of bytes read.
    pub(super) fn done(&self) -> usize {
        self.done
    }

    pub(super) fn file(&self) -> &File {
        self.file.file()
    }

    /// The next read: the missing bytes, starting at a multiple of the alignment.
    pub(super) fn read(&self) -> Read {
        let skip = self.skip();
        let len = self.len.next_multiple_of(self.alignment()) - skip;
        Read { file: Arc::clone(&self.file), offset: self.start + skip as u64, skip, len }
    }

    fn skip(&self) -> usize {
        self.done - self.done % self.alignment()
    }

    fn alignment(&self) -> usize {
        usize::try_from(self.file.alignment()).unwrap_or(1) // at most a slot
    }

    /// Records the result of a read.
    pub(super) fn ended(&mut self, result: io::Result<usize>) -> Step {
        match result {
            Ok(read) => {
                let there = (self.skip() + read).min(self.len);
                if there <= self.done {
                    // No new bytes: the file may end here, or the read was short. Retry to find
                    // out.
                    self.tries += 1;
                    self.done = if read == 0 { there } else { self.done };
                    return if read == 0 || self.tries >= FEW { Step::Short } else { Step::Again };
                }
                self.done = there;
                if there == self.len { Step::Whole } else { Step::Again }
            }
            Err(error) => {
                self.tries += 1;
                let again = match error.kind() {
                    ErrorKind::Interrupted | ErrorKind::WouldBlock => self.tries < MOST_TRIES,
                    // A file system may reject direct reads of only some files or ranges.
                    ErrorKind::InvalidInput if self.tries < FEW => {
                        self.file.give_up_direct();
                        true
                    }
                    _ => error.raw_os_error() == Some(CANCELED) && self.tries < MOST_TRIES,
                };
                if again { Step::Again } else { Step::Failed(error) }
            }
        }
    }
}
