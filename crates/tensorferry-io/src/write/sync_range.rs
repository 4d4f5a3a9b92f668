//! The system call that starts writeback of a range.

#[cfg(target_os = "linux")]
use std::fs::File;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;

/// Asks the system to start writing this range of a file to disk, without waiting. Only a hint:
/// `sync_all` reports whether the bytes arrived.
#[cfg(target_os = "linux")]
pub(crate) fn begin(file: &File, offset: u64, len: u64) {
    let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) else { return };
    // SAFETY: the call takes no memory of this process, and the descriptor is open as long as
    // `file` is borrowed.
    let _refused = unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE)
    };
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn begin(_: &std::fs::File, _: u64, _: u64) {}
