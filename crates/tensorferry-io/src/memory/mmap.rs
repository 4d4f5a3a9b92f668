//! Files as memory.

use memmap2::MmapOptions;
use std::fs::File;
use std::io;
use tensorferry_core::Buffer;

/// A mapping's start in a file is a multiple of this, the largest page size in use: what lies
/// before the bytes asked for is mapped with them, and their place in memory is as it is in the
/// file.
const PAGE: u64 = 64 << 10;

/// `len` bytes of a file from `offset` on, read-only, and how far into the buffer they start; the
/// caller has checked that the file has so many.
///
/// # Limitations
/// The promise of [`Buffer`] that nobody writes its bytes is here only as good as the promise of
/// whoever may write the file. If it is overwritten in place, values change under the reader; if it
/// is truncated, touching what is gone ends the process with SIGBUS. Files that are replaced by
/// renaming, as [`crate::format::npy::save_npy`] does, are safe: the mapping keeps the old one.
pub(crate) fn map(file: &File, offset: u64, len: usize) -> io::Result<(Buffer, usize)> {
    let start = offset - offset % PAGE;
    let before = usize::try_from(offset - start).unwrap_or(0); // less than a page
    let too_large = || io::Error::from(io::ErrorKind::OutOfMemory);
    let len = len.checked_add(before).ok_or_else(too_large)?;
    // SAFETY: a read-only mapping; that nobody changes the file meanwhile is the condition that
    // every function that maps files passes on to its caller in its documentation.
    let bytes = unsafe { MmapOptions::new().offset(start).len(len).map(file) }?;
    Ok((Buffer::from_owner(bytes), before))
}
