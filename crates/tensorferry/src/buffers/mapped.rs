//! Files as memory.

use memmap2::MmapOptions;
use std::fs::File;
use std::io;
use tensorferry_core::Buffer;

/// The first `len` bytes of a file, read-only; the caller has checked that it has so many.
///
/// # Limitations
/// The promise of [`Buffer`] that nobody writes its bytes is here only as good as the promise of whoever may write the file. If it is
/// overwritten in place, values change under the reader; if it is truncated, touching what is gone ends the process with SIGBUS.
/// Files that are replaced by renaming, as [`crate::save_npy`] does, are safe: the mapping keeps the old one.
pub(crate) fn map(file: &File, len: usize) -> io::Result<Buffer> {
    // SAFETY: a read-only mapping; that nobody changes the file meanwhile is the condition that every function that maps files
    // passes on to its caller in its documentation.
    let bytes = unsafe { MmapOptions::new().len(len).map(file) }?;
    Ok(Buffer::from_owner(bytes))
}
