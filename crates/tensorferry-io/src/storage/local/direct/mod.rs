//! Reads files at device speed, bypassing the page cache.
//!
//! # Rationale
//! A row of a memory-mapped file that is not in memory costs a page fault: a single read, which
//! ends before the next starts. Devices reach full speed only with many reads in flight. So the
//! rows of a batch are read together, `queue::DEPTH` at a time, by io_uring or else by threads.
//! Adjacent rows share a read, and sequential batches use readahead. Data larger than memory would
//! only evict itself from the page cache, so reads bypass it (`O_DIRECT`) if the file system allows
//! it.
//!
//! # Limitations
//! Each reading thread has up to `queue::BYTES` (4 MiB) in flight, and readahead as many more. A
//! few idle rings keep 4 MiB each. A file in the page cache is still read from the device:
//! memory-map such a file.
#![deny(unsafe_code)]

mod extents;
pub mod file;
mod fill;
mod pending_read;
pub mod probe;
pub mod queue;
pub mod queue_pool;
#[cfg(test)]
mod queue_tests;
mod readahead;
pub mod spans;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod threads;
// The list is that of the dependency in Cargo.toml.
#[cfg_attr(
    not(all(
        target_os = "linux",
        any(
            target_arch = "x86_64",
            target_arch = "aarch64",
            target_arch = "riscv64",
            target_arch = "loongarch64",
            target_arch = "powerpc64"
        )
    )),
    path = "no_uring.rs"
)]
#[allow(unsafe_code, reason = "the kernel writes into memory")]
mod uring;
mod window;

use crate::storage::local::direct::file::Files;
use crate::storage::local::direct::spans::Wanted;

use crate::cancel::CancelToken;
use crate::error::Result;
use crate::storage::local::direct::extents::Extents;
use crate::storage::local::direct::queue::Shape;
use crate::storage::local::direct::queue_pool::{PooledQueue, ReaderThreads};
use crate::storage::local::direct::readahead::Readahead;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of buffers per reading thread, and of a readahead window.
pub const READER: usize = queue::BYTES;

/// Reads the rows of one array, for many threads at once.
pub(crate) struct Reader {
    extents: Extents,
    readahead: Readahead,
    threads: ReaderThreads,
    logged: AtomicBool,
}

impl Reader {
    /// A reader of rows in these ranges of the files.
    pub(crate) fn new(rows: Vec<Range<u64>>) -> Self {
        Self {
            extents: Extents::new(rows),
            readahead: Readahead::default(),
            threads: ReaderThreads::default(),
            logged: AtomicBool::new(false),
        }
    }

    /// Reads the wanted ranges, sorted by file and offset, each into its part of `out`.
    ///
    /// # Errors
    /// Errors of [`Files::open`]; [`crate::error::Error::Read`];
    /// [`crate::error::Error::ShortRead`] if a file ends before;
    /// [`crate::error::Error::Interrupted`].
    pub(crate) fn read(
        &self,
        files: &dyn Files,
        wanted: &[Wanted],
        out: &mut [&mut [u8]],
        cancel: &CancelToken,
    ) -> Result<()> {
        let Some(first) = wanted.first() else { return Ok(()) };
        if self.readahead.copy_out(&self.extents, files, &self.threads, wanted, out, cancel)? {
            return Ok(());
        }
        let mut queue = PooledQueue::new(&self.threads, Shape::Many);
        if !self.logged.swap(true, Ordering::Relaxed) {
            log_means(files, first.file, queue.means());
        }
        // After an error reads may be in flight: the queue is not reused.
        fill::fill(&mut queue, files, wanted, out, cancel)?;
        queue.give_back();
        Ok(())
    }
}

fn log_means(files: &dyn Files, file: usize, means: &str) {
    let direct = files.open(file).is_ok_and(|file| file.is_direct());
    let how = if direct {
        "past the system's cache"
    } else {
        "through the system's cache: the file system allows no other way"
    };
    log::info!("{}: read by {means}, {how}", files.path(file).display());
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("extents", &self.extents).finish_non_exhaustive()
    }
}
