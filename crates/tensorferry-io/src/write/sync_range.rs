//! Bringing to the disk what was written, while more is written.

#[cfg(target_os = "linux")]
use std::fs::File;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;

/// Has the system begin to bring these bytes of a file to the disk, and returns without waiting for
/// it. Whether it does is its affair: only `sync_all` tells whether they arrived, and what went
/// wrong.
#[cfg(target_os = "linux")]
pub(crate) fn begin(file: &File, offset: u64, len: u64) {
    let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) else { return };
    // SAFETY: the call takes no memory of ours, and the descriptor is open as long as `file` is
    // borrowed.
    let _refused = unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE)
    };
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn begin(_: &std::fs::File, _: u64, _: u64) {}
