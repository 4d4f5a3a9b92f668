//! Writes at an offset, and files that were removed while they were open.

use std::fs::File;
use std::io::{ErrorKind, Result};

/// Writes all bytes at an offset.
pub(crate) fn write_all(file: &File, offset: u64, mut bytes: &[u8]) -> Result<()> {
    let mut at = offset;
    while !bytes.is_empty() {
        match write_at(file, bytes, at) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                at = at.saturating_add(written as u64);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}

/// Whether an open file was removed.
#[cfg(unix)]
pub(crate) fn is_removed(file: &File) -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(file.metadata()?.nlink() == 0)
}

/// Whether an open file was removed. Not known here.
#[cfg(not(unix))]
pub(crate) fn is_removed(_file: &File) -> Result<bool> {
    Ok(false)
}
