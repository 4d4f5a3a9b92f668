//! Helpers of the read tests.

use crate::error::Result;
use crate::storage::local::direct::file::{DirectFile, Files};
use crate::storage::local::direct::queue::{Done, Queue, Read, Shape};
use crate::storage::local::direct::spans::Wanted;
use crate::storage::local::direct::threads::Threads;
use crate::storage::local::direct::uring::ring;
use std::collections::VecDeque;
use std::io;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Directories of file systems that read differently: on a disk, and in memory.
pub(super) fn file_systems() -> Vec<std::path::PathBuf> {
    [std::env::temp_dir(), "/dev/shm".into()].into_iter().filter(|path| path.is_dir()).collect()
}

/// All queues that this machine supports.
pub(super) fn queues(threads: &Threads, shape: Shape) -> Vec<Box<dyn Queue>> {
    let threads: Box<dyn Queue> = Box::new(threads.queue(shape));
    std::iter::once(threads).chain(ring(shape)).collect()
}

/// Pseudo-random numbers that are the same each time.
pub(crate) fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    (seed << 32..).map(|i| {
        let mixed =
            (i ^ (i >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 11
    })
}

/// Pseudo-random numbers below a bound.
pub(crate) struct Random(Box<dyn Iterator<Item = u64> + Send>);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(Box::new(numbers(seed)))
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0.next().unwrap() % bound
    }

    pub(super) fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }
}

pub(super) struct One(pub(super) PathBuf, pub(super) Arc<DirectFile>);

impl Files for One {
    fn open(&self, _file: usize) -> Result<Arc<DirectFile>> {
        Ok(Arc::clone(&self.1))
    }

    fn path(&self, _file: usize) -> &Path {
        &self.0
    }

    fn alignment(&self, _file: usize) -> u64 {
        self.1.alignment()
    }

    fn check(&self, _file: usize) -> Result<()> {
        Ok(())
    }
}

/// Files of a test, and their bytes.
pub(crate) struct Written {
    pub(super) paths: Vec<PathBuf>,
    pub(super) bytes: Vec<Vec<u8>>,
    files: Vec<Arc<DirectFile>>,
    _directory: tempfile::TempDir,
}

impl Written {
    /// Files of random bytes, of these lengths.
    pub(super) fn new(directory: &Path, lens: &[usize]) -> Self {
        let directory = tempfile::tempdir_in(directory).unwrap();
        let paths: Vec<PathBuf> =
            (0..lens.len()).map(|at| directory.path().join(format!("{at}"))).collect();
        let bytes: Vec<Vec<u8>> = (0..)
            .zip(lens)
            .map(|(at, len)| numbers(at).flat_map(u64::to_le_bytes).take(*len).collect())
            .collect();
        paths.iter().zip(&bytes).for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
        let files = paths.iter().map(|path| Arc::new(DirectFile::open(path).unwrap())).collect();
        Self { paths, bytes, files, _directory: directory }
    }

    /// The whole range of each file.
    pub(super) fn ranges(&self) -> Vec<Range<u64>> {
        self.bytes.iter().map(|bytes| 0..bytes.len() as u64).collect()
    }

    /// Random ranges of the files: many close together, some of them twice, some empty, a few long.
    pub(super) fn wants(&self, random: &mut Random, count: usize) -> Vec<Wanted> {
        let longest = [1, 400, 5000, 300_000][random.index(4)];
        let mut wanted: Vec<Wanted> = (0..count)
            .map(|_| {
                let file = random.index(self.bytes.len());
                let size = self.bytes[file].len();
                let len = random.index(longest + 1).min(size);
                let offset = random.below((size - len) as u64 + 1);
                Wanted { file, offset, len }
            })
            .collect();
        wanted.sort_by_key(|one| (one.file, one.offset));
        wanted
    }

    /// The expected bytes.
    pub(super) fn expected(&self, wanted: &[Wanted]) -> Vec<Vec<u8>> {
        wanted
            .iter()
            .map(|one| {
                let start = usize::try_from(one.offset).unwrap();
                self.bytes[one.file][start..start + one.len].to_vec()
            })
            .collect()
    }
}

/// The bytes that `read` returns for the wanted ranges.
pub(crate) fn read_into(
    wanted: &[Wanted],
    read: impl FnOnce(&mut [&mut [u8]]) -> Result<()>,
) -> Result<Vec<Vec<u8>>> {
    let mut out: Vec<Vec<u8>> = wanted.iter().map(|one| vec![0; one.len]).collect();
    read(&mut out.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>())?;
    Ok(out)
}

impl Files for Written {
    fn open(&self, file: usize) -> Result<Arc<DirectFile>> {
        Ok(Arc::clone(&self.files[file]))
    }

    fn path(&self, file: usize) -> &Path {
        &self.paths[file]
    }

    fn alignment(&self, file: usize) -> u64 {
        self.files[file].alignment()
    }

    fn check(&self, _file: usize) -> Result<()> {
        Ok(())
    }
}

/// A queue that simulates everything that a device may do to a read.
pub(crate) struct Faulty {
    random: Random,
    shape: Shape,
    in_flight: VecDeque<(usize, Read)>,
    slots: Vec<Vec<u8>>,
    /// Percentage of reads with a fault.
    faults: u64,
    /// Reads that touch this byte fail.
    pub(super) bad: Option<u64>,
    /// Whether no read ever ends.
    pub(super) hangs: bool,
    pub(super) most_in_flight: usize,
}

impl Faulty {
    pub(super) fn new(shape: Shape, seed: u64, faults: u64) -> Self {
        Self {
            random: Random::new(seed),
            shape,
            in_flight: VecDeque::new(),
            slots: vec![vec![0; shape.slot()]; shape.slots()],
            faults,
            bad: None,
            hangs: false,
            most_in_flight: 0,
        }
    }

    fn run(&mut self, slot: usize, read: &Read) -> io::Result<usize> {
        if self.bad.is_some_and(|bad| (read.offset..read.offset + read.len as u64).contains(&bad)) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let mut len = read.len;
        if self.random.below(100) < self.faults {
            match self.random.below(5) {
                0 => return Err(ErrorKind::Interrupted.into()),
                1 => return Err(ErrorKind::WouldBlock.into()),
                2 => return Err(io::Error::from_raw_os_error(125)),
                // At least a block, as on a device.
                _ => len = (self.random.index(len) + 1).max(4096.min(len)),
            }
        }
        // The file may bypass the page cache, which needs aligned memory.
        let through_cache = std::fs::File::open(format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(read.file.file())
        ))?;
        through_cache.read_at(&mut self.slots[slot][read.skip..read.skip + len], read.offset)
    }
}

impl Queue for Faulty {
    fn cut(&mut self, shape: Shape) {
        *self = Self::new(shape, self.random.below(1 << 20), self.faults);
    }

    fn begin(&mut self, slot: usize, read: Read) -> io::Result<()> {
        let alignment = usize::try_from(read.file.alignment()).unwrap();
        assert!(
            read.offset.is_multiple_of(alignment as u64)
                && read.skip.is_multiple_of(alignment)
                && read.len.is_multiple_of(alignment)
        );
        assert!(read.len > 0 && read.skip + read.len <= self.shape.slot());
        assert!(self.in_flight.iter().all(|(other, _)| *other != slot), "slot {slot} is in use");
        self.slots[slot][read.skip..read.skip + read.len].fill(0xee);
        self.in_flight.push_back((slot, read));
        self.most_in_flight = self.most_in_flight.max(self.in_flight.len());
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn next(&mut self, patience: Duration) -> io::Result<Option<Done>> {
        if self.hangs {
            std::thread::sleep(patience);
        }
        if self.hangs || self.in_flight.is_empty() || self.random.below(100) < self.faults {
            return Ok(None);
        }
        let at = self.random.index(self.in_flight.len());
        let (slot, read) = self.in_flight.remove(at).unwrap();
        Ok(Some(Done { slot, result: self.run(slot, &read) }))
    }

    fn bytes(&mut self, slot: usize) -> &[u8] {
        assert!(self.in_flight.iter().all(|(other, _)| *other != slot), "slot {slot} is in flight");
        &self.slots[slot]
    }
}
