//! What the system grants this process: memory, open files, and ways to read files.
//!
//! The library decides by the same functions, so that a diagnosis shows what it will do.
#![forbid(unsafe_code)]

use crate::memory::{limits, pages, shelves};
use crate::storage::local::direct::probe;
use std::io;
use std::path::Path;

/// Bytes of RAM of this machine. A guess where the system is not Linux.
#[must_use]
pub fn physical_memory() -> u64 {
    pages::physical_memory() as u64
}

/// Bytes of memory that this process may use: RAM, or a lower limit of a control group or of the
/// address space.
#[must_use]
pub fn usable_memory() -> u64 {
    limits::usable()
}

/// The lowest memory limit of this process's control group and its parents, in bytes.
#[must_use]
pub fn group_memory() -> Option<u64> {
    limits::group()
}

/// The soft limit on the address space of this process, in bytes.
#[must_use]
pub fn address_space() -> Option<u64> {
    limits::address_space()
}

/// Maximum number of files that this process may have open.
#[must_use]
pub fn open_files() -> Option<u64> {
    limits::open_files()
}

/// Bytes of unused memory that the pool keeps at most.
#[must_use]
pub fn pool_limit() -> usize {
    shelves::pool_limit()
}

/// Whether files can be read by io_uring. Without it, threads read them.
///
/// # Errors
/// Why not: the kernel has none, or a sandbox or `kernel.io_uring_disabled` refuses it.
pub fn io_uring() -> io::Result<()> {
    probe::io_uring()
}

/// The alignment of reads that bypass the page cache, in bytes, for files in this folder; `None`
/// if its file system does not allow them. A temporary file is written and read.
///
/// # Errors
/// The folder cannot be written to, or the file cannot be read.
///
/// ```
/// let folder = std::env::temp_dir();
/// match tensorferry_io::system::direct_reads(&folder)? {
///     Some(alignment) => assert!(alignment.is_power_of_two()),
///     None => println!("read through the page cache"),
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn direct_reads(folder: &Path) -> io::Result<Option<u64>> {
    probe::direct_reads(folder)
}
