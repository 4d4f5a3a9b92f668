//! Memory-mapped files.

use memmap2::MmapOptions;
use std::fs::File;
use std::io;
use tensorferry_core::Buffer;

/// Alignment of a mapping's start in the file: the largest page size in use. The bytes keep their
/// alignment in the file.
const PAGE: u64 = 64 << 10;

/// Maps `len` bytes of a file starting at `offset`, read-only. Returns the buffer and their offset
/// in it. The caller has checked that the file contains them.
///
/// # Limitations
/// A [`Buffer`] promises that its bytes do not change. Here that depends on the writers of the
/// file. If it is overwritten in place, values change; if it is truncated, touching the lost part
/// ends the process with SIGBUS. Atomic writes, such as [`crate::format::npy::save_npy`]'s, are
/// safe: the mapping keeps the old file.
pub(crate) fn map(file: &File, offset: u64, len: usize) -> io::Result<(Buffer, usize)> {
    let start = offset - offset % PAGE;
    let before = usize::try_from(offset - start).unwrap_or(0); // less than a page
    let too_large = || io::Error::from(io::ErrorKind::OutOfMemory);
    let len = len.checked_add(before).ok_or_else(too_large)?;
    // SAFETY: a read-only mapping. That the file does not change is a condition that every function
    // that maps files states in its documentation.
    let bytes = unsafe { MmapOptions::new().offset(start).len(len).map(file) }?;
    Ok((Buffer::from_owner(bytes), before))
}
