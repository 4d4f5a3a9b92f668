//! Whether files can be read as `Mode::Direct` reads them, found by reading one.

use crate::storage::local::direct::file::DirectFile;
use crate::storage::local::direct::queue::{POLL, Queue, Read, Shape};
use crate::storage::local::direct::queue_pool::{PooledQueue, ReaderThreads};
use crate::storage::local::direct::spans::MOST;
use crate::storage::local::direct::uring::ring;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a read may take. A network file system can hang.
const PATIENCE: Duration = Duration::from_secs(10);

/// # Errors
/// Why there is no ring.
pub(crate) fn io_uring() -> io::Result<()> {
    ring(Shape::Many).map(drop)
}

/// The alignment of direct reads in a folder; `None` if its file system does not allow them.
///
/// # Errors
/// The folder cannot be written to, or the file cannot be read.
pub(crate) fn direct_reads(folder: &Path) -> io::Result<Option<u64>> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&[7; MOST])?;
    file.as_file().sync_data()?;
    let direct = Arc::new(DirectFile::open(file.path())?);
    if !direct.is_direct() {
        return Ok(None);
    }
    let alignment = direct.alignment();
    let mut queue = PooledQueue::new(&ReaderThreads::default(), Shape::Many);
    queue.begin(0, Read { file: direct, offset: 0, skip: 0, len: MOST })?;
    let start = Instant::now();
    let done = loop {
        match queue.next(POLL)? {
            Some(done) => break done,
            None if start.elapsed() > PATIENCE => return Err(ErrorKind::TimedOut.into()),
            None => {}
        }
    };
    let read = match done.result {
        // Some file systems take the flag and reject the read.
        Err(error) if error.kind() == ErrorKind::InvalidInput => None,
        Err(error) => return Err(error),
        Ok(count) => {
            let right = count == MOST && queue.bytes(0).iter().all(|&byte| byte == 7);
            Some(right.then_some(alignment).ok_or(ErrorKind::InvalidData)?)
        }
    };
    queue.give_back();
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_probed_by_a_read_and_left_empty() {
        let folder = tempfile::tempdir().unwrap();
        if let Some(alignment) = direct_reads(folder.path()).unwrap() {
            assert!(alignment.is_power_of_two() && alignment <= MOST as u64);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap().path().join("none");
        assert_eq!(direct_reads(&folder).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
