//! Reads at an offset of an open file.

use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;

/// Reads until `out` is full or the file ends. Returns the number of bytes.
pub(crate) fn read_up_to(handle: &File, offset: u64, out: &mut [u8]) -> std::io::Result<usize> {
    let mut done = 0;
    while done < out.len() {
        match read_at(handle, &mut out[done..], offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// A path to an open file that stays valid after it is renamed or removed.
#[cfg(target_os = "linux")]
pub(super) fn name_of(handle: &File) -> Option<PathBuf> {
    Some(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(handle)).into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn name_of(_handle: &File) -> Option<PathBuf> {
    None
}

#[cfg(unix)]
fn read_at(handle: &File, out: &mut [u8], offset: u64) -> std::io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(handle, out, offset)
}

#[cfg(windows)]
fn read_at(handle: &File, out: &mut [u8], offset: u64) -> std::io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(handle, out, offset)
}
