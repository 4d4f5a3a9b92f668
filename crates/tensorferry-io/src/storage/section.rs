//! A stretch of a file as a stream.

use crate::error::{Error, Result};
use crate::storage::local::file::DataFile;
use std::io;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

/// `len` bytes of a file from `start` on; reading ends after them. Positions are counted from
/// `start`.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    file: Arc<DataFile>,
    start: u64,
    len: u64,
    at: u64,
}

impl Section {
    pub(crate) fn new(file: &Arc<DataFile>, start: u64, len: u64) -> Self {
        let len = len.min(file.len().saturating_sub(start));
        Self { file: Arc::clone(file), start, len, at: 0 }
    }

    pub(crate) fn whole(file: &Arc<DataFile>) -> Self {
        Self::new(file, 0, file.len())
    }
}

impl Read for Section {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let len = out.len().min(left);
        if len > 0 {
            self.file
                .read_exact_at(self.start + self.at, &mut out[..len])
                .map_err(io::Error::other)?;
            self.at += len as u64;
        }
        Ok(len)
    }
}

impl Seek for Section {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

/// The error of ours that a failed read carries, or what `other` makes of one that is not ours.
pub(crate) fn ours(error: io::Error, other: impl FnOnce(io::Error) -> Error) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) => other(error),
    }
}

/// Fills `out`, of a stream that was said to be long enough: `false` if it is not.
pub(crate) fn fill(
    stream: &mut dyn Read,
    out: &mut [u8],
    other: impl FnOnce(io::Error) -> Error,
) -> Result<bool> {
    match stream.read_exact(out) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(ours(error, other)),
    }
}
