//! A range of a source as a stream.

use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::storage::io_error::io;
use crate::storage::read_at::ReadAt;
use std::io;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

/// `len` bytes of a source starting at `start`. Positions are relative to `start`.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    source: Arc<dyn ReadAt>,
    start: u64,
    len: u64,
    at: u64,
    cancel: CancelToken,
}

impl Section {
    pub(crate) fn new(source: &Arc<dyn ReadAt>, start: u64, len: u64) -> Self {
        let len = len.min(source.len().saturating_sub(start));
        Self { source: Arc::clone(source), start, len, at: 0, cancel: CancelToken::default() }
    }

    pub(crate) fn whole(source: &Arc<dyn ReadAt>) -> Self {
        Self::new(source, 0, source.len())
    }

    /// The same stream, with reads that `cancel` cancels.
    pub(crate) fn cancelled_by(self, cancel: &CancelToken) -> Self {
        Self { cancel: cancel.clone(), ..self }
    }
}

impl Read for Section {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let len = out.len().min(left);
        if len > 0 {
            self.source
                .read_exact_at(self.start + self.at, &mut out[..len], &self.cancel)
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

/// Bytes that [`read_all`] reads at a time.
const BLOCK: usize = 1 << 20;

/// Reads all bytes of a source to find unreadable ones.
///
/// # Errors
/// As [`ReadAt::read_exact_at`].
pub(crate) fn read_all(source: &Arc<dyn ReadAt>, cancel: &CancelToken) -> Result<()> {
    let mut stream = Section::whole(source).cancelled_by(cancel);
    let mut block = vec![0; BLOCK];
    loop {
        cancel.check()?;
        match stream.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => {
                return Err(read_error(error, io("read", source.name())));
            }
        }
    }
}

/// The [`Error`] inside a failed read of a [`Section`], or `other` of a decoder's error.
pub(crate) fn read_error(error: io::Error, other: impl FnOnce(io::Error) -> Error) -> Error {
    match error.downcast::<Error>() {
        Ok(carried) => carried,
        Err(error) => other(error),
    }
}

/// Fills `out`. False if the stream ends before.
pub(crate) fn fill(
    stream: &mut dyn Read,
    out: &mut [u8],
    other: impl FnOnce(io::Error) -> Error,
) -> Result<bool> {
    match stream.read_exact(out) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(read_error(error, other)),
    }
}
